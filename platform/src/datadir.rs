//! A data directory that one process owns: a lock file, held while the process lives.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use muster_common::exit::Exit;

use crate::role_error::RoleError;

/// Only its owner may read what a role keeps: specs can hold secrets.
const DIR_MODE: u32 = 0o700;
const LOCK_MODE: u32 = 0o600;

/// As wide as any process number, so that each overwrites all of the one before.
const PID_WIDTH: usize = 10;

/// A locked data directory. The lock ends with this value, or with the process.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Creates the directory where it is missing, and locks it.
    pub fn lock(path: &Path) -> Result<Self, RoleError> {
        let fail = |what: &str, error: &io::Error| {
            RoleError::caused_by(
                Exit::Failure,
                format!("cannot use the data directory {}: {what} failed", path.display()),
                error,
            )
        };
        DirBuilder::new()
            .recursive(true)
            .mode(DIR_MODE)
            .create(path)
            .map_err(|error| fail("creating it", &error))?;
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(LOCK_MODE)
            .open(path.join("lock"))
            .map_err(|error| fail("opening its lock file", &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                // The number is a courtesy; without it the sentence still says what to do.
                let known = file.read_to_string(&mut owner).is_ok() && !owner.trim().is_empty();
                let owner = if known { format!(" (pid {})", owner.trim()) } else { String::new() };
                return Err(RoleError::new(
                    Exit::Conflict,
                    format!(
                        "the data directory {} is in use by another process{owner}; stop that process, or give \
                         this one a directory of its own",
                        path.display()
                    ),
                ));
            }
            Err(TryLockError::Error(error)) => return Err(fail("locking it", &error)),
        }
        // Over what is there, so that a full disk that took it once takes it again. It is only a courtesy.
        if let Err(error) = file.rewind().and_then(|()| write!(file, "{:<PID_WIDTH$}", std::process::id())) {
            let path = path.display();
            tracing::warn!(%error, %path, "the data directory is locked, but its lock file does not say by whom");
        }
        Ok(Self { path: path.to_owned(), _lock: file })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_is_refused_with_the_first_one_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let first = DataDir::lock(&path).unwrap();
        let error = DataDir::lock(&path).unwrap_err();
        assert_eq!(error.exit, Exit::Conflict);
        assert!(error.sentence.contains(&format!("(pid {})", std::process::id())), "{error}");
        drop(first);
        DataDir::lock(&path).unwrap();
    }

    #[test]
    fn the_name_of_the_owner_before_is_overwritten_whole_and_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let lock = dir.path().join("lock");
        for before in ["", "4294967295", "1"] {
            std::fs::write(&lock, before).unwrap();
            let _owner = DataDir::lock(dir.path()).unwrap();
            let said = std::fs::read_to_string(&lock).unwrap();
            assert_eq!((said.len(), said.trim()), (PID_WIDTH, std::process::id().to_string().as_str()));
        }
    }

    #[test]
    fn who_cannot_write_its_name_owns_it_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        // As a full disk: it can be opened and locked, and takes nothing.
        std::os::unix::fs::symlink("/dev/full", dir.path().join("lock")).unwrap();
        let begun = std::time::Instant::now();
        let refusal = loop {
            match DataDir::lock(dir.path()) {
                // The same test may run twice on this machine.
                Err(error) if error.exit == Exit::Conflict && begun.elapsed().as_secs() < 10 => {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
                outcome => break outcome.err(),
            }
        };
        assert!(refusal.is_none(), "{refusal:?}");
    }
}
