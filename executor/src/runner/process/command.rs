//! A command beside a process: a CMD probe or hook, with the workload's environment, in its
//! directory, and killed with its group when its time is up.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::Command;
use tokio::time::timeout;

use super::shim::DEFAULT_PATH;
use super::user::Account;
use crate::runner::{COMMAND_OUTPUT_MAX, CommandOutput, RunnerError};

/// Kills the command's group when it is dropped, however that comes about: also what the command left
/// in the background. The group's number stays taken while anybody is in it, and numbers are given out
/// in turn, so nobody else can have it a moment after the command ended.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Nobody is left in it: the usual case.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
}

/// Runs `argv` and waits for it, at most `limit`.
pub(super) async fn run(
    argv: &[String],
    env: &BTreeMap<String, String>,
    directory: &Path,
    account: Option<Account>,
    limit: Duration,
) -> Result<CommandOutput, RunnerError> {
    let failed = |why: String| RunnerError::Failed { step: "command", why };
    let Some((program, arguments)) = argv.split_first() else {
        return Err(failed("it is empty".to_owned()));
    };
    let (reader, writer) = io::pipe().map_err(|error| failed(error.to_string()))?;
    let errors = writer.try_clone().map_err(|error| failed(error.to_string()))?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", DEFAULT_PATH)
        .envs(env)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(errors)
        .process_group(0)
        .kill_on_drop(true);
    if let Some(account) = account {
        command.uid(account.uid).gid(account.gid);
    }
    let mut child = command.spawn().map_err(|error| failed(format!("{program}: {error}")))?;
    drop(command);
    let _group = Group(child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)));
    let mut output =
        pipe::Receiver::from_owned_fd(OwnedFd::from(reader)).map_err(|error| failed(error.to_string()))?;

    let mut kept = Vec::new();
    let mut chunk = [0; COMMAND_OUTPUT_MAX];
    let ended = timeout(limit, async {
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

fn keep(kept: &mut Vec<u8>, bytes: &[u8]) {
    let room = COMMAND_OUTPUT_MAX.saturating_sub(kept.len());
    kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

/// As a shell says it: 128 + the signal, for one that a signal ended.
fn code_of(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}
