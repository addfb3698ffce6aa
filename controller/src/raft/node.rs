//! This member's consensus, and what the tasks around it share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use metrics::histogram;
use muster_common::id::{ControllerId, Revision};
use openraft::ReadPolicy;
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{ClientWriteError, LinearizableReadError, RaftError};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::config::Member;
use super::machine::UnreadableCommand;
use super::members::Electorate;
use super::peers::Peers;
use super::status::RaftStatus;
use super::types::{Incarnation, LogId, Proposal, Raft};
use super::vacancy::Lines;

/// How long to wait before a leader is looked for again where nothing has changed.
const PAUSE: Duration = Duration::from_millis(25);
/// How long a leader that stops waits for its successor.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(2);

/// What the tasks around consensus share.
pub(super) struct Node {
    pub(super) id: ControllerId,
    /// Which files it works on.
    pub(super) incarnation: Incarnation,
    pub(super) raft: Raft,
    /// Whether the machine can read a command.
    pub(super) check: fn(&[u8]) -> Result<(), UnreadableCommand>,
    pub(super) peers: Peers,
    pub(super) status: watch::Receiver<RaftStatus>,
    /// What readers see of the machine.
    pub(super) applied: watch::Receiver<Revision>,
    /// The lines that leaders send their log over.
    pub(super) lines: Lines,
    /// Held by who changes the group: one change at a time.
    pub(super) changing: Mutex<()>,
}

/// Somebody else leads, or nobody; nothing was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Elsewhere(pub(super) Option<ControllerId>);

/// Commands that were not answered by the machine.
#[derive(Debug, Clone)]
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
        let begun = Instant::now();
        match self.raft.client_write(Proposal { commands }).await {
            Ok(response) => {
                histogram!("muster_raft_commit_seconds").record(begun.elapsed().as_secs_f64());
                Ok(response.data)
            }
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

    /// Gives the lead to a voter that answers; of those to one that has most of the log.
    pub(super) async fn hand_over(&self) {
        let raft = &self.raft;
        let metrics = raft.metrics().borrow_watched().clone();
        if metrics.current_leader != Some(self.id.0) {
            return;
        }
        let matched = metrics.replication.unwrap_or_default();
        let Some(successor) = successor(self.id.0, &self.electorate(), &matched) else { return };
        if raft.trigger().transfer_leader(successor).await.is_err() {
            return; // it has stopped already
        }
        let mut status = self.status.clone();
        let handed_over =
            status.wait_for(|status| status.leader.as_ref().is_some_and(|leader| leader.id != self.id));
        if timeout(TRANSFER_TIMEOUT, handed_over).await.is_ok() {
            tracing::info!(successor, "handed the lead over");
        } else {
            tracing::warn!(successor, "could not hand the lead over; the others will elect");
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

/// Pure: who is to lead after `me`. One that was not heard is asked only where no other one was.
fn successor(me: u64, electorate: &Electorate, matched: &BTreeMap<u64, Option<LogId>>) -> Option<u64> {
    let others = electorate.voters.iter().copied().filter(|id| *id != me);
    others.max_by_key(|id| (electorate.live.contains(id), matched.get(id).copied().flatten()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_lead_goes_to_a_voter_that_answers_and_has_most_of_the_log() {
        let electorate = |live: &[u64]| Electorate {
            voters: BTreeSet::from([1, 2, 3]),
            live: live.iter().copied().collect(),
        };
        let matched = |second, third| {
            let at = |index: Option<u64>| index.map(|index| LogId::new_term_index(1, index));
            BTreeMap::from([(1, at(Some(9))), (2, at(second)), (3, at(third)), (4, at(Some(9)))])
        };
        for (live, second, third, expected) in [
            (&[1, 2, 3][..], Some(9), Some(8), 2),
            (&[1, 2, 3], Some(8), Some(9), 3),
            // Whoever died a moment ago has most of the log, still.
            (&[1, 3], Some(9), Some(2), 3),
            (&[1, 3, 4], Some(9), None, 3),
            (&[1], Some(9), Some(2), 2),
        ] {
            let chosen = successor(1, &electorate(live), &matched(second, third));
            assert_eq!(chosen, Some(expected), "{live:?} {second:?} {third:?}");
        }
        let alone = Electorate { voters: BTreeSet::from([1]), live: BTreeSet::from([1]) };
        assert_eq!(successor(1, &alone, &matched(Some(9), Some(9))), None);
    }
}
