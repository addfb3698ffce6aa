//! Processes as `/proc` shows them: who is who, who descends from whom, and how to signal exactly one.
//!
//! A pid alone may be somebody else's by the time it is used; a pid with its start time never is.
//!
//! An executor that is out of descriptors or memory learns nothing of a process. That is an error, and never
//! means that the process is gone.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::want::is_want;

/// One process of this boot, and no other that later gets its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProcessId {
    /// Its number.
    pub(crate) pid: u32,
    /// When it started, in clock ticks since boot.
    pub(crate) start_ticks: u64,
}

/// The members of `/proc/<pid>/stat` that matter here (proc(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    state: u8,
    parent: u32,
    group: u32,
    session: u32,
    start_ticks: u64,
}

impl Stat {
    fn of(pid: u32) -> io::Result<Option<Self>> {
        Ok(read(pid, "stat")?.and_then(|stat| Self::parse(&stat)))
    }

    /// The command name stands in parentheses and may hold any byte, `)` and blanks included.
    fn parse(stat: &[u8]) -> Option<Self> {
        let name_end = stat.iter().rposition(|&byte| byte == b')')?;
        let rest = std::str::from_utf8(stat.get(name_end + 1..)?).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse().ok();
        Some(Self {
            state: *fields.first()?.as_bytes().first()?,
            parent: number(1)?,
            group: number(2)?,
            session: number(3)?,
            start_ticks: fields.get(19)?.parse().ok()?,
        })
    }

    fn has_ended(self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }
}

/// A file of a process. `None` when it is gone, or somebody else's whom nobody may look at.
fn read(pid: u32, file: &str) -> io::Result<Option<Vec<u8>>> {
    match fs::read(format!("/proc/{pid}/{file}")) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if is_want(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

impl ProcessId {
    /// The process that has this number now; a zombie counts.
    pub(crate) fn of(pid: u32) -> io::Result<Option<Self>> {
        Ok(Stat::of(pid)?.map(|stat| Self { pid, start_ticks: stat.start_ticks }))
    }

    /// A descriptor that stands for this very process. `None` when it is gone.
    pub(crate) fn open(self) -> io::Result<Option<OwnedFd>> {
        let Some(pid) = self.raw() else { return Ok(None) };
        // First the descriptor, then the check: from here on the number cannot change hands.
        let descriptor = match pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(descriptor) => descriptor,
            Err(Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok((Self::of(self.pid)? == Some(self)).then_some(descriptor))
    }

    /// Sends a signal to it, or to nobody when it is gone.
    pub(crate) fn signal(self, signal: Signal) -> io::Result<()> {
        if let Some(descriptor) = self.open()? {
            // It may end at this very moment, which is as good.
            let _ = pidfd_send_signal(&descriptor, signal);
        }
        Ok(())
    }

    /// Sends a signal to its process group, if it still runs and leads one.
    pub(crate) fn signal_group(self, signal: Signal) -> io::Result<()> {
        let leads = |stat: Stat| stat.start_ticks == self.start_ticks && stat.group == self.pid;
        if Stat::of(self.pid)?.is_some_and(leads)
            && let Some(group) = self.raw()
        {
            // Nobody is left in the group: as good.
            let _ = rustix::process::kill_process_group(group, signal);
        }
        Ok(())
    }

    fn raw(self) -> Option<Pid> {
        i32::try_from(self.pid).ok().and_then(Pid::from_raw)
    }
}

/// Every process under `ancestor`, zombies left out. A process that left its group or session is
/// still found, as long as what adopts orphans is `ancestor` or below it.
pub(crate) fn descendants(ancestor: u32) -> io::Result<Vec<ProcessId>> {
    let table = table()?;
    let is_under = |mut pid: u32| {
        // No chain of parents is longer than the table; a torn reading cannot loop for ever.
        for _ in 0..table.len() {
            match table.get(&pid) {
                Some(stat) if stat.parent == ancestor => return true,
                Some(stat) => pid = stat.parent,
                None => return false,
            }
        }
        false
    };
    Ok(alive(&table).filter(|process| is_under(process.pid)).collect())
}

/// What is left of an instance whose shim is gone, so that parentage tells nothing any more: the
/// workload's first process, its group, and whoever has the instance's id in its environment. `workload`
/// is `None` when the shim was killed before it could say whom it started.
///
/// `session` is the dead shim's; it may be given only as long as that number cannot have been given to
/// anybody else, which is: when the shim's end has just been seen.
pub(crate) fn strays(
    instance: &str,
    workload: Option<ProcessId>,
    session: Option<u32>,
) -> io::Result<Vec<ProcessId>> {
    let mark = format!("MUSTER_INSTANCE_ID={instance}");
    let table = table()?;
    // While its leader is there, a group's number is nobody else's.
    let group = workload.and_then(|workload| {
        table.get(&workload.pid).filter(|stat| stat.start_ticks == workload.start_ticks)
    });
    let mut strays = Vec::new();
    for process in alive(&table) {
        let stat = table[&process.pid];
        if session.is_some_and(|session| stat.session == session)
            || group.is_some_and(|group| stat.group == group.group)
            || has_variable(process.pid, |entry| entry == mark.as_bytes())?
        {
            strays.push(process);
        }
    }
    Ok(strays)
}

/// Whoever has something in its environment that begins like this.
pub(crate) fn marked(beginning: &str) -> io::Result<Vec<ProcessId>> {
    let mut marked = Vec::new();
    for process in alive(&table()?) {
        if has_variable(process.pid, |entry| entry.starts_with(beginning.as_bytes()))? {
            marked.push(process);
        }
    }
    Ok(marked)
}

/// The same, of those that are no older than the process `first`: numbers are given out in turn, so that nobody has to
/// look into all of many. Somebody may be missed once all numbers were given out since.
pub(crate) fn marked_since(beginning: &str, first: u32) -> io::Result<Vec<ProcessId>> {
    let numbers = numbers()?;
    let last = last_number()?;
    let is_young =
        |pid: u32| if first <= last { (first..=last).contains(&pid) } else { pid >= first || pid <= last };
    let mut marked = Vec::new();
    for pid in numbers.into_iter().filter(|&pid| is_young(pid)) {
        // One that has ended has no environment any more.
        if has_variable(pid, |entry| entry.starts_with(beginning.as_bytes()))? {
            marked.extend(ProcessId::of(pid)?);
        }
    }
    Ok(marked)
}

/// The number that was given out last.
fn last_number() -> io::Result<u32> {
    let text = fs::read_to_string("/proc/loadavg")?;
    let last = text.split_ascii_whitespace().next_back().and_then(|number| number.parse().ok());
    last.ok_or_else(|| io::Error::other(format!("/proc/loadavg does not end with a number: {text:?}")))
}

fn has_variable(pid: u32, is_it: impl Fn(&[u8]) -> bool) -> io::Result<bool> {
    Ok(read(pid, "environ")?.is_some_and(|environ| environ.split(|&byte| byte == 0).any(is_it)))
}

/// Those of these numbers that stand for a process that has not ended.
pub(crate) fn living(pids: &[u32]) -> io::Result<Vec<ProcessId>> {
    let mut living = Vec::new();
    for &pid in pids {
        if let Some(stat) = Stat::of(pid)?.filter(|stat| !stat.has_ended()) {
            living.push(ProcessId { pid, start_ticks: stat.start_ticks });
        }
    }
    Ok(living)
}

fn alive(table: &BTreeMap<u32, Stat>) -> impl Iterator<Item = ProcessId> {
    table
        .iter()
        .filter(|(_, stat)| !stat.has_ended())
        .map(|(&pid, stat)| ProcessId { pid, start_ticks: stat.start_ticks })
}

fn table() -> io::Result<BTreeMap<u32, Stat>> {
    let mut table = BTreeMap::new();
    for pid in numbers()? {
        if let Some(stat) = Stat::of(pid)? {
            table.insert(pid, stat);
        }
    }
    Ok(table)
}

/// Of all processes.
fn numbers() -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir("/proc")? {
        numbers.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_parentheses_and_blanks() {
        let line = b"42 (a) b (c)) S 7 42 40 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987 1 1";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.parent, stat.group, stat.session, stat.start_ticks), (7, 42, 40, 987));
        assert_eq!(Stat::parse(b"42 (cut"), None);
    }

    #[test]
    fn a_number_that_changed_hands_is_nobody() {
        let me = ProcessId::of(std::process::id()).unwrap().unwrap();
        assert!(me.open().unwrap().is_some());
        let other = ProcessId { start_ticks: me.start_ticks + 1, ..me };
        assert!(other.open().unwrap().is_none());
    }

    #[test]
    fn want_of_descriptors_says_nothing_of_a_process() {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        // In a process of its own: the limit holds for all threads.
        const ALONE: &str = "MUSTER_TEST_ALONE";
        if std::env::var_os(ALONE).is_none() {
            let name = concat!(module_path!(), "::want_of_descriptors_says_nothing_of_a_process");
            let (_, name) = name.split_once("::").unwrap();
            let mut test = std::process::Command::new(std::env::current_exe().unwrap());
            let output = test.args(["--exact", name]).env(ALONE, "1").output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains("1 passed"), "{said}");
            return;
        }
        let me = ProcessId::of(std::process::id()).unwrap().unwrap();
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..before }).unwrap();
        let errors = [
            me.open().is_err(),
            ProcessId::of(me.pid).is_err(),
            descendants(me.pid).is_err(),
            strays("SI-1", None, None).is_err(),
            marked("SI-1").is_err(),
            marked_since("SI-1", 1).is_err(),
        ];
        setrlimit(Resource::Nofile, before).unwrap();
        assert_eq!(errors, [true; 6]);
    }
}
