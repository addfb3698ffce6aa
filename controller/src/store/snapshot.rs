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

    /// The snapshot that is kept.
    pub(crate) async fn read(&self) -> io::Result<Option<Snapshot>> {
        let file = Arc::clone(&self.file);
        self.disk.run(move || read(&file)).await?
    }
}

fn decode_meta(bytes: &[u8]) -> io::Result<(SnapshotMeta, u64)> {
    let message = v1::RaftSnapshotMeta::decode(bytes).map_err(invalid)?;
    let chunks = message.chunks;
    Ok((codec::snapshot_meta_from(message).map_err(invalid)?, chunks))
}

/// The last entry that the snapshot holds which is kept.
pub(super) fn last(file: &File) -> io::Result<Option<LogId>> {
    let read_kept = || -> Result<Option<Vec<u8>>, redb::Error> {
        let transaction = file.database.begin_read()?;
        Ok(transaction.open_table(META)?.get(SNAPSHOT)?.map(|kept| kept.value().to_vec()))
    };
    let kept = read_kept().map_err(io::Error::other)?;
    Ok(kept.map(|kept| decode_meta(&kept)).transpose()?.and_then(|(meta, _)| meta.last_log_id))
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
    let (meta, expected) = decode_meta(&meta)?;
    if chunks.len() as u64 != expected {
        return Err(invalid(format!("the snapshot has {} of its {expected} chunks", chunks.len())));
    }
    Ok(Some(Snapshot { meta, snapshot: chunks }))
}
