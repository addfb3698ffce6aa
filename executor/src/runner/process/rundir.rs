//! The directory `<dataDir>/run/<instance>`: what outlives both the executor and the shim.
//!
//! | file | written | says |
//! |---|---|---|
//! | `shim.log` | by the shim, its stderr | nothing, when all is well; a lock on it is held exactly as long as the shim lives |
//! | `place.json` | by the executor, before there is a shim | where the instance belongs |
//! | `pid.json` | by the shim, before it reports the start | who runs |
//! | `cgroup.json` | by the executor, before it makes them | which control groups are its own |
//! | `oom.json` | by the executor, before it sends SIGKILL | how often the kernel had killed in them for want of memory by then |
//! | `exit.json` | by the shim, into room set aside before the start, at once when the workload's first process ended | how it ended |
//!
//! The lock belongs to the open file that the shim inherits as its stderr, so it is taken before the
//! shim exists and is released by the kernel whatever kills the shim. Nobody who finds it free can be
//! overtaken by a start still under way.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cgroup::Group;
use super::dirs::PRIVATE;
use super::launch::{Ended, Pids};
use crate::runner::Place;

/// What an exit status takes at most; less than a disk's sector.
const ENDED_BYTES: usize = 256;

/// No state file is larger, in bytes.
const MAX_STATE_BYTES: u64 = 64 << 10;

/// One instance's run directory, which may not exist.
#[derive(Debug, Clone)]
pub(super) struct RunDir(PathBuf);

impl RunDir {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn exists(&self) -> bool {
        self.0.is_dir()
    }

    /// Makes the directory, takes its lock, and clears what an earlier boot left. `None`: a shim holds it.
    pub(super) fn claim(&self) -> io::Result<Option<File>> {
        fs::create_dir_all(&self.0)?;
        let log = File::options().create(true).append(true).open(self.0.join("shim.log"))?;
        let Some(log) = lock(log)? else { return Ok(None) };
        for name in ["pid.json", "oom.json", "exit.json"] {
            match fs::remove_file(self.0.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(Some(log))
    }

    /// Takes the lock of a directory that should exist. `None`: a shim holds it.
    pub(super) fn lock(&self) -> io::Result<Option<File>> {
        match File::options().append(true).open(self.0.join("shim.log")) {
            Ok(log) => lock(log),
            // Made, but not yet claimed, when the executor died.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.exists() => self.claim(),
            Err(error) => Err(error),
        }
    }

    pub(super) fn place(&self) -> io::Result<Option<Place>> {
        self.read("place.json")
    }

    pub(super) fn write_place(&self, place: &Place) -> io::Result<()> {
        self.write("place.json", place)
    }

    pub(super) fn pids(&self) -> io::Result<Option<Pids>> {
        self.read("pid.json")
    }

    pub(super) fn write_pids(&self, pids: &Pids) -> io::Result<()> {
        self.write("pid.json", pids)
    }

    /// The instance's control groups; none when none were ever made. Ones that cannot be read any more are met by
    /// the next executor, which knows nobody who owns them.
    pub(super) fn group(&self) -> io::Result<Group> {
        match self.read("cgroup.json") {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                tracing::warn!(%error, "the control groups of an instance cannot be read");
                Ok(Group::default())
            }
            answer => Ok(answer?.unwrap_or_default()),
        }
    }

    pub(super) fn write_group(&self, group: &Group) -> io::Result<()> {
        self.write_for_this_boot("cgroup.json", group)
    }

    /// How often the kernel had killed in the groups for want of memory when the executor sent SIGKILL; 0 as long as
    /// it has not.
    pub(super) fn oom_kills_before(&self) -> io::Result<u64> {
        Ok(self.read("oom.json")?.unwrap_or_default())
    }

    pub(super) fn write_oom_kills_before(&self, kills: u64) -> io::Result<()> {
        self.write_for_this_boot("oom.json", &kills)
    }

    pub(super) fn ended(&self) -> io::Result<Option<Ended>> {
        match fs::read(self.0.join("exit.json")) {
            // Set aside, and not written yet.
            Ok(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => Ok(None),
            _ => self.read("exit.json"),
        }
    }

    /// Sets room aside for the exit status: when the service ends because the disk is full, there is none left.
    pub(super) fn reserve_ended(&self) -> io::Result<()> {
        let mut file = File::create(self.0.join("exit.json"))?;
        file.write_all(&[b' '; ENDED_BYTES])?;
        file.sync_all()
    }

    /// Into the room that was set aside. It is so small that the disk takes all of it or nothing.
    pub(super) fn write_ended(&self, ended: &Ended) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(ended)?;
        bytes.resize(bytes.len().max(ENDED_BYTES), b' ');
        let mut file =
            File::options().create(true).truncate(false).write(true).open(self.0.join("exit.json"))?;
        file.write_all(&bytes)?;
        file.sync_all()
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        let path = self.0.join(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let value = serde_json::from_reader(io::Read::take(file, MAX_STATE_BYTES)).map_err(|error| {
            let kind = error.io_error_kind().unwrap_or(io::ErrorKind::InvalidData);
            io::Error::new(kind, format!("{}: {error}", path.display()))
        })?;
        Ok(Some(value))
    }

    /// All or nothing. It need not survive the machine: control groups do not either.
    fn write_for_this_boot<T: Serialize>(&self, name: &str, value: &T) -> io::Result<()> {
        let fresh = self.0.join(format!("{name}.new"));
        fs::write(&fresh, serde_json::to_vec(value)?)?;
        fs::rename(&fresh, self.0.join(name))
    }

    /// All or nothing, and on the disk when it returns.
    fn write<T: Serialize>(&self, name: &str, value: &T) -> io::Result<()> {
        let fresh = self.0.join(format!("{name}.new"));
        let mut file = File::create(&fresh)?;
        file.write_all(&serde_json::to_vec(value)?)?;
        file.sync_all()?;
        fs::rename(&fresh, self.0.join(name))?;
        File::open(&self.0)?.sync_all()
    }
}

fn lock(file: File) -> io::Result<Option<File>> {
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Removes a directory and all in it; one that is not there is as good. A workload may have left directories that not
/// even their owner may change.
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    let removed = match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path)?;
            fs::remove_dir_all(path)
        }
        other => other,
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Gives the owner back what he needs to remove what is below `path`. Symlinks are not followed, nor one that takes the
/// place of a directory meanwhile: each is changed and read by what was opened.
fn open_up(path: &Path) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = open(path, flags, Mode::empty())?;
    let opened = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    fs::set_permissions(&opened, Permissions::from_mode(PRIVATE))?;
    for entry in fs::read_dir(&opened)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use muster_common::time::Timestamp;

    use super::*;
    use crate::runner::Exit;

    #[test]
    fn a_lock_lasts_as_long_as_whoever_inherited_it() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::new(dir.path().join("SI-1"));
        let log = run.claim().unwrap().unwrap();
        let mut heir = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        assert!(run.lock().unwrap().is_none(), "the heir's lock was taken from it");
        drop(heir.stdin.take());
        heir.wait().unwrap();
        assert!(run.lock().unwrap().is_some());
    }

    #[test]
    fn an_exit_status_fits_into_the_room_set_aside_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::new(dir.path().to_owned());
        run.reserve_ended().unwrap();
        assert_eq!(run.ended().unwrap(), None);
        let size = || fs::metadata(dir.path().join("exit.json")).unwrap().len();
        let reserved = size();
        let at = Some(Timestamp(u64::MAX));
        let exit = Exit { code: Some(i32::MIN), signal: Some(i32::MIN), at, ..Exit::default() };
        for alone in [false, true] {
            let ended = Ended { exit: exit.clone(), alone };
            run.write_ended(&ended).unwrap();
            assert_eq!((run.ended().unwrap(), size()), (Some(ended), reserved));
        }
    }

    #[test]
    fn what_nobody_may_change_is_removed_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("scratch");
        fs::create_dir_all(tree.join("cache/module")).unwrap();
        fs::write(tree.join("cache/module/file"), "").unwrap();
        for name in ["cache/module", "cache"] {
            fs::set_permissions(tree.join(name), Permissions::from_mode(0o555)).unwrap();
        }
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
    }

    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::new(dir.path().to_owned());
        fs::write(dir.path().join("exit.json"), "{").unwrap();
        assert!(run.ended().unwrap_err().to_string().contains("exit.json"));
        assert_eq!(run.pids().unwrap(), None);
        fs::write(dir.path().join("cgroup.json"), "{").unwrap();
        assert_eq!(run.group().unwrap(), Group::default(), "it does not keep an instance from being removed");
    }
}
