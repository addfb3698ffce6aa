//! A command inside a container: its output, its exit code, and its end when its time is up.

use std::sync::Arc;
use std::time::Duration;

use bollard::exec::{CreateExecOptions, StartExecResults};
use futures::StreamExt;
use rustix::process::Signal;
use tokio::time::timeout;

use super::engine::{Engine, EngineError};
use crate::runner::kin::{self, ProcessId};
use crate::runner::{COMMAND_OUTPUT_MAX, CommandOutput, RunnerError};

/// Runs `argv` in the container and waits for it, at most `limit`.
pub(super) async fn run(
    engine: &Arc<Engine>,
    container: &str,
    argv: &[String],
    limit: Duration,
) -> Result<CommandOutput, RunnerError> {
    let at = |error: EngineError| error.at("command");
    let options = CreateExecOptions {
        cmd: Some(argv.to_vec()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..CreateExecOptions::default()
    };
    let exec = engine.call(async |client| client.create_exec(container, options).await).await.map_err(at)?.id;
    let mut kept = Vec::new();
    if let Ok(ended) = timeout(limit, attend(engine, &exec, &mut kept)).await {
        ended.map_err(at)?;
    } else {
        // In a task of its own: the answer is due now, however long the engine takes.
        tokio::spawn(kill(Arc::clone(engine), container.to_owned(), exec));
        let output = String::from_utf8_lossy(&kept);
        let why = format!("it took longer than {limit:?} and was killed; its output: {output:?}");
        return Err(RunnerError::Failed { step: "command", why });
    }
    let ended = engine.call(async |client| client.inspect_exec(&exec).await).await.map_err(at)?;
    let code = ended.exit_code.and_then(|code| i32::try_from(code).ok()).ok_or_else(|| {
        RunnerError::Failed { step: "command", why: "the engine does not say how it ended".to_owned() }
    })?;
    Ok(CommandOutput { code, output: String::from_utf8_lossy(&kept).into_owned() })
}

/// Starts it and takes its output until there is no more, which is when it ended.
async fn attend(engine: &Engine, exec: &str, kept: &mut Vec<u8>) -> Result<(), EngineError> {
    let started = engine.call(async |client| client.start_exec(exec, None).await).await?;
    let StartExecResults::Attached { mut output, input: _input } = started else { return Ok(()) };
    while let Some(piece) = output.next().await {
        let bytes = piece.map_err(|error| engine.sort(error))?.into_bytes();
        let room = COMMAND_OUTPUT_MAX.saturating_sub(kept.len());
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
    Ok(())
}

/// The engine has no call to end an exec. It tells the command's pid on the node, which helps when the
/// executor sees the same pids: then the command and all below it are killed.
async fn kill(engine: Arc<Engine>, container: String, exec: String) {
    let pid = match engine.call(async |client| client.inspect_exec(&exec).await).await {
        Ok(found) => found.pid.and_then(|pid| u32::try_from(pid).ok()).filter(|&pid| pid > 0),
        Err(error) => {
            tracing::warn!(%error, "a command that took too long could not be found to kill it");
            return;
        }
    };
    let killed = tokio::task::spawn_blocking(move || {
        let leader = pid.and_then(|pid| ProcessId::of(pid).ok().flatten());
        let Some(leader) = leader.filter(|leader| is_inside(*leader, &container)) else { return false };
        let below = kin::descendants(leader.pid).unwrap_or_default();
        let killed = below.into_iter().chain([leader]).map(|process| process.signal(Signal::KILL));
        killed.filter(Result::is_err).count() == 0
    });
    if !killed.await.unwrap_or(false) {
        tracing::warn!("a command that took too long is out of reach; it goes on until its container ends");
    }
}

/// An executor in a container of its own sees other pids: the process must belong to the container.
fn is_inside(process: ProcessId, container: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{}/cgroup", process.pid))
        .is_ok_and(|groups| groups.contains(container))
}
