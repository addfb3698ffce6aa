//! The file: opened, read whole at the start, written transaction by transaction.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster_common::id::ExecutorId;
use muster_platform::Disk;
use muster_proto::v1;
use prost::Message as _;
use redb::{
    Builder, Database, DatabaseError, Durability, ReadableDatabase as _, ReadableTable as _, StorageError,
    TableDefinition, TableError,
};

use super::batch::{Batch, Drawer, Drawers, META_EXECUTOR, META_INCOMPLETE};
use super::contents::{Contents, Damaged};

const FILE: &str = "journal.redb";
/// Specs hold secrets, and others may pass through the data directory.
const MODE: u32 = 0o600;
/// How many damaged journals are kept. A disk that damages them all must not fill up with them.
const DAMAGED_KEPT: u32 = 4;
/// Records are small and read once: redb's default of 1 GiB is not for an agent.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

type Table = TableDefinition<'static, &'static str, &'static [u8]>;

impl Drawer {
    const fn table(self) -> Table {
        TableDefinition::new(self.name())
    }
}

/// Records that could not be read, under `<drawer>/<key>`.
const QUARANTINE: Table = TableDefinition::new("quarantine");

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
    /// The disk does not give or take it.
    #[error("the journal {path} cannot be opened")]
    Disk {
        /// The file.
        path: PathBuf,
        /// The store's own words.
        source: Box<redb::Error>,
    },
}

/// The disk does not take what is to be written: it is full, say.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct CommitError(#[source] redb::Error);

impl CommitError {
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
}

/// The open journal. Owned by the supervisor, which is the only one that writes.
pub(crate) struct Journal {
    path: PathBuf,
    disk: Disk,
    database: Option<Arc<Database>>,
}

impl Journal {
    /// Opens the journal in `directory`, begins a new incarnation of `id`, and reads everything.
    pub(crate) async fn open(
        directory: &Path,
        disk: Disk,
        id: &ExecutorId,
        boot_id: &str,
    ) -> Result<(Self, Incarnation, Contents), OpenError> {
        let path = directory.join(FILE);
        let (id, boot_id, file) = (id.clone(), boot_id.to_owned(), path.clone());
        let opened = disk.run(move || {
            let database = open_or_set_aside(&file)?;
            let failed =
                |source: redb::Error| OpenError::Disk { path: file.clone(), source: Box::new(source) };
            let contents = read(&database).map_err(failed)?;
            let incarnation = begin(&database, &file, &id, &boot_id)?;
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
                None => Arc::new(open(&path)?),
            };
            write(&database, &batch)?;
            Ok::<_, redb::Error>(database)
        };
        let written = self.disk.run(work).await.map_err(redb::Error::Io).and_then(|written| written);
        self.database = Some(written.map_err(CommitError)?);
        Ok(())
    }
}

fn open(path: &Path) -> Result<Database, DatabaseError> {
    let file = File::options().create(true).truncate(false).read(true).write(true).mode(MODE).open(path);
    let file = file.and_then(|file| {
        // One that was made by an earlier version may be open to others.
        file.set_permissions(Permissions::from_mode(MODE))?;
        Ok(file)
    });
    Builder::new().set_cache_size(CACHE_BYTES).create_file(file.map_err(StorageError::from)?)
}

/// Pages of a file that somebody else wrote into are found here, by their checksums: later, redb would
/// not survive them.
fn open_checked(path: &Path) -> Result<Database, DatabaseError> {
    let mut database = open(path)?;
    if !database.check_integrity()? {
        tracing::error!(journal = %path.display(), "the journal was damaged and went back to an earlier state; what runs makes up for it");
        note_incomplete(&database)?;
    }
    Ok(database)
}

/// Something that was written is missing.
fn note_incomplete(database: &Database) -> Result<(), StorageError> {
    let noted = || -> Result<(), redb::Error> {
        let transaction = database.begin_write()?;
        transaction.open_table(Drawer::Meta.table())?.insert(META_INCOMPLETE, [].as_slice())?;
        transaction.commit()?;
        Ok(())
    };
    noted().map_err(|error| StorageError::Io(std::io::Error::other(error)))
}

/// A file that is damaged beyond repair is kept beside the new one: the executor starts, and what ran is
/// found by the runners.
fn open_or_set_aside(path: &Path) -> Result<Database, OpenError> {
    let failed = |source: redb::Error| OpenError::Disk { path: path.to_owned(), source: Box::new(source) };
    match open_checked(path) {
        Ok(database) => Ok(database),
        Err(DatabaseError::DatabaseAlreadyOpen) => Err(OpenError::InUse { path: path.to_owned() }),
        Err(error @ DatabaseError::Storage(StorageError::Corrupted(_))) => set_aside(path, &error),
        Err(DatabaseError::Storage(StorageError::Io(error)))
            if error.kind() == std::io::ErrorKind::InvalidData =>
        {
            set_aside(path, &error)
        }
        Err(error) => Err(failed(error.into())),
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

fn set_aside(path: &Path, error: &dyn std::error::Error) -> Result<Database, OpenError> {
    let failed = |source: redb::Error| OpenError::Disk { path: path.to_owned(), source: Box::new(source) };
    let aside = place_aside(path);
    tracing::error!(
        error = %error,
        journal = %path.display(),
        kept = %aside.display(),
        "the journal is damaged; it is kept aside and a new one is begun"
    );
    std::fs::rename(path, &aside).map_err(|error| failed(redb::Error::Io(error)))?;
    open(path).map_err(|error| failed(error.into()))
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

/// Notes the new start, and whether the machine booted since the last one.
fn begin(database: &Database, path: &Path, id: &ExecutorId, boot_id: &str) -> Result<Incarnation, OpenError> {
    let failed = |source: redb::Error| OpenError::Disk { path: path.to_owned(), source: Box::new(source) };
    let bytes = read_drawer(database, Drawer::Meta).map_err(failed)?.remove(META_EXECUTOR);
    let before = bytes.and_then(|bytes| v1::JournalExecutor::decode(bytes.as_slice()).ok());
    if let Some(before) = &before
        && before.id != id.as_str()
    {
        return Err(OpenError::Foreign { path: path.to_owned(), owner: before.id.clone() });
    }
    let number = before.as_ref().map_or(0, |before| before.incarnation) + 1;
    let is_new = before.is_none();
    let rebooted = before.is_some_and(|before| before.boot_id != boot_id);
    let now = v1::JournalExecutor { id: id.to_string(), incarnation: number, boot_id: boot_id.to_owned() };
    let mut batch = Batch::default();
    batch.put(Drawer::Meta, META_EXECUTOR.to_owned(), now.encode_to_vec());
    if is_new {
        batch.put(Drawer::Meta, META_INCOMPLETE.to_owned(), Vec::new());
    }
    write(database, &batch).map_err(failed)?;
    Ok(Incarnation { number, rebooted })
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

fn read(database: &Database) -> Result<Contents, redb::Error> {
    let mut drawers = Drawers::new();
    for drawer in Drawer::ALL {
        drawers.insert(drawer, read_drawer(database, drawer)?);
    }
    let (contents, damaged) = Contents::read(drawers);
    quarantine(database, damaged)?;
    Ok(contents)
}

/// Moves damaged records where they are met no more, and can still be looked at.
fn quarantine(database: &Database, damaged: Vec<Damaged>) -> Result<(), redb::Error> {
    if damaged.is_empty() {
        return Ok(());
    }
    let transaction = database.begin_write()?;
    transaction.open_table(Drawer::Meta.table())?.insert(META_INCOMPLETE, [].as_slice())?;
    for (drawer, key, bytes) in damaged {
        transaction.open_table(drawer.table())?.remove(key.as_str())?;
        let place = format!("{}/{key}", drawer.name());
        transaction.open_table(QUARANTINE)?.insert(place.as_str(), bytes.as_slice())?;
    }
    transaction.commit()?;
    Ok(())
}
