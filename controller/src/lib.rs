//! The control plane: consensus, the replicated state, and what acts on it.
//!
//! | module | what it owns |
//! |---|---|
//! | [`role`] | the wiring: what starts and ends with what |
//! | [`config`] | the configuration file, and the values in it that are refused |
//! | [`raft`] | consensus: the log, the members, the leader |
//! | [`store`] | what consensus keeps on disk |
//! | [`state`] | the replicated state: pure |
//! | [`reconcile`] | what must change next: a pure plan, and the leader's task that proposes it |
//! | `session` | executors' sessions: tables down, reports up, who is in contact |
//! | `relay` | logs and commands of one node: its executor dials the controller that the user called |
//! | `api` | the REST API for users |
//! | `users` | the users in the configuration, and how a call's user is recognised |
//! | `files` | files that a controller fetches from servers for executors |
//! | `gauges` | numbers of the state, as metrics |
//! | `described` | the help text of each metric |
//! | `leaders_clock` | the time by which a leader keeps deadlines |
//! | `peer` | the caller at the cluster port, from its certificate |
//! | `address` | reading `host:port` |
//! | [`backup`] | the state as one file |
//! | `offline` | recover, restore and rejoin: commands that work on the files of a stopped controller |
//!
//! The tasks of one controller, and how they speak to each other:
//!
//! - *consensus* owns the log and the [`state::Replica`]; everybody else holds a [`raft::Consensus`],
//!   proposes commands through it, and reads `Arc<State>` from a watch channel that the replica
//!   publishes to after each batch. A reader never holds the applier up.
//! - the *session hub* owns all sessions while this controller leads; one task per stream feeds it
//!   through a bounded queue, it answers through one bounded channel per session.
//! - the *reconciler* owns nothing: woken by a new state, it plans and proposes while this controller
//!   leads.
//! - *gauges* follows the state and shows it as metrics.
//! - *relay* has no task. Each call of a user that needs a node opens a relay, and the call of the executor that dialled
//!   carries it.
//! - *files* has no task. It fetches a file within the call of the executor that asks for it.
//! - two *accept loops* serve the cluster port (mTLS: peers, executors) and the api port (REST,
//!   metrics), with one task per connection.
//!
//! Leadership is a value on a watch channel, not an event: whenever it changes, hub and reconciler compare it with
//! what they are doing.

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
