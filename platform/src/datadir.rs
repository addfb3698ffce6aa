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
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| write!(file, "{}", std::process::id()));
        written.map_err(|error| fail("writing its lock file", &error))?;
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
}
