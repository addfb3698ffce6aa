//! What a member says about itself and the group.

use std::time::Duration;

use metrics::{counter, gauge};
use muster_common::id::ControllerId;
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::Fatal;
use openraft::{Instant as _, RaftMetrics, ServerState};
use tokio::sync::watch;

use super::config::Member;
use super::peers::Peers;
use super::types::{LogId, Raft, TypeConfig};

/// A leader that no quorum has answered for this many leases is not ready.
const LEASES: u32 = 2;

/// The shortest time between two looks at consensus' metrics: they change many times with each entry, the status that
/// is derived from them hardly ever.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// What a member is at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It leads.
    Leader,
    /// It follows a leader, or waits for one.
    Follower,
    /// It stands for election.
    Candidate,
    /// It replicates without a vote.
    Learner,
    /// It has stopped.
    Stopped,
}

/// The group, as one member sees it. It changes when the group does, not with every entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftStatus {
    /// The term; a higher one is newer.
    pub term: u64,
    /// What this member is.
    pub role: Role,
    /// Who leads, if that is known.
    pub leader: Option<Member>,
    /// This member leads, a quorum has answered it, and everything accepted by earlier leaders is
    /// applied here: it can accept writes and decide from what it reads.
    pub is_ready_leader: bool,
    /// Who is in the group.
    pub members: Vec<Member>,
    /// Why this member stopped working for good; the role must end.
    pub failed: Option<String>,
}

/// Keeps a status up to date with consensus' metrics, and with the reason why this member was removed (`excluded`), if it
/// was. Ends with consensus.
pub(super) fn watch_metrics(
    raft: &Raft,
    peers: Peers,
    excluded: watch::Receiver<Option<String>>,
) -> watch::Receiver<RaftStatus> {
    let mut metrics = raft.metrics();
    let patience = Duration::from_millis(raft.config().election_timeout_max) * LEASES;
    let first = metrics.borrow_watched().clone();
    let (changed, status) = watch::channel(status_of(&first, &peers, patience));
    tokio::spawn(async move {
        let mut led = 0;
        loop {
            // A leader that nobody answers reports nothing new either, so it is looked at from time to
            // time. Never held across an await: consensus would wait for it.
            let ended = matches!(tokio::time::timeout(patience, metrics.changed()).await, Ok(Err(_)));
            let now = metrics.borrow_watched().clone();
            observe(&now);
            let mut now = status_of(&now, &peers, patience);
            now.failed = now.failed.or_else(|| excluded.borrow().clone());
            if ended {
                now.role = Role::Stopped;
                now.is_ready_leader = false;
            }
            gauge!("muster_raft_leads").set(if now.is_ready_leader { 1.0 } else { 0.0 });
            counter!("muster_raft_leader_changes_total").increment(u64::from(has_new_leader(&mut led, &now)));
            changed.send_if_modified(|status| {
                if let (None, Some(failed)) = (&status.failed, &now.failed) {
                    tracing::error!(%failed, "this controller cannot go on");
                }
                let leader = |status: &RaftStatus| status.leader.as_ref().map(|leader| leader.id);
                if leader(status) != leader(&now) {
                    if let Some(leader) = leader(&now) {
                        tracing::info!(term = now.term, %leader, "there is a leader");
                    } else {
                        tracing::warn!(term = now.term, "there is no leader");
                    }
                }
                let differs = *status != now;
                *status = now;
                differs
            });
            if ended {
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    });
    status
}

/// Whether there is a new leader. `led` is the last term in which a leader was seen. A leader that is out of sight for a
/// moment is not new; one that leads again in a later term is.
fn has_new_leader(led: &mut u64, now: &RaftStatus) -> bool {
    let is_new = now.leader.is_some() && now.term > *led;
    if is_new {
        *led = now.term;
    }
    is_new
}

/// What is measured of consensus; the rest is where it happens.
#[allow(clippy::cast_precision_loss)] // a gauge is a float
fn observe(now: &RaftMetrics<TypeConfig>) {
    let index = |id: Option<LogId>| id.map_or(0, |id| id.index);
    let (committed, applied) = (index(now.local_committed), index(now.last_applied));
    gauge!("muster_raft_term").set(now.current_term as f64);
    gauge!("muster_raft_applied_revision").set(applied as f64);
    gauge!("muster_raft_apply_lag_entries").set(committed.saturating_sub(applied) as f64);
    let kept = now.last_log_index.unwrap_or_default().saturating_sub(index(now.purged));
    gauge!("muster_raft_log_entries").set(kept as f64);
}

fn status_of(metrics: &RaftMetrics<TypeConfig>, peers: &Peers, patience: Duration) -> RaftStatus {
    let membership = metrics.membership_config.membership();
    let member = |id: u64, node| peers.member(ControllerId(id), node);
    let failed = match &metrics.running_state {
        Ok(()) | Err(Fatal::Stopped) => None,
        Err(fatal) => Some(fatal.to_string()),
    };
    let role = match metrics.state {
        _ if metrics.running_state.is_err() => Role::Stopped,
        ServerState::Leader => Role::Leader,
        ServerState::Follower => Role::Follower,
        ServerState::Candidate => Role::Candidate,
        ServerState::Learner => Role::Learner,
        ServerState::Shutdown => Role::Stopped,
    };
    // A voter without others is its own quorum, and reports nothing while nothing happens.
    let is_alone = membership.voter_ids().all(|id| id == metrics.id);
    let is_answered = is_alone || metrics.last_quorum_acked.is_some_and(|acked| acked.elapsed() < patience);
    let has_own_entry =
        metrics.last_applied.is_some_and(|applied| applied.leader_id.term == metrics.current_term);
    RaftStatus {
        term: metrics.current_term,
        role,
        leader: metrics.current_leader.and_then(|id| Some(member(id, membership.get_node(&id)?))),
        is_ready_leader: role == Role::Leader && is_answered && has_own_entry,
        members: membership.nodes().map(|(id, node)| member(*id, node)).collect(),
        failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_term_in_which_somebody_leads_counts_once() {
        let seen = |term, leader: Option<u64>| RaftStatus {
            term,
            role: Role::Follower,
            leader: leader.map(|id| Member {
                id: ControllerId(id),
                cluster_addr: String::new(),
                api_addr: String::new(),
            }),
            is_ready_leader: false,
            members: Vec::new(),
            failed: None,
        };
        let mut led = 0;
        for (term, leader, is_new) in [
            (0, None, false),
            (1, None, false),
            (1, Some(1), true),
            (1, None, false),
            (1, Some(1), false),
            // It was deposed and elected again, and the time without a leader was not seen.
            (3, Some(1), true),
            (4, Some(2), true),
            (4, Some(2), false),
        ] {
            assert_eq!(has_new_leader(&mut led, &seen(term, leader)), is_new, "{term} {leader:?}");
        }
    }
}
