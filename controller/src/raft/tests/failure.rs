//! What a group does when members stop, die and come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::cluster::Cluster;
use super::command;

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_stops_hands_over_and_comes_back_with_everything() {
    let mut cluster = Cluster::started(3).await;
    let first = cluster.leader().await;
    for given in 0..50 {
        cluster.consensus(first).propose(command(given)).await.unwrap();
    }
    cluster.stop(first).await;
    let second = cluster.leader().await;
    assert_ne!(first, second);
    cluster.consensus(second).propose(command(50)).await.unwrap();

    cluster.start(first).await;
    cluster.consensus(first).read_barrier().await.unwrap();
    assert_eq!(cluster.numbers(first), (0..=50).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_group_restarts_from_its_disks() {
    let mut cluster = Cluster::started(3).await;
    for given in 0..100 {
        cluster.consensus(0).propose(command(given)).await.unwrap();
    }
    for nth in 0..3 {
        cluster.kill(nth).await;
    }
    for nth in 0..3 {
        cluster.start(nth).await;
    }
    for nth in 0..3 {
        cluster.consensus(nth).read_barrier().await.unwrap();
        assert_eq!(cluster.numbers(nth), (0..100).collect::<Vec<_>>());
    }
}

/// Proposes 0, 1, 2, … through `nth` until told to stop; returns what was acknowledged.
pub(super) fn load(
    cluster: &Cluster,
    nth: usize,
    stop: Arc<AtomicBool>,
) -> tokio::task::JoinHandle<Vec<u64>> {
    let consensus = cluster.consensus(nth).clone();
    tokio::spawn(async move {
        let mut acknowledged = Vec::new();
        let mut given = 0;
        while !stop.load(Ordering::Relaxed) {
            if consensus.propose(command(given)).await.is_ok() {
                acknowledged.push(given);
            }
            given += 1;
        }
        acknowledged
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_the_leader_being_killed() {
    let mut cluster = Cluster::started(3).await;
    let (leader, survivor) = (cluster.leader().await, cluster.follower().await);
    let stop = Arc::new(AtomicBool::new(false));
    let load = load(&cluster, survivor, Arc::clone(&stop));
    let enough = |least: usize| {
        let seen = Arc::clone(&cluster.member(survivor).seen);
        super::cluster::eventually("the load gets on", move || {
            let count = seen.lock().unwrap().numbers.len();
            std::future::ready((count >= least).then_some(count))
        })
    };
    let count = enough(200).await;
    let more = enough(count + 200);

    cluster.running[leader].take();
    let killed = Instant::now();
    let after = cluster.leader().await;
    assert_ne!(after, leader);
    assert!(killed.elapsed() < Duration::from_secs(10), "no leader for {:?}", killed.elapsed());
    more.await;
    stop.store(true, Ordering::Relaxed);
    let acknowledged = load.await.unwrap();

    cluster.start(leader).await;
    for nth in 0..3 {
        cluster.consensus(nth).read_barrier().await.unwrap();
        let numbers = cluster.numbers(nth);
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), numbers.len(), "something was applied twice");
        let lost: Vec<_> = acknowledged.iter().filter(|given| sorted.binary_search(given).is_err()).collect();
        assert!(lost.is_empty(), "member {nth} lost {lost:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_killed_in_the_middle_catches_up() {
    let mut cluster = Cluster::started(3).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let stop = Arc::new(AtomicBool::new(false));
    let load = load(&cluster, leader, Arc::clone(&stop));
    super::cluster::eventually("the load gets on", async || {
        (cluster.numbers(follower).len() >= 200).then_some(())
    })
    .await;
    cluster.kill(follower).await;
    cluster.start(follower).await;
    stop.store(true, Ordering::Relaxed);
    let acknowledged = load.await.unwrap();
    cluster.consensus(follower).read_barrier().await.unwrap();
    assert_eq!(cluster.numbers(follower), acknowledged);
}
