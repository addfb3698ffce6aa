//! How the leader is asked to have an executor dial a controller.

use muster_common::id::ExecutorId;
use muster_proto::v1;
use tokio::sync::{mpsc, oneshot};

use super::message::Message;

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Summoned {
    /// The executor was told.
    Told,
    /// This controller leads, and has no session with the executor.
    NoSession,
    /// This controller does not lead.
    NotLeader,
}

/// Has executors dial, where this controller leads.
#[derive(Debug, Clone)]
pub(crate) struct Summons(pub(super) mpsc::Sender<Message>);

impl Summons {
    /// Tells the executor to dial.
    pub(crate) async fn summon(&self, executor: ExecutorId, dial: v1::Dial) -> Summoned {
        let (answer, summoned) = oneshot::channel();
        if self.0.send(Message::Summon { executor, dial, answer }).await.is_err() {
            return Summoned::NotLeader;
        }
        // A hub that is gone leads nobody.
        summoned.await.unwrap_or(Summoned::NotLeader)
    }
}
