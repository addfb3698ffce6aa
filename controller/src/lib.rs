//! The control plane: consensus, the replicated state, and what acts on it.
//!
//! | module | what it owns |
//! |---|---|
//! | [`role`] | the wiring: what starts and ends with what |
//! | [`config`] | the configuration file, and which of it cannot be |
//! | [`raft`] | consensus: the log, the members, the leader |
//! | [`store`] | what consensus keeps on disk |
//! | [`state`] | the replicated state: pure |
//! | [`reconcile`] | what must change next: a pure plan, and the leader's task that proposes it |
//! | `session` | executors' sessions: tables down, reports up, who is in contact |
//! | `relay` | what users ask of one node: its executor dials the controller that they called |
//! | `api` | REST |
//! | `users` | who the configured users are, and how one is recognised |
//! | `files` | files that are fetched for executors |
//! | `gauges` | what of the state is counted |
//! | `described` | what each metric means |
//! | `leaders_clock` | the time by which a leader keeps deadlines |
//! | `peer` | who calls at the cluster port |
//! | `address` | addresses as people write them |
//! | [`backup`] | the state as a file |
//! | `offline` | what is done to the files of a controller that does not run |
//!
//! The tasks of one controller, and how they speak:
//!
//! - *consensus* owns the log and the [`state::Replica`]; everybody else holds a [`raft::Consensus`],
//!   proposes commands through it, and reads `Arc<State>` from a watch channel that the replica
//!   publishes to after each batch. A reader never holds the applier up.
//! - the *session hub* owns all sessions while this controller leads; one task per stream feeds it
//!   through a bounded queue, it answers through one bounded channel per session.
//! - the *reconciler* owns nothing: woken by a new state, it plans and proposes while this controller
//!   leads.
//! - *gauges* follows the state and shows it as metrics.
//! - *relay* has no task: each call of a user that needs a node opens one, and the executor's own call carries it.
//! - *files* fetches what specs name, within the call of the executor that asks; it has no task.
//! - two *accept loops* serve the cluster port (mTLS: peers, executors) and the api port (REST,
//!   metrics), with one task per connection.
//!
//! Leadership is a value on a watch channel, not an event: hub and reconciler compare it with what they
//! are doing whenever it changes.

mod address;
mod api;
pub mod backup;
mod config;
mod described;
mod files;
mod gauges;
mod leaders_clock;
mod offline;
mod peer;
mod raft;
mod reconcile;
mod relay;
mod role;
mod session;
mod state;
mod store;
mod users;

pub use config::{ControllerConfig, ListenConfig, LivenessConfig, MemberConfig, RetentionConfig};
pub use offline::{OfflineCommand, RestoreArgs, run as run_offline};
pub use raft::{RaftStatus, Storage};
pub use role::{Controller, ControllerArgs, Resources, run};
pub use state::{Command, Reply, State, Wish};
pub use store::MemoryDisk;
pub use users::{NoDigest, TokenDigest, UserConfig};
