//! Consensus behind one facade, so that openraft's generics are compiled once. Only this module and [`store`](crate::store)
//! may know openraft. This module knows nothing about the commands and the state that it replicates.
//!
//! | module | noun |
//! |---|---|
//! | [`machine`] | the trait of the state machine that is replicated |
//! | [`config`] | the settings of a member |
//! | [`status`] | what a member knows of itself and the group |
//! | [`error`] | what can go wrong |
//! | [`consensus`] | the handle, and how a member starts and stops |
//! | [`node`] | openraft's own handle, and what the tasks around it share |
//! | [`propose`] | commands on their way into the log |
//! | [`entries`] | commands that other members hand to the leader, on their way into the log |
//! | [`read`] | linearizable reads |
//! | [`applier`], [`compaction`] | feeding the machine, and asking for a snapshot when the log has grown |
//! | [`founding`] | how a member with empty files comes into a group |
//! | [`members`], [`promotion`], [`exclusion`] | who is in the group, how that changes, and how a removed member learns of it |
//! | [`network`], [`peers`], [`service`], [`membership`], [`snapshot`] | speaking to the other members |
//! | [`vacancy`] | noticing that the leader's process has ended |
//! | [`regroup`] | making a group of one from a given state |
//! | [`types`], [`codec`] | openraft's types, and how they are encoded |
//!
//! Tasks:
//!
//! - openraft's core and its replications own the protocol; the applier owns the machine;
//! - fed by bounded queues: one turns proposals into entries, one does the same with commands that other members hand over,
//!   and one answers readers;
//! - one derives the status;
//! - one brings a member with empty files into a group, one gives learners their votes, one asks for snapshots, one finds
//!   out whether this member was removed, and one looks after connections that a leader closed.
//!
//! The log's writer has a thread of its own (see [`store`](crate::store)). Dropping everything ends them.

pub(crate) mod applier;
pub(crate) mod codec;
pub(crate) mod compaction;
mod config;
mod consensus;
mod entries;
mod error;
mod exclusion;
mod founding;
mod machine;
mod members;
mod membership;
mod network;
mod node;
mod peers;
mod promotion;
mod propose;
mod read;
pub(crate) mod regroup;
mod service;
mod snapshot;
pub(crate) mod status;
pub(crate) mod types;
mod vacancy;

#[cfg(test)]
pub(crate) mod tests;

pub use config::Storage;
pub(crate) use config::{Member, RaftConfig};
pub(crate) use consensus::Consensus;
pub(crate) use error::{ChangeError, ProposeError, ReadError, StartError};
pub(crate) use machine::{Encode, Machine, RestoreError, UnreadableCommand};
pub(crate) use members::Standing;
#[cfg(test)]
pub(crate) use propose::MAX_COMMAND;
pub use status::RaftStatus;
pub(crate) use status::Role;
