//! The cluster's numbers on one page.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use muster_common::dashboard::{
    AppStats, DashboardData, ExecutorStats, ServiceStats, TaskStats, UtilizationStats,
};
use muster_common::executor::ExecutorState;
use muster_common::service::{ActivationState, ServiceState};
use muster_common::time::Timestamp;

use super::cluster::cluster_summary;
use super::executor::Usage;
use super::service::{healthy_instances, service_summary};
use crate::state::{Service, State};

/// How many services are named.
const TOP: usize = 5;

/// `GET /cluster/dashboard`, counted at `now`.
#[must_use]
pub(crate) fn dashboard(state: &State, leader: Option<&str>, now: Timestamp) -> DashboardData {
    let cluster_summary = cluster_summary(state, leader);
    let share = |service: &&Service| {
        let (spec, cores, memory) =
            (service.spec(), cluster_summary.total_cores.max(1), cluster_summary.total_memory.max(1));
        let millionths = |part: u64, whole: u64| part.saturating_mul(1_000_000) / whole;
        millionths(spec.cpu_count().as_millis(), cores * 1000).max(millionths(spec.memory_mb(), memory))
    };
    let is_at_work =
        |service: &&Service| matches!(service.state, ServiceState::Active | ServiceState::ConfigTesting);
    let mut top: Vec<&Service> = state.services().map(|service| &**service).filter(is_at_work).collect();
    top.sort_by_key(|service| Reverse(share(service)));
    DashboardData {
        app_stats: AppStats::default(),
        task_stats: TaskStats::default(),
        service_stats: ServiceStats {
            service_count_by_state: count(ServiceState::ALL, state.services().map(|service| service.state)),
            service_count_by_activation_state: count(
                ActivationState::ALL,
                state.services().map(|service| service.activation),
            ),
            top_services: top.into_iter().take(TOP).map(|service| service_summary(state, service)).collect(),
            total_healthy_instances: healthy_instances(state),
        },
        executor_stats: ExecutorStats {
            executor_count_by_state: count(
                ExecutorState::ALL,
                state.executors().map(|executor| executor.shown_state()),
            ),
            utilization: utilization(state),
        },
        cluster_summary,
        generated_at: now,
    }
}

/// How many of `found` are each of `all`.
fn count<T: Copy + Ord>(all: &[T], found: impl Iterator<Item = T>) -> BTreeMap<T, u64> {
    let mut counts: BTreeMap<T, u64> = all.iter().map(|one| (*one, 0)).collect();
    for one in found {
        *counts.entry(one).or_default() += 1;
    }
    counts
}

#[allow(clippy::cast_precision_loss)] // no machine has 2^52 cores or MB, no cluster as many machines
fn utilization(state: &State) -> UtilizationStats {
    let part = |used: u64, free: u64| if used + free == 0 { 0.0 } else { used as f64 / (used + free) as f64 };
    let of = |totals: super::executor::Totals| {
        part(totals.used_cores, totals.free_cores).max(part(totals.used_memory, totals.free_memory))
    };
    let active = state.executors().filter(|executor| executor.shown_state() == ExecutorState::Active);
    let all: Vec<f64> = active.map(|executor| of(Usage::of(state, executor).totals())).collect();
    if all.is_empty() {
        return UtilizationStats::default();
    }
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    let variance = all.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / all.len() as f64;
    UtilizationStats {
        average_utilization: mean,
        highest_utilization: all.iter().copied().fold(0.0, f64::max),
        lowest_utilization: all.iter().copied().fold(f64::INFINITY, f64::min),
        balance_score: if mean > 0.0 { variance.sqrt() / mean } else { 0.0 },
    }
}
