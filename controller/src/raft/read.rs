//! Linearizable reads on any member. Readers that come while a round is under way share the next one: a
//! round vouches only for what was acknowledged before it began.

use std::sync::Arc;
use std::time::Duration;

use muster_common::id::{ControllerId, Revision};
use muster_proto::v1;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::config::Member;
use super::error::ReadError;
use super::node::{Elsewhere, Leader, Node};

/// Readers that may wait.
const QUEUE: usize = 16 * 1024;
/// From the question to the answer, fail-over included.
const DEADLINE: Duration = Duration::from_secs(5);
/// One attempt to ask the leader.
const ATTEMPT: Duration = Duration::from_secs(1);

type Reader = oneshot::Sender<Result<Revision, ReadError>>;

/// Takes readers. Clones feed the same queue.
#[derive(Clone)]
pub(super) struct Reads {
    queue: mpsc::Sender<Reader>,
}

impl Reads {
    /// Starts the task that asks the leader; it ends with `stop`.
    pub(super) fn start(node: Arc<Node>, stop: CancellationToken) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = rounds(node, waiting) => {}
            }
        });
        Self { queue }
    }

    pub(super) async fn barrier(&self) -> Result<Revision, ReadError> {
        let (reader, answer) = oneshot::channel();
        self.queue.try_send(reader).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ReadError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => ReadError::Stopped,
        })?;
        answer.await.unwrap_or(Err(ReadError::Stopped))
    }
}

async fn rounds(node: Arc<Node>, mut waiting: mpsc::Receiver<Reader>) {
    let mut readers = Vec::new();
    while waiting.recv_many(&mut readers, QUEUE).await > 0 {
        let outcome = round(&node).await;
        for reader in readers.drain(..) {
            // A reader that has gone away does not want its answer.
            drop(reader.send(outcome.clone()));
        }
    }
}

async fn round(node: &Node) -> Result<Revision, ReadError> {
    let deadline = Instant::now() + DEADLINE;
    let index = loop {
        let attempt = async {
            match node.leader() {
                Leader::Me => node.read_index().await,
                Leader::Other(leader) => ask(node, &leader).await,
                Leader::Nobody => Err(Elsewhere(None)),
            }
        };
        if let Ok(Ok(index)) = timeout_at(deadline.min(Instant::now() + ATTEMPT), attempt).await {
            break index;
        }
        if node.status.borrow().failed.is_some() {
            return Err(ReadError::Stopped);
        }
        if !node.pause(deadline).await {
            return Err(ReadError::NoLeader { waited: DEADLINE });
        }
    };
    let mut applied = node.applied.clone();
    let reached = timeout_at(deadline, applied.wait_for(|applied| applied.0 >= index)).await;
    match reached {
        Ok(Ok(applied)) => Ok(*applied),
        Ok(Err(_)) => Err(ReadError::Stopped),
        Err(_) => Err(ReadError::Behind { waited: DEADLINE }),
    }
}

/// Reading changes nothing, so that whatever goes wrong may be tried again.
async fn ask(node: &Node, leader: &Member) -> Result<u64, Elsewhere> {
    use v1::read_index_response::Outcome;
    let clients = node.peers.clients(leader.id, &leader.cluster_addr).map_err(|_| Elsewhere(None))?;
    let mut control = clients.control;
    let response = control.read_index(v1::ReadIndexRequest {}).await.map_err(|_| Elsewhere(None))?;
    match response.into_inner().outcome {
        Some(Outcome::Revision(index)) => Ok(index),
        Some(Outcome::LeaderElsewhere(at)) => Err(Elsewhere(at.leader.map(ControllerId))),
        None => Err(Elsewhere(None)),
    }
}
