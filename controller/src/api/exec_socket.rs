//! An interactive command over a WebSocket, as [`muster_common::exec_channel`] has it. Whoever leaves ends his command.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State as Context;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use bytes::Bytes;
use futures::{Sink, SinkExt as _, Stream, StreamExt as _};
use muster_common::command_end::{CANNOT_RUN, CommandEnd, NOT_SEEN};
use muster_common::exec_channel::{CommandFrame, SUBPROTOCOL, UserFrame};
use muster_common::signal::Signal;
use muster_proto::v1;
use muster_proto::v1::exec_input::Body as Input;
use muster_proto::v1::exec_output::Body as Output;
use muster_proto::v1::relay_down::Body as Down;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::access::Api;
use super::error::ApiError;
use super::exec::{Exec, INPUT_PIECE, begin, own_code};
use super::exec_request::{ExecWanted, MAX_EXEC_PARAMETERS};
use super::logs::STOPPING;
use super::path::Named;
use super::query::AtMost;
use crate::relay::{Relay, RelayError, RelaySender, Up};
use crate::users::User;

/// The largest message of a user; and what waits for one who does not read, beside what is on its way to him.
const MAX_MESSAGE: usize = 256 * 1024;
/// How often a user is asked whether he is there, and how long he may be silent then.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_secs(60);
/// How much input of a user waits for a command that does not read: behind so much of it he is heard, with his signals,
/// and that he left.
const WAITING_INPUT: usize = 256 * 1024;
/// What a piece of it costs beside what it carries.
const PIECE_COST: usize = 64;
/// How long more than that may wait. Nobody can tell then whether he is still there.
const INPUT_WITHIN: Duration = Duration::from_secs(15 * 60);
/// How long the last word may take.
const ENDED_WITHIN: Duration = Duration::from_secs(5);

/// How a command ended whose relay is not, or not any more.
fn refused(error: &RelayError) -> CommandEnd {
    let code = own_code(error).unwrap_or(match error {
        RelayError::NotFound(_) | RelayError::Busy(_) => CANNOT_RUN,
        _ => NOT_SEEN,
    });
    CommandEnd::Failed { code, why: error.to_string() }
}

/// `GET /localservices/{id}/instances/{instanceId}/exec`, as a WebSocket: `command` (one for each word), `tty`, `rows`,
/// `columns`, `stdin`, `env`, `workdir`.
pub(super) async fn interactive(
    Context(api): Context<Api>,
    user: User,
    Named((service, instance)): Named<(String, String)>,
    AtMost(query): AtMost<MAX_EXEC_PARAMETERS>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let upgrade = upgrade.map_err(|rejection| {
        let why = format!(
            "this call is for WebSockets ({rejection}); POST runs a command and answers with its output"
        );
        ApiError::Validation(vec![why])
    })?;
    let upgrade = upgrade
        .protocols([SUBPROTOCOL])
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
        .max_write_buffer_size(MAX_MESSAGE);
    if upgrade.selected_protocol().is_none() {
        let why = format!("header Sec-WebSocket-Protocol must offer {SUBPROTOCOL}");
        return Err(ApiError::Validation(vec![why]));
    }
    let wanted = ExecWanted::in_query(&query)?;
    let exec = begin(&api, &user, &service, &instance, &query, &wanted).await?;
    let shutdown = api.shutdown();
    Ok(upgrade.on_upgrade(move |socket| attend(exec, socket, shutdown)))
}

/// Carries between the user and the command, until one of them ends.
async fn attend(exec: Exec, socket: WebSocket, shutdown: CancellationToken) {
    let Exec { mut relay, mut audit } = exec;
    let sender = relay.sender();
    let (mut to_user, from_user) = socket.split();
    let end = tokio::select! {
        end = show(&mut relay, &mut to_user) => end,
        end = hear(&sender, from_user) => end,
        () = shutdown.cancelled() => Some(CommandEnd::unseen(STOPPING)),
    };
    let Some(end) = end else { return };
    if end.error().is_none() {
        audit.ended(&end);
    }
    let last = async {
        to_user.send(framed(&CommandFrame::End(end))).await?;
        to_user.send(Message::Close(None)).await
    };
    // A user who is gone needs no last word.
    let _ = timeout(ENDED_WITHIN, last).await;
}

/// The command's side, to its end; none when the user is gone.
async fn show(relay: &mut Relay, to_user: &mut (impl Sink<Message> + Unpin)) -> Option<CommandEnd> {
    let mut pings = interval(PING_INTERVAL);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let up = tokio::select! {
            up = relay.next() => up,
            _ = pings.tick() => {
                to_user.send(Message::Ping(Bytes::new())).await.ok()?;
                continue;
            }
        };
        let message = match &up {
            Ok(Some(Up::Output(Output::Stdout(bytes)))) => framed(&CommandFrame::Stdout(bytes)),
            Ok(Some(Up::Output(Output::Stderr(bytes)))) => framed(&CommandFrame::Stderr(bytes)),
            Ok(Some(Up::Ended(end))) => return Some(end.clone()),
            Ok(Some(Up::Files(_) | Up::Text(_)) | None) => {
                return Some(refused(&relay.misunderstood("something else than a command's output")));
            }
            Err(error) => return Some(refused(error)),
        };
        to_user.send(message).await.ok()?;
    }
}

fn framed(frame: &CommandFrame<'_>) -> Message {
    Message::Binary(frame.encode().into())
}

/// Input that waits for the command, piece by piece, each with its room; no piece is the end.
type Waiting = mpsc::UnboundedReceiver<(Option<Bytes>, OwnedSemaphorePermit)>;

/// Where input waits.
struct InputQueue {
    waiting: mpsc::UnboundedSender<(Option<Bytes>, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
}

impl InputQueue {
    fn new() -> (Self, Waiting) {
        let (waiting, pieces) = mpsc::unbounded_channel();
        (Self { waiting, room: Arc::new(Semaphore::new(WAITING_INPUT)) }, pieces)
    }

    /// Waits while there is no room. In words why there was none for too long.
    async fn put(&self, piece: Option<Bytes>) -> Result<(), String> {
        let cost = piece.as_ref().map_or(0, Bytes::len) + PIECE_COST;
        let cost = u32::try_from(cost).unwrap_or(u32::MAX);
        let room = timeout(INPUT_WITHIN, Arc::clone(&self.room).acquire_many_owned(cost)).await;
        let room = room.map_err(|_| {
            format!("the command read nothing of its input for {INPUT_WITHIN:?}, and was ended")
        })?;
        // It is never closed; and who passes input on lives as long as this.
        let _ = room.map(|room| self.waiting.send((piece, room)));
        Ok(())
    }
}

/// Passes on what waits as the command takes it; comes back only when that cannot be.
async fn pass_on(sender: &RelaySender, mut waiting: Waiting) -> RelayError {
    while let Some((piece, _room)) = waiting.recv().await {
        let passed = match piece {
            Some(piece) => sender.feed(piece).await,
            None => sender.end_input().await,
        };
        match passed {
            Ok(()) => {}
            // What came of it is told by the command's end.
            Err(RelayError::Broken { .. }) => break,
            Err(error) => return error,
        }
    }
    std::future::pending().await
}

/// The user's side; none when he is gone.
async fn hear(
    sender: &RelaySender,
    from_user: impl Stream<Item = Result<Message, axum::Error>> + Unpin,
) -> Option<CommandEnd> {
    let (input, waiting) = InputQueue::new();
    tokio::select! {
        end = listen(sender, &input, from_user) => end,
        error = pass_on(sender, waiting) => Some(CommandEnd::unseen(error)),
    }
}

/// Listens to him, also while his input waits.
async fn listen(
    sender: &RelaySender,
    input: &InputQueue,
    mut from_user: impl Stream<Item = Result<Message, axum::Error>> + Unpin,
) -> Option<CommandEnd> {
    // Silence, an end, a break: he is gone.
    while let Ok(Some(Ok(message))) = timeout(SILENCE, from_user.next()).await {
        let said = match message {
            Message::Binary(frame) => tell(sender, input, &frame).await,
            Message::Text(_) => Err("messages are binary; the first byte is the channel".to_owned()),
            Message::Ping(_) | Message::Pong(_) => Ok(()),
            Message::Close(_) => return None,
        };
        if let Err(why) = said {
            return Some(CommandEnd::unseen(why));
        }
    }
    None
}

/// Passes on what the user says. In words what is wrong with it.
async fn tell(sender: &RelaySender, input: &InputQueue, message: &Bytes) -> Result<(), String> {
    let down = |body| Down::ExecInput(v1::ExecInput { body: Some(body) });
    let told = match UserFrame::decode(message).map_err(|error| error.to_string())? {
        UserFrame::Input([]) => return input.put(None).await,
        UserFrame::Input(bytes) => {
            let mut rest = message.slice_ref(bytes);
            while !rest.is_empty() {
                let piece = rest.split_to(rest.len().min(INPUT_PIECE));
                input.put(Some(piece)).await?;
            }
            Ok(())
        }
        UserFrame::Resize(size) => sender.say(down(Input::Resize(size.into()))).await,
        UserFrame::Signal(Signal(number)) => sender.say(down(Input::Signal(number))).await,
    };
    told.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn input_waits_within_bounds_and_no_longer_than_it_may() {
        let (input, mut pieces) = InputQueue::new();
        let piece = Bytes::from(vec![0; INPUT_PIECE]);
        let most = WAITING_INPUT / (INPUT_PIECE + PIECE_COST);
        for _ in 0..most {
            input.put(Some(piece.clone())).await.unwrap();
        }
        let refused = input.put(Some(piece.clone())).await.unwrap_err();
        assert!(refused.contains("read nothing of its input"), "{refused}");
        assert_eq!(pieces.len(), most);
        drop(pieces.recv().await.unwrap());
        input.put(Some(piece)).await.unwrap();
        for _ in 0..8 {
            input.put(None).await.unwrap();
        }
    }

    #[test]
    fn an_end_that_is_not_the_commands_own_has_the_code_of_a_shell_and_a_reason() {
        for (error, code) in [
            (RelayError::NoSuchCommand("x".to_owned()), 127),
            (RelayError::Failed("x".to_owned()), 126),
            (RelayError::NotFound("x".to_owned()), 126),
            (RelayError::TooMany { limit: 1, what: "commands" }, 125),
        ] {
            assert_eq!(refused(&error), CommandEnd::Failed { code, why: error.to_string() });
        }
    }
}
