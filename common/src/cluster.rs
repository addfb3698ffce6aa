//! The cluster as a whole.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

wire_enum! {
    /// Whether the cluster accepts operations and acts on what is wanted.
    pub enum ClusterState {
        /// It does.
        Normal = "NORMAL",
        /// It does not.
        Maintenance = "MAINTENANCE",
    }
}

/// `POST /cluster/maintenance/set` and `unset` (drove-wire.md §2.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStateData {
    /// Whether operations are accepted.
    pub state: ClusterState,
    /// Since when.
    pub updated: Timestamp,
}

/// `GET /cluster` (drove-wire.md §2.10).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSummary {
    /// `host:port` of the leader's API, or "Leader election underway".
    pub leader: String,
    /// Whether operations are accepted.
    pub state: ClusterState,
    /// Executors in state ACTIVE.
    pub num_executors: u64,
    /// Always 0: applications are not what Muster runs.
    pub num_applications: u64,
    /// Always 0.
    pub num_active_applications: u64,
    /// Always 0.
    pub num_active_tasks: u64,
    /// All services.
    pub num_local_services: u64,
    /// Services in state ACTIVE or `CONFIG_TESTING`.
    pub num_active_local_services: u64,
    /// Cores that are free on ACTIVE executors.
    pub free_cores: u64,
    /// Cores that are leased.
    pub used_cores: u64,
    /// Both.
    pub total_cores: u64,
    /// MB that are free.
    pub free_memory: u64,
    /// MB that are leased.
    pub used_memory: u64,
    /// Both.
    pub total_memory: u64,
}
