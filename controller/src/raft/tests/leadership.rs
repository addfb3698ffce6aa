//! Who leads, and how the lead changes hands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::cluster::{Cluster, eventually};
use super::failure::load;
use crate::raft::status::Role;

#[tokio::test(flavor = "multi_thread")]
async fn each_restart_of_a_rolling_one_hands_the_lead_over_before_it_stops() {
    let mut cluster = Cluster::started(3).await;
    let stop = Arc::new(AtomicBool::new(false));
    for _ in 0..4 {
        let leader = cluster.leader().await;
        let follower = cluster.follower().await;
        let term = cluster.consensus(leader).status().borrow().term;
        let load = load(&cluster, follower, Arc::clone(&stop));
        cluster.consensus(leader).shutdown().await;
        // Not waited for: it was so before the one that stopped let go.
        let leads = |nth: &usize| cluster.consensus(*nth).status().borrow().role == Role::Leader;
        let successor = (0..3).filter(|nth| *nth != leader).find(leads);
        let successor = successor.expect("it has a successor by the time it has stopped");
        assert_eq!(cluster.consensus(successor).status().borrow().term, term + 1, "elected once, unopposed");
        stop.store(true, Ordering::Relaxed);
        let acknowledged = load.await.unwrap();
        stop.store(false, Ordering::Relaxed);
        cluster.consensus(follower).read_barrier().await.unwrap();
        let kept = cluster.numbers(follower);
        let lost: Vec<_> = acknowledged.iter().filter(|given| !kept.contains(given)).collect();
        assert!(lost.is_empty(), "lost {lost:?}");
        cluster.stop(leader).await;
        cluster.start(leader).await;
        cluster.consensus(leader).read_barrier().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_returns_from_a_partition_disturbs_nobody() {
    /// Both others are called in vain at each attempt to be elected.
    const ELECTIONS: usize = 2 * 8;
    let cluster = Cluster::started(3).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let term = cluster.consensus(leader).status().borrow().term;
    let watched = cluster.consensus(leader).status();

    let cut = &cluster.cuts[follower];
    cut.set(true);
    eventually("it has stood for election many times", async || (cut.refused() >= ELECTIONS).then_some(()))
        .await;
    let alone = cluster.consensus(follower).status().borrow().term;
    assert_eq!(alone, term, "nobody would have voted for it, so it began no new term");
    cluster.consensus(leader).propose(super::command(7)).await.unwrap();

    cut.set(false);
    cluster.consensus(follower).read_barrier().await.unwrap();
    assert_eq!(cluster.numbers(follower), [7]);
    let back = cluster.consensus(follower).status().borrow().clone();
    assert_eq!((back.term, back.leader), (term, Some(cluster.members[leader].clone())));
    let after = watched.borrow().clone();
    assert_eq!((after.term, after.is_ready_leader), (term, true));
}
