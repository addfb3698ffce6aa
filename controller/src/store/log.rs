//! The log store that consensus sees.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::{Arc, Mutex};

use muster_platform::Disk;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};

use super::file::{self, Change, Kept, LogFile};
use super::open::File;
use super::view::{self, View};
use super::writer::{Done, SharedView, Write, Writer, lock};
use crate::raft::types::{Entry, LogId, TypeConfig, Vote};

/// The log and the vote of a member.
pub(crate) struct LogStore {
    reader: Reader,
    writer: Writer,
}

/// Reads the log. Clones read the same one.
#[derive(Clone)]
pub(crate) struct Reader {
    view: SharedView,
    file: Arc<File>,
    disk: Disk,
}

impl LogStore {
    pub(super) fn new(file: Arc<File>, kept: &Kept, disk: Disk) -> io::Result<Self> {
        let view = Arc::new(Mutex::new(View::opened(kept)));
        let log_file = LogFile::new(Arc::clone(&file), kept.purged);
        let writer = Writer::start(log_file, Arc::clone(&view), disk)?;
        Ok(Self { reader: Reader { view, file, disk }, writer })
    }

    #[cfg(test)]
    pub(super) fn file(&self) -> &File {
        &self.reader.file
    }
}

impl Reader {
    async fn read(&self, range: Range<u64>, limit: usize) -> io::Result<Vec<Entry>> {
        let found = lock(&self.view).find(range);
        if found.on_disk.is_empty() {
            return Ok(found.in_memory);
        }
        let file = Arc::clone(&self.file);
        let mut read = self.disk.run(move || file::read(&file, found.on_disk, limit)).await??;
        if read.is_all {
            read.entries.extend(found.in_memory);
        }
        Ok(read.entries)
    }
}

fn half_open(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

impl RaftLogReader<TypeConfig> for Reader {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> io::Result<Vec<Entry>> {
        self.read(half_open(&range), usize::MAX).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(lock(&self.view).vote)
    }

    /// Where the first of them was purged meanwhile there is nothing: what comes after it would leave a hole in
    /// the log of the follower that it is sent to.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let entries = view::limited(self.read(start..end, view::READ_BYTES).await?);
        let is_whole = entries.first().is_some_and(|first| first.log_id.index == start);
        Ok(if is_whole { entries } else { Vec::new() })
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Reader;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let view = lock(&self.reader.view);
        Ok(LogState { last_purged_log_id: view.purged, last_log_id: view.last })
    }

    async fn get_log_reader(&mut self) -> Reader {
        self.reader.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.writer.write_and_wait(Change::Vote(*vote)).await
    }

    /// Written with the next entries: losing it costs nothing but a short wait for the leader after a
    /// restart, since a restarted leader must be elected again.
    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        let mut view = lock(&self.reader.view);
        view.committed = committed.or(view.committed);
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(lock(&self.reader.view).committed)
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        lock(&self.reader.view).append(&entries);
        self.writer.write(Write { change: Change::Append(entries), done: Done::Flushed(flushed) }).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let from = lock(&self.reader.view).truncate(last);
        self.writer.write_and_wait(Change::Truncate(from)).await
    }

    /// Returns before the disk has it: entries that come back after a crash are purged again.
    async fn purge(&mut self, up_to: LogId) -> io::Result<()> {
        lock(&self.reader.view).purge(up_to);
        self.writer.write(Write { change: Change::Purge(up_to), done: Done::Nobody }).await
    }
}
