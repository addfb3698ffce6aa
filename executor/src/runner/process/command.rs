//! A command beside a process: a CMD probe or hook. It has the workload's environment, directory, user and own
//! limits, and is held by the control groups that hold the workload, but is not in the workload's own: who stops
//! the workload ends it, too, and whoever is the executor next can tell it from the workload and end it alone. It is
//! killed with its process group when its time is up.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::entry::{Entry, judge};
use super::launch::MAX_REPLY_BYTES;
use crate::runner::{COMMAND_OUTPUT_MAX, CommandOutput, RunnerError};

/// Kills the command's group when it is dropped, however that comes about: also what the command left
/// in the background. The group's number stays taken while anybody is in it, and numbers are given out
/// in turn, so nobody else can have it a moment after the command ended.
struct ProcessGroup(Option<Pid>);

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Nobody is left in it: the usual case.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
}

/// Runs what `entry` describes and waits for it, at most `limit`. `shim` is the program that becomes it: only a
/// process that has one thread can become somebody else.
pub(super) async fn run(entry: &Entry, shim: &Path, limit: Duration) -> Result<CommandOutput, RunnerError> {
    let failed = |why: String| RunnerError::Failed { step: "command", why };
    let program = entry.command.first().ok_or_else(|| failed("it is empty".to_owned()))?;
    let (reader, writer) = io::pipe().map_err(|error| failed(error.to_string()))?;
    let mut command = Command::from(entry.process(shim, writer));
    command.kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| failed(format!("{program}: {error}")))?;
    drop(command);
    let _group = ProcessGroup(child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)));
    let mut output =
        pipe::Receiver::from_owned_fd(OwnedFd::from(reader)).map_err(|error| failed(error.to_string()))?;

    let mut kept = Vec::new();
    let mut chunk = [0; COMMAND_OUTPUT_MAX];
    let ended = timeout(limit, async {
        admit(entry, &mut child).await?;
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
        Ok(Err(error)) => Err(failed(format!("{program}: {error}"))),
        Err(_) => Err(failed(format!(
            "{program} took longer than {limit:?} and was killed; its output: {output:?}"
        ))),
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
