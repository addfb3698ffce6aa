//! Processes by pid and start time: a pid alone may be somebody else's by now.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use procfs::process::{ProcState, Process};
use rustix::process::{Signal, kill_process};
use tokio::time::Instant;

use super::cluster_file::RoleEntry;
use crate::error::CliError;

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// One process, for certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pid {
    pub(crate) pid: u32,
    pub(crate) start_ticks: u64,
}

impl Pid {
    /// The process that has this pid now.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = Process::new(i32::try_from(pid).ok()?).ok()?.stat().ok()?;
        Some(Self { pid, start_ticks: stat.starttime })
    }

    /// Whether it still runs. A zombie does not.
    pub(crate) fn is_alive(self) -> bool {
        let stat = i32::try_from(self.pid).ok().and_then(|pid| Process::new(pid).ok()?.stat().ok());
        stat.is_some_and(|stat| {
            stat.starttime == self.start_ticks
                && !matches!(stat.state(), Ok(ProcState::Zombie | ProcState::Dead))
        })
    }

    /// Sends a signal; nothing happens when the process has ended.
    pub(crate) fn signal(self, signal: Signal) {
        if !self.is_alive() {
            return;
        }
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw)
            && let Err(error) = kill_process(pid, signal)
            && error != rustix::io::Errno::SRCH
        {
            eprintln!("cannot signal process {}: {error}", self.pid);
        }
    }

    /// Waits until it has ended, at most `bound`; says whether it has.
    pub(crate) async fn ended_within(self, bound: Duration) -> bool {
        let deadline = Instant::now() + bound;
        while self.is_alive() {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        true
    }
}

/// Starts a role as a process of its own, out of reach of the terminal's Ctrl-C, with its output
/// appended to its log.
pub(crate) fn spawn(role: &RoleEntry) -> Result<Pid, CliError> {
    let fail = |what: &str, error: &dyn std::fmt::Display| {
        CliError::failure(format!("cannot start {}: {what}: {error}", role.id))
    };
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(role.log())
        .map_err(|error| fail("its log cannot be opened", &error))?;
    let errors = log.try_clone().map_err(|error| fail("its log cannot be opened", &error))?;
    let program = std::env::current_exe().map_err(|error| fail("this program cannot be found", &error))?;
    // Dropping the child leaves it running; tokio reaps it when it ends, as long as we live.
    let child = tokio::process::Command::new(program)
        .arg(role.role.subcommand())
        .arg("--config")
        .arg(role.config())
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .process_group(0)
        .spawn()
        .map_err(|error| fail("the process cannot be started", &error))?;
    let pid = child.id().and_then(Pid::of);
    pid.ok_or_else(|| fail("it ended at once", &last_words(&role.log())))
}

/// The last line of a role's log: its one clear sentence, when it could not start. A log that cannot be read holds none.
pub(crate) fn last_words(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it left no word").to_owned()
}
