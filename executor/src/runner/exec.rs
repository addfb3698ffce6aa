//! A command that a user runs beside a workload: what it is given while it runs, and what comes of it.

use std::collections::BTreeMap;

use bytes::Bytes;
pub use muster_common::exec_channel::TerminalSize;
use tokio::sync::{mpsc, watch};

/// The largest piece of output, in bytes.
pub(super) const OUTPUT_PIECE: usize = 16 << 10;

/// What to run. Has no `Debug`: arguments and environment may hold secrets.
#[derive(Clone)]
pub struct ExecRequest {
    /// The program and its arguments; not through a shell.
    pub command: Vec<String>,
    /// Variables beside the workload's own.
    pub env: BTreeMap<String, String>,
    /// Where it starts; none: where the workload did.
    pub workdir: Option<String>,
    /// Whether it is given input. Otherwise there is none from the beginning.
    pub stdin: bool,
    /// The size of its terminal; none: it has none, but pipes.
    pub terminal: Option<TerminalSize>,
}

/// The user's end of a command, as the runner sees it. All of it is bounded; who does not take output stops the command.
pub struct ExecIo {
    /// Input; closed: there is no more.
    pub stdin: mpsc::Receiver<Bytes>,
    /// The terminal's size, whenever it changes.
    pub sizes: watch::Receiver<TerminalSize>,
    /// Signals for it, by number.
    pub signals: mpsc::Receiver<i32>,
    /// Where its output goes.
    pub output: mpsc::Sender<ExecOutput>,
}

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecOutput {
    /// Of its standard output; of its terminal, where it has one.
    Stdout(Bytes),
    /// Of its standard error.
    Stderr(Bytes),
}

/// How a command ended. Neither: nobody knows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct ExecEnd {
    /// When it exited by itself.
    pub code: Option<i32>,
    /// When a signal ended it.
    pub signal: Option<i32>,
}
