//! What a member of the Raft group keeps: its log and vote in one redb file, its snapshot in another
//! (redb has one writer for each file, and a snapshot must not hold up the log).
//!
//! | module | noun |
//! |---|---|
//! | [`log`] | the log store that consensus sees |
//! | [`writer`] | the one writer of the log: what waits becomes one transaction |
//! | [`file`] | the log's tables |
//! | [`view`] | the part of the log that is in memory |
//! | [`snapshot`] | the newest snapshot |
//! | [`open`] | opening the files, with errors that a person can act on |
//! | [`memory`] | a disk for simulations |
//!
//! With [`Disk::Threads`](muster_platform::Disk::Threads) the log's writer has a thread of its own; with
//! [`Disk::Inline`](muster_platform::Disk::Inline) it works in its callers, and there is no thread at all.
//!
//! This module knows consensus' types, and neither the network nor what is replicated.

mod file;
mod log;
mod memory;
mod open;
mod snapshot;
mod view;
mod writer;

#[cfg(test)]
mod tests;

pub use memory::MemoryDisk;

pub(crate) use open::{Owner, Stores, open};
pub(crate) use snapshot::SnapshotStore;
