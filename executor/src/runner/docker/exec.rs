//! A command inside a container: its output, its exit code, and its end when its time is up.
//!
//! **An engine that is away is not the command's fault.** Whatever the engine does not answer in time is
//! [`RunnerError::Unavailable`]: nothing was learnt of the workload. Only when the engine itself says that the
//! command still runs did the command take too long; one that the engine has not begun by then took no time at all.
//!
//! **The end of one that takes too long.** The engine's API has no call to end an exec, and one whose caller goes
//! away goes on. So it is killed from outside, with all below it, where the executor sees the node's pids (the
//! engine tells the command's); otherwise from inside: a second command kills whoever carries the first one's mark
//! in its environment, which needs `sh` and `grep` in the image, as most have. In an image without them, under an
//! executor in a pid namespace of its own, such a command goes on until its container ends; that is logged.

use std::sync::Arc;
use std::time::Duration;

use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::ExecInspectResponse;
use futures::StreamExt;
use rustix::process::Signal;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::engine::{Engine, EngineError};
use crate::limits::PROBE_VERDICT;
use crate::runner::kin::{self, ProcessId};
use crate::runner::mark::{CommandMark, VARIABLE};
use crate::runner::{COMMAND_OUTPUT_MAX, CommandOutput, RunnerError};

/// How long a command that the engine had not begun when its time was up is waited for, so that it ends as soon as
/// it begins; and how often the engine is asked for it.
const BEGIN_LIMIT: Duration = Duration::from_secs(60);
const BEGIN_INTERVAL: Duration = Duration::from_millis(250);

/// How long the kill from inside may take.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// Kills whoever has `$1` in its environment; fails where it found nobody. This one itself has it not.
const KILL_MARKED: &str = r#"found=1
for dir in /proc/[0-9]*; do
    grep -q "$1" "$dir/environ" 2>/dev/null && kill -9 "${dir#/proc/}" && found=0
done
exit $found"#;

/// Runs `argv` in the container and waits for it, at most `limit`.
pub(super) async fn run(
    engine: &Arc<Engine>,
    executor: &CommandMark,
    container: &str,
    argv: &[String],
    limit: Duration,
) -> Result<CommandOutput, RunnerError> {
    let at = |error: EngineError| error.at("command");
    let deadline = Instant::now() + limit;
    let mark = format!("{VARIABLE}={}", executor.of_one());
    let options = CreateExecOptions {
        cmd: Some(argv.to_vec()),
        env: Some(vec![mark.clone()]),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..CreateExecOptions::default()
    };
    let create = async |client: bollard::Docker| client.create_exec(container, options).await;
    let exec = engine.call_within("create_exec", limit, create).await.map_err(at)?.id;
    let mut kept = Vec::new();
    let in_time = match timeout_at(deadline, attend(engine, &exec, &mut kept)).await {
        Ok(ended) => ended.map(|()| true).map_err(at)?,
        Err(_) => false,
    };
    let seen = look(engine, &exec).await;
    if !in_time && !seen.as_ref().is_ok_and(is_over) {
        // In a task of its own: the answer is due now, however long the engine takes.
        tokio::spawn(end(Arc::clone(engine), container.to_owned(), exec, mark));
    }
    let output = String::from_utf8_lossy(&kept).into_owned();
    match seen.map_err(at)? {
        ExecInspectResponse { running: Some(true), .. } if in_time => {
            Err(RunnerError::Unavailable("the engine broke off while the command ran".to_owned()))
        }
        late if !in_time && !is_over(&late) && pid_of(&late).is_none() => {
            Err(RunnerError::Unavailable(format!("the engine did not begin the command within {limit:?}")))
        }
        ExecInspectResponse { running: Some(true), .. } => {
            let why = format!("it took longer than {limit:?} and was killed; its output: {output:?}");
            Err(RunnerError::Failed { step: "command", why })
        }
        ended => {
            let code = ended.exit_code.and_then(|code| i32::try_from(code).ok());
            let code = code.ok_or_else(|| RunnerError::Failed {
                step: "command",
                why: "the engine does not say how it ended".to_owned(),
            })?;
            Ok(CommandOutput { code, output })
        }
    }
}

/// Starts it and takes its output until there is no more, which is when it ended.
async fn attend(engine: &Engine, exec: &str, kept: &mut Vec<u8>) -> Result<(), EngineError> {
    let started = engine.call("start_exec", async |client| client.start_exec(exec, None).await).await;
    let started = started.map_err(|error| forgotten(engine, error))?;
    let StartExecResults::Attached { mut output, input: _input } = started else { return Ok(()) };
    while let Some(piece) = output.next().await {
        let bytes = piece.map_err(|error| engine.sort(error))?.into_bytes();
        let room = COMMAND_OUTPUT_MAX.saturating_sub(kept.len());
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
    Ok(())
}

pub(super) async fn look(engine: &Engine, exec: &str) -> Result<ExecInspectResponse, EngineError> {
    let asked =
        engine.call_within("inspect_exec", PROBE_VERDICT, async |client| client.inspect_exec(exec).await);
    asked.await.map_err(|error| forgotten(engine, error))
}

/// Whether it ended. One that was not begun yet has no exit code either.
pub(super) fn is_over(exec: &ExecInspectResponse) -> bool {
    exec.running != Some(true) && exec.exit_code.is_some()
}

/// Its pid on the engine's machine, once it was begun.
pub(super) fn pid_of(exec: &ExecInspectResponse) -> Option<u32> {
    exec.pid.and_then(|pid| u32::try_from(pid).ok()).filter(|&pid| pid > 0)
}

/// An engine keeps the commands that it was given in memory: one that knows a command no more was restarted.
pub(super) fn forgotten(engine: &Engine, error: EngineError) -> EngineError {
    if error.is_not_found() {
        engine.unreachable(format!("it was restarted while a command ran ({error})"))
    } else {
        error
    }
}

/// Ends a command that took too long, from wherever it is within reach.
pub(super) async fn end(engine: Arc<Engine>, container: String, exec: String, mark: String) {
    let given_up = Instant::now() + BEGIN_LIMIT;
    let pid = loop {
        match engine.call("inspect_exec", async |client| client.inspect_exec(&exec).await).await {
            Ok(found) if is_over(&found) => return,
            Ok(found) => match pid_of(&found) {
                None if Instant::now() < given_up => sleep(BEGIN_INTERVAL).await,
                pid => break pid,
            },
            // It went with its container, or with the engine that should have begun it.
            Err(error) if error.is_not_found() => return,
            Err(error) => {
                tracing::warn!(%error, "a command that took too long could not be found to kill it");
                return;
            }
        }
    };
    if !kill_from_outside(pid, container.clone()).await && !kill_from_inside(&engine, &container, mark).await
    {
        tracing::warn!("a command that took too long is out of reach; it goes on until its container ends");
    }
}

/// The command and all below it, if its pid is one that the executor sees.
async fn kill_from_outside(pid: Option<u32>, container: String) -> bool {
    let killed = tokio::task::spawn_blocking(move || {
        let leader = pid.and_then(|pid| ProcessId::of(pid).ok().flatten());
        let Some(leader) = leader.filter(|leader| is_inside(*leader, &container)) else { return false };
        let below = kin::descendants(leader.pid).unwrap_or_default();
        let killed = below.into_iter().chain([leader]).map(|process| process.signal(Signal::KILL));
        killed.filter(Result::is_err).count() == 0
    });
    killed.await.unwrap_or(false)
}

/// Sends a running command a signal, if its pid is one that the executor sees. In words why it could not.
pub(super) async fn send_signal(
    engine: &Arc<Engine>,
    container: &str,
    exec: &str,
    number: i32,
) -> Result<(), String> {
    let signal = Signal::from_named_raw(number).ok_or("there is no such signal")?;
    let pid = pid_of(&look(engine, exec).await.map_err(|error| error.to_string())?);
    let container = container.to_owned();
    let sent = tokio::task::spawn_blocking(move || {
        let process = pid.and_then(|pid| ProcessId::of(pid).ok().flatten());
        let process = process.filter(|process| is_inside(*process, &container));
        let process = process.ok_or("its process is not one that this executor sees")?;
        process.signal(signal).map_err(|error| error.to_string())
    });
    sent.await.map_err(|error| error.to_string())?
}

/// Whoever carries the mark, by a command of its own. Whether it found any.
async fn kill_from_inside(engine: &Engine, container: &str, mark: String) -> bool {
    let options = CreateExecOptions {
        cmd: Some(["sh", "-c", KILL_MARKED, "sh"].map(str::to_owned).into_iter().chain([mark]).collect()),
        attach_stdout: Some(true),
        ..CreateExecOptions::default()
    };
    let work = async {
        let create = async |client: bollard::Docker| client.create_exec(container, options).await;
        let exec = engine.call("create_exec", create).await?.id;
        attend(engine, &exec, &mut Vec::new()).await?;
        look(engine, &exec).await
    };
    match timeout(KILL_LIMIT, work).await {
        Ok(Ok(ended)) => ended.exit_code == Some(0),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a command could not be killed from inside its container");
            false
        }
        Err(_) => false,
    }
}

/// An executor in a container of its own sees other pids: the process must belong to the container.
fn is_inside(process: ProcessId, container: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{}/cgroup", process.pid))
        .is_ok_and(|groups| groups.contains(container))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use uuid::Uuid;

    use super::*;

    /// As a container's own shell would run it: whoever has the mark ends, and nobody else.
    #[test]
    fn who_carries_the_mark_is_killed_from_inside() {
        let mark = Uuid::new_v4().simple().to_string();
        let sleeper = |mark: &str| Command::new("sleep").arg("1000").env(VARIABLE, mark).spawn().unwrap();
        let (mut marked, mut other) = (sleeper(&mark), sleeper("another"));
        let kill = || {
            Command::new("sh")
                .args(["-c", KILL_MARKED, "sh", &format!("{VARIABLE}={mark}")])
                .status()
                .unwrap()
        };
        assert!(kill().success());
        assert_eq!(marked.wait().unwrap().signal(), Some(9));
        assert!(!kill().success(), "nobody is left");
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
