//! Snapshots on a disk that is nearly full.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use muster_platform::Disk;

use super::{id, opened};
use crate::raft::Storage;
use crate::raft::tests::small_disk::SmallDisk;
use crate::raft::types::{SnapshotMeta, StoredMembership};
use crate::store::open::Stores;

const MB: u64 = 1024 * 1024;
/// One that is full, as the machine makes them.
const CHUNK: usize = 1016 * 1024;

fn leave(filler: &Path, free: u64) {
    let filler = fs::OpenOptions::new().write(true).open(filler).unwrap();
    filler.set_len(filler.metadata().unwrap().len() - free).unwrap();
}

async fn keep(stores: &Stores, last: u64, chunks: &[Bytes]) -> bool {
    let has_room = stores.snapshots.lacks_room_for(chunks).await.unwrap().is_none();
    if has_room {
        let meta = SnapshotMeta { last_log_id: Some(id(last)), last_membership: StoredMembership::default() };
        stores.snapshots.replace(meta, chunks.to_vec()).await.unwrap();
    }
    has_room
}

#[tokio::test]
async fn a_snapshot_that_is_said_to_have_room_has_it() {
    for free in 0..20 {
        let data = tempfile::tempdir().unwrap();
        let Some(disk) = SmallDisk::mount(data.path(), "32m") else { return };
        let storage = Storage::Directory(data.path().to_owned());
        let stores = opened(&storage, Disk::Threads).unwrap();
        leave(&disk.fill(), free * MB);
        let chunks: Vec<Bytes> =
            [CHUNK, CHUNK, CHUNK, CHUNK, 300_000].map(|size| vec![1; size].into()).into();
        let mut kept = Vec::new();
        for last in 1..5 {
            kept.push(keep(&stores, last, &chunks).await);
        }
        match free {
            0..5 => assert_eq!(kept, [false; 4], "{free} MB"),
            12.. => assert_eq!(kept, [true; 4], "{free} MB: a third one has the room of the first"),
            // Whatever was tried was kept.
            _ => {}
        }
        super::close(stores).await;
    }
}
