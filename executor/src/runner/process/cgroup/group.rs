//! The groups of one instance, one directory in each hierarchy: who is in them, how to end them, and whether the
//! kernel ended somebody in them for want of memory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::hierarchy::Version;
use super::{inherit_cpuset, make_dir};
use crate::runner::Exit;
use crate::runner::kin::{self, ProcessId};
use crate::want::named;

/// How long a group may take to be empty after everybody in it was killed: the kernel takes the dead out of it a
/// moment later.
pub(super) const REMOVE_WAIT: Duration = Duration::from_secs(5);

/// How often its removal is tried.
const REMOVE_INTERVAL: Duration = Duration::from_millis(10);

/// Below an instance's groups: those of the commands beside it. Who is there is not the workload's own.
pub(super) const BESIDE: &str = "muster-beside";

/// Below an instance's group of the unified hierarchy: the workload itself. The kernel counts for a group whom it killed
/// there only if the group above hands memory down, and one that does may have nobody in it.
pub(super) const WORKLOAD: &str = "muster-workload";

/// How deep a workload may have nested groups of its own before the rest is left to the kernel.
const MAX_DEPTH: usize = 32;

/// What a shell answers for a program that SIGKILL ended.
const KILLED_CODE: i32 = 137;

/// One instance's groups; none where groups are not permitted. Kept as `cgroup.json`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::runner::process) struct Group {
    /// Its directories.
    pub(super) places: Vec<Place>,
}

/// Its directory in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Place {
    pub(super) dir: PathBuf,
    pub(super) version: Version,
}

impl Place {
    /// Where the workload itself is: one down, if there is such a group (an earlier executor made none).
    fn workload(&self) -> PathBuf {
        let below = self.dir.join(WORKLOAD);
        if below.is_dir() { below } else { self.dir.clone() }
    }
}

impl Group {
    /// Puts this process in. What it starts or becomes stays in.
    pub(in crate::runner::process) fn join(&self) -> io::Result<()> {
        for place in &self.places {
            put(&place.workload().join("cgroup.procs"), "0")?;
        }
        Ok(())
    }

    /// The groups of the commands beside the workload, made unless they are there. What holds the workload holds
    /// them, too. Not the workload's own groups: the unified hierarchy lets nobody into one whose workload has given
    /// limits to groups of its own.
    pub(in crate::runner::process) fn beside(&self) -> io::Result<Self> {
        let mut places = Vec::new();
        // Those that were not permitted were never made.
        for place in self.places.iter().filter(|place| place.dir.is_dir()) {
            let dir = place.dir.join(BESIDE);
            make_dir(&dir)?;
            if place.version == Version::V1 && dir.join("cpuset.cpus").exists() {
                inherit_cpuset(&place.dir, &dir)?;
            }
            places.push(Place { dir, version: place.version });
        }
        Ok(Self { places })
    }

    /// Who is in it now, groups below it included.
    pub(in crate::runner::process) fn members(&self) -> io::Result<Vec<ProcessId>> {
        let mut pids = Vec::new();
        for place in &self.places {
            for dir in tree(&place.dir)? {
                pids.extend(numbers(&dir)?);
            }
        }
        pids.sort_unstable();
        pids.dedup();
        kin::living(&pids)
    }

    /// Sends SIGKILL to everybody in it; at one blow where the kernel can (Linux 5.14), so that nobody forks away.
    pub(in crate::runner::process) fn kill(&self) -> io::Result<()> {
        for place in self.places.iter().filter(|place| place.version == Version::V2) {
            // An older kernel has no such file; then one by one.
            let _ = put(&place.dir.join("cgroup.kill"), "1");
        }
        self.members()?.into_iter().try_for_each(|process| process.signal(Signal::KILL))
    }

    /// The exit as it was seen, and whether want of memory was behind it: the main process was killed (or a shell
    /// says so), and the kernel did kill here for memory, more often than it had `before` somebody else sent SIGKILL.
    pub(in crate::runner::process) fn explain(&self, exit: &Exit, before: u64) -> Exit {
        let killed = exit.signal == Some(Signal::KILL.as_raw()) || exit.code == Some(KILLED_CODE);
        Exit { oom_killed: killed && self.oom_kills() > before, ..exit.clone() }
    }

    /// How often the kernel killed the workload's own processes for want of memory.
    pub(in crate::runner::process) fn oom_kills(&self) -> u64 {
        let count = |place: &Place| {
            let file = match place.version {
                Version::V1 => "memory.oom_control",
                Version::V2 => "memory.events",
            };
            // A hierarchy without memory has no such file.
            fs::read_to_string(place.workload().join(file)).map_or(0, |text| oom_kills(&text))
        };
        self.places.iter().map(count).sum()
    }

    /// Takes the directories away, and whoever is still in them. Blocks until the kernel lets go.
    pub(in crate::runner::process) fn remove(&self) -> io::Result<()> {
        self.remove_until(Instant::now() + REMOVE_WAIT)
    }

    /// The same, but does not wait beyond `deadline`. Whoever is in them is killed in any case.
    pub(super) fn remove_until(&self, deadline: Instant) -> io::Result<()> {
        while let Err(error) = self.places.iter().try_for_each(|place| remove_tree(&place.dir)) {
            tracing::trace!(%error, "a control group is still in use");
            self.kill()?;
            if Instant::now() >= deadline {
                return Err(error);
            }
            std::thread::sleep(REMOVE_INTERVAL);
        }
        Ok(())
    }
}

/// The lines are `name number`; both interfaces call it the same.
fn oom_kills(text: &str) -> u64 {
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

/// The numbers in `cgroup.procs`; a group that is gone has none.
fn numbers(dir: &Path) -> io::Result<Vec<u32>> {
    match fs::read_to_string(dir.join("cgroup.procs")) {
        Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).filter(|&pid| pid != 0).collect()),
        Err(error) if is_gone(&error) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// A group and all below it, itself first. One that goes meanwhile has nobody in it.
fn tree(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = vec![dir.to_owned()];
    let mut layer = found.clone();
    for _ in 0..MAX_DEPTH {
        let mut next = Vec::new();
        for dir in &layer {
            match below(dir) {
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(named(format!("cannot look into {}", dir.display()), error)),
                Ok(groups) => next.extend(groups),
            }
        }
        if next.is_empty() {
            break;
        }
        found.extend(next.iter().cloned());
        layer = next;
    }
    Ok(found)
}

/// The groups in a group.
fn below(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut groups = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            groups.push(entry.path());
        }
    }
    Ok(groups)
}

/// The files of a group go with it; only directories are removed, the deepest first.
pub(super) fn remove_tree(dir: &Path) -> io::Result<()> {
    for dir in tree(dir)?.into_iter().rev() {
        match fs::remove_dir(&dir) {
            Err(error) if !is_gone(&error) => {
                return Err(io::Error::new(error.kind(), format!("remove {}: {error}", dir.display())));
            }
            _ => {}
        }
    }
    Ok(())
}

/// `ENODEV` is what an open file of a removed group answers.
fn is_gone(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NODEV))
}

/// Writes one value, and names the file when it is refused.
pub(super) fn put(path: &Path, value: &str) -> io::Result<()> {
    // Not `fs::write`: it would make a file where the kernel has none.
    let written = fs::File::options()
        .write(true)
        .open(path)
        .and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()));
    written.map_err(|error| named(format!("cannot write {value} to {}", path.display()), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_for_want_of_memory_are_counted_the_same_in_both_interfaces() {
        assert_eq!(oom_kills("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n"), 2);
        assert_eq!(oom_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"), 1);
        assert_eq!(oom_kills("oom_kill_disable 0\nunder_oom 0\n"), 0);
    }

    #[test]
    fn a_group_that_cannot_be_looked_into_is_not_taken_for_empty() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("one/two")).unwrap();
        let found = tree(dir.path()).unwrap();
        assert_eq!(found, [dir.path().to_owned(), dir.path().join("one"), dir.path().join("one/two")]);
        assert_eq!(tree(&dir.path().join("gone")).unwrap().len(), 1);
        let other = dir.path().join("other");
        fs::write(&other, "").unwrap();
        let refusal = tree(&other).unwrap_err().to_string();
        assert!(refusal.contains("cannot look into"), "{refusal}");
    }

    #[test]
    fn only_who_was_killed_was_killed_for_want_of_memory() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("memory.events"), "oom_kill 1\n").unwrap();
        let place = Place { dir: dir.path().to_owned(), version: Version::V2 };
        let group = Group { places: vec![place] };
        let ended = |code, signal| group.explain(&Exit { code, signal, ..Exit::default() }, 0).oom_killed;
        assert!(ended(None, Some(9)) && ended(Some(137), None));
        assert!(!ended(Some(1), None) && !ended(None, Some(15)));
        let stopped = Exit { signal: Some(9), ..Exit::default() };
        assert!(!group.explain(&stopped, 1).oom_killed, "the kernel killed somebody else, and before");
        assert!(!Group::default().explain(&stopped, 0).oom_killed);
    }
}
