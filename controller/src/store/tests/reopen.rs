//! What is there after the files were closed and opened again.

use muster_platform::Disk;
use openraft::RaftLogReader as _;
use openraft::storage::{LogState, RaftLogStorage as _};
use redb::{Database, TableDefinition};

use super::{append, close, entry, id, opened};
use crate::raft::types::{SnapshotMeta, StoredMembership, Vote};
use crate::raft::{StartError, Storage};
use crate::store::{MemoryDisk, file};

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let storage = Storage::Directory(directory.path().to_owned());
    let vote = Vote::new_committed(3, 2);
    for disk in [Disk::Threads, Disk::Inline] {
        let mut stores = opened(&storage, disk).unwrap();
        let begin = stores.log.get_log_state().await.unwrap().last_log_id.map_or(0, |last| last.index + 1);
        append(&mut stores, (begin..begin + 2000).map(|index| entry(index, 100)).collect()).await;
        stores.log.save_vote(&vote).await.unwrap();
        stores.log.truncate_after(Some(id(begin + 1899))).await.unwrap();
        let meta = SnapshotMeta {
            last_log_id: Some(id(begin + 1199)),
            last_membership: StoredMembership::default(),
        };
        stores.snapshots.replace(meta, vec!["what they did".into()]).await.unwrap();
        stores.log.purge(id(begin + 1199)).await.unwrap();
        stores.log.save_committed(Some(id(begin + 1500))).await.unwrap();
        append(&mut stores, vec![entry(begin + 1900, 7)]).await;
        close(stores).await;

        let mut stores = opened(&storage, disk).unwrap();
        let (purged, last) = (Some(id(begin + 1199)), Some(id(begin + 1900)));
        let state = stores.log.get_log_state().await.unwrap();
        assert_eq!(state, LogState { last_purged_log_id: purged, last_log_id: last });
        assert_eq!(stores.log.read_committed().await.unwrap(), Some(id(begin + 1500)));
        let mut reader = stores.log.get_log_reader().await;
        assert_eq!(reader.read_vote().await.unwrap(), Some(vote));
        let entries = reader.try_get_log_entries(0..).await.unwrap();
        assert_eq!(entries.len(), 701);
        assert_eq!(entries[0], entry(begin + 1200, 100));
        assert_eq!(entries[700], entry(begin + 1900, 7));
        let some = reader.limited_get_log_entries(begin + 1300, begin + 1310).await.unwrap();
        assert_eq!(some, entries[100..110]);
        drop(reader);
        close(stores).await;
    }
}

#[tokio::test]
async fn what_was_purged_is_deleted_in_the_end() {
    let disk = MemoryDisk::new();
    let storage = Storage::Memory(disk.clone());
    let mut stores = opened(&storage, Disk::Inline).unwrap();
    append(&mut stores, (0..3000).map(|index| entry(index, 10)).collect()).await;
    stores.log.purge(id(2989)).await.unwrap();
    let mut reader = stores.log.get_log_reader().await;
    let holed = reader.limited_get_log_entries(2980, 3000).await.unwrap();
    assert!(holed.is_empty(), "entries that do not begin where they were asked for: {holed:?}");
    assert_eq!(reader.limited_get_log_entries(2990, 3000).await.unwrap().len(), 10);
    let left = file::read(stores.log.file(), 0..3000, usize::MAX).unwrap();
    assert_eq!(left.entries.len(), 10);
}

#[tokio::test]
async fn a_log_with_a_hole_is_damaged() {
    const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
    let directory = tempfile::tempdir().unwrap();
    let storage = Storage::Directory(directory.path().to_owned());
    let mut stores = opened(&storage, Disk::Inline).unwrap();
    append(&mut stores, (0..10).map(|index| entry(index, 10)).collect()).await;
    close(stores).await;

    let path = directory.path().join("log.redb");
    let database = Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(LOG).unwrap().remove(4).unwrap();
    transaction.commit().unwrap();
    drop(database);
    match opened(&storage, Disk::Inline) {
        Err(StartError::Damaged { path: at, cause }) => {
            assert_eq!(at, path);
            assert_eq!(cause, "it has 9 entries between 0 and 9");
        }
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("it was opened"),
    }
}

#[tokio::test]
async fn a_log_whose_beginning_no_snapshot_holds_is_of_no_use_and_the_repair_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let storage = Storage::Directory(directory.path().to_owned());
    let state = directory.path().join("state.redb");
    let meta =
        |index| SnapshotMeta { last_log_id: Some(id(index)), last_membership: StoredMembership::default() };
    let mut stores = opened(&storage, Disk::Inline).unwrap();
    append(&mut stores, (0..10).map(|index| entry(index, 10)).collect()).await;
    stores.snapshots.replace(meta(5), vec!["what they did".into()]).await.unwrap();
    stores.log.purge(id(5)).await.unwrap();
    append(&mut stores, vec![entry(10, 10)]).await;
    close(stores).await;
    close(opened(&storage, Disk::Inline).unwrap()).await;

    std::fs::remove_file(&state).unwrap();
    // Also when a start before has made an empty one.
    for _ in 0..2 {
        let error = opened(&storage, Disk::Inline).err().expect("it is refused");
        assert!(matches!(&error, StartError::Damaged { path, .. } if *path == state), "{error:?}");
        for part in ["it was missing", "controller rejoin", "controller restore"] {
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
    }
}

#[tokio::test]
async fn a_start_on_a_full_disk_says_to_make_room() {
    let disk = MemoryDisk::new();
    let storage = Storage::Memory(disk.clone());
    close(opened(&storage, Disk::Inline).unwrap()).await;
    disk.set_full(true);
    let error = opened(&storage, Disk::Inline).err().expect("it is refused");
    assert!(error.to_string().contains("make room"), "{error:?}");
    disk.set_full(false);
    close(opened(&storage, Disk::Inline).unwrap()).await;
}

#[tokio::test]
async fn the_newer_snapshot_stays() {
    let storage = Storage::Memory(MemoryDisk::new());
    let meta =
        |index| SnapshotMeta { last_log_id: Some(id(index)), last_membership: StoredMembership::default() };
    let chunks = |text: &'static str| text.split(' ').map(Into::into).collect::<Vec<bytes::Bytes>>();
    let stores = opened(&storage, Disk::Inline).unwrap();
    assert!(stores.snapshots.read().await.unwrap().is_none());
    stores.snapshots.replace(meta(5), chunks("three chunks here")).await.unwrap();
    stores.snapshots.replace(meta(9), chunks("two chunks")).await.unwrap();
    stores.snapshots.replace(meta(7), chunks("older")).await.unwrap();
    close(stores).await;
    let kept = opened(&storage, Disk::Inline).unwrap().snapshots.read().await.unwrap().unwrap();
    assert_eq!(kept.meta, meta(9));
    assert_eq!(kept.snapshot, chunks("two chunks"));
}

#[tokio::test]
async fn what_is_committed_is_kept_with_what_comes_next_and_never_beyond_the_log() {
    let disk = MemoryDisk::new();
    let storage = Storage::Memory(disk.clone());
    let mut stores = opened(&storage, Disk::Inline).unwrap();
    append(&mut stores, (0..10).map(|index| entry(index, 10)).collect()).await;
    for (committed, next, kept) in [(7, 10, 7), (50, 11, 7), (9, 12, 9)] {
        stores.log.save_committed(Some(id(committed))).await.unwrap();
        append(&mut stores, vec![entry(next, 10)]).await;
        disk.crash();
        drop(stores);
        stores = opened(&storage, Disk::Inline).unwrap();
        assert_eq!(stores.log.read_committed().await.unwrap(), Some(id(kept)), "of {committed}");
    }
}

#[tokio::test]
async fn what_is_committed_is_kept_again_when_there_is_enough_of_it() {
    let disk = MemoryDisk::new();
    let storage = Storage::Memory(disk.clone());
    let mut stores = opened(&storage, Disk::Inline).unwrap();
    append(&mut stores, (0..200).map(|index| entry(index, 10)).collect()).await;
    let mut kept = Vec::new();
    for (next, committed) in [(200, 100), (201, 163), (202, 164), (203, 199)] {
        stores.log.save_committed(Some(id(committed))).await.unwrap();
        append(&mut stores, vec![entry(next, 10)]).await;
        kept.push(file::kept(stores.log.file()).unwrap().committed);
    }
    assert_eq!(kept, [Some(id(100)), Some(id(100)), Some(id(164)), Some(id(164))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_is_kept_when_a_member_stops() {
    let directory = tempfile::tempdir().unwrap();
    let storage = Storage::Directory(directory.path().to_owned());
    let mut stores = opened(&storage, Disk::Threads).unwrap();
    append(&mut stores, (0..10).map(|index| entry(index, 10)).collect()).await;
    stores.log.save_committed(Some(id(9))).await.unwrap();
    close(stores).await;
    let mut stores = opened(&storage, Disk::Threads).unwrap();
    assert_eq!(stores.log.read_committed().await.unwrap(), Some(id(9)));
    close(stores).await;
}
