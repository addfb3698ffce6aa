//! The one writer of the log. Whatever waits when it looks becomes one transaction (group commit), and
//! votes and entries share one order.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use metrics::histogram;
use muster_platform::Disk;
use openraft::storage::IOFlushed;
use tokio::sync::{mpsc, oneshot};

use super::file::{Change, LogFile};
use super::view::View;
use crate::raft::types::{LogId, TypeConfig};

/// Changes that may wait for the disk; more make the caller wait.
const QUEUE: usize = 4096;
/// Changes that become one transaction at most.
const BATCH: usize = 1024;

/// Entries that may be committed beyond what the file says to be: to say it with every one of them costs a
/// transaction some pages more, and whoever starts again hears it from the leader.
const COMMITTED_EVERY: u64 = 64;

/// A change, and who waits for it.
pub(super) struct Write {
    pub(super) change: Change,
    pub(super) done: Done,
}

pub(super) enum Done {
    /// Nobody.
    Nobody,
    /// The caller.
    Caller(oneshot::Sender<io::Result<()>>),
    /// Consensus.
    Flushed(IOFlushed<TypeConfig>),
}

impl Done {
    fn tell(self, outcome: io::Result<()>) {
        match self {
            Self::Nobody => {
                if let Err(error) = outcome {
                    tracing::error!(%error, "cannot write to the log");
                }
            }
            // A caller that is gone no longer wants to know.
            Self::Caller(caller) => drop(caller.send(outcome)),
            Self::Flushed(flushed) => flushed.io_completed(outcome),
        }
    }
}

pub(super) type SharedView = Arc<Mutex<View>>;

pub(super) fn lock(view: &SharedView) -> MutexGuard<'_, View> {
    view.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hands changes to the writer. Clones share it; it ends with the last of them.
#[derive(Clone)]
pub(super) enum Writer {
    Thread(mpsc::Sender<Write>),
    Inline(Arc<Mutex<Committer>>),
}

impl Writer {
    pub(super) fn start(file: LogFile, view: SharedView, disk: Disk) -> io::Result<Self> {
        let committer = Committer { file, view, committed: None };
        match disk {
            Disk::Inline => Ok(Self::Inline(Arc::new(Mutex::new(committer)))),
            Disk::Threads => {
                let (changes, waiting) = mpsc::channel(QUEUE);
                std::thread::Builder::new()
                    .name("raft-log".to_owned())
                    .spawn(move || committer.run(waiting))?;
                Ok(Self::Thread(changes))
            }
        }
    }

    pub(super) async fn write(&self, write: Write) -> io::Result<()> {
        match self {
            Self::Thread(changes) => {
                changes.send(write).await.map_err(|_| io::Error::other("the log's writer has ended"))
            }
            Self::Inline(committer) => {
                let mut committer = committer.lock().unwrap_or_else(PoisonError::into_inner);
                committer.commit(vec![write]);
                committer.purge();
                Ok(())
            }
        }
    }

    /// Writes `change` and waits until it is done.
    pub(super) async fn write_and_wait(&self, change: Change) -> io::Result<()> {
        let (done, outcome) = oneshot::channel();
        self.write(Write { change, done: Done::Caller(done) }).await?;
        outcome.await.map_err(|_| io::Error::other("the log's writer has ended"))?
    }
}

/// Turns changes into transactions.
pub(super) struct Committer {
    file: LogFile,
    view: SharedView,
    /// What the file says to be committed, as far as this run has written it.
    committed: Option<LogId>,
}

impl Committer {
    fn run(mut self, mut waiting: mpsc::Receiver<Write>) {
        let mut batch = Vec::new();
        while waiting.blocking_recv_many(&mut batch, BATCH) > 0 {
            self.commit(std::mem::take(&mut batch));
            while self.file.is_purging() && waiting.is_empty() {
                if !self.purge_some() {
                    break;
                }
            }
        }
        // Nothing comes any more that it could be written with.
        self.commit(Vec::new());
    }

    fn commit(&mut self, mut batch: Vec<Write>) {
        let committed = self.newly_committed(&batch);
        batch.extend(
            committed.map(|committed| Write { change: Change::Committed(committed), done: Done::Nobody }),
        );
        if batch.is_empty() {
            return;
        }
        let (changes, done): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|write| (write.change, write.done)).unzip();
        let begun = Instant::now();
        let outcome = self.file.commit(&changes).map_err(|error| error.to_string());
        histogram!("muster_raft_log_write_seconds").record(begun.elapsed().as_secs_f64());
        self.file.observe();
        if outcome.is_ok() {
            self.committed = self.committed.max(committed);
            let mut view = lock(&self.view);
            for change in &changes {
                match change {
                    Change::Append(entries) => {
                        if let Some(last) = entries.last() {
                            view.became_durable(last.log_id);
                        }
                    }
                    Change::Vote(vote) => view.vote = Some(*vote),
                    Change::Truncate(_) | Change::Committed(_) | Change::Purge(_) => {}
                }
            }
        }
        for done in done {
            done.tell(outcome.clone().map_err(io::Error::other));
        }
    }

    /// What is committed and not written yet. It travels with what is written anyway: a transaction of its own, one
    /// for each entry, would hold up the next.
    fn newly_committed(&self, batch: &[Write]) -> Option<LogId> {
        let appended = batch.iter().rev().find_map(|write| match &write.change {
            Change::Append(entries) => entries.last().map(|last| last.log_id),
            Change::Vote(_) | Change::Truncate(_) | Change::Committed(_) | Change::Purge(_) => None,
        });
        let committed = lock(&self.view).committed_within(appended)?;
        // Nothing is written but this only when nothing comes any more.
        let every = if batch.is_empty() { 1 } else { COMMITTED_EVERY };
        let is_news = |written: LogId| committed.index >= written.index + every;
        self.committed.is_none_or(is_news).then_some(committed)
    }

    fn purge(&mut self) {
        while self.file.is_purging() && self.purge_some() {}
    }

    fn purge_some(&mut self) -> bool {
        let outcome = self.file.commit(&[]);
        if let Err(error) = &outcome {
            // The entries stay and cost room; a disk that is broken shows at the next append.
            tracing::warn!(%error, "cannot delete old entries of the log");
        }
        outcome.is_ok()
    }
}
