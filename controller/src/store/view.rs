//! The log as it is in memory: its ends, its vote, and the newest entries, so that replication and the
//! machine rarely read from disk. An entry is here before it is durable, and stays at least until it is.

use std::collections::BTreeMap;
use std::ops::Range;

use super::file::Kept;
use crate::raft::types::{Entry, LogId, Payload, Vote};

/// What the newest entries may take in memory.
const CACHE_BYTES: usize = 32 * 1024 * 1024;
/// An entry without its commands, about.
const ENTRY_BYTES: usize = 128;
/// What readers get in one piece, unless a single entry is larger.
pub(super) const READ_BYTES: usize = 2 * 1024 * 1024;

#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
    pub(super) last: Option<LogId>,
    recent: BTreeMap<u64, Entry>,
    bytes: usize,
    /// Entries below this index are durable.
    durable: u64,
}

/// Where the entries of a range are.
#[derive(Debug)]
pub(super) struct Found {
    /// To be read from disk, before those in memory.
    pub(super) on_disk: Range<u64>,
    /// In memory.
    pub(super) in_memory: Vec<Entry>,
}

pub(super) fn size(entry: &Entry) -> usize {
    match &entry.payload {
        Payload::Normal(proposal) => {
            ENTRY_BYTES + proposal.commands.iter().map(bytes::Bytes::len).sum::<usize>()
        }
        Payload::Blank | Payload::Membership(_) => ENTRY_BYTES,
    }
}

impl View {
    /// A log that was just opened.
    pub(super) fn opened(kept: &Kept) -> Self {
        Self {
            vote: kept.vote,
            committed: kept.committed,
            purged: kept.purged,
            last: kept.last,
            ..Self::default()
        }
    }

    pub(super) fn append(&mut self, entries: &[Entry]) {
        for entry in entries {
            self.bytes += size(entry);
            if let Some(old) = self.recent.insert(entry.log_id.index, entry.clone()) {
                self.bytes -= size(&old);
            }
            self.last = Some(entry.log_id);
        }
        self.shrink();
    }

    /// Everything up to `last` is on disk; unless that was truncated in the meantime, in which case
    /// what has taken its place is not there yet.
    pub(super) fn became_durable(&mut self, last: LogId) {
        if self.recent.get(&last.index).is_some_and(|entry| entry.log_id == last) {
            self.durable = self.durable.max(last.index + 1);
            self.shrink();
        }
    }

    /// What is committed, where the entries up to it are durable, or will be with those up to `appended`: a log must
    /// not say that something is committed which it does not hold.
    pub(super) fn committed_within(&self, appended: Option<LogId>) -> Option<LogId> {
        let after = |last: Option<LogId>| last.map_or(0, |last| last.index + 1);
        let end = self.durable.max(after(self.purged)).max(after(appended));
        self.committed.filter(|committed| committed.index < end)
    }

    /// Forgets everything after `last`; returns the first index that is gone.
    pub(super) fn truncate(&mut self, last: Option<LogId>) -> u64 {
        let from = last.map_or(0, |last| last.index + 1);
        for entry in self.recent.split_off(&from).values() {
            self.bytes -= size(entry);
        }
        if self.last.is_some_and(|kept| kept.index >= from) {
            self.last = last;
        }
        self.durable = self.durable.min(from);
        from
    }

    pub(super) fn purge(&mut self, up_to: LogId) {
        self.purged = self.purged.max(Some(up_to));
        self.last = self.last.max(Some(up_to));
        let kept = self.recent.split_off(&(up_to.index + 1));
        for entry in self.recent.values() {
            self.bytes -= size(entry);
        }
        self.recent = kept;
    }

    fn shrink(&mut self) {
        while self.bytes > CACHE_BYTES {
            let Some(oldest) = self.recent.first_entry() else { break };
            if *oldest.key() >= self.durable {
                break;
            }
            self.bytes -= size(&oldest.remove());
        }
    }

    /// Where the entries of `range` are, as far as the log has them.
    pub(super) fn find(&self, range: Range<u64>) -> Found {
        let first = self.purged.map_or(0, |purged| purged.index + 1);
        let end = self.last.map_or(0, |last| last.index + 1);
        let range = range.start.max(first)..range.end.min(end);
        if range.is_empty() {
            return Found { on_disk: 0..0, in_memory: Vec::new() };
        }
        let split = self.recent.range(range.clone()).next().map_or(range.end, |(index, _)| *index);
        Found {
            on_disk: range.start..split,
            in_memory: self.recent.range(split..range.end).map(|(_, entry)| entry.clone()).collect(),
        }
    }
}

/// As many of `entries` as are read in one piece: always the first.
pub(super) fn limited(entries: Vec<Entry>) -> Vec<Entry> {
    let mut bytes = 0;
    entries
        .into_iter()
        .enumerate()
        .take_while(|(nth, entry)| {
            bytes += size(entry);
            *nth == 0 || bytes <= READ_BYTES
        })
        .map(|(_, entry)| entry)
        .collect()
}
