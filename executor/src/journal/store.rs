//! The journal's file. It is read as a whole at the start, and then written transaction by transaction.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::ops::Range;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use muster_common::id::ExecutorId;
use muster_common::time::Timestamp;
use muster_platform::Disk;
use muster_proto::v1;
use prost::Message as _;
use redb::{
    Builder, Database, DatabaseError, Durability, ReadableDatabase as _, ReadableTable as _, StorageError,
    TableDefinition, TableError,
};

use super::batch::{Batch, Drawer, Drawers, META_EXECUTOR, META_INCOMPLETE};
use super::contents::Contents;
use super::quarantine;

const FILE: &str = "journal.redb";
/// Specs hold secrets, and others may pass through the data directory.
const MODE: u32 = 0o600;
/// How many damaged journals are kept. A disk that damages them all must not fill up with them.
const DAMAGED_KEPT: u32 = 4;
/// Records are small and read once: redb's default of 1 GiB is not for an agent.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// Where redb's account of a repair stops only if it has to take back what was written last; it says it in no other
/// way.
const TOOK_BACK: Range<f64> = 0.1..0.6;

pub(super) type Table = TableDefinition<'static, &'static str, &'static [u8]>;

impl Drawer {
    pub(super) const fn table(self) -> Table {
        TableDefinition::new(self.name())
    }
}

/// The journal cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// Somebody else has it open.
    #[error("the journal {path} is in use by another process")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It belongs to another executor.
    #[error("the journal {path} belongs to executor {owner}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: String,
    },
    /// The disk cannot read or write it.
    #[error("the journal {path} cannot be opened")]
    Disk {
        /// The file.
        path: PathBuf,
        /// The store's own words.
        source: Box<redb::Error>,
    },
}

/// The disk does not take what is to be written: it is full, say, or the file is damaged.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct CommitError(#[source] redb::Error);

impl CommitError {
    /// Whether it is the file that is damaged, so that no other try goes better. The next start puts it aside.
    pub(crate) fn is_damage(&self) -> bool {
        is_damage(&self.0)
    }

    /// What is wrong, as one of a few words.
    pub(crate) fn kind(&self) -> String {
        match &self.0 {
            redb::Error::Io(error) => format!("{:?}", error.kind()),
            _ => "Other".to_owned(),
        }
    }
}

/// One start of the executor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Incarnation {
    /// Grows with each start.
    pub number: u64,
    /// Whether the machine booted since the start before.
    pub rebooted: bool,
    /// Whether the start before closed the journal; else it was repaired.
    pub was_closed: bool,
}

/// The open journal. Owned by the supervisor, which is the only one that writes.
pub(crate) struct Journal {
    path: PathBuf,
    disk: Disk,
    database: Option<Arc<Database>>,
}

impl Journal {
    /// Opens the journal in `directory`, begins a new incarnation of `id`, and reads everything. The note that this incarnation
    /// began is not written yet but returned as [`Contents::begun`], since an executor must start on a full disk, too.
    pub(crate) async fn open(
        directory: &Path,
        disk: Disk,
        id: &ExecutorId,
        boot_id: &str,
        now: Timestamp,
    ) -> Result<(Self, Incarnation, Contents), OpenError> {
        let path = directory.join(FILE);
        let (id, boot_id, file) = (id.clone(), boot_id.to_owned(), path.clone());
        let opened = disk.run(move || {
            let Opened { database, was_closed, went_back } = open_or_set_aside(&file)?;
            let failed =
                |source: redb::Error| OpenError::Disk { path: file.clone(), source: Box::new(source) };
            // Another's journal is left as it is, damaged records and all.
            let before = before(&database, &file, &id)?;
            let mut contents = read(&database, went_back, now).map_err(failed)?;
            let incarnation = incarnation(before.as_ref(), &boot_id, was_closed);
            contents.begun = begun(&id, &boot_id, incarnation.number, contents.is_whole);
            Ok((database, incarnation, contents))
        });
        let (database, incarnation, contents) = match opened.await {
            Ok(result) => result?,
            Err(error) => {
                return Err(OpenError::Disk { path, source: Box::new(redb::Error::Io(error)) });
            }
        };
        Ok((Self { path, disk, database: Some(Arc::new(database)) }, incarnation, contents))
    }

    /// Writes `batch`, all of it or nothing. What could not be written may be tried again.
    pub(crate) async fn commit(&mut self, batch: Arc<Batch>) -> Result<(), CommitError> {
        // After a failed write redb wants the file opened anew.
        let (path, database) = (self.path.clone(), self.database.take());
        let work = move || {
            let database = match database {
                Some(database) => database,
                // Whatever it went back to, the whole batch follows.
                None => Arc::new(open(&path)?.0),
            };
            write(&database, &batch)?;
            Ok::<_, redb::Error>(database)
        };
        let written = self.disk.run(work).await.map_err(redb::Error::Io).and_then(|written| written);
        self.database = Some(written.map_err(CommitError)?);
        Ok(())
    }
}

/// A file as it was found.
struct Opened {
    database: Database,
    /// Else it was repaired.
    was_closed: bool,
    /// Whether something that was written is missing.
    went_back: bool,
}

/// What redb did to a file that was not closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repair {
    /// Nothing: it was closed.
    None,
    /// It counted again what is in use.
    Counted,
    /// What was written last could not be read, and was taken back.
    TookBack,
}

pub(super) fn open(path: &Path) -> Result<(Database, Repair), DatabaseError> {
    let file = File::options().create(true).truncate(false).read(true).write(true).mode(MODE).open(path);
    let file = file.and_then(|file| {
        // One that was made by an earlier version may be open to others.
        file.set_permissions(Permissions::from_mode(MODE))?;
        Ok(file)
    });
    let repair = Rc::new(Cell::new(Repair::None));
    let seen = Rc::clone(&repair);
    let database = Builder::new()
        .set_cache_size(CACHE_BYTES)
        .set_repair_callback(move |session| {
            let took_back = seen.get() == Repair::TookBack || TOOK_BACK.contains(&session.progress());
            seen.set(if took_back { Repair::TookBack } else { Repair::Counted });
        })
        .create_file(file.map_err(StorageError::from)?)?;
    Ok((database, repair.get()))
}

/// Pages of a file that somebody else wrote into are found here, by their checksums: later, redb would
/// not survive them.
fn open_checked(path: &Path) -> Result<Opened, DatabaseError> {
    let (mut database, repair) = open(path)?;
    let went_back = repair == Repair::TookBack || !database.check_integrity()?;
    if went_back {
        // A write that a loss of power interrupted looks the same. Nothing came of it then, and this costs a question.
        tracing::error!(
            journal = %path.display(),
            "the journal was damaged, or not written to its end, and went back to an earlier state; what runs makes up for it"
        );
    }
    Ok(Opened { database, was_closed: repair == Repair::None, went_back })
}

/// Something that was written is missing, also for the start after this one, should it get no further.
pub(super) fn note_incomplete(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(Drawer::Meta.table())?.insert(META_INCOMPLETE, [].as_slice())?;
    transaction.commit()?;
    Ok(())
}

/// A file that is damaged beyond repair is kept beside the new one: the executor starts, and what ran is
/// found by the runners.
fn open_or_set_aside(path: &Path) -> Result<Opened, OpenError> {
    let failed = |source: redb::Error| OpenError::Disk { path: path.to_owned(), source: Box::new(source) };
    match open_checked(path) {
        Ok(opened) => Ok(opened),
        Err(DatabaseError::DatabaseAlreadyOpen) => Err(OpenError::InUse { path: path.to_owned() }),
        Err(error) => match error.into() {
            error if is_damage(&error) => set_aside(path, &error),
            error => Err(failed(error)),
        },
    }
}

/// Whether a file is no journal, or not one any more.
fn is_damage(error: &redb::Error) -> bool {
    match error {
        redb::Error::Corrupted(_) => true,
        redb::Error::Io(error) => error.kind() == std::io::ErrorKind::InvalidData,
        _ => false,
    }
}

/// The first that is free. When none is, the last one gives way: what was damaged first tells the most.
fn place_aside(path: &Path) -> PathBuf {
    let mut places = (1..=DAMAGED_KEPT).map(|number| match number {
        1 => path.with_extension("redb.damaged"),
        number => path.with_extension(format!("redb.damaged.{number}")),
    });
    let last = path.with_extension(format!("redb.damaged.{DAMAGED_KEPT}"));
    places.find(|place| !place.exists()).unwrap_or(last)
}

fn set_aside(path: &Path, error: &dyn std::error::Error) -> Result<Opened, OpenError> {
    let failed = |source: redb::Error| OpenError::Disk { path: path.to_owned(), source: Box::new(source) };
    let aside = place_aside(path);
    tracing::error!(
        error = %error,
        journal = %path.display(),
        kept = %aside.display(),
        "the journal is damaged; it is kept aside and a new one is begun"
    );
    std::fs::rename(path, &aside).map_err(|error| failed(redb::Error::Io(error)))?;
    let (database, _) = open(path).map_err(|error| failed(error.into()))?;
    // A new one is known to be incomplete.
    Ok(Opened { database, was_closed: false, went_back: false })
}

fn write(database: &Database, batch: &Batch) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    if !batch.durable {
        transaction.set_durability(Durability::None)?;
    }
    for ((drawer, key), value) in &batch.changes {
        let mut table = transaction.open_table(drawer.table())?;
        match value {
            Some(value) => table.insert(key.as_str(), value.as_slice())?,
            None => table.remove(key.as_str())?,
        };
    }
    transaction.commit()?;
    Ok(())
}

/// What the journal says of the start before this one. Fails when that was another executor's.
fn before(
    database: &Database,
    path: &Path,
    id: &ExecutorId,
) -> Result<Option<v1::JournalExecutor>, OpenError> {
    let failed = |source: redb::Error| OpenError::Disk { path: path.to_owned(), source: Box::new(source) };
    let bytes = read_drawer(database, Drawer::Meta).map_err(failed)?.remove(META_EXECUTOR);
    let before = bytes.and_then(|bytes| {
        let read = v1::JournalExecutor::decode(bytes.as_slice());
        let unread = |error: &prost::DecodeError| {
            tracing::error!(%error, journal = %path.display(), "the journal does not say whose it is and which start was the last; this one counts as the first");
        };
        read.inspect_err(unread).ok()
    });
    match before {
        Some(before) if before.id != id.as_str() => {
            Err(OpenError::Foreign { path: path.to_owned(), owner: before.id })
        }
        before => Ok(before),
    }
}

/// The new start, and whether the machine booted since the last one.
fn incarnation(before: Option<&v1::JournalExecutor>, boot_id: &str, was_closed: bool) -> Incarnation {
    Incarnation {
        number: before.map_or(0, |before| before.incarnation) + 1,
        rebooted: before.is_some_and(|before| before.boot_id != boot_id),
        was_closed,
    }
}

/// What is to be written of the new start, before anything takes effect.
fn begun(id: &ExecutorId, boot_id: &str, number: u64, is_whole: bool) -> Batch {
    let now = v1::JournalExecutor { id: id.to_string(), incarnation: number, boot_id: boot_id.to_owned() };
    let mut batch = Batch::default();
    batch.put(Drawer::Meta, META_EXECUTOR.to_owned(), now.encode_to_vec());
    if !is_whole {
        batch.put(Drawer::Meta, META_INCOMPLETE.to_owned(), Vec::new());
    }
    batch
}

fn read_drawer(database: &Database, drawer: Drawer) -> Result<BTreeMap<String, Vec<u8>>, redb::Error> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(drawer.table()) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.into()),
    };
    let mut records = BTreeMap::new();
    for entry in table.iter()? {
        let (key, value) = entry?;
        records.insert(key.value().to_owned(), value.value().to_vec());
    }
    Ok(records)
}

/// Everything that is written. What is damaged is put in order on the way, as far as the disk takes it.
pub(super) fn read(database: &Database, went_back: bool, now: Timestamp) -> Result<Contents, redb::Error> {
    let mut drawers = Drawers::new();
    for drawer in Drawer::ALL {
        drawers.insert(drawer, read_drawer(database, drawer)?);
    }
    let (mut contents, aside) = Contents::read(drawers);
    contents.is_whole &= !went_back;
    let noted = if went_back { note_incomplete(database) } else { Ok(()) };
    match noted.and_then(|()| quarantine::tidy(database, aside, now)) {
        // The next start meets what is damaged again, and that something is missing is written with the first batch.
        Err(redb::Error::Io(error)) if is_full(&error) => {
            tracing::warn!(%error, "the disk is full: what is damaged in the journal is not put in order yet");
        }
        tidied => tidied?,
    }
    Ok(contents)
}

fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}
