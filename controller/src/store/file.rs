//! The log's tables, and what is done to them in one transaction.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use metrics::gauge;
use muster_proto::v1;
use prost::Message;
use redb::{
    Durability, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _, TableDefinition,
    WriteTransaction,
};

use super::open::File;
use crate::raft::codec::{self, Malformed};
use crate::raft::types::{Entry, LogId, Vote};

const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const OWNER: &str = "owner";
const VOTE: &str = "vote";
const COMMITTED: &str = "committed";
const PURGED: &str = "purged";

/// Entries that one transaction deletes at most, so that a purge does not hold up commits.
const PURGE_BATCH: u64 = 512;

/// One change of the log.
#[derive(Debug)]
pub(super) enum Change {
    Append(Vec<Entry>),
    Vote(Vote),
    /// Removes everything from this index on.
    Truncate(u64),
    Committed(LogId),
    Purge(LogId),
}

impl Change {
    /// Whether it must survive a crash once it is answered. What is committed and what is purged can be
    /// found out again.
    fn is_durable(&self) -> bool {
        match self {
            Self::Append(_) | Self::Vote(_) | Self::Truncate(_) => true,
            Self::Committed(_) | Self::Purge(_) => false,
        }
    }
}

/// What a log holds when it is opened.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) owner: Option<v1::RaftOwner>,
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
    pub(super) last: Option<LogId>,
}

/// The log's file. Its writer also deletes purged entries, a few at a time.
#[derive(Debug)]
pub(super) struct LogFile {
    file: Arc<File>,
    /// Entries that are purged but not deleted.
    purging: Range<u64>,
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn decode_entry(bytes: &[u8]) -> io::Result<Entry> {
    let message = v1::RaftEntry::decode(Bytes::copy_from_slice(bytes)).map_err(invalid)?;
    codec::entry_from(message).map_err(invalid)
}

fn decode<M: prost::Message + Default, T>(
    bytes: &[u8],
    from: impl FnOnce(M) -> Result<T, Malformed>,
) -> io::Result<T> {
    from(M::decode(bytes).map_err(invalid)?).map_err(invalid)
}

/// Creates the tables, and writes down their owner if there is none.
pub(super) fn initialize(file: &File, owner: &v1::RaftOwner) -> Result<(), redb::Error> {
    let transaction = file.database.begin_write()?;
    {
        transaction.open_table(LOG)?;
        let mut meta = transaction.open_table(META)?;
        if meta.get(OWNER)?.is_none() {
            meta.insert(OWNER, owner.encode_to_vec().as_slice())?;
        }
    }
    transaction.commit()?;
    Ok(())
}

/// What the log holds, checked for being whole.
pub(super) fn kept(file: &File) -> io::Result<Kept> {
    let read = || -> Result<_, redb::Error> {
        let transaction = file.database.begin_read()?;
        let meta = transaction.open_table(META)?;
        let get = |key| -> Result<Option<Vec<u8>>, redb::Error> {
            Ok(meta.get(key)?.map(|value| value.value().to_vec()))
        };
        let keys = [get(OWNER)?, get(VOTE)?, get(COMMITTED)?, get(PURGED)?];
        let log = transaction.open_table(LOG)?;
        let first = log.first()?.map(|(key, _)| key.value());
        let last = log.last()?.map(|(key, value)| (key.value(), value.value().to_vec()));
        Ok((keys, first.zip(last), log.len()?))
    };
    let ([owner, vote, committed, purged], ends, len) = read().map_err(io::Error::other)?;
    let log_id = |bytes: Option<Vec<u8>>| {
        bytes.map(|bytes| decode(&bytes, |id| Ok(codec::log_id_from(id)))).transpose()
    };
    let mut kept = Kept {
        owner: owner.map(|bytes| decode(&bytes, Ok)).transpose()?,
        vote: vote.map(|bytes| decode(&bytes, |vote| Ok(codec::vote_from(vote)))).transpose()?,
        committed: log_id(committed)?,
        purged: log_id(purged)?,
        last: None,
    };
    kept.last = match ends {
        Some((first, (key, value))) => {
            if key - first + 1 != len {
                return Err(invalid(format!("it has {len} entries between {first} and {key}")));
            }
            let entry = decode_entry(&value)?;
            if entry.log_id.index != key {
                return Err(invalid(format!("entry {key} says that it is entry {}", entry.log_id.index)));
            }
            kept.purged.max(Some(entry.log_id))
        }
        None => kept.purged,
    };
    Ok(kept)
}

/// Entries that were read, and whether all that were asked for.
pub(super) struct Read {
    pub(super) entries: Vec<Entry>,
    pub(super) is_all: bool,
}

/// The entries of `range`, at most about `limit` bytes of them but at least one. The log has no holes:
/// where it begins within the range, all that follow must be there.
pub(super) fn read(file: &File, range: Range<u64>, limit: usize) -> io::Result<Read> {
    let rows = || -> Result<_, redb::Error> {
        let transaction = file.database.begin_read()?;
        Ok(transaction.open_table(LOG)?.range(range.clone())?)
    };
    let mut entries: Vec<Entry> = Vec::new();
    let mut bytes = 0;
    for row in rows().map_err(io::Error::other)? {
        let (key, value) = row.map_err(io::Error::other)?;
        bytes += value.value().len();
        if bytes > limit && !entries.is_empty() {
            return Ok(Read { entries, is_all: false });
        }
        let entry = decode_entry(value.value())?;
        let expected = entries.last().map_or(key.value(), |before| before.log_id.index + 1);
        if key.value() != expected || entry.log_id.index != expected {
            return Err(invalid(format!("entry {expected} of the log is missing")));
        }
        entries.push(entry);
    }
    match entries.last() {
        Some(last) if last.log_id.index + 1 < range.end => {
            Err(invalid(format!("entry {} of the log is missing", last.log_id.index + 1)))
        }
        _ => Ok(Read { entries, is_all: true }),
    }
}

impl LogFile {
    /// `purged` entries that an earlier run did not come to delete are deleted by and by.
    pub(super) fn new(file: Arc<File>, purged: Option<LogId>) -> Self {
        Self { file, purging: 0..purged.map_or(0, |id| id.index + 1) }
    }

    /// Tells how large the file is.
    #[allow(clippy::cast_precision_loss)] // a gauge is a float
    pub(super) fn observe(&self) {
        if let Some(length) = self.file.length() {
            gauge!("muster_raft_log_bytes").set(length as f64);
        }
    }

    pub(super) fn is_purging(&self) -> bool {
        !self.purging.is_empty()
    }

    /// Makes `changes`, in their order, in one transaction. On return what must be durable is.
    pub(super) fn commit(&mut self, changes: &[Change]) -> io::Result<()> {
        self.transact(changes).map_err(|error| self.file.unwritten(error))
    }

    fn transact(&mut self, changes: &[Change]) -> Result<(), redb::Error> {
        let mut transaction = self.file.database.begin_write()?;
        if !changes.iter().any(Change::is_durable) {
            transaction.set_durability(Durability::None)?;
        }
        for change in changes {
            if let Change::Purge(up_to) = change {
                self.purging.end = self.purging.end.max(up_to.index + 1);
            }
        }
        write(&transaction, changes)?;
        self.purging.start = delete_some(&transaction, self.purging.clone())?;
        transaction.commit()?;
        Ok(())
    }
}

fn write(transaction: &WriteTransaction, changes: &[Change]) -> Result<(), redb::Error> {
    let mut log = transaction.open_table(LOG)?;
    let mut meta = transaction.open_table(META)?;
    let mut buffer = Vec::new();
    for change in changes {
        buffer.clear();
        let key = match change {
            Change::Append(entries) => {
                for entry in entries {
                    buffer.clear();
                    encode(&codec::entry_to(entry), &mut buffer);
                    log.insert(entry.log_id.index, buffer.as_slice())?;
                }
                continue;
            }
            Change::Truncate(from) => {
                log.retain_in(*from.., |_, _| false)?;
                continue;
            }
            Change::Vote(vote) => {
                encode(&codec::vote_to(vote), &mut buffer);
                VOTE
            }
            Change::Committed(id) => {
                encode(&codec::log_id_to(*id), &mut buffer);
                COMMITTED
            }
            Change::Purge(id) => {
                encode(&codec::log_id_to(*id), &mut buffer);
                PURGED
            }
        };
        meta.insert(key, buffer.as_slice())?;
    }
    Ok(())
}

fn encode(message: &impl Message, buffer: &mut Vec<u8>) {
    // Encoding into a Vec cannot fail: it grows.
    let _ = message.encode(buffer);
}

/// Deletes the first entries of `purging`; returns where the rest begins.
fn delete_some(transaction: &WriteTransaction, purging: Range<u64>) -> Result<u64, redb::Error> {
    if purging.is_empty() {
        return Ok(purging.start);
    }
    let mut log = transaction.open_table(LOG)?;
    let first = log.first()?.map_or(purging.end, |(key, _)| key.value()).max(purging.start);
    let end = purging.end.min(first.saturating_add(PURGE_BATCH));
    log.retain_in(first..end, |_, _| false)?;
    Ok(end.max(purging.start))
}
