//! One instance's log, read through relays. When a relay breaks, because an executor or a leader is started anew, another
//! one is opened and goes on from where the last one ended. So whoever follows the log sees no gap and no repetition.

use std::time::Duration;

use muster_common::id::ExecutorId;
use muster_proto::v1;
use muster_proto::v1::read_log::From;
use muster_proto::v1::relay_down::Body as Down;
use tokio::time::{Instant, sleep, timeout_at};

use super::{Relay, RelayError, Relays, Up};

/// For how long another relay is tried for before a follower is told.
const RESUMED_WITHIN: Duration = Duration::from_secs(30);
/// For how long the first one is tried for: a call has 30 s to begin to answer.
const OPENED_WITHIN: Duration = Duration::from_secs(25);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// A log being read.
pub(crate) struct LogReading {
    relays: Relays,
    executor: ExecutorId,
    ask: v1::ReadLog,
    /// None while one is to be opened.
    relay: Option<Relay>,
    /// The first word, which says where reading begins.
    opening: Option<v1::LogText>,
    /// Whether anything was heard.
    has_begun: bool,
    /// Since when there is no relay, and why.
    broken: Option<(Instant, RelayError)>,
}

impl LogReading {
    /// A log that is asked for when the first piece is.
    pub(crate) fn new(relays: &Relays, executor: &ExecutorId, ask: v1::ReadLog) -> Self {
        let (relays, executor) = (relays.clone(), executor.clone());
        Self { relays, executor, ask, relay: None, opening: None, has_begun: false, broken: None }
    }

    /// The same, once the executor has said that the log is there.
    pub(crate) async fn open(
        relays: &Relays,
        executor: &ExecutorId,
        ask: v1::ReadLog,
    ) -> Result<Self, RelayError> {
        let mut reading = Self::new(relays, executor, ask);
        reading.opening = reading.advance().await?;
        Ok(reading)
    }

    /// The next piece; `None` when everything was read, which for a follower is when the instance is over. The first piece
    /// may be empty: it says where reading begins. Dropping the future loses nothing. After an error this may be called again,
    /// and goes on where it was.
    pub(crate) async fn next(&mut self) -> Result<Option<v1::LogText>, RelayError> {
        if let Some(opening) = self.opening.take() {
            return Ok(Some(opening));
        }
        loop {
            let is_first = !self.has_begun;
            match self.advance().await? {
                // The first word of another relay.
                Some(text)
                    if !is_first && text.text.is_empty() && text.trouble.is_empty() && !text.is_after_gap => {
                }
                next => return Ok(next),
            }
        }
    }

    /// One step, over as many relays as it takes and within bounds.
    async fn advance(&mut self) -> Result<Option<v1::LogText>, RelayError> {
        let asked = Instant::now();
        let within = if self.has_begun { RESUMED_WITHIN } else { OPENED_WITHIN };
        loop {
            let step = match self.broken.clone() {
                None => self.step().await,
                Some((since, error)) => timeout_at(since + within, self.step()).await.unwrap_or(Err(error)),
            };
            let error = match step {
                Ok(text) => {
                    self.broken = None;
                    return Ok(text);
                }
                Err(error) => error,
            };
            self.relay = None;
            let is_tried_again = self.is_tried_again(&error);
            let begin = if self.has_begun { Instant::now() } else { asked };
            let (since, _) = self.broken.get_or_insert_with(|| (begin, error.clone()));
            if !is_tried_again || since.elapsed() >= within {
                self.broken = None;
                return Err(error);
            }
            tracing::debug!(executor = %self.executor, %error, "reading a log is tried again");
            sleep(PAUSE).await;
        }
    }

    /// Whether to try another relay after `error`. Somebody who only reads what there is can ask again himself. A follower
    /// who has heard nothing yet is told an error at once that was known before anything was tried.
    fn is_tried_again(&self, error: &RelayError) -> bool {
        let is_going_on = self.has_begun || self.broken.is_some();
        self.ask.follow && error.may_pass() && (is_going_on || !error.is_known_before())
    }

    async fn step(&mut self) -> Result<Option<v1::LogText>, RelayError> {
        let relay = match &mut self.relay {
            Some(relay) => relay,
            none => none.insert(self.relays.open(&self.executor, Down::ReadLog(self.ask.clone())).await?),
        };
        match relay.next().await? {
            Some(Up::Text(text)) => {
                self.has_begun = true;
                if let Some(next) = text.next {
                    self.ask.from = Some(From::Place(next));
                }
                Ok(Some(text))
            }
            None => Ok(None),
            Some(Up::Files(_) | Up::Output(_) | Up::Ended(_)) => {
                Err(relay.misunderstood("something else than the log that was asked for"))
            }
        }
    }
}
