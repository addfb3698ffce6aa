//! The scratch directory of a workload: its working directory, with the files that its spec wants placed.
//!
//! It is made anew for each start, by root alone, and given to the workload's account last. Until then nobody else gets
//! into it, so no name in it can be a symlink that leads what is written or given away out of it: other workloads of
//! the same account may still run, and may have been in the directory that was there before.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, lchown};
use std::path::{Component, Path, PathBuf};

use super::dirs::PRIVATE;
use super::rundir::remove_tree;
use super::user::Account;
use crate::runner::StartError;
use crate::runner::file::PlacedFile;

/// Makes the directory with `files` in it and nothing else, and gives all of it to `account`. Blocks.
pub(super) fn make(
    scratch: &Path,
    files: &[PlacedFile],
    account: Option<&Account>,
) -> Result<(), StartError> {
    let failed = |error: io::Error| StartError::at("prepare", &error);
    remove_tree(scratch).map_err(failed)?;
    // Not one that is there by now: it would be somebody else's.
    DirBuilder::new().mode(PRIVATE).create(scratch).map_err(failed)?;
    place(scratch, files)?;
    account.map_or(Ok(()), |account| give(scratch, account)).map_err(failed)
}

/// Places files under the directory: `/etc/x` becomes `<scratch>/etc/x`, readable by their owner alone.
fn place(scratch: &Path, files: &[PlacedFile]) -> Result<(), StartError> {
    for placed in files {
        let failed =
            |error: io::Error| StartError::told("place config", &error, format!("{}: {error}", placed.path));
        let below = below(&placed.path)
            .ok_or_else(|| failed(io::Error::other("it must name a file inside the scratch directory")))?;
        write(&scratch.join(below), &placed.content).map_err(failed)?;
    }
    Ok(())
}

/// The path without its root; `None` when it would leave the directory or names nothing.
fn below(path: &str) -> Option<PathBuf> {
    let mut below = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => below.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    (!below.as_os_str().is_empty()).then_some(below)
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    File::options().create_new(true).write(true).mode(0o600).open(path)?.write_all(content)
}

/// From the leaves up: who is given a directory may change what is in it.
fn give(directory: &Path, account: &Account) -> io::Result<()> {
    let to_account = |path: &Path| lchown(path, Some(account.uid), Some(account.gid));
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            give(&entry.path(), account)?;
        } else {
            to_account(&entry.path())?;
        }
    }
    to_account(directory)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    fn greeting() -> [PlacedFile; 1] {
        [PlacedFile { path: "/etc/app/greeting".to_owned(), content: b"hello".to_vec() }]
    }

    #[test]
    fn a_file_stays_inside_the_scratch_directory() {
        assert_eq!(below("/etc/app.conf"), Some(PathBuf::from("etc/app.conf")));
        assert_eq!(below("./app.conf"), Some(PathBuf::from("app.conf")));
        for bad in ["", "/", "..", "../x", "/etc/../../x"] {
            assert_eq!(below(bad), None, "{bad:?}");
        }
    }

    /// What a process of the same account can leave there between two starts.
    #[test]
    fn planted_symlinks_lead_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let (scratch, outside) = (dir.path().join("scratch"), dir.path().join("outside"));
        let secret = outside.join("app/greeting");
        for (planted, at, to) in [
            ("the directory itself", scratch.clone(), &outside),
            ("a directory in it", scratch.join("etc"), &outside),
            ("the file", scratch.join("etc/app/greeting"), &secret),
        ] {
            fs::create_dir_all(outside.join("app")).unwrap();
            fs::write(&secret, "secret").unwrap();
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            symlink(to, &at).unwrap();
            make(&scratch, &greeting(), None).unwrap();
            assert_eq!(fs::read_to_string(&secret).unwrap(), "secret", "{planted}");
            assert_eq!(fs::read_to_string(scratch.join("etc/app/greeting")).unwrap(), "hello", "{planted}");
            assert!(fs::symlink_metadata(&scratch).unwrap().is_dir(), "{planted}");
            remove_tree(&scratch).unwrap();
        }
    }

    #[test]
    fn all_of_it_is_the_accounts_and_a_second_start_begins_anew() {
        let (uid, gid) = if rustix::process::geteuid().is_root() {
            (54321, 54322)
        } else {
            (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
        };
        let account = Account { uid, gid, groups: Vec::new() };
        let dir = tempfile::tempdir().unwrap();
        let scratch = dir.path().join("scratch");
        for _ in 0..2 {
            make(&scratch, &greeting(), Some(&account)).unwrap();
            for name in ["", "etc", "etc/app", "etc/app/greeting"] {
                let found = fs::metadata(scratch.join(name)).unwrap();
                assert_eq!((found.uid(), found.gid()), (uid, gid), "{name}");
            }
            let mode = |name: &str| fs::metadata(scratch.join(name)).unwrap().mode() & 0o777;
            assert_eq!((mode(""), mode("etc/app/greeting")), (0o700, 0o600));
            fs::write(scratch.join("left"), "").unwrap();
        }
        make(&scratch, &[], None).unwrap();
        assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0);
    }
}
