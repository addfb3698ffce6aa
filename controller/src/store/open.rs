//! Opening the files, with errors that a person can act on.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster_common::id::{ClusterId, ControllerId};
use muster_platform::Disk;
use muster_proto::v1;
use redb::{Database, DatabaseError};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::file::{self, Kept};
use super::log::LogStore;
use super::memory::Backend;
use super::snapshot::{self, SnapshotStore};
use crate::raft::types::Incarnation;
use crate::raft::{StartError, Storage};

/// What redb may keep of each file in memory (its own default is 1 GiB).
const LOG_CACHE: usize = 64 * 1024 * 1024;
const STATE_CACHE: usize = 16 * 1024 * 1024;

/// The controller that the files must belong to.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    pub(crate) cluster: ClusterId,
    pub(crate) controller: ControllerId,
    /// The incarnation that the files get if they are made now.
    pub(crate) incarnation: Incarnation,
}

/// An open file.
#[derive(Debug)]
pub(super) struct File {
    pub(super) database: Database,
    /// Its path; `None` where it is in memory.
    path: Option<PathBuf>,
    /// Dropped after the database: tells that the file is closed.
    _closed: DropGuard,
}

impl File {
    /// That it could not be written, said so that it can be mended.
    pub(super) fn unwritten(&self, error: redb::Error) -> io::Error {
        io::Error::other(refused(self.path.as_deref().unwrap_or(Path::new("(memory)")), error))
    }

    /// How many bytes more its disk has room for; `None` for one in memory.
    pub(super) fn free(&self) -> io::Result<Option<u64>> {
        let Some(path) = &self.path else { return Ok(None) };
        let disk = rustix::fs::statvfs(path)?;
        Ok(Some(disk.f_bavail.saturating_mul(disk.f_frsize)))
    }

    /// How many bytes of its disk it takes: less than it is long, as it grows by doubling, and leaves out what was never
    /// written. `None` for one in memory.
    pub(super) fn taken(&self) -> io::Result<Option<u64>> {
        /// What the system counts in, whatever the disk's own blocks are (stat(2)).
        const BLOCK: u64 = 512;
        let Some(path) = &self.path else { return Ok(None) };
        Ok(Some(std::fs::metadata(path)?.blocks() * BLOCK))
    }

    /// How long it is; `None` of one in memory, and where the disk does not say.
    pub(super) fn length(&self) -> Option<u64> {
        std::fs::metadata(self.path.as_ref()?).ok().map(|metadata| metadata.len())
    }
}

/// The stores of a member.
pub(crate) struct Stores {
    pub(crate) log: LogStore,
    pub(crate) snapshots: SnapshotStore,
    /// Which files these are.
    pub(crate) incarnation: Incarnation,
    /// Cancelled when the files are closed, after the last user of the stores is gone.
    pub(crate) closed: [CancellationToken; 2],
}

/// Opens the stores, or creates them. Blocks.
pub(crate) fn open(storage: &Storage, owner: &Owner, disk: Disk) -> Result<Stores, StartError> {
    let log_path = path(storage, "log.redb");
    let (log, log_closed) = open_file(storage, &log_path, LOG_CACHE, |disk| disk.log.open())?;
    let us = v1::RaftOwner {
        cluster: owner.cluster.to_string(),
        controller: owner.controller.0,
        incarnation: owner.incarnation.0.clone(),
    };
    file::initialize(&log, &us).map_err(|error| refused(&log_path, error))?;
    let kept = file::kept(&log)
        .map_err(|error| StartError::Damaged { path: log_path.clone(), cause: error.to_string() })?;
    let found = kept.owner.as_ref().unwrap_or(&us);
    if (&found.cluster, found.controller) != (&us.cluster, us.controller) {
        return Err(StartError::WrongOwner {
            path: log_path,
            found: ControllerId(found.controller),
            cluster: found.cluster.clone(),
            expected: format!("controller {} of cluster {}", owner.controller, owner.cluster),
        });
    }

    let state_path = path(storage, "state.redb");
    let (state, state_closed) = open_file(storage, &state_path, STATE_CACHE, |disk| disk.state.open())?;
    snapshot::initialize(&state).map_err(|error| refused(&state_path, error))?;
    check_reach(&state_path, &state, &kept)?;
    let incarnation = Incarnation(found.incarnation.clone());
    // Last, since it starts the writer, which a failure would leave with the file for a moment.
    let log = LogStore::new(log, &kept, disk).map_err(|source| StartError::io(log_path, source))?;
    let snapshots = SnapshotStore::new(state, disk);
    Ok(Stores { log, snapshots, incarnation, closed: [log_closed, state_closed] })
}

/// Entries are purged only when a snapshot holds what they did. Without it, what they did is lost.
fn check_reach(path: &Path, state: &File, kept: &Kept) -> Result<(), StartError> {
    let damaged = |cause| Err(StartError::Damaged { path: path.to_owned(), cause });
    match snapshot::last(state) {
        Ok(last) if last >= kept.purged => Ok(()),
        Ok(None) => damaged(
            "it was missing, or holds no snapshot, and the log does not begin with its first entry"
                .to_owned(),
        ),
        Ok(Some(last)) => {
            damaged(format!("its snapshot ends with entry {}, and the log begins later", last.index))
        }
        Err(error) => damaged(error.to_string()),
    }
}

fn path(storage: &Storage, name: &str) -> PathBuf {
    match storage {
        Storage::Directory(directory) => directory.join(name),
        Storage::Memory(_) => Path::new("(memory)").join(name),
    }
}

fn open_file(
    storage: &Storage,
    path: &Path,
    cache: usize,
    memory: impl FnOnce(&super::MemoryDisk) -> Backend,
) -> Result<(Arc<File>, CancellationToken), StartError> {
    let mut builder = Database::builder();
    builder.set_cache_size(cache);
    let (is_new, opened) = match storage {
        Storage::Directory(_) => (is_empty(path), builder.create(path)),
        Storage::Memory(disk) => (false, builder.create_with_backend(memory(disk))),
    };
    let mut database = opened.map_err(|error| {
        let error = not_opened(path, error);
        if is_new && matches!(error, StartError::Full { .. }) {
            take_back(path);
        }
        error
    })?;
    if matches!(storage, Storage::Directory(_)) {
        verify(path, &mut database)?;
    }
    let closed = CancellationToken::new();
    let on_disk = matches!(storage, Storage::Directory(_)).then(|| path.to_owned());
    Ok((Arc::new(File { database, path: on_disk, _closed: closed.clone().drop_guard() }), closed))
}

/// Whether nothing was ever written to a file.
fn is_empty(path: &Path) -> bool {
    match std::fs::metadata(path) {
        Ok(metadata) => metadata.len() == 0,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Empties a file that there was no room to make: what there is of it would be taken for a damaged one when there is.
fn take_back(path: &Path) {
    let emptied = OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(0));
    if let Err(error) = emptied {
        tracing::warn!(%error, path = %path.display(), "a file that could not be made is left; remove it");
    }
}

/// Reads the whole file against its checksums: a flipped bit must not be taken for an entry. Opening alone
/// looks no further than what it needs.
fn verify(path: &Path, database: &mut Database) -> Result<(), StartError> {
    match database.check_integrity() {
        Ok(true) => Ok(()),
        Ok(false) => {
            let cause = "its checksums do not match what it holds".to_owned();
            Err(StartError::Damaged { path: path.to_owned(), cause })
        }
        Err(error) => Err(not_opened(path, error)),
    }
}

fn not_opened(path: &Path, error: DatabaseError) -> StartError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StartError::InUse { path: path.to_owned() },
        error => refused(path, error.into()),
    }
}

fn refused(path: &Path, error: redb::Error) -> StartError {
    let path = path.to_owned();
    match error {
        redb::Error::Io(source)
            if !matches!(source.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
        {
            StartError::io(path, source)
        }
        error => StartError::Damaged { path, cause: error.to_string() },
    }
}
