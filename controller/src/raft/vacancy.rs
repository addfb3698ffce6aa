//! Members do not wait for a leader whose process has ended. A leader has a lease because its silence proves nothing. But a
//! connection that broke, together with a port that refuses another one, proves that the process is gone. Each member finds
//! this out for itself and lets go of the lease. Then one after the other they ask for votes, and a majority still has to
//! agree.
//!
//! Where only the network is broken, connections usually time out instead of being refused, and the lease holds. A member
//! that still has another connection from the leader believes no refusal. If the network itself refused a connection all the
//! same, only that member goes without the lease until the next term. The others hear the leader and refuse their votes.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use muster_common::id::ControllerId;
use openraft::async_runtime::WatchReceiver as _;
use openraft::raft::TransferLeaderRequest;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::config::Member;
use super::node::{Leader, Node};

/// How many ended connections may wait to be looked at. More would say the same.
const QUEUE: usize = 8;
/// A process that ends closes its port within a moment of its connections: how often to try, and the pause between.
const KNOCKS: u32 = 5;
const KNOCK_PAUSE: Duration = Duration::from_millis(10);
/// A port that neither takes nor refuses a connection within this is on another machine that is gone.
const KNOCK_TIMEOUT: Duration = Duration::from_millis(200);
/// From letting go of the lease to asking for votes, so that the others have let go, too…
const NOTICE: Duration = Duration::from_millis(30);
/// …and for each voter that comes first: two who ask at once could both fail.
const TURN: Duration = Duration::from_millis(100);

/// The open connections from leaders, and the queue of those that ended. Clones share both.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    ended: mpsc::Sender<ControllerId>,
    /// How many lines there are from each leader.
    open: watch::Sender<BTreeMap<ControllerId, u32>>,
}

/// A connection over which a leader sends its log; dropped when it ends, for whatever reason.
#[derive(Debug)]
pub(super) struct Line {
    leader: ControllerId,
    lines: Lines,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.lines.open.send_modify(|open| {
            let left = open.get(&self.leader).map_or(0, |count| count.saturating_sub(1));
            if left == 0 {
                open.remove(&self.leader);
            } else {
                open.insert(self.leader, left);
            }
        });
        // Those that wait already say as much.
        let _ = self.lines.ended.try_send(self.leader);
    }
}

impl Lines {
    /// Also returns the queue on which the ended connections are told.
    pub(super) fn new() -> (Self, mpsc::Receiver<ControllerId>) {
        let (ended, ends) = mpsc::channel(QUEUE);
        (Self { ended, open: watch::Sender::default() }, ends)
    }

    /// Counts a connection from `leader` as open until the returned value is dropped.
    pub(super) fn from(&self, leader: ControllerId) -> Line {
        self.open.send_modify(|open| *open.entry(leader).or_default() += 1);
        Line { leader, lines: self.clone() }
    }

    fn is_open_from(&self, leader: ControllerId) -> bool {
        self.open.borrow().contains_key(&leader)
    }
}

/// Starts the task that looks after lines that end; it ends with `stop`.
pub(super) fn start(node: Arc<Node>, mut ends: mpsc::Receiver<ControllerId>, stop: CancellationToken) {
    let watch = async move {
        while let Some(who) = ends.recv().await {
            match node.leader() {
                Leader::Other(leader) if leader.id == who && is_gone(&node, &leader).await => {
                    if !node.lines.is_open_from(who) {
                        succeed(&node, &leader).await;
                    }
                }
                Leader::Other(_) | Leader::Me | Leader::Nobody => {}
            }
        }
    };
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = watch => {}
        }
    });
}

/// Whether nobody listens at the member's port any more.
async fn is_gone(node: &Node, member: &Member) -> bool {
    for _ in 0..KNOCKS {
        match timeout(KNOCK_TIMEOUT, node.peers.knock(member)).await {
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => return true,
            // It ends, or it is there and only hung up.
            Ok(Ok(()) | Err(_)) => sleep(KNOCK_PAUSE).await,
            Err(_) => return false,
        }
    }
    false
}

/// Lets go of the lease of `gone`, and asks for votes when it is this member's turn, if nobody leads by then.
async fn succeed(node: &Node, gone: &Member) {
    let seen = node.raft.metrics().borrow_watched().clone();
    if seen.current_leader != Some(gone.id.0) {
        return;
    }
    let before_me = |id: &u64| *id != gone.id.0 && *id < node.id.0;
    let first = seen.membership_config.voter_ids().filter(before_me).count();
    tracing::info!(leader = %gone.id, "the leader's process is gone; not waiting for its lease to end");
    // As if it had handed over, though to nobody: that would skip the others' consent.
    let abandoned = TransferLeaderRequest::new(seen.vote, gone.id.0, None);
    if node.raft.handle_transfer_leader(abandoned).await.is_err() {
        return; // this member has stopped
    }
    sleep(NOTICE + TURN * u32::try_from(first).unwrap_or(u32::MAX)).await;
    if node.raft.metrics().borrow_watched().vote == seen.vote {
        // An error: this member has stopped.
        let _ = node.raft.trigger().elect(true).await;
    }
}
