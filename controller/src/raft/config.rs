//! The settings of a member of the Raft group.

use std::path::PathBuf;
use std::time::Duration;

use muster_common::id::ControllerId;

use crate::store::MemoryDisk;

/// A controller, as the group knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id. Only one member has it at a time. When its files are made anew, that is another incarnation of it.
    pub id: ControllerId,
    /// `host:port` of its cluster port (gRPC, mTLS).
    pub cluster_addr: String,
    /// `host:port` of its API.
    pub api_addr: String,
}

/// Where a member keeps its log and snapshots.
#[derive(Debug, Clone)]
pub enum Storage {
    /// In this directory, which exists and is locked by this process.
    Directory(PathBuf),
    /// In memory that outlives the member: a simulation can crash it and start it again.
    Memory(MemoryDisk),
}

/// How long things take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timings {
    /// Between two heartbeats of a leader.
    pub heartbeat: Duration,
    /// A follower that hears nothing stands for election after a random time from here…
    pub election_min: Duration,
    /// …to here. This is also the leader's lease.
    pub election_max: Duration,
}

/// Fail-over takes the lease and one election: about a second (stack.md §3.4).
impl Default for Timings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(300),
            election_max: Duration::from_millis(600),
        }
    }
}

/// Everything a member needs to start.
#[derive(Debug, Clone)]
pub(crate) struct RaftConfig {
    /// Which of the members this is.
    pub id: ControllerId,
    /// Where it keeps its log and snapshots.
    pub storage: Storage,
    /// The members that found the group, the same list on every member. Later the log says who is in the group, and this
    /// list only says where those members are that it names.
    pub members: Vec<Member>,
    /// How long things take.
    pub timings: Timings,
    /// Entries between two snapshots.
    pub snapshot_every: u64,
    /// Bytes of commands between two snapshots, if that many come before so many entries.
    pub snapshot_bytes: u64,
}

impl RaftConfig {
    /// With the usual timings and snapshot distance.
    #[must_use]
    pub(crate) fn new(id: ControllerId, storage: Storage, members: Vec<Member>) -> Self {
        Self {
            id,
            storage,
            members,
            timings: Timings::default(),
            snapshot_every: 20_000,
            snapshot_bytes: 256 * 1024 * 1024,
        }
    }
}
