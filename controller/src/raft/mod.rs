//! Consensus: one facade, behind which openraft is instantiated once. Nobody outside this module and
//! [`store`](crate::store) may know openraft, and this module knows nothing of what is replicated.
//!
//! | module | noun |
//! |---|---|
//! | [`machine`] | what is replicated |
//! | [`config`] | what a member must be told |
//! | [`status`] | what a member says |
//! | [`error`] | what can go wrong |
//! | [`consensus`] | the handle, and how a member starts and stops |
//! | [`node`] | consensus itself, with what the tasks around it share |
//! | [`propose`] | commands on their way into the log |
//! | [`entries`] | those that other members hand to the one that leads |
//! | [`read`] | linearizable reads |
//! | [`applier`], [`compaction`] | feeds the machine, and asks for a snapshot when the log takes much |
//! | [`founding`] | how a member with empty files comes into a group |
//! | [`members`], [`promotion`], [`exclusion`] | who is in the group, how that changes, and how who is not any more learns of it |
//! | [`network`], [`peers`], [`service`], [`membership`], [`snapshot`] | speaking to the other members |
//! | [`vacancy`] | a leader whose process has ended |
//! | [`regroup`] | a group of one, made of a state |
//! | [`types`], [`codec`] | openraft's nouns, and how they are written |
//!
//! Tasks: openraft's core and its replications own the protocol; the applier owns the machine; one task
//! turns proposals into entries, one does so with what other members hand over and one answers readers, all fed by
//! bounded queues; one derives the status; one brings a member with empty files into a group, one gives learners their
//! votes, one asks for snapshots, one whether this member still is one, and one looks after leaders that hang up. The
//! log's writer has a thread (see [`store`](crate::store)). Dropping everything ends them.

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
