//! One relay: a connection to the controller at which a user waits, one request, and its answers.

use std::sync::Arc;
use std::time::Duration;

use muster_common::id::ControllerId;
use muster_platform::channel::words_of;
use muster_platform::{ExpectedPeer, channel};
use muster_proto::v1;
use muster_proto::v1::relay_down::Body as Down;
use muster_proto::v1::relay_up::Body as Up;
use muster_proto::v1::relays_client::RelaysClient;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::exec::{Inputs, Told, inputs};
use super::line::{Credit, Line, Refusal};
use super::places::Places;
use super::{Node, exec, log};

/// For the connection, and for the request once it is there.
const REACHED_WITHIN: Duration = Duration::from_secs(10);
/// How often a relay without output says that it is there.
const BEAT_INTERVAL: Duration = Duration::from_secs(5);
/// How long the last message may take to arrive.
const ENDED_WITHIN: Duration = Duration::from_secs(5);
/// How many messages wait for the connection.
const UP_QUEUE: usize = 2;

/// Dials, answers, ends.
pub(super) async fn live(node: Arc<Node>, places: Arc<Places>, dial: v1::Dial) {
    let (controller, address) = (dial.controller, dial.address.clone());
    if let Err(why) = attend(&node, &places, dial).await {
        tracing::info!(controller, address, why, "a relay ended early");
    }
}

async fn attend(node: &Node, places: &Places, dial: v1::Dial) -> Result<(), String> {
    let expected = ExpectedPeer::Controller(ControllerId(dial.controller));
    let channel =
        channel(&node.world, &node.tls, &dial.address, expected).map_err(|error| error.to_string())?;
    let (up, queue) = mpsc::channel(UP_QUEUE);
    let begin = Up::Begin(v1::RelayBegin { relay: dial.relay });
    up.send(v1::RelayUp { body: Some(begin) }).await.map_err(|error| error.to_string())?;
    let mut client = RelaysClient::new(channel);
    let opened = timeout(REACHED_WITHIN, client.open(ReceiverStream::new(queue))).await;
    let opened = opened.map_err(|_| format!("it was not reached within {REACHED_WITHIN:?}"))?;
    let mut down = opened.map_err(|status| words_of(&status))?.into_inner();
    let first = timeout(REACHED_WITHIN, down.message()).await;
    let first = first.map_err(|_| format!("nothing was asked within {REACHED_WITHIN:?}"))?;
    let Some(first) = first.map_err(|status| words_of(&status))? else { return Ok(()) };

    let (mut inputs, told) = inputs();
    let credit = Credit::default();
    let line = Line::new(up.clone(), credit.clone());
    let last = tokio::select! {
        outcome = answer(node, places, first.body, line, told) => match outcome {
            Ok(last) => last,
            Err(refusal) => Up::Refusal(refusal.into()),
        },
        () = listen(&mut down, &credit, &mut inputs) => return Ok(()),
        () = beat(&up) => return Ok(()),
    };
    // Who asked may be gone.
    let _ = timeout(ENDED_WITHIN, up.send(v1::RelayUp { body: Some(last) })).await;
    drop(up);
    // The controller hangs up when it has heard the last word.
    let _ = timeout(ENDED_WITHIN, async { while let Ok(Some(_)) = down.message().await {} }).await;
    Ok(())
}

/// What the request asks for; ends with the last message.
async fn answer(
    node: &Node,
    places: &Places,
    request: Option<Down>,
    line: Line,
    told: Told,
) -> Result<Up, Refusal> {
    let _place = request.as_ref().map(|request| places.take(request)).transpose()?;
    match request {
        Some(Down::ListLogFiles(ask)) => log::list(&node.logs, &ask).await,
        Some(Down::ReadLog(ask)) => log::read(&node.logs, &ask, line).await,
        Some(Down::StartExec(ask)) => exec::run(node, ask, told, line).await,
        Some(Down::Credit(_) | Down::ExecInput(_)) | None => {
            let why = "this executor does not know what it was asked for; is it of an older version?";
            Err(Refusal::Failed(why.to_owned()))
        }
    }
}

/// Hears what goes on beside the answer, until the controller hangs up, or does not keep to what it may send.
async fn listen(down: &mut Streaming<v1::RelayDown>, credit: &Credit, inputs: &mut Inputs) {
    while let Ok(Some(message)) = down.message().await {
        match message.body {
            Some(Down::Credit(v1::Credit { bytes })) => credit.give(bytes),
            Some(Down::ExecInput(input)) => {
                if !inputs.take(input) {
                    tracing::warn!("a controller sends more input than it may");
                    return;
                }
            }
            // A second request, or a kind of message that a later version added.
            Some(Down::ListLogFiles(_) | Down::ReadLog(_) | Down::StartExec(_)) | None => {}
        }
    }
}

/// Says now and then that somebody is there, until nobody listens.
async fn beat(up: &mpsc::Sender<v1::RelayUp>) {
    let mut beats = interval(BEAT_INTERVAL);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        match up.try_send(v1::RelayUp { body: Some(Up::Beat(v1::RelayBeat {})) }) {
            // What waits says as much.
            Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => {}
            Err(mpsc::error::TrySendError::Closed(_)) => return,
        }
    }
}
