//! The node agent: fills its slots by itself and says what happened.
//!
//! # What runs, what it owns, how they speak
//!
//! | task | owns | hears | says |
//! |---|---|---|---|
//! | supervisor | every instance and slot, the journal | [`supervisor::Message`] (bounded mpsc), announcements of the runners | [`supervisor::Standing`] (watch), effects |
//! | one task for each effect | nothing | – | its outcome, to the supervisor |
//! | session | its connection | slot tables, acknowledgements and addresses to dial, from the leader | register, reports, heartbeats |
//! | relays | nothing; one task for each relay has its connection | addresses to dial, from the session | logs, and the output of commands, to a controller |
//! | api | its socket | – | `/metrics`, `/healthz`; nothing that changes anything |
//!
//! # Where things are
//!
//! | module | noun |
//! |---|---|
//! | [`machine`] | what happens next to one instance (pure) |
//! | [`slots`] | what must be done so that a slot holds one live instance (pure) |
//! | [`lease`] | ports, cores and memory (pure, with a bind check at the edge) |
//! | [`environment`] | the variables an instance is given (pure) |
//! | [`journal`] | what must survive a crash, on disk |
//! | [`supervisor`] | the one task that puts these together |
//! | [`session`] | the connection to the leading controller |
//! | [`relay`] | serving users who want something of this node: logs, and commands beside workloads |
//! | [`simulated`] | an executor without workloads, for measuring controllers |
//! | [`fetched`] | files that this node, or a controller for it, fetches from servers, and the copies that are kept |
//! | [`runner`], [`probe`] | starting workloads, and checking them: the traits and their implementations |
//! | [`limits`] | how long calls may take, and how long they are waited for |
//! | [`want`] | errors that come from a shortage on this node, and say nothing about a workload |
//! | [`systemd`] | what the service manager is told |
//! | [`logs`] | what processes write: rotation, retention, reading |
//! | [`config`] | the configuration file |
//!
//! An event becomes a decision, a decision is written to the journal, and only then does it become an effect.
//! The next start recovers from a crash between any two of these: living instances become UNKNOWN, the runners are asked
//! what became of them, and each instance goes on where it was.

mod config;
mod environment;
mod executor;
mod fetched;
mod journal;
mod lease;
mod limits;
mod logs;
mod machine;
mod probe;
mod relay;
mod role;
mod runner;
mod session;
mod simulated;
mod slots;
mod supervisor;
mod systemd;
#[cfg(test)]
mod testing;
mod want;

pub use config::{
    DockerConfig, ExecutorConfig, ExecutorListen, HostAccessConfig, LogsConfig, OnTerminate, PortRange,
    ProcessConfig, RunnerChoice,
};
pub use executor::{DrainIncomplete, Executor, TaskEnded};
pub use limits::CALL_LIMIT;
pub use logs::{LogFollower, LogPiece, LogPosition, LogReader, LogSegment, LogSegments};
pub use probe::{NodeProber, ProbeOutcome, Prober};
pub use role::{DRAINED, ExecutorArgs, run};
pub use runner::docker::DockerRunner;
pub use runner::process::{ProcessRunner, shim};
pub use runner::{
    COMMAND_OUTPUT_MAX, CommandOutput, ExecEnd, ExecIo, ExecOutput, ExecRequest, Exit, Following, Found,
    HostAccess, InstanceLog, LaunchPlan, Listed, LogEnd, LogError, Logs, Place, ProvisionError, Runner,
    RunnerConfig, RunnerError, RunnerEvent, Runners, StartError, TerminalSize, Workload,
};
pub use simulated::SimulatedExecutor;
