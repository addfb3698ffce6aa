//! What was fetched last, on the disk: `fetched/<call>`, for the executor's eyes only, as it may be secret.
//!
//! A call is named by what it says, so that a service that is scaled or created anew finds what it had.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use muster_common::spec::HttpCallSpec;
use muster_platform::Disk;
use uuid::Uuid;

/// What the names of calls are made in; of no meaning elsewhere.
const CALLS: Uuid = Uuid::from_u128(0x5f0c_31a6_8d0e_4c2b_9a57_d1e4_0b76_c3f8);

const DIR: &str = "fetched";
const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// A call by what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CallName(Uuid);

impl CallName {
    /// The name of `call`.
    #[must_use]
    pub(crate) fn of(call: &HttpCallSpec) -> Self {
        Self(Uuid::new_v5(&CALLS, &call.to_json()))
    }
}

pub(super) struct Kept {
    dir: PathBuf,
    disk: Disk,
    /// Held while anything is written or removed: starts write at any time, those of one call at once. Taken by the
    /// work itself, which goes on when whoever waits for it is let go.
    writing: Arc<Mutex<()>>,
}

impl Kept {
    pub(super) fn new(data_dir: &Path, disk: Disk) -> Self {
        Self { dir: data_dir.join(DIR), disk, writing: Arc::default() }
    }

    fn path(&self, call: CallName) -> PathBuf {
        self.dir.join(call.0.to_string())
    }

    /// Keeps `content`, all of it or what was there before. Most of the time it is the same: nothing is written then.
    pub(super) async fn keep(&self, call: CallName, content: Vec<u8>) -> io::Result<()> {
        let path = self.path(call);
        self.alone(move || write(&path, &content)).await
    }

    /// What was fetched last.
    pub(super) async fn get(&self, call: CallName) -> io::Result<Option<Vec<u8>>> {
        let path = self.path(call);
        self.disk.run(move || read(&path)).await?
    }

    /// Removes what no call in `wanted` fetched.
    pub(super) async fn retain(&self, wanted: BTreeSet<CallName>) -> io::Result<()> {
        let dir = self.dir.clone();
        self.alone(move || retain(&dir, &wanted)).await
    }

    async fn alone(&self, work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
        let writing = Arc::clone(&self.writing);
        let work = move || {
            // It guards no data that could be half done.
            let _alone = writing.lock().unwrap_or_else(PoisonError::into_inner);
            work()
        };
        self.disk.run(work).await?
    }
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    if read(path)?.is_some_and(|kept| kept == content) {
        return Ok(());
    }
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir)?;
    }
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(FILE_MODE).open(&fresh)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(fresh, path)
}

/// What has no call's name goes, too: it was left half written, or laid down by an earlier version.
fn retain(dir: &Path, wanted: &BTreeSet<CallName>) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_str().and_then(|name| Uuid::try_parse(name).ok()).map(CallName);
        if name.is_some_and(|name| wanted.contains(&name)) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
