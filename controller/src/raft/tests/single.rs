//! Members alone: starting, refusing to start, and a disk in memory.

use std::fs;
use std::time::Duration;

use muster_common::id::ControllerId;
use muster_platform::{Disk, World};
use openraft::async_runtime::WatchReceiver as _;

use super::cluster::{Cluster, PATIENCE};
use super::small_disk::SmallDisk;
use super::{Adder, UNREADABLE, command};
use crate::raft::error::ReadError;
use crate::raft::status::Role;
use crate::raft::types::{Incarnation, LogId, SnapshotMeta, StoredMembership};
use crate::raft::{Consensus, ProposeError, RaftConfig, StartError, Storage};
use crate::store::{self, MemoryDisk, Owner};

fn inline() -> World {
    World { disk: Disk::Inline, ..World::system() }
}

#[tokio::test]
async fn a_crash_of_a_disk_in_memory_loses_nothing_that_was_acknowledged() {
    let cluster = Cluster::new(1);
    let disk = MemoryDisk::new();
    let config = RaftConfig::new(ControllerId(1), Storage::Memory(disk.clone()), cluster.members.clone());
    for round in 0..3 {
        let machine = Adder::default();
        let seen = std::sync::Arc::clone(&machine.seen);
        let consensus =
            Consensus::start(config.clone(), inline(), cluster.controller(0), machine).await.unwrap();
        consensus.read_barrier().await.unwrap();
        assert_eq!(seen.lock().unwrap().numbers, (0..round * 20).collect::<Vec<_>>());
        for given in round * 20..(round + 1) * 20 {
            consensus.propose(command(given)).await.unwrap();
        }
        disk.crash();
        consensus.shutdown().await;
    }
}

#[tokio::test]
async fn a_disk_that_fails_ends_the_member_and_says_so() {
    let cluster = Cluster::new(1);
    let disk = MemoryDisk::new();
    let config = RaftConfig::new(ControllerId(1), Storage::Memory(disk.clone()), cluster.members.clone());
    let consensus =
        Consensus::start(config, inline(), cluster.controller(0), Adder::default()).await.unwrap();
    consensus.propose(command(1)).await.unwrap();
    disk.crash();
    let error = consensus.propose(command(2)).await.unwrap_err();
    assert!(matches!(error, ProposeError::Unknown { .. }), "{error:?}");
    let mut status = consensus.status();
    let failed = tokio::time::timeout(PATIENCE, status.wait_for(|status| status.failed.is_some()));
    let status = failed.await.expect("it notices").unwrap().clone();
    assert_eq!((status.role, status.is_ready_leader), (Role::Stopped, false));
    assert_eq!(consensus.propose(command(3)).await, Err(ProposeError::Stopped));
    assert_eq!(consensus.read_barrier().await, Err(ReadError::Stopped));
    consensus.shutdown().await;
}

#[tokio::test]
async fn a_full_disk_ends_the_member_loses_nothing_and_is_forgiven_once_there_is_room() {
    let cluster = Cluster::new(1);
    let disk = MemoryDisk::new();
    let config = RaftConfig::new(ControllerId(1), Storage::Memory(disk.clone()), cluster.members.clone());
    let start = async |machine| {
        Consensus::start(config.clone(), inline(), cluster.controller(0), machine).await.unwrap()
    };
    let consensus = start(Adder::default()).await;
    for given in 0..20 {
        consensus.propose(command(given)).await.unwrap();
    }
    disk.set_full(true);
    let error = consensus.propose(command(20)).await.unwrap_err();
    assert!(matches!(error, ProposeError::Unknown { .. }), "{error:?}");
    let mut status = consensus.status();
    let failed = tokio::time::timeout(PATIENCE, status.wait_for(|status| status.failed.is_some()));
    let why = failed.await.expect("it notices").unwrap().failed.clone().unwrap();
    assert!(why.contains("its disk is full; make room there"), "{why}");
    consensus.shutdown().await;

    disk.set_full(false);
    let machine = Adder::default();
    let seen = std::sync::Arc::clone(&machine.seen);
    let consensus = start(machine).await;
    consensus.propose(command(21)).await.unwrap();
    let numbers = seen.lock().unwrap().numbers.clone();
    assert!(numbers.starts_with(&(0..20).collect::<Vec<_>>()), "{numbers:?}");
    assert!(numbers.ends_with(&[21]), "{numbers:?}");
    consensus.shutdown().await;
}

#[tokio::test]
async fn a_disk_without_room_for_a_snapshot_ends_the_member_loses_nothing_and_is_forgiven_once_there_is_room()
{
    let cluster = Cluster::new(1);
    let disk = MemoryDisk::new();
    let mut config = RaftConfig::new(ControllerId(1), Storage::Memory(disk.clone()), cluster.members.clone());
    config.snapshot_every = 20;
    let start = async |machine| {
        Consensus::start(config.clone(), inline(), cluster.controller(0), machine).await.unwrap()
    };
    let consensus = start(Adder::default()).await;
    disk.set_full_for_snapshots(true);
    let mut accepted = 0;
    while accepted < 1000 && consensus.propose(command(accepted)).await.is_ok() {
        accepted += 1;
    }
    assert!((15..1000).contains(&accepted), "{accepted} before the first snapshot was due, or for good");
    let mut status = consensus.status();
    let failed = tokio::time::timeout(PATIENCE, status.wait_for(|status| status.failed.is_some()));
    let why = failed.await.expect("it notices").unwrap().failed.clone().unwrap();
    assert!(why.contains("its disk is full; make room there"), "{why}");
    consensus.shutdown().await;

    disk.set_full_for_snapshots(false);
    let machine = Adder::default();
    let seen = std::sync::Arc::clone(&machine.seen);
    let consensus = start(machine).await;
    consensus.propose(command(accepted + 1)).await.unwrap();
    let numbers = seen.lock().unwrap().numbers.clone();
    assert!(numbers.starts_with(&(0..accepted).collect::<Vec<_>>()), "{numbers:?}");
    consensus.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_its_disk_has_no_room_for_is_made_when_there_is() {
    let cluster = Cluster::new(1);
    let files = tempfile::tempdir().unwrap();
    let (data, small) = (files.path().join("data"), files.path().join("small"));
    fs::create_dir(&data).unwrap();
    fs::create_dir(&small).unwrap();
    let Some(disk) = SmallDisk::mount(&small, "8m") else { return };
    std::os::unix::fs::symlink(small.join("state.redb"), data.join("state.redb")).unwrap();
    let mut config =
        RaftConfig::new(ControllerId(1), Storage::Directory(data.clone()), cluster.members.clone());
    config.snapshot_every = 20;
    let consensus =
        Consensus::start(config, World::system(), cluster.controller(0), Adder::default()).await.unwrap();
    let filler = disk.fill();
    for given in 0..100 {
        consensus.propose(command(given)).await.unwrap();
    }
    let snapshot = || consensus.node().raft.metrics().borrow_watched().snapshot;
    assert_eq!(snapshot(), None);
    fs::remove_file(filler).unwrap();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut given = 100;
    while snapshot().is_none() {
        assert!(tokio::time::Instant::now() < deadline, "there is room, and no snapshot is kept");
        consensus.propose(command(given)).await.unwrap();
        given += 1;
    }
    assert_eq!(consensus.status().borrow().failed, None);
    consensus.shutdown().await;
}

/// How many proposals of this process were not waited for.
fn given_up() -> u64 {
    let metrics = muster_platform::telemetry::metrics().render();
    let counted = metrics.lines().find_map(|line| {
        line.strip_prefix("muster_raft_proposals_total{outcome=\"given_up\"} ")?.parse().ok()
    });
    counted.unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn without_a_quorum_nothing_is_promised() {
    let cluster = Cluster::new(3);
    let storage = Storage::Memory(MemoryDisk::new());
    let config = RaftConfig::new(ControllerId(1), storage, cluster.members.clone());
    let consensus =
        Consensus::start(config, inline(), cluster.controller(0), Adder::default()).await.unwrap();
    let waited = Duration::from_secs(10);
    assert_eq!(consensus.propose(command(1)).await, Err(ProposeError::NoLeader { waited }));
    let before = given_up();
    let impatient = tokio::time::timeout(Duration::from_secs(1), consensus.propose(command(1)));
    assert!(impatient.await.is_err());
    assert!(given_up() > before, "what nobody waits for is counted, too");
    let waited = Duration::from_secs(5);
    assert_eq!(consensus.read_barrier().await, Err(ReadError::NoLeader { waited }));
    let large = vec![0; 1024 * 1024 + 1].into();
    assert!(matches!(consensus.propose(large).await, Err(ProposeError::TooLarge { .. })));
    consensus.shutdown().await;
    assert_eq!(consensus.propose(command(1)).await, Err(ProposeError::Stopped));
    assert_eq!(consensus.read_barrier().await, Err(ReadError::Stopped));
}

async fn start(cluster: &Cluster, config: RaftConfig) -> Result<Consensus, StartError> {
    Consensus::start(config, World::system(), cluster.controller(0), Adder::default()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_cannot_be_used_is_named_with_what_to_do() {
    let cluster = Cluster::new(3);
    let consensus = start(&cluster, cluster.config(0)).await.unwrap();
    let error = start(&cluster, cluster.config(0)).await.unwrap_err();
    assert!(matches!(error, StartError::InUse { .. }), "{error:?}");
    consensus.shutdown().await;

    // Another member on the same files.
    let config = RaftConfig { id: ControllerId(2), ..cluster.config(0) };
    let error = Consensus::start(config, World::system(), cluster.controller(1), Adder::default()).await;
    let error = error.unwrap_err();
    assert!(matches!(error, StartError::WrongOwner { found: ControllerId(1), .. }), "{error:?}");

    for name in ["state.redb", "log.redb"] {
        let path = cluster.directory(0).join(name);
        let mut bytes = fs::read(&path).unwrap();
        bytes[..64].fill(0x5a);
        fs::write(&path, bytes).unwrap();
        let error = start(&cluster, cluster.config(0)).await.unwrap_err();
        assert!(matches!(&error, StartError::Damaged { path: at, .. } if *at == path), "{error:?}");
        assert!(error.to_string().contains("is damaged"), "{error}");
    }
}

#[tokio::test]
async fn a_snapshot_that_this_version_cannot_read_is_refused_with_what_to_do() {
    let cluster = Cluster::new(1);
    let config = cluster.config(0);
    let owner = Owner {
        cluster: cluster.controller(0).identity().cluster.clone(),
        controller: ControllerId(1),
        incarnation: Incarnation("first".to_owned()),
    };
    let stores = store::open(&config.storage, &owner, Disk::Inline).unwrap();
    let last_log_id = Some(LogId::new_term_index(1, 1));
    let meta = SnapshotMeta { last_log_id, last_membership: StoredMembership::default() };
    stores.snapshots.replace(meta, vec![UNREADABLE.into()]).await.unwrap();
    drop(stores);
    let error = start(&cluster, config).await.unwrap_err();
    assert!(matches!(error, StartError::Recovery(_)), "{error:?}");
    for part in ["it is no number", "if a newer version", "controller rejoin", "controller restore"] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
}

#[tokio::test]
async fn members_that_make_no_group_are_refused() {
    let cluster = Cluster::new(2);
    let good = cluster.config(0);
    let twice = [cluster.members.clone(), cluster.members.clone()].concat();
    let bad = [
        RaftConfig { members: Vec::new(), ..good.clone() },
        RaftConfig { members: twice, ..good.clone() },
        RaftConfig { id: ControllerId(2), ..good },
    ];
    for config in bad {
        let error = start(&cluster, config).await.unwrap_err();
        assert!(matches!(error, StartError::Config(_)), "{error:?}");
    }
}
