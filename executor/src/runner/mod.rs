//! What starts things on a node: one trait, two runners (`docker`, `process`).
//!
//! A runner does as it is told and says what it sees. It knows nothing of slots, states, probes or
//! controllers, and decides nothing: the machine does. All of its calls may be repeated after a
//! crash: creating what exists under the same instance id, stopping what has ended and removing what
//! is gone succeed.

mod access;
pub(crate) mod docker;
mod exec;
mod file;
mod kin;
mod logs;
mod look;
mod mark;
mod open;
mod place;
pub(crate) mod process;
mod set;
mod step;
mod under_way;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use muster_common::id::InstanceId;
use muster_common::instance::RunnerKind;
use muster_common::spec::LocalServiceSpec;
use muster_common::time::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::want::{is_full, is_want};

pub use access::HostAccess;
pub use exec::{ExecEnd, ExecIo, ExecOutput, ExecRequest, TerminalSize};
pub(crate) use file::{MAX_FILE_BYTES, MAX_FILES_BYTES};
pub use logs::{Following, InstanceLog, LogError, Logs};
pub use open::RunnerConfig;
pub use place::{Listed, Place};
pub(crate) use set::RunnerSet;

/// The runners of a node, and where they announce what nobody asked for.
pub struct Runners {
    /// Serves DOCKER executables; absent when the configuration turned it off.
    pub docker: Option<Arc<dyn Runner>>,
    /// Serves PROCESS executables.
    pub process: Option<Arc<dyn Runner>>,
    /// What all of them announce. The sending half is bounded: a runner waits, it never drops.
    pub events: mpsc::Receiver<RunnerEvent>,
}

/// Everything that a runner needs to bring one instance up.
#[derive(Debug, Clone)]
pub struct LaunchPlan {
    /// The instance; names the container, the scratch directory and the log.
    pub instance: InstanceId,
    /// Where it belongs, and what is leased to it.
    pub place: Place,
    /// What to run.
    pub spec: Arc<LocalServiceSpec>,
    /// The environment: HOST, `PORT_*`, the spec's own, then `MUSTER_*`; not yet what is copied from the executor's.
    pub env: BTreeMap<String, String>,
}

/// What identifies a running workload across restarts of the executor, and what it lacks. Kept in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "runner", rename_all = "camelCase")]
pub enum Workload {
    /// A container.
    Docker {
        /// The engine's id of it.
        container_id: String,
        /// What it runs without, in words.
        #[serde(default)]
        warnings: Vec<String>,
    },
    /// A process under a shim.
    Process {
        /// The shim's pid.
        shim_pid: u32,
        /// The shim's start time in clock ticks since boot: a pid alone may be somebody else's.
        shim_start_ticks: u64,
        /// The workload's pid (also its process group).
        pid: u32,
        /// The workload's start time in clock ticks since boot.
        start_ticks: u64,
        /// What it runs without, in words.
        #[serde(default)]
        warnings: Vec<String>,
    },
}

impl Workload {
    /// A container that lacks nothing.
    #[must_use]
    pub fn container(id: impl Into<String>) -> Self {
        Self::Docker { container_id: id.into(), warnings: Vec::new() }
    }

    /// What it runs without although it was asked for, in words.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        match self {
            Self::Docker { warnings, .. } | Self::Process { warnings, .. } => warnings,
        }
    }
}

/// How a workload ended. Neither code nor signal: its exit status is unknown, because who should have
/// seen it was killed itself.
///
/// Two are equal when they say the same of how it ended: those who saw it do not agree on the millisecond.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Exit {
    /// When it exited by itself.
    pub code: Option<i32>,
    /// When a signal ended it.
    pub signal: Option<i32>,
    /// Whether the kernel ended it for want of memory.
    pub oom_killed: bool,
    /// Whether it is gone because somebody else removed it, and what was known of its end with it.
    #[serde(default)]
    pub removed: bool,
    /// When, by this node's clock, where somebody saw it: who is told may be told hours later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

impl PartialEq for Exit {
    fn eq(&self, other: &Self) -> bool {
        let Self { code, signal, oom_killed, removed, at: _ } = self;
        (code, signal, oom_killed, removed) == (&other.code, &other.signal, &other.oom_killed, &other.removed)
    }
}

impl Eq for Exit {}

impl Exit {
    /// Whether this says more about the same end than what is known of it.
    pub(crate) fn says_more_than(&self, known: &Self) -> bool {
        let is_same = (known.code, known.signal) == (self.code, self.signal)
            || (known.code, known.signal) == (None, None);
        is_same && self != known && self.oom_killed >= known.oom_killed && self.removed >= known.removed
    }
}

/// What the runner finds of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The same workload still runs.
    Running(Workload),
    /// It ended; its exit status was kept.
    Ended(Workload, Exit),
    /// It was prepared but never started (a crash in between); safe to remove.
    NeverStarted,
    /// The runner knows nothing of it.
    Nothing,
}

/// Something that happened without being asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunnerEvent {
    /// A workload ended. May be repeated, and a later word may say more of how it ended.
    Exited {
        /// The instance.
        instance: InstanceId,
        /// How.
        exit: Exit,
    },
}

/// The executable could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// It is not there and cannot be had.
    #[error("{what} could not be fetched: {why}")]
    Unavailable {
        /// The image or program.
        what: String,
        /// The runner's or registry's own words.
        why: String,
    },
    /// The runner itself cannot be reached; worth another try.
    #[error("{0}")]
    RunnerUnavailable(String),
}

/// The workload could not be created, configured or started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// What was tried, and the runner's own words.
    #[error("{step} failed: {why}")]
    Failed {
        /// Such as `create container`, `place config /etc/x`, `spawn /usr/bin/y`.
        step: &'static str,
        /// The runner's own words; never a secret.
        why: String,
    },
    /// The runner, or who is to give a file, cannot be reached; worth another try.
    #[error("{0}")]
    RunnerUnavailable(String),
}

/// A call to a running workload failed.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    /// The runner itself cannot be reached, or has not what the call takes; worth another try.
    #[error("{0}")]
    Unavailable(String),
    /// The call was refused.
    #[error("{step} failed: {why}")]
    Failed {
        /// What was tried.
        step: &'static str,
        /// The runner's own words.
        why: String,
    },
    /// There is nothing that a user's command names, in the runner's own words.
    #[error("command failed: {0}")]
    NoSuchCommand(String),
}

/// The end of what a workload wrote that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEnd {
    /// Its last bytes, as text.
    pub text: String,
    /// Whether all that it wrote is in this executor's own files. Otherwise [`Runner::copy_log`] brings the rest.
    pub is_kept: bool,
}

impl LogEnd {
    /// The end of a log that is in this executor's own files.
    #[must_use]
    pub fn kept(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_kept: true }
    }
}

impl StartError {
    /// What `step` met. Want of descriptors, memory or room is the node's own, and no fault of the service.
    pub(crate) fn at(step: &'static str, error: &io::Error) -> Self {
        Self::told(step, error, error.to_string())
    }

    /// The same in words that say more.
    pub(crate) fn told(step: &'static str, error: &io::Error, why: String) -> Self {
        if is_want(error) || is_full(error) {
            Self::RunnerUnavailable(format!("{step} cannot be done now: {why}"))
        } else {
            Self::Failed { step, why }
        }
    }
}

impl RunnerError {
    /// What `step` met. Want of descriptors or memory is the node's own: the same may work later.
    pub(crate) fn at(step: &'static str, error: &io::Error) -> Self {
        if is_want(error) {
            Self::Unavailable(format!("{step} cannot be done now: {error}"))
        } else {
            Self::Failed { step, why: error.to_string() }
        }
    }
}

/// The bytes of a command's output that are kept.
pub const COMMAND_OUTPUT_MAX: usize = 1024;

/// What a command inside a workload gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandOutput {
    /// Its exit code.
    pub code: i32,
    /// The first [`COMMAND_OUTPUT_MAX`] bytes of its output, stdout and stderr as they came.
    pub output: String,
}

/// Starts, watches and stops workloads of one kind.
pub trait Runner: Send + Sync {
    /// Which kind.
    fn kind(&self) -> RunnerKind;

    /// Makes the executable available (pulls the image; checks the program). Dropping the future
    /// cancels it.
    fn provision<'a>(&'a self, plan: &'a LaunchPlan) -> BoxFuture<'a, Result<(), ProvisionError>>;

    /// Creates, configures and starts the workload; from then on its end is announced as a
    /// [`RunnerEvent`].
    fn start<'a>(&'a self, plan: &'a LaunchPlan) -> BoxFuture<'a, Result<Workload, StartError>>;

    /// Tells the workload to stop, waits up to `grace`, then kills whatever is left of it, children
    /// included. Returns how it ended.
    fn stop<'a>(
        &'a self,
        instance: &'a InstanceId,
        workload: &'a Workload,
        grace: Duration,
    ) -> BoxFuture<'a, Result<Exit, RunnerError>>;

    /// Takes away what is left of an ended (or never started) workload: container, scratch; one that
    /// runs against all expectation is killed. Logs stay for their retention time.
    fn remove<'a>(&'a self, instance: &'a InstanceId) -> BoxFuture<'a, Result<(), RunnerError>>;

    /// What has become of an instance; after a restart of the executor also resumes watching it.
    fn find<'a>(
        &'a self,
        instance: &'a InstanceId,
        workload: Option<&'a Workload>,
    ) -> BoxFuture<'a, Result<Found, RunnerError>>;

    /// Every instance of this executor that the runner knows, in whatever condition: one that is not in
    /// the journal is a stray.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, RunnerError>>;

    /// Runs a command inside (docker) or beside (process, with its environment) the workload and kills
    /// it after `timeout`.
    fn command<'a>(
        &'a self,
        plan: &'a LaunchPlan,
        workload: &'a Workload,
        argv: &'a [String],
        timeout: Duration,
    ) -> BoxFuture<'a, Result<CommandOutput, RunnerError>>;

    /// Runs a user's command inside (docker) or beside (process, with its environment) the workload, to its end and
    /// that of its output. Dropping the future kills it and all that it started. A runner whose workloads are no programs
    /// runs none.
    fn exec<'a>(
        &'a self,
        _plan: &'a LaunchPlan,
        _workload: &'a Workload,
        _request: &'a ExecRequest,
        _io: ExecIo,
    ) -> BoxFuture<'a, Result<ExecEnd, RunnerError>> {
        let why = "no command can be run beside this workload".to_owned();
        Box::pin(std::future::ready(Err(RunnerError::Failed { step: "command", why })))
    }

    /// The workload's own address, at which its container ports are open, where it has one that this node
    /// reaches. Others are called at their host ports. Whoever cannot say so within `timeout` is unavailable.
    fn address<'a>(
        &'a self,
        _instance: &'a InstanceId,
        _workload: &'a Workload,
        _timeout: Duration,
    ) -> BoxFuture<'a, Result<Option<IpAddr>, RunnerError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// A call to that address was not answered: it may be another one by now, and is found out anew for later calls.
    fn doubt_address(&self, _instance: &InstanceId, _workload: &Workload) {}

    /// Brings the files of an instance's log up to date. Whether it is kept somewhere else and copied for now, so that
    /// it is worth asking again.
    fn freshen_log<'a>(&'a self, _instance: &'a InstanceId) -> BoxFuture<'a, Result<bool, RunnerError>> {
        Box::pin(std::future::ready(Ok(false)))
    }

    /// The last `max_bytes` of the output of a workload that has ended. What is not in this executor's own files yet
    /// is copied there first, as far as a few seconds allow.
    fn log_tail<'a>(
        &'a self,
        instance: &'a InstanceId,
        workload: &'a Workload,
        max_bytes: usize,
    ) -> BoxFuture<'a, Result<LogEnd, RunnerError>>;

    /// Copies to this executor's own files what is not there yet of the output of a workload that has ended, for as
    /// long as that gets on, which may be minutes. Answers with its last `max_bytes`; none where this did not read them.
    /// A call that is dropped or repeated loses and repeats nothing.
    fn copy_log<'a>(
        &'a self,
        _instance: &'a InstanceId,
        _workload: &'a Workload,
        _max_bytes: usize,
    ) -> BoxFuture<'a, Result<Option<String>, RunnerError>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}
