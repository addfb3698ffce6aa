//! What a healthy group does.

use muster_common::id::ControllerId;
use muster_platform::{ExpectedPeer, World, channel};
use muster_proto::v1;
use muster_proto::v1::control_client::ControlClient;
use muster_proto::v1::members_client::MembersClient;
use muster_proto::v1::raft_client::RaftClient;
use tonic::Code;

use super::cluster::{Cluster, eventually};
use super::{UNREADABLE, command, number};
use crate::raft::ProposeError;
use crate::raft::status::Role;

#[tokio::test(flavor = "multi_thread")]
async fn commands_given_to_any_member_are_read_on_every_member() {
    let cluster = Cluster::started(3).await;
    let mut sum = 0;
    for round in 0..10 {
        for nth in 0..3 {
            let given = round * 3 + nth as u64;
            let reply = cluster.consensus(nth).propose(command(given)).await.unwrap();
            sum += given;
            assert_eq!(number(&reply), sum);
            for reader in 0..3 {
                let applied = cluster.consensus(reader).read_barrier().await.unwrap();
                let seen = cluster.member(reader).seen.lock().unwrap().clone();
                assert!(seen.revision <= applied);
                assert_eq!(seen.numbers.iter().sum::<u64>(), sum, "member {reader} read something old");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_agree_on_who_leads() {
    let cluster = Cluster::started(3).await;
    let leader = cluster.leader().await;
    for nth in 0..3 {
        let status = cluster.status(nth, |status| status.leader.is_some()).await;
        assert_eq!(status.leader.as_ref(), Some(&cluster.members[leader]));
        assert_eq!(status.members, cluster.members);
        assert_eq!(status.role, if nth == leader { Role::Leader } else { Role::Follower });
        assert_eq!(status.is_ready_leader, nth == leader);
        assert_eq!(status.failed, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_proposers_share_entries_and_each_gets_its_own_reply() {
    let cluster = Cluster::started(3).await;
    cluster.leader().await;
    let before = cluster.consensus(0).read_barrier().await.unwrap();
    let proposers = (0..1000_u64).map(|given| {
        let consensus = cluster.consensus(usize::try_from(given % 3).unwrap()).clone();
        async move { number(&consensus.propose(command(1)).await.unwrap()) }
    });
    let mut sums = futures::future::join_all(proposers).await;
    sums.sort_unstable();
    assert_eq!(sums, (1..=1000).collect::<Vec<_>>());
    let after = cluster.consensus(0).read_barrier().await.unwrap();
    assert!(after.0 - before.0 < 500, "1000 commands took {} entries", after.0 - before.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_the_leader_cannot_read_is_refused_alone() {
    let cluster = Cluster::started(3).await;
    let follower = cluster.consensus((cluster.leader().await + 1) % 3);
    let good = (0..50).map(|_| follower.propose(command(1)));
    let bad = follower.propose(bytes::Bytes::from_static(UNREADABLE));
    let (good, bad) = tokio::join!(futures::future::join_all(good), bad);
    assert!(matches!(bad, Err(ProposeError::Refused { .. })), "{bad:?}");
    assert!(good.iter().all(Result::is_ok), "{good:?}");
    assert_eq!(number(&follower.propose(command(1)).await.unwrap()), 51, "nothing was done twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_away_for_long_catches_up_by_a_snapshot() {
    let mut cluster = Cluster::new(3).snapshot_every(50);
    for nth in 0..3 {
        cluster.start(nth).await;
    }
    cluster.leader().await;
    cluster.stop(2).await;
    for given in 0..300 {
        cluster.consensus(0).propose(command(given)).await.unwrap();
    }
    cluster.start(2).await;
    eventually("the snapshot arrives", async || {
        let seen = cluster.member(2).seen.lock().unwrap().clone();
        (seen.restored > 0).then_some(())
    })
    .await;
    cluster.consensus(2).propose(command(300)).await.unwrap();
    cluster.consensus(2).read_barrier().await.unwrap();
    assert_eq!(cluster.numbers(2), (0..=300).collect::<Vec<_>>());
    // It can start from what it was sent.
    cluster.stop(2).await;
    cluster.start(2).await;
    cluster.consensus(2).read_barrier().await.unwrap();
    assert_eq!(cluster.numbers(2), (0..=300).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_takes_much_becomes_a_snapshot_although_it_has_few_entries() {
    let mut cluster = Cluster::new(1).snapshot_bytes(100);
    cluster.start(0).await;
    let mut given = 0;
    // Of a member that starts again it is seen whether it had a snapshot.
    loop {
        for _ in 0..50 {
            cluster.consensus(0).propose(command(given)).await.unwrap();
            given += 1;
        }
        cluster.stop(0).await;
        cluster.start(0).await;
        cluster.consensus(0).read_barrier().await.unwrap();
        assert_eq!(cluster.numbers(0), (0..given).collect::<Vec<_>>());
        if cluster.member(0).seen.lock().unwrap().restored > 0 {
            return;
        }
        assert!(given < 1000, "no snapshot was taken");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_controllers_are_listened_to_and_only_for_themselves() {
    let cluster = Cluster::started(3).await;
    let leader = cluster.leader().await;
    let member = &cluster.members[leader];
    let dial = |tls| {
        channel(&World::system(), &tls, &member.cluster_addr, ExpectedPeer::Controller(member.id)).unwrap()
    };

    let executor = dial(cluster.executor());
    let refused = ControlClient::new(executor.clone()).read_index(v1::ReadIndexRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let vote = |node| v1::RaftVoteRequest {
        vote: Some(v1::RaftVote { term: 1_000_000, node, committed: false }),
        last: None,
        leadership_transfer: true,
    };
    let refused = RaftClient::new(executor).vote(vote(1)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");

    let other = (leader + 1) % 3;
    let controller = dial(cluster.controller(other));
    let hello = MembersClient::new(controller.clone()).hello(v1::HelloRequest {}).await.unwrap();
    let incarnation = hello.into_inner().me.unwrap().incarnation;
    let meant_for = |incarnation: &str, vote| {
        let mut request = tonic::Request::new(vote);
        request.metadata_mut().insert("muster-incarnation", incarnation.parse().unwrap());
        request
    };
    let mut raft = RaftClient::new(controller);
    let refused = raft.vote(meant_for(&incarnation, vote(member.id.0))).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    // Whoever means other files than these gets no vote from them.
    for refused in [
        raft.vote(meant_for("others", vote(other as u64 + 1))).await.unwrap_err(),
        raft.vote(vote(other as u64 + 1)).await.unwrap_err(),
    ] {
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    }
    let status = cluster.status(leader, |status| status.leader.is_some()).await;
    assert!(status.term < 1_000_000);
    assert_eq!(status.leader.map(|leader| leader.id), Some(ControllerId(leader as u64 + 1)));
}
