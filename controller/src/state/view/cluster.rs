//! The cluster as users see it.

use muster_common::cluster::ClusterSummary;
use muster_common::executor::ExecutorState;
use muster_common::service::ServiceState;

use super::executor::Usage;
use crate::state::State;

/// What Drove says while there is no leader (docs/drove-api.md §1.4).
const NO_LEADER: &str = "Leader election underway";

/// `GET /cluster` (docs/drove-api.md §2.10). `leader` is the `host:port` of the leader's API.
#[must_use]
pub(crate) fn cluster_summary(state: &State, leader: Option<&str>) -> ClusterSummary {
    let mut summary = ClusterSummary {
        leader: leader.unwrap_or(NO_LEADER).to_owned(),
        state: state.cluster_state().state,
        num_executors: 0,
        num_applications: 0,
        num_active_applications: 0,
        num_active_tasks: 0,
        num_local_services: 0,
        num_active_local_services: 0,
        free_cores: 0,
        used_cores: 0,
        total_cores: 0,
        free_memory: 0,
        used_memory: 0,
        total_memory: 0,
    };
    for service in state.services() {
        summary.num_local_services += 1;
        let active = matches!(service.state, ServiceState::Active | ServiceState::ConfigTesting);
        summary.num_active_local_services += u64::from(active);
    }
    for executor in state.executors().filter(|executor| executor.shown_state() == ExecutorState::Active) {
        let totals = Usage::of(state, executor).totals();
        summary.num_executors += 1;
        summary.free_cores += totals.free_cores;
        summary.used_cores += totals.used_cores;
        summary.free_memory += totals.free_memory;
        summary.used_memory += totals.used_memory;
    }
    summary.total_cores = summary.free_cores + summary.used_cores;
    summary.total_memory = summary.free_memory + summary.used_memory;
    summary
}
