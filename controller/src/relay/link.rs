//! An open relay. An executor sends no more output than it was given credit for. It is given more as the user takes the
//! output. So a user who does not read stops the command or log, and takes no more memory here than one window.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use metrics::gauge;
use muster_common::command_end::CommandEnd;
use muster_common::problem::printable;
use muster_platform::channel::words_of;
use muster_proto::v1;
use muster_proto::v1::relay_down::Body as Down;
use muster_proto::v1::relay_up::Body;
use muster_proto::v1::{exec_input, exec_output};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout_at};
use tonic::{Status, Streaming};

use super::awaited::Arrival;
use super::{RelayError, Who, down};

/// How much output is on its way at most.
const WINDOW_BYTES: u64 = 128 * 1024;
/// What a piece of input costs beside what it carries, and the most credit for input that is ever kept.
const PIECE_COST: u32 = 64;
const MAX_INPUT_BYTES: usize = 16 << 20;
/// Executors say something every five seconds, if only that they are there.
const SILENCE: Duration = Duration::from_secs(20);

/// What comes up.
#[derive(Debug)]
pub(crate) enum Up {
    /// The files of a log.
    Files(v1::LogFiles),
    /// A piece of a log.
    Text(v1::LogText),
    /// A piece of a command's output.
    Output(exec_output::Body),
    /// A command's end; the last.
    Ended(CommandEnd),
}

/// An open relay. Dropping it ends what goes on at its other end.
pub(crate) struct Relay {
    who: Who,
    up: Streaming<v1::RelayUp>,
    down: mpsc::Sender<Result<v1::RelayDown, Status>>,
    /// Output that was taken, and that no credit was given for yet.
    owed: u64,
    heard: Instant,
    input: Arc<Semaphore>,
    _place: OwnedSemaphorePermit,
}

impl Relay {
    pub(super) async fn begin(
        who: Who,
        arrival: Arrival,
        request: Down,
        place: OwnedSemaphorePermit,
    ) -> Result<Self, RelayError> {
        let Arrival { up, down } = arrival;
        let relay = Self {
            who,
            up,
            down,
            owed: WINDOW_BYTES,
            heard: Instant::now(),
            input: Arc::new(Semaphore::new(0)),
            _place: place,
        };
        gauge!("muster_relays").increment(1.0);
        relay.sender().say(request).await?;
        Ok(relay)
    }

    /// The sending half, which can be used while somebody reads from the relay.
    pub(crate) fn sender(&self) -> RelaySender {
        RelaySender { who: self.who.clone(), down: self.down.clone(), input: Arc::clone(&self.input) }
    }

    /// The next message; `None` after the last one. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Option<Up>, RelayError> {
        loop {
            self.give_credit().await?;
            let message = timeout_at(self.heard + SILENCE, self.up.message()).await;
            let message = message.map_err(|_| self.broken(format!("it said nothing for {SILENCE:?}")))?;
            let message = message.map_err(|status| self.broken(words_of(&status)))?;
            let message = message.ok_or_else(|| self.broken("it ended the relay".to_owned()))?;
            self.heard = Instant::now();
            match message.body {
                Some(Body::Beat(_)) => {}
                Some(Body::Credit(v1::Credit { bytes })) => {
                    let room = MAX_INPUT_BYTES.saturating_sub(self.input.available_permits());
                    self.input.add_permits(usize::try_from(bytes).unwrap_or(room).min(room));
                }
                Some(Body::Done(_)) => return Ok(None),
                Some(Body::Refusal(refusal)) => return Err(refused(&refusal)),
                Some(Body::LogFiles(files)) => return Ok(Some(Up::Files(files))),
                Some(Body::LogText(text)) => {
                    self.owed += text.text.len() as u64;
                    return Ok(Some(Up::Text(text)));
                }
                Some(Body::ExecOutput(v1::ExecOutput { body: Some(output) })) => {
                    let (exec_output::Body::Stdout(bytes) | exec_output::Body::Stderr(bytes)) = &output;
                    self.owed += bytes.len() as u64;
                    return Ok(Some(Up::Output(output)));
                }
                Some(Body::ExecEnd(end)) => return Ok(Some(Up::Ended(end.into()))),
                Some(Body::Begin(_)) => return Err(self.misunderstood("a beginning in the middle")),
                Some(Body::ExecOutput(v1::ExecOutput { body: None })) | None => {
                    return Err(self.misunderstood("a message of an unknown kind"));
                }
            }
        }
    }

    async fn give_credit(&mut self) -> Result<(), RelayError> {
        if self.owed > 0 {
            let room = self.down.reserve().await.map_err(|_| self.broken("it ended the relay".to_owned()))?;
            let bytes = std::mem::take(&mut self.owed);
            room.send(Ok(down(Down::Credit(v1::Credit { bytes }))));
        }
        Ok(())
    }

    fn broken(&self, why: String) -> RelayError {
        RelayError::Broken { who: self.who.clone(), why }
    }

    /// The executor answered with something else than was asked for.
    pub(crate) fn misunderstood(&self, what: &'static str) -> RelayError {
        RelayError::Misunderstood { who: self.who.clone(), what }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        gauge!("muster_relays").decrement(1.0);
    }
}

fn refused(refusal: &v1::RelayRefusal) -> RelayError {
    /// Longer than any sentence; it may quote what a user sent.
    const MAX_CHARS: usize = 1_000;
    let why = printable(&refusal.why, MAX_CHARS);
    match refusal.kind.as_str() {
        "NOT_FOUND" => RelayError::NotFound(why),
        "NO_SUCH_COMMAND" => RelayError::NoSuchCommand(why),
        "BUSY" => RelayError::Busy(why),
        _ => RelayError::Failed(why),
    }
}

/// The way down.
#[derive(Clone)]
pub(crate) struct RelaySender {
    who: Who,
    down: mpsc::Sender<Result<v1::RelayDown, Status>>,
    /// How much input may be sent.
    input: Arc<Semaphore>,
}

impl RelaySender {
    /// Waits while the other end does not take it.
    pub(crate) async fn say(&self, body: Down) -> Result<(), RelayError> {
        let broken = |_| RelayError::Broken { who: self.who.clone(), why: "it ended the relay".to_owned() };
        self.down.send(Ok(down(body))).await.map_err(broken)
    }

    /// Hands a piece of input on once there is credit for it: a command that does not read stops its user.
    pub(crate) async fn feed(&self, piece: Bytes) -> Result<(), RelayError> {
        let cost = u32::try_from(piece.len()).unwrap_or(u32::MAX).saturating_add(PIECE_COST);
        // It is never closed.
        if let Ok(taken) = self.input.acquire_many(cost).await {
            taken.forget();
        }
        self.say(Down::ExecInput(v1::ExecInput { body: Some(exec_input::Body::Stdin(piece)) })).await
    }

    /// There is no more input.
    pub(crate) async fn end_input(&self) -> Result<(), RelayError> {
        let end = exec_input::Body::StdinEnd(v1::StdinEnd {});
        self.say(Down::ExecInput(v1::ExecInput { body: Some(end) })).await
    }
}
