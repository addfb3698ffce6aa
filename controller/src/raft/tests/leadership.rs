//! Who leads, and how the lead changes hands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::cluster::{Cluster, PATIENCE, eventually};
use super::failure::load;
use crate::raft::ProposeError;
use crate::raft::config::Timings;
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

#[tokio::test(flavor = "multi_thread")]
async fn what_a_leader_decided_while_cut_off_is_not_carried_out_under_the_next_one() {
    let cluster = Cluster::started(3).await;
    let old = cluster.leader().await;
    let deposed = cluster.consensus(old);
    let mut status = deposed.status();
    let term = status.borrow().term;
    assert!(deposed.propose_as_leader(term, super::command(1)).await.is_ok());
    let of_before = deposed.propose_as_leader(term - 1, super::command(2)).await;
    assert_eq!(of_before, Err(ProposeError::Deposed));

    cluster.cuts[old].set(true);
    status.wait_for(|status| !status.is_ready_leader).await.unwrap();
    let (decided, asked) = (deposed.clone(), deposed.clone());
    let decided = tokio::spawn(async move { decided.propose_as_leader(term, super::command(3)).await });
    let asked = tokio::spawn(async move { asked.propose(super::command(4)).await });
    eventually("there is another leader", async || {
        let leads = |nth: &usize| cluster.consensus(*nth).status().borrow().is_ready_leader;
        (0..3).filter(|nth| *nth != old).find(leads)
    })
    .await;
    cluster.cuts[old].set(false);
    assert!(asked.await.unwrap().is_ok(), "what a user asks goes to whoever leads");
    assert_eq!(decided.await.unwrap(), Err(ProposeError::Deposed));
    deposed.read_barrier().await.unwrap();
    assert_eq!(cluster.numbers(old), [1, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_process_is_gone_is_not_waited_for() {
    // Nobody would stand for election within the patience of a test.
    let timings = Timings {
        heartbeat: Duration::from_millis(100),
        election_min: PATIENCE * 10,
        election_max: PATIENCE * 20,
    };
    let mut cluster = Cluster::new(3).timed(timings);
    for nth in 0..3 {
        cluster.start(nth).await;
    }
    let first = cluster.leader().await;
    let survivor = (first + 1) % 3;
    cluster.consensus(survivor).propose(super::command(1)).await.unwrap();
    cluster.kill(first).await;
    let second = cluster.leader().await;
    assert_ne!(first, second);
    cluster.consensus(survivor).propose(super::command(2)).await.unwrap();
    assert_eq!(
        cluster.consensus(survivor).status().borrow().term,
        cluster.consensus(second).status().borrow().term
    );
}
