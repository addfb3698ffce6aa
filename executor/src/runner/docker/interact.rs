//! A command that a user runs inside a container: as a check's (see `exec`), but with input, a terminal, signals, and for
//! as long as its user stays.

use std::convert::Infallible;
use std::future::pending;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{ResizeExecOptions, StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use bytes::Bytes;
use futures::future::join3;
use futures::{Stream, StreamExt};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::engine::{Engine, EngineError};
use super::exec::{end, forgotten, is_over, look, pid_of, send_signal};
use crate::runner::RunnerError;
use crate::runner::exec::{ExecEnd, ExecIo, ExecOutput, ExecRequest, TerminalSize};
use crate::runner::mark::{CommandMark, VARIABLE};

/// How long a command may go on when its output has ended, and how often the engine is asked.
const OVER_WITHIN: Duration = Duration::from_secs(3);
const OVER_INTERVAL: Duration = Duration::from_millis(50);

/// What the engine writes where a command's output would be, and what begins so, when it cannot begin the command.
const NOT_BEGUN: &[u8] = b"OCI runtime exec failed: ";

/// Runs a command in the container to its end. Dropping the future kills it.
pub(super) async fn run(
    engine: &Arc<Engine>,
    executor: &CommandMark,
    container: &str,
    request: &ExecRequest,
    io: ExecIo,
) -> Result<ExecEnd, RunnerError> {
    let at = |error: EngineError| error.at("command");
    let mark = format!("{VARIABLE}={}", executor.of_one());
    let options = config(request, mark.clone());
    let create = async |client: bollard::Docker| client.create_exec(container, options).await;
    let exec = engine.call("create_exec", create).await.map_err(at)?.id;
    let mut ending = Ending(Some(Begun {
        engine: Arc::clone(engine),
        container: container.to_owned(),
        exec: exec.clone(),
        mark,
    }));
    let how = StartExecOptions { tty: request.terminal.is_some(), ..StartExecOptions::default() };
    let start = async |client: bollard::Docker| client.start_exec(&exec, Some(how)).await;
    let started = engine.call("start_exec", start).await.map_err(|error| at(forgotten(engine, error)))?;
    let StartExecResults::Attached { output: from, input } = started else {
        return Err(RunnerError::Failed { step: "command", why: "the engine did not attach it".to_owned() });
    };
    let ExecIo { stdin, sizes, signals, output } = io;
    let mut held = None;
    let poured = pour(engine, from, &output, &mut held);
    let beside = join3(
        feed(stdin, input),
        resize(engine, &exec, sizes, request.terminal),
        signal(engine, container, &exec, signals),
    );
    tokio::select! {
        poured = poured => poured.map_err(at)?,
        (never, ..) = beside => match never {},
    }
    // Its output may end a moment before it does.
    let deadline = Instant::now() + OVER_WITHIN;
    let seen = loop {
        let seen = look(engine, &exec).await.map_err(at)?;
        if is_over(&seen) || Instant::now() >= deadline {
            break seen;
        }
        sleep(OVER_INTERVAL).await;
    };
    if is_over(&seen) {
        ending.0 = None;
    }
    match held {
        Some(words) if is_over(&seen) && pid_of(&seen).is_none() => return Err(unbegun(request, &words)),
        // Nobody takes it: then this is about to be dropped.
        Some(piece) => drop(output.send(piece).await),
        None => {}
    }
    // Of one that a signal ended, the engine says what a shell would: 128 and the signal.
    let code = seen.exit_code.filter(|_| seen.running != Some(true));
    Ok(ExecEnd { code: code.and_then(|code| i32::try_from(code).ok()), signal: None })
}

/// Passes output on. What may be the engine's words in place of it is `held` until more comes.
async fn pour(
    engine: &Engine,
    mut from: impl Stream<Item = Result<LogOutput, bollard::errors::Error>> + Unpin,
    to: &mpsc::Sender<ExecOutput>,
    held: &mut Option<ExecOutput>,
) -> Result<(), EngineError> {
    let mut is_first = true;
    while let Some(piece) = from.next().await {
        let piece = match piece.map_err(|error| engine.sort(error))? {
            LogOutput::StdErr { message } => ExecOutput::Stderr(message),
            LogOutput::StdOut { message } | LogOutput::Console { message } | LogOutput::StdIn { message } => {
                ExecOutput::Stdout(message)
            }
        };
        if mem::take(&mut is_first) && bytes_of(&piece).starts_with(NOT_BEGUN) {
            *held = Some(piece);
            continue;
        }
        for piece in held.take().into_iter().chain([piece]) {
            if to.send(piece).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn bytes_of(piece: &ExecOutput) -> &Bytes {
    match piece {
        ExecOutput::Stdout(bytes) | ExecOutput::Stderr(bytes) => bytes,
    }
}

/// Why a command never began, as the engine says it. Its exit code is the same for everything in some versions.
fn unbegun(request: &ExecRequest, words: &ExecOutput) -> RunnerError {
    let said = String::from_utf8_lossy(bytes_of(words));
    let said = said.trim().trim_end_matches(": unknown");
    let why = format!("{}: {said}", request.command.first().map_or("", String::as_str));
    let said = said.to_lowercase();
    let is_directory = said.contains("chdir");
    let is_missing = said.contains("executable file not found") || said.contains("no such file or directory");
    if is_missing && !is_directory {
        RunnerError::NoSuchCommand(why)
    } else {
        RunnerError::Failed { step: "command", why }
    }
}

/// What the engine is asked for.
fn config(request: &ExecRequest, mark: String) -> ExecConfig {
    let own = request.env.iter().filter(|(name, _)| !name.starts_with("MUSTER_"));
    let own = own.map(|(name, value)| format!("{name}={value}"));
    let size = |size: TerminalSize| vec![size.rows.into(), size.columns.into()];
    ExecConfig {
        cmd: Some(request.command.clone()),
        env: Some(own.chain([mark]).collect()),
        working_dir: request.workdir.clone(),
        attach_stdin: Some(request.stdin),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(request.terminal.is_some()),
        console_size: request.terminal.map(size),
        ..ExecConfig::default()
    }
}

/// A command that was begun, and is not known to be over.
struct Begun {
    engine: Arc<Engine>,
    container: String,
    exec: String,
    mark: String,
}

/// Ends the command when it is dropped: its user left.
struct Ending(Option<Begun>);

impl Drop for Ending {
    fn drop(&mut self) {
        let Some(Begun { engine, container, exec, mark }) = self.0.take() else { return };
        // Without a runtime the executor is ending.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(end(engine, container, exec, mark));
        }
    }
}

/// Hands input on. What the command does not take any more is passed over.
async fn feed(mut stdin: mpsc::Receiver<Bytes>, input: Pin<Box<dyn AsyncWrite + Send>>) -> Infallible {
    let mut to = Some(input);
    while let Some(bytes) = stdin.recv().await {
        let Some(input) = &mut to else { continue };
        let written = async {
            input.write_all(&bytes).await?;
            input.flush().await
        };
        if written.await.is_err() {
            to = None;
        }
    }
    if let Some(input) = &mut to {
        // One that is gone needs no end.
        let _ = input.shutdown().await;
    }
    pending().await
}

/// Engines before API 1.42 take no size at the beginning: they are told as soon as the command runs.
async fn resize(
    engine: &Engine,
    exec: &str,
    mut sizes: watch::Receiver<TerminalSize>,
    first: Option<TerminalSize>,
) -> Infallible {
    let mut wanted = first;
    loop {
        if let Some(size) = wanted {
            let size = ResizeExecOptions { height: size.rows, width: size.columns };
            let resize = async |client: bollard::Docker| client.resize_exec(exec, size).await;
            if let Err(error) = engine.call("resize_exec", resize).await {
                tracing::debug!(%error, "a terminal cannot be resized");
            }
        }
        if sizes.changed().await.is_err() {
            return pending().await;
        }
        wanted = first.map(|_| *sizes.borrow_and_update());
    }
}

async fn signal(
    engine: &Arc<Engine>,
    container: &str,
    exec: &str,
    mut signals: mpsc::Receiver<i32>,
) -> Infallible {
    while let Some(number) = signals.recv().await {
        if let Err(why) = send_signal(engine, container, exec, number).await {
            tracing::info!(why, number, "a command in a container was not sent a signal");
        }
    }
    pending().await
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_terminal_has_its_size_before_its_command_begins_and_no_variable_hides_the_mark() {
        let mut request = ExecRequest {
            command: vec!["sh".to_owned()],
            env: ["MUSTER_COMMAND", "A"].map(|name| (name.to_owned(), "b".to_owned())).into(),
            workdir: None,
            stdin: true,
            terminal: Some(TerminalSize { rows: 33, columns: 91 }),
        };
        let with = config(&request, "mark".to_owned());
        assert_eq!((with.tty, with.console_size), (Some(true), Some(vec![33, 91])));
        assert_eq!(with.env, Some(vec!["A=b".to_owned(), "mark".to_owned()]));
        request.terminal = None;
        request.env = BTreeMap::new();
        let without = config(&request, "mark".to_owned());
        assert_eq!((without.tty, without.console_size), (Some(false), None));
    }

    #[test]
    fn a_command_that_is_not_there_is_told_from_one_that_cannot_be_run() {
        let request = ExecRequest {
            command: vec!["nope".to_owned()],
            env: BTreeMap::new(),
            workdir: None,
            stdin: false,
            terminal: None,
        };
        let tried = "OCI runtime exec failed: exec failed: unable to start container process: ";
        for (said, is_missing) in [
            ("exec: \"nope\": executable file not found in $PATH", true),
            ("exec: \"/nope\": stat /nope: no such file or directory", true),
            ("exec: \"/etc/hosts\": permission denied", false),
            ("chdir to cwd (\"/no/such\") set in config.json failed: no such file or directory", false),
        ] {
            let words = ExecOutput::Stdout(format!("{tried}{said}: unknown\r\n").into());
            assert!(bytes_of(&words).starts_with(NOT_BEGUN));
            let error = unbegun(&request, &words);
            assert_eq!(matches!(error, RunnerError::NoSuchCommand(_)), is_missing, "{said}");
            assert!(error.to_string().ends_with(&format!("nope: {tried}{said}")), "{error}");
        }
    }
}
