//! How the group changes.

use std::collections::BTreeSet;
use std::time::Duration;

use muster_common::id::ControllerId;
use openraft::ChangeMembers;

use super::cluster::{Cluster, PATIENCE, eventually};
use super::command;
use crate::raft::ChangeError;
use crate::raft::status::Role;

impl Cluster {
    fn id(&self, nth: usize) -> ControllerId {
        self.members[nth].id
    }

    /// Has `through` take `nth` in.
    async fn add(&self, through: usize, nth: usize) {
        let address = self.members[nth].cluster_addr.clone();
        self.consensus(through).add_member(self.id(nth), &address).await.unwrap();
    }

    /// Waits until `nth` votes, as `asked` says.
    async fn votes(&self, asked: usize, nth: usize) {
        eventually("it votes", async || {
            let list = self.consensus(asked).members().await;
            list.members
                .iter()
                .any(|standing| standing.member.id == self.id(nth) && standing.votes)
                .then_some(())
        })
        .await;
    }

    /// Waits until the leader does not count on `nth` any more.
    async fn given_up(&self, leader: usize, nth: usize) {
        eventually("it is missed", async || {
            let list = self.consensus(leader).members().await;
            let standing = list.members.into_iter().find(|standing| standing.member.id == self.id(nth))?;
            // One that this leader has never heard is not counted on either.
            standing.silent.is_none_or(|silent| silent > Duration::from_millis(1300)).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_added_learns_first_then_votes_and_is_counted_on() {
    let mut cluster = Cluster::new(4).founded_by(3);
    for nth in 0..3 {
        cluster.start(nth).await;
    }
    for given in 0..100 {
        cluster.consensus(0).propose(command(given)).await.unwrap();
    }
    let follower = cluster.follower().await;
    let refused =
        cluster.consensus(follower).add_member(cluster.id(3), &cluster.members[3].cluster_addr).await;
    let Err(ChangeError::Refused { why }) = refused else { panic!("{refused:?}") };
    assert!(why.contains("does not answer") && why.contains("start it first"), "{why}");

    cluster.start(3).await;
    cluster.add(follower, 3).await;
    cluster.add(follower, 3).await; // which changes nothing
    cluster.votes(follower, 3).await;
    cluster.consensus(3).read_barrier().await.unwrap();
    assert_eq!(cluster.numbers(3), (0..100).collect::<Vec<_>>());

    // With one of the four gone for good and one down, it takes its vote to go on.
    let leader = cluster.leader().await;
    let old: Vec<usize> = (0..3).filter(|nth| *nth != leader).collect();
    cluster.consensus(3).remove_member(cluster.id(old[0])).await.unwrap();
    assert_eq!(
        cluster.consensus(3).remove_member(cluster.id(old[0])).await,
        Err(ChangeError::NoMember),
        "it is gone"
    );
    cluster.stop(old[0]).await;
    cluster.stop(old[1]).await;
    cluster.consensus(3).propose(command(100)).await.unwrap();
    // It is in the group after a restart, too, although no other's configuration names it.
    cluster.stop(3).await;
    cluster.start(3).await;
    cluster.consensus(leader).propose(command(101)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_removed_who_is_needed_for_a_majority() {
    let mut cluster = Cluster::started(3).await;
    let leader = cluster.leader().await;
    let (down, needed) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.stop(down).await;
    cluster.given_up(leader, down).await;
    let refused = cluster.consensus(needed).remove_member(cluster.id(needed)).await;
    let Err(ChangeError::Refused { why }) = refused else { panic!("{refused:?}") };
    assert!(why.contains(&format!("not answering: {}", cluster.id(down))), "{why}");
    // The one that is down can go; then there are two, and none of them can.
    cluster.consensus(needed).remove_member(cluster.id(down)).await.unwrap();
    cluster.consensus(needed).propose(command(1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_was_left_half_made_is_finished() {
    let cluster = Cluster::started(3).await;
    let leader = cluster.leader().await;
    let id = cluster.id((leader + 1) % 3);
    let node = cluster.consensus(leader).node();
    {
        let _nobody_else = node.changing.lock().await;
        let waiting = node.raft.wait(Some(PATIENCE));
        let half_made = waiting.metrics(
            |metrics| metrics.membership_config.membership().get_joint_config().len() > 1,
            "the first of the two steps",
        );
        let only = BTreeSet::from([id.0]);
        tokio::select! {
            biased;
            half_made = half_made => drop(half_made.unwrap()),
            made = node.raft.change_membership(ChangeMembers::RemoveVoters(only), false) => panic!("{made:?}"),
        }
    }
    eventually("it is gone", async || {
        let list = cluster.consensus(leader).members().await;
        list.members.iter().all(|standing| standing.member.id != id).then_some(())
    })
    .await;
    cluster.consensus(leader).propose(command(1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_removed_hands_over_first() {
    let cluster = Cluster::started(3).await;
    let leader = cluster.leader().await;
    // A new leader has to hear the others before it lets anybody go.
    eventually("it may go", async || cluster.consensus(leader).remove_member(cluster.id(leader)).await.ok())
        .await;
    let other = (leader + 1) % 3;
    cluster.consensus(other).propose(command(1)).await.unwrap();
    let list = cluster.consensus(other).members().await;
    assert_eq!(list.members.len(), 2);
    assert!(list.members.iter().all(|standing| standing.votes && standing.member.id != cluster.id(leader)));
    // Who was removed learns of it, and says what to do.
    let removed = cluster.status(leader, |status| status.failed.is_some()).await;
    let why = removed.failed.unwrap();
    assert!(why.contains("not a member of the group any more") && why.contains("members add"), "{why}");
    let stays = cluster.status(other, |status| status.leader.is_some()).await;
    assert_eq!(stays.failed, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_lost_its_files_founds_nothing_and_votes_for_nobody_until_it_is_taken_in_anew() {
    let mut cluster = Cluster::started(3).await;
    for given in 0..10 {
        cluster.consensus(0).propose(command(given)).await.unwrap();
    }
    let lost = cluster.follower().await;
    cluster.stop(lost).await;
    std::fs::remove_dir_all(cluster.directory(lost)).unwrap();
    cluster.start(lost).await;
    let leader = cluster.leader().await;
    cluster.given_up(leader, lost).await;
    let status = cluster.consensus(lost).status().borrow().clone();
    assert_eq!((status.term, status.role, status.leader), (0, Role::Learner, None), "it did nothing");
    assert!(cluster.numbers(lost).is_empty(), "nobody told it anything");

    // To add it is not enough, and nobody is told that it was.
    let add_again =
        cluster.consensus(leader).add_member(cluster.id(lost), &cluster.members[lost].cluster_addr);
    let Err(ChangeError::Refused { why }) = add_again.await else {
        panic!("it was taken for the one of before")
    };
    assert!(why.contains("on files that are gone; remove it first"), "{why}");
    cluster.consensus(leader).remove_member(cluster.id(lost)).await.unwrap();
    cluster.add(leader, lost).await;
    cluster.votes(leader, lost).await;
    cluster.consensus(lost).propose(command(10)).await.unwrap();
    cluster.consensus(lost).read_barrier().await.unwrap();
    assert_eq!(cluster.numbers(lost), (0..=10).collect::<Vec<_>>());
}
