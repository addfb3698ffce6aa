//! Gives learners their votes: a member is taken in to vote, and does so once it has the log. Whoever leads
//! sees from the group alone who waits for it, so that a change of leader forgets nobody.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use openraft::ChangeMembers;
use tokio_util::sync::CancellationToken;

use super::members::{self, MemberList};
use super::node::{Leader, Node};

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
        if !matches!(node.leader(), Leader::Me) {
            continue;
        }
        let _one_at_a_time = node.changing.lock().await;
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
