//! The newest snapshot, in chunks. A new one replaces the old one in one transaction.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use muster_platform::Disk;
use muster_proto::v1;
use prost::Message as _;
use redb::{ReadableDatabase as _, ReadableTable as _, TableDefinition};

use super::open::File;
use crate::raft::codec;
use crate::raft::types::{LogId, Snapshot, SnapshotMeta};

const CHUNKS: TableDefinition<u64, &[u8]> = TableDefinition::new("chunks");
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const SNAPSHOT: &str = "snapshot";
/// What a file takes beyond the chunks in it.
const OVERHEAD: u64 = 1024 * 1024;
const PAGE: u64 = 4096;

/// Where the snapshot is. Clones are the same store.
#[derive(Debug, Clone)]
pub(crate) struct SnapshotStore {
    file: Arc<File>,
    disk: Disk,
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Creates the tables.
pub(super) fn initialize(file: &File) -> Result<(), redb::Error> {
    let transaction = file.database.begin_write()?;
    transaction.open_table(CHUNKS)?;
    transaction.open_table(META)?;
    transaction.commit()?;
    Ok(())
}

impl SnapshotStore {
    pub(super) fn new(file: Arc<File>, disk: Disk) -> Self {
        Self { file, disk }
    }

    pub(crate) fn disk(&self) -> Disk {
        self.disk
    }

    /// Keeps this snapshot instead of the one that is kept, unless that one is as new. Durable on return.
    pub(crate) async fn replace(&self, meta: SnapshotMeta, chunks: Vec<Bytes>) -> io::Result<()> {
        let file = Arc::clone(&self.file);
        self.disk.run(move || replace(&file, &meta, &chunks)).await?
    }

    /// What there is no room for, if these chunks could not be kept: the old snapshot is there until the new one is.
    pub(crate) async fn lacks_room_for(&self, chunks: &[Bytes]) -> io::Result<Option<NoRoom>> {
        let file = Arc::clone(&self.file);
        let new = chunks.iter().map(|chunk| stored(chunk.len() as u64)).sum();
        self.disk
            .run(move || {
                let (Some(free), Some(taken)) = (file.free()?, file.taken()?) else { return Ok(None) };
                // All chunks but the last are about as large.
                let kept = kept(&file)?
                    .map_or(0, |kept| kept.chunks * stored(kept.bytes.checked_div(kept.chunks).unwrap_or(0)));
                Ok(no_room(new, kept, taken, free))
            })
            .await?
    }

    /// What the snapshot holds that is kept, if there is one.
    pub(crate) async fn meta(&self) -> io::Result<Option<SnapshotMeta>> {
        let file = Arc::clone(&self.file);
        self.disk.run(move || Ok(kept(&file)?.map(|kept| kept.meta))).await?
    }

    /// The snapshot that is kept.
    pub(crate) async fn read(&self) -> io::Result<Option<Snapshot>> {
        let file = Arc::clone(&self.file);
        self.disk.run(move || read(&file)).await?
    }
}

/// A snapshot does not fit on its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it takes {needed} bytes more than its file has room for, and its disk has {free}")]
pub(crate) struct NoRoom {
    needed: u64,
    free: u64,
}

/// What a value of so many bytes takes in the file: with the page's own words, the next power of two (redb's pages of
/// one large value).
fn stored(bytes: u64) -> u64 {
    (bytes + PAGE).next_power_of_two()
}

/// Pure: whether what takes `new` bytes fits beside what takes those that are `kept`, in a file that has `taken` so much of
/// its disk and may take what is `free`.
fn no_room(new: u64, kept: u64, taken: u64, free: u64) -> Option<NoRoom> {
    let needed = (new + OVERHEAD).saturating_sub(taken.saturating_sub(kept + OVERHEAD));
    (needed > free).then_some(NoRoom { needed, free })
}

/// What is known of a snapshot without reading it.
struct Described {
    meta: SnapshotMeta,
    chunks: u64,
    bytes: u64,
}

fn described(message: &[u8]) -> io::Result<Described> {
    let message = v1::RaftSnapshotMeta::decode(message).map_err(invalid)?;
    let (chunks, bytes) = (message.chunks, message.bytes);
    Ok(Described { meta: codec::snapshot_meta_from(message).map_err(invalid)?, chunks, bytes })
}

fn kept(file: &File) -> io::Result<Option<Described>> {
    let read_kept = || -> Result<Option<Vec<u8>>, redb::Error> {
        let transaction = file.database.begin_read()?;
        Ok(transaction.open_table(META)?.get(SNAPSHOT)?.map(|kept| kept.value().to_vec()))
    };
    read_kept().map_err(io::Error::other)?.map(|kept| described(&kept)).transpose()
}

/// The last entry that the snapshot holds which is kept.
pub(super) fn last(file: &File) -> io::Result<Option<LogId>> {
    Ok(kept(file)?.and_then(|kept| kept.meta.last_log_id))
}

fn replace(file: &File, meta: &SnapshotMeta, chunks: &[Bytes]) -> io::Result<()> {
    let kept = last(file)?;
    if kept.is_some() && kept >= meta.last_log_id {
        return Ok(());
    }
    let bytes = chunks.iter().map(|chunk| chunk.len() as u64).sum();
    let encoded = codec::snapshot_meta_to(meta, chunks.len() as u64, bytes).encode_to_vec();
    let write = || -> Result<(), redb::Error> {
        let transaction = file.database.begin_write()?;
        {
            let mut table = transaction.open_table(CHUNKS)?;
            table.retain(|_, _| false)?;
            for (nth, chunk) in (0..).zip(chunks) {
                table.insert(nth, &chunk[..])?;
            }
            transaction.open_table(META)?.insert(SNAPSHOT, encoded.as_slice())?;
        }
        transaction.commit()?;
        Ok(())
    };
    write().map_err(|error| file.unwritten(error))
}

fn read(file: &File) -> io::Result<Option<Snapshot>> {
    let read = || -> Result<_, redb::Error> {
        let transaction = file.database.begin_read()?;
        let Some(meta) = transaction.open_table(META)?.get(SNAPSHOT)?.map(|kept| kept.value().to_vec())
        else {
            return Ok(None);
        };
        let table = transaction.open_table(CHUNKS)?;
        let chunks = table
            .iter()?
            .map(|row| Ok(Bytes::copy_from_slice(row?.1.value())))
            .collect::<Result<Vec<_>, redb::Error>>()?;
        Ok(Some((meta, chunks)))
    };
    let Some((meta, chunks)) = read().map_err(io::Error::other)? else { return Ok(None) };
    let Described { meta, chunks: expected, .. } = described(&meta)?;
    if chunks.len() as u64 != expected {
        return Err(invalid(format!("the snapshot has {} of its {expected} chunks", chunks.len())));
    }
    Ok(Some(Snapshot { meta, snapshot: chunks }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_has_room_in_what_its_file_and_its_disk_have_left() {
        const MB: u64 = 1024 * 1024;
        for (new, kept, taken, free, needed) in [
            (0, 0, 2 * MB, 0, None),
            // The first one: all of it is new.
            (80 * MB, 0, MB, 81 * MB, None),
            (80 * MB, 0, MB, 80 * MB, Some(81 * MB)),
            // The second one beside the first.
            (80 * MB, 80 * MB, 81 * MB, 80 * MB, Some(81 * MB)),
            // From then on there is room inside the file.
            (80 * MB, 80 * MB, 162 * MB, 0, None),
            (90 * MB, 80 * MB, 162 * MB, 9 * MB, Some(10 * MB)),
            (90 * MB, 80 * MB, 162 * MB, 10 * MB, None),
        ] {
            let lacking = no_room(new, kept, taken, free);
            assert_eq!(lacking.map(|lacking| lacking.needed), needed, "{new} {kept} {taken} {free}");
        }
    }

    #[test]
    fn a_chunk_takes_the_next_power_of_two() {
        const KB: u64 = 1024;
        assert_eq!(stored(0), 4 * KB);
        assert_eq!(stored(1016 * KB), 1024 * KB);
        assert_eq!(stored(1024 * KB), 2048 * KB);
    }
}
