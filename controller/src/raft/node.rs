//! This member's consensus, and what the tasks around it share.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use muster_common::id::{ControllerId, Revision};
use openraft::ReadPolicy;
use openraft::errors::{ClientWriteError, LinearizableReadError, RaftError};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::config::Member;
use super::machine::UnreadableCommand;
use super::peers::Peers;
use super::status::RaftStatus;
use super::types::{Proposal, Raft};

/// How long to wait before a leader is looked for again where nothing has changed.
const PAUSE: Duration = Duration::from_millis(25);

/// What the tasks around consensus share.
pub(super) struct Node {
    pub(super) id: ControllerId,
    pub(super) raft: Raft,
    /// Whether the machine can read a command.
    pub(super) check: fn(&[u8]) -> Result<(), UnreadableCommand>,
    pub(super) peers: Peers,
    pub(super) status: watch::Receiver<RaftStatus>,
    /// What readers see of the machine.
    pub(super) applied: watch::Receiver<Revision>,
}

/// Somebody else leads, or nobody; nothing was done.
#[derive(Debug)]
pub(super) struct Elsewhere(pub(super) Option<ControllerId>);

/// Commands that were not answered by the machine.
#[derive(Debug)]
pub(super) enum NotWritten {
    /// Nothing was done.
    Elsewhere(Elsewhere),
    /// Nothing was done, nor will be.
    Refused(String),
    /// Nobody knows.
    Unknown(String),
}

/// Who has to be asked.
pub(super) enum Leader {
    Me,
    Other(Member),
    Nobody,
}

impl Node {
    /// Replicates `commands` as one entry, if this member leads.
    pub(super) async fn write(&self, commands: Arc<[Bytes]>) -> Result<Vec<Bytes>, NotWritten> {
        match self.raft.client_write(Proposal { commands }).await {
            Ok(response) => Ok(response.data),
            // Refused before it was appended.
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
                Err(NotWritten::Elsewhere(Elsewhere(forward.leader_id.map(ControllerId))))
            }
            // Appended, then another leader came: its log decides.
            Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_))) => {
                Err(NotWritten::Unknown("the leader lost its lead".to_owned()))
            }
            Err(error) => Err(NotWritten::Unknown(error.to_string())),
        }
    }

    /// The index that a read must wait for, confirmed by a quorum, if this member leads.
    pub(super) async fn read_index(&self) -> Result<u64, Elsewhere> {
        match self.raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
            Ok(linearizer) => Ok(linearizer.read_log_id().index()),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                Err(Elsewhere(forward.leader_id.map(ControllerId)))
            }
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)) | RaftError::Fatal(_)) => {
                Err(Elsewhere(None))
            }
        }
    }

    pub(super) fn leader(&self) -> Leader {
        match &self.status.borrow().leader {
            Some(leader) if leader.id == self.id => Leader::Me,
            Some(leader) => Leader::Other(leader.clone()),
            None => Leader::Nobody,
        }
    }

    /// Waits until it is worth looking for a leader again; `false` when the deadline has passed.
    pub(super) async fn pause(&self, deadline: Instant) -> bool {
        let mut status = self.status.clone();
        // What is known already is not worth waking for; without this, waiting would be spinning.
        status.mark_unchanged();
        let again = deadline.min(Instant::now() + PAUSE);
        // Changed, or time to look again, or stopped (which the caller will see): all the same here.
        let _ = timeout_at(again, status.changed()).await;
        if status.has_changed().is_err() {
            tokio::time::sleep_until(again).await;
        }
        Instant::now() < deadline
    }
}
