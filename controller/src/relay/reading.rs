//! One instance's log, read through relays. Who follows notices nothing of an executor or a leader that is started
//! anew: another relay is opened, and goes on from where the one before ended, without a gap or a repetition.

use std::time::Duration;

use muster_common::id::ExecutorId;
use muster_proto::v1;
use muster_proto::v1::read_log::From;
use muster_proto::v1::relay_down::Body as Down;
use tokio::time::{Instant, sleep};

use super::{Relay, RelayError, Relays, Up};

/// For how long another relay is tried for before a follower is told.
const RESUMED_WITHIN: Duration = Duration::from_secs(30);
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
    /// Whether anything was heard: who hears nothing from the beginning is told why at once.
    has_begun: bool,
    broken_since: Option<Instant>,
}

impl LogReading {
    /// A log that is asked for when the first piece is.
    pub(crate) fn new(relays: &Relays, executor: &ExecutorId, ask: v1::ReadLog) -> Self {
        let (relays, executor) = (relays.clone(), executor.clone());
        Self { relays, executor, ask, relay: None, opening: None, has_begun: false, broken_since: None }
    }

    /// The same, once the executor has said that the log is there.
    pub(crate) async fn open(
        relays: &Relays,
        executor: &ExecutorId,
        ask: v1::ReadLog,
    ) -> Result<Self, RelayError> {
        let mut reading = Self::new(relays, executor, ask);
        reading.opening = reading.step().await?;
        Ok(reading)
    }

    /// The next piece; none when all is read, which for a follower is when the instance is over. Dropping the future
    /// loses nothing. After an error it may be asked again, and goes on where it was.
    pub(crate) async fn next(&mut self) -> Result<Option<v1::LogText>, RelayError> {
        if let Some(opening) = self.opening.take() {
            return Ok(Some(opening));
        }
        loop {
            match self.step().await {
                Ok(Some(text)) => {
                    self.broken_since = None;
                    // The first word of another relay.
                    if text.text.is_empty() && text.trouble.is_empty() && !text.is_after_gap {
                        continue;
                    }
                    return Ok(Some(text));
                }
                Ok(None) => return Ok(None),
                Err(error) => {
                    self.relay = None;
                    let since = *self.broken_since.get_or_insert_with(Instant::now);
                    // Who reads what there is asks again himself, if he wants to.
                    let is_tried_again = self.ask.follow && self.has_begun && error.may_pass();
                    if !is_tried_again || since.elapsed() >= RESUMED_WITHIN {
                        self.broken_since = None;
                        return Err(error);
                    }
                    tracing::debug!(executor = %self.executor, %error, "reading a log is tried again");
                    sleep(PAUSE).await;
                }
            }
        }
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
