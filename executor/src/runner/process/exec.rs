//! A command that a user runs beside a process: as a check's (see `command`), but with input, output and a terminal of
//! its own. When its user leaves, or it ends, all that it started is killed.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{join, join3};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::command::{Family, failed};
use super::entry::{Entry, judge};
use super::handover::hand_over;
use super::launch::MAX_REPLY_BYTES;
use super::terminal::{Descriptor, Ends, pipes, terminal};
use crate::runner::exec::{ExecEnd, ExecIo, ExecOutput, ExecRequest, OUTPUT_PIECE, TerminalSize};
use crate::runner::{RunnerError, mark};

/// How long the new process may take to become the command.
const BEGUN_WITHIN: Duration = Duration::from_secs(30);
/// What a terminal takes for the end of input, at the beginning of a line: Ctrl-D.
const END_OF_INPUT: &[u8] = &[4];

/// Runs what `entry` describes to its end. Dropping the future kills it.
pub(super) async fn run(
    mut entry: Entry,
    mark: String,
    shim: &Path,
    request: &ExecRequest,
    io: ExecIo,
) -> Result<ExecEnd, RunnerError> {
    let empty = || RunnerError::Failed { step: "command", why: "it is empty".to_owned() };
    let program = entry.command.first().cloned().ok_or_else(empty)?;
    let at = |error: io::Error| failed(&program, &error);
    entry.env.insert(mark::VARIABLE.to_owned(), mark.clone());
    let (ends, given) = match request.terminal {
        Some(size) => terminal(size).map_err(at)?,
        None => pipes(request.stdin).map_err(at)?,
    };
    let (near, far) = UnixStream::pair().map_err(at)?;
    let mut command = Command::from(entry.process_with_own_streams(shim, far.into()));
    command.kill_on_drop(true);
    let mut child = command.spawn().map_err(at)?;
    // With its copy of the socket.
    drop(command);
    let family = Family::of(&child, mark);
    hand_over(&near, &given).map_err(at)?;
    // Or the end of its output would never be seen.
    drop(given);
    let admitted = timeout(BEGUN_WITHIN, admit(&entry, near)).await;
    let admitted = admitted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    admitted.map_err(|error| match (error.kind(), at(error)) {
        (io::ErrorKind::NotFound, RunnerError::Failed { why, .. }) => RunnerError::NoSuchCommand(why),
        (_, error) => error,
    })?;

    let ExecIo { stdin, sizes, signals, output } = io;
    let over = CancellationToken::new();
    let ended = async {
        let status = child.wait().await;
        over.cancel();
        status
    };
    let (status, ()) = match ends {
        Ends::Pipes { stdin: pipe, stdout, stderr } => {
            let poured = async {
                let out = pour(&stdout, ExecOutput::Stdout, &output, &over);
                join(out, pour(&stderr, ExecOutput::Stderr, &output, &over)).await;
            };
            let beside = join(feed(stdin, pipe.map(Input::Pipe)), signal(signals, family.as_ref(), None));
            tokio::select! {
                ended = join(ended, poured) => ended,
                (never, _) = beside => match never {},
            }
        }
        Ends::Terminal(terminal) => {
            let poured = pour(&terminal, ExecOutput::Stdout, &output, &over);
            let signalled = signal(signals, family.as_ref(), Some(&terminal));
            let resized = resize(sizes, &terminal);
            let beside = join3(feed(stdin, Some(Input::Terminal(&terminal))), signalled, resized);
            tokio::select! {
                ended = join(ended, poured) => ended,
                (never, ..) = beside => match never {},
            }
        }
    };
    let status = status.map_err(at)?;
    Ok(ExecEnd { code: status.code(), signal: status.signal() })
}

/// Tells the process what it is, and waits until it is the command. In words why it is not.
async fn admit(entry: &Entry, socket: UnixStream) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let mut socket = tokio::net::UnixStream::from_std(socket)?;
    // One that ended already says why.
    let told = socket.write_all(&entry.description()?).await;
    let told = told.and(socket.shutdown().await);
    let mut said = String::new();
    socket.take(MAX_REPLY_BYTES).read_to_string(&mut said).await?;
    judge(&said, told)
}

/// Takes output until there is no more, or until the command is over and all that it wrote is taken: a child
/// that it left in the background may hold the other end open for ever.
async fn pour(
    from: &Descriptor,
    kind: fn(Bytes) -> ExecOutput,
    to: &mpsc::Sender<ExecOutput>,
    over: &CancellationToken,
) {
    let mut chunk = vec![0; OUTPUT_PIECE];
    loop {
        let count = tokio::select! {
            biased;
            read = from.read(&mut chunk) => read.unwrap_or_default(),
            () = over.cancelled() => from.read_now(&mut chunk),
        };
        // Nobody takes it: then this is about to be dropped.
        if count == 0 || to.send(kind(Bytes::copy_from_slice(&chunk[..count]))).await.is_err() {
            return;
        }
    }
}

/// Where input goes.
enum Input<'a> {
    Pipe(Descriptor),
    Terminal(&'a Descriptor),
}

/// Hands input on. What the command does not take any more is passed over.
async fn feed(mut stdin: mpsc::Receiver<Bytes>, mut to: Option<Input<'_>>) -> Infallible {
    while let Some(bytes) = stdin.recv().await {
        let written = match &to {
            Some(Input::Pipe(pipe)) => pipe.write_all(&bytes).await,
            Some(Input::Terminal(terminal)) => terminal.write_all(&bytes).await,
            None => Ok(()),
        };
        if written.is_err() {
            to = None;
        }
    }
    if let Some(Input::Terminal(terminal)) = &to {
        // A terminal that is gone needs no end.
        let _ = terminal.write_all(END_OF_INPUT).await;
    }
    // A pipe's end is its closing.
    drop(to);
    pending().await
}

async fn resize(mut sizes: watch::Receiver<TerminalSize>, terminal: &Descriptor) -> Infallible {
    while sizes.changed().await.is_ok() {
        let size = *sizes.borrow_and_update();
        if let Err(error) = terminal.resize(size) {
            tracing::debug!(%error, "a terminal cannot be resized");
        }
    }
    pending().await
}

/// Signals go to whom the terminal's keys go to; without one, to the command and all that is in its process group.
async fn signal(
    mut signals: mpsc::Receiver<i32>,
    family: Option<&Family>,
    terminal: Option<&Descriptor>,
) -> Infallible {
    while let Some(number) = signals.recv().await {
        let group = terminal.and_then(Descriptor::foreground).or(family.map(Family::group));
        if let (Some(signal), Some(group)) = (Signal::from_named_raw(number), group) {
            // Nobody is left in it: as good.
            let _ = rustix::process::kill_process_group(group, signal);
        }
    }
    pending().await
}
