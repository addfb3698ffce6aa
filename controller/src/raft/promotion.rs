//! Gives learners their votes: a member is taken in to vote, and does so once it has the log. Whoever leads
//! sees from the group alone who waits for it, so that a change of leader forgets nobody. Likewise it finishes what a
//! leader left half made: a change of voters takes two steps, and between them the majorities of both groups are needed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver as _;
use tokio_util::sync::CancellationToken;

use super::members::{self, MemberList};
use super::node::Node;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(250);
/// Entries that a learner may be behind: some are always on their way.
const BEHIND: u64 = 64;

/// Starts the task; it ends with `stop`.
pub(super) fn start(node: Arc<Node>, stop: CancellationToken) {
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = promote(&node) => {}
        }
    });
}

async fn promote(node: &Node) {
    loop {
        tokio::time::sleep(PAUSE).await;
        if !node.status.borrow().is_ready_leader {
            continue;
        }
        let _one_at_a_time = node.changing.lock().await;
        if is_half_made(node) {
            // Nobody is added: the second step follows from the first.
            match members::commit(node, ChangeMembers::AddVoterIds(BTreeSet::new())).await {
                Ok(()) => tracing::info!("finished a change of the group that was left half made"),
                Err(error) => tracing::warn!(?error, "cannot finish a change of the group; trying again"),
            }
            continue;
        }
        let electorate = node.electorate();
        let Some(id) = next(&members::known_here(node), &electorate.live) else { continue };
        if let Err(why) = electorate.admit_vote(id) {
            tracing::debug!(id, %why, "a learner has to wait for its vote");
            continue;
        }
        match members::commit(node, ChangeMembers::AddVoterIds(BTreeSet::from([id]))).await {
            Ok(()) => tracing::info!(id, "a learner has caught up and votes now"),
            Err(error) => tracing::warn!(id, ?error, "cannot give a learner its vote; trying again"),
        }
    }
}

/// Whether a change of the group was begun and not finished. Whoever makes one holds the lock until it is through.
fn is_half_made(node: &Node) -> bool {
    node.raft.metrics().borrow_watched().membership_config.membership().get_joint_config().len() > 1
}

/// Pure: the learner that answers and has caught up.
fn next(list: &MemberList, live: &BTreeSet<u64>) -> Option<u64> {
    let enough = list.last?.saturating_sub(BEHIND);
    let ready = |standing: &&members::Standing| {
        !standing.votes
            && live.contains(&standing.member.id.0)
            && standing.last.is_some_and(|last| last >= enough)
    };
    list.members.iter().find(ready).map(|standing| standing.member.id.0)
}
