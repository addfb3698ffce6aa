//! The node agent: fills its slots by itself and says what happened.
//!
//! # What runs, what it owns, how they speak
//!
//! | task | owns | hears | says |
//! |---|---|---|---|
//! | supervisor | every instance and slot, the journal | [`supervisor::Message`] (bounded mpsc), announcements of the runners | [`supervisor::Standing`] (watch), effects |
//! | one per effect | nothing | – | its outcome, to the supervisor |
//! | session | its connection | slot tables and acknowledgements of the leader | register, reports, heartbeats |
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
//! | [`runner`], [`probe`] | what starts workloads and asks them: traits, and what implements them |
//! | [`config`] | the configuration file |
//!
//! An event becomes a decision, a decision is written to the journal, and only then does it become an effect.
//! A crash between any two of these is met at the next start: living instances become UNKNOWN, the runners
//! are asked, and each goes on where it was.

pub mod config;
pub mod environment;
mod executor;
pub mod journal;
pub mod lease;
pub mod machine;
pub mod probe;
mod role;
pub mod runner;
pub mod session;
pub mod slots;
pub mod supervisor;
#[cfg(test)]
mod testing;

pub use config::{ExecutorConfig, ExecutorListen, OnTerminate, PortRange, RunnerChoice};
pub use executor::{DrainIncomplete, Executor, TaskEnded};
pub use role::{ExecutorArgs, run};
pub use runner::process::shim;
