//! Maintenance: the cluster stands as it is. No operation is accepted and nothing that is planned is done; what runs,
//! runs on, and executors keep what they were given.

use muster_common::cluster::{ClusterState, ClusterStateData};
use muster_common::time::Timestamp;

use super::{Change, Happening, State};

impl State {
    /// Whether operators have closed the cluster.
    #[must_use]
    pub fn is_in_maintenance(&self) -> bool {
        self.cluster.state == ClusterState::Maintenance
    }

    pub(super) fn set_cluster_state(&mut self, at: Timestamp, state: ClusterState, address: &str) {
        if self.cluster.state == state {
            return;
        }
        self.cluster = ClusterStateData { state, updated: at };
        // Nothing can be done for operations meanwhile, so it does not cost them their time.
        self.stop_all_clocks();
        self.emit(at, Happening::ClusterState { state, address: address.to_owned() });
    }

    /// A plan that was made before the cluster was closed comes too late. Forgetting what is old touches no workload.
    pub(super) fn forbids(&self, change: &Change) -> bool {
        self.is_in_maintenance() && !matches!(change, Change::Prune { .. } | Change::Retain(_))
    }
}
