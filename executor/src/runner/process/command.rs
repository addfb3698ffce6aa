//! A command beside a process: a CMD probe or hook. It has the workload's environment, directory, user and own
//! limits, and is held by the control groups that hold the workload, but is not in the workload's own: who stops
//! the workload ends it, too, and whoever is the executor next can tell it from the workload and end it alone. When it
//! has ended, or its time is up, all that it started is killed: its process group at once, and who left that by the
//! mark that each command has for itself.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::entry::{Entry, judge};
use super::launch::MAX_REPLY_BYTES;
use crate::runner::mark;
use crate::runner::{COMMAND_OUTPUT_MAX, CommandOutput, RunnerError};
use crate::want::is_want;

/// Kills the command and what it left in the background when it is dropped, however that comes about. The group's
/// number stays taken while anybody is in it, and numbers are given out in turn, so nobody else can have it a moment
/// after the command ended.
pub(super) struct Family {
    group: Pid,
    mark: String,
}

impl Family {
    pub(super) fn of(child: &Child, mark: String) -> Option<Self> {
        let group = Pid::from_raw(i32::try_from(child.id()?).ok()?)?;
        Some(Self { group, mark })
    }

    /// The command's process group.
    pub(super) const fn group(&self) -> Pid {
        self.group
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        // Nobody is left in it: the usual case.
        let _ = rustix::process::kill_process_group(self.group, Signal::KILL);
        // Without a runtime the executor is ending: the next one ends what is left.
        let Ok(runtime) = Handle::try_current() else { return };
        let (mark, first) =
            (std::mem::take(&mut self.mark), self.group.as_raw_nonzero().get().unsigned_abs());
        runtime.spawn_blocking(move || match mark::end_rest(&mark, first) {
            Ok(0) => {}
            Ok(count) => tracing::debug!(count, "killed what a command left behind in sessions of its own"),
            Err(error) => tracing::warn!(%error, "what a command left behind cannot be killed"),
        });
    }
}

/// Runs what `entry` describes and waits for it, at most `limit`. `shim` is the program that becomes it: only a
/// process that has one thread can become somebody else. `mark` is its own, and no other command's.
pub(super) async fn run(
    mut entry: Entry,
    mark: String,
    shim: &Path,
    limit: Duration,
) -> Result<CommandOutput, RunnerError> {
    let empty = || RunnerError::Failed { step: "command", why: "it is empty".to_owned() };
    entry.env.insert(mark::VARIABLE.to_owned(), mark.clone());
    let program = entry.command.first().ok_or_else(empty)?;
    let (reader, writer) = io::pipe().map_err(|error| failed(program, &error))?;
    let mut command = Command::from(entry.process(shim, writer));
    command.kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| failed(program, &error))?;
    drop(command);
    let _family = Family::of(&child, mark);
    let mut output =
        pipe::Receiver::from_owned_fd(OwnedFd::from(reader)).map_err(|error| failed(program, &error))?;

    let mut kept = Vec::new();
    let mut chunk = [0; COMMAND_OUTPUT_MAX];
    let ended = timeout(limit, async {
        admit(&entry, &mut child).await?;
        let mut open = true;
        loop {
            tokio::select! {
                biased;
                read = output.read(&mut chunk), if open => match read {
                    Ok(0) | Err(_) => open = false,
                    Ok(count) => keep(&mut kept, &chunk[..count]),
                },
                status = child.wait() => return status,
            }
        }
    })
    .await;
    // What was written just before the end; a child that it left in the background may hold the pipe
    // open for ever, so nothing is waited for.
    while let Ok(count @ 1..) = output.try_read(&mut chunk) {
        keep(&mut kept, &chunk[..count]);
        if kept.len() >= COMMAND_OUTPUT_MAX {
            break;
        }
    }
    let output = String::from_utf8_lossy(&kept).into_owned();
    match ended {
        Ok(Ok(status)) => Ok(CommandOutput { code: code_of(status), output }),
        Ok(Err(error)) => Err(failed(program, &error)),
        Err(_) => Err(RunnerError::Failed {
            step: "command",
            why: format!("{program} took longer than {limit:?} and was killed; its output: {output:?}"),
        }),
    }
}

/// Why a command did not run, or how `what` it takes could not be had. Want of resources says nothing of the workload.
pub(super) fn failed(what: &str, error: &io::Error) -> RunnerError {
    let why = format!("{what}: {error}");
    if is_want(error) {
        RunnerError::Unavailable(format!("no command can be run now: {why}"))
    } else {
        RunnerError::Failed { step: "command", why }
    }
}

/// Tells the process what it is, and waits until it is the command. In words why it is not.
async fn admit(entry: &Entry, child: &mut Child) -> io::Result<()> {
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::other("the new process has no pipes"));
    };
    // One that ended already says why.
    let told = stdin.write_all(&entry.description()?).await;
    drop(stdin);
    let mut said = String::new();
    stdout.take(MAX_REPLY_BYTES).read_to_string(&mut said).await?;
    judge(&said, told)
}

fn keep(kept: &mut Vec<u8>, bytes: &[u8]) {
    let room = COMMAND_OUTPUT_MAX.saturating_sub(kept.len());
    kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

/// As a shell says it: 128 + the signal, for one that a signal ended.
fn code_of(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}
