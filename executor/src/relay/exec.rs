//! A user's command beside a workload: input and output between a relay and a runner.

use std::time::Duration;

use bytes::Bytes;
use muster_common::exec_channel::TerminalSize;
use muster_common::id::InstanceId;
use muster_proto::v1;
use muster_proto::v1::exec_input::Body as Input;
use muster_proto::v1::exec_output::Body as Output;
use muster_proto::v1::relay_up::Body as Up;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::Node;
use super::line::{Line, Refusal};
use crate::runner::{ExecEnd, ExecIo, ExecOutput, ExecRequest, RunnerError};
use crate::supervisor::Running;

/// How much input is on its way at most, and what each piece of it costs beside what it carries.
const INPUT_WINDOW_BYTES: u64 = 128 * 1024;
const PIECE_COST: u64 = 64;
/// As many pieces as that can be.
const PIECES: usize = 2_048;
/// How many signals wait for a command; more are passed over.
const SIGNALS: usize = 16;
/// How many pieces of output wait for the user.
const OUTPUT: usize = 1;

/// What a command is told while it runs, from the relay's connection.
pub(super) struct Inputs {
    stdin: Option<mpsc::Sender<Bytes>>,
    sizes: watch::Sender<TerminalSize>,
    signals: mpsc::Sender<i32>,
}

/// The command's end of them.
pub(super) struct Told {
    stdin: mpsc::Receiver<Bytes>,
    sizes: watch::Receiver<TerminalSize>,
    signals: mpsc::Receiver<i32>,
}

pub(super) fn inputs() -> (Inputs, Told) {
    let (stdin, read_stdin) = mpsc::channel(PIECES);
    let (sizes, seen_sizes) = watch::channel(TerminalSize::USUAL);
    let (signals, heard_signals) = mpsc::channel(SIGNALS);
    (
        Inputs { stdin: Some(stdin), sizes, signals },
        Told { stdin: read_stdin, sizes: seen_sizes, signals: heard_signals },
    )
}

impl Inputs {
    /// Never waits, so that signals, sizes and credit are heard behind input that nobody takes. False: the
    /// controller sends more than it was given credit for.
    pub(super) fn take(&mut self, input: v1::ExecInput) -> bool {
        match input.body {
            Some(Input::Stdin(bytes)) => match &self.stdin {
                Some(stdin) => !matches!(stdin.try_send(bytes), Err(mpsc::error::TrySendError::Full(_))),
                None => true,
            },
            Some(Input::StdinEnd(_)) => {
                self.stdin = None;
                true
            }
            Some(Input::Resize(size)) => {
                self.sizes.send_replace(size.into());
                true
            }
            Some(Input::Signal(number)) => {
                if self.signals.try_send(number).is_err() {
                    tracing::info!(number, "a command was not sent a signal: too many wait, or it is over");
                }
                true
            }
            None => true,
        }
    }
}

/// Runs it to its end, or to the end of its time.
pub(super) async fn run(node: &Node, ask: v1::StartExec, told: Told, line: Line) -> Result<Up, Refusal> {
    let Running { plan, workload, runner } = running(node, &ask.instance).await?;
    let runner = node.runners.of(runner).ok_or_else(|| {
        Refusal::Failed(format!("this executor has no {runner} runner, which its instance is of"))
    })?;
    let request = ExecRequest {
        command: ask.command,
        env: ask.env.into_iter().collect(),
        workdir: Some(ask.workdir).filter(|workdir| !workdir.is_empty()),
        stdin: ask.stdin,
        terminal: ask.terminal.map(Into::into),
    };
    let Told { stdin, sizes, signals } = told;
    let (to_command, from_relay) = mpsc::channel(1);
    let (output, mut written) = mpsc::channel(OUTPUT);
    let io = ExecIo { stdin: from_relay, sizes, signals, output };
    let limit = match ask.timeout_ms {
        0 => Duration::MAX,
        ms => Duration::from_millis(ms),
    };
    let command = timeout(limit, runner.exec(&plan, &workload, &request, io));
    let heard = async {
        while let Some(piece) = written.recv().await {
            let (bytes, body) = match piece {
                ExecOutput::Stdout(bytes) => (bytes.len(), Output::Stdout(bytes)),
                ExecOutput::Stderr(bytes) => (bytes.len(), Output::Stderr(bytes)),
            };
            line.say(bytes, Up::ExecOutput(v1::ExecOutput { body: Some(body) })).await;
        }
    };
    let outcome = tokio::select! {
        (outcome, ()) = async { tokio::join!(command, heard) } => outcome,
        never = feed(stdin, to_command, &line) => match never {},
    };
    match outcome {
        Ok(Ok(ExecEnd { code, signal })) => Ok(Up::ExecEnd(v1::ExecEnd { code, signal, timed_out: false })),
        Ok(Err(RunnerError::Unavailable(why) | RunnerError::Failed { why, .. })) => Err(Refusal::Failed(why)),
        Ok(Err(RunnerError::NoSuchCommand(why))) => Err(Refusal::NoSuchCommand(why)),
        Err(_) => Ok(Up::ExecEnd(v1::ExecEnd { timed_out: true, ..v1::ExecEnd::default() })),
    }
}

/// What runs for an instance.
async fn running(node: &Node, instance: &str) -> Result<Running, Refusal> {
    let absent = || Refusal::NotFound(format!("instance {instance} does not run, or not any more"));
    let id = InstanceId::new(instance).map_err(|_| absent())?;
    let running = node.supervisor.running(id).await;
    running.map_err(|error| Refusal::Failed(error.to_string()))?.ok_or_else(absent)
}

/// Hands input to the command, and gives credit for what it took.
async fn feed(
    mut stdin: mpsc::Receiver<Bytes>,
    to: mpsc::Sender<Bytes>,
    line: &Line,
) -> std::convert::Infallible {
    line.give(INPUT_WINDOW_BYTES).await;
    let mut to = Some(to);
    while let Some(bytes) = stdin.recv().await {
        let cost = bytes.len() as u64 + PIECE_COST;
        if let Some(command) = &to
            && command.send(bytes).await.is_err()
        {
            to = None;
        }
        line.give(cost).await;
    }
    drop(to);
    std::future::pending().await
}
