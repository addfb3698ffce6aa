//! Executors as users see them.
//!
//! Used cores and memory are what live instances hold, by their executor's word. With over-commit,
//! a core can be held several times over; it counts as used only when it cannot be given out again.

use std::collections::BTreeMap;

use muster_common::executor::{
    CpuState, ExecutorNodeData, ExecutorResources, ExecutorSummary, MemoryState, TransportType,
};
use muster_common::instance::ResourceAllocation;

use super::instance::{instance_brief, instance_state};
use crate::state::{Executor, State};

/// What is used and what is free on one node.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) free_cores: BTreeMap<u32, Vec<u32>>,
    pub(super) used_cores: BTreeMap<u32, Vec<u32>>,
    pub(super) free_memory: BTreeMap<u32, u64>,
    pub(super) used_memory: BTreeMap<u32, u64>,
}

impl Usage {
    pub(super) fn of(state: &State, executor: &Executor) -> Self {
        let mut holders = BTreeMap::<(u32, u32), u32>::new();
        let mut memory = BTreeMap::<u32, u64>::new();
        for instance in state.live_instances_on(&executor.record.id) {
            for resource in &instance.record.resources {
                match resource {
                    ResourceAllocation::Cpu { cores } => {
                        for (node, cores) in cores {
                            for core in cores {
                                *holders.entry((*node, *core)).or_default() += 1;
                            }
                        }
                    }
                    ResourceAllocation::Memory { memory_in_mb } => {
                        for (node, mb) in memory_in_mb {
                            *memory.entry(*node).or_default() += mb;
                        }
                    }
                }
            }
        }
        let limit = executor.record.core_overcommit.max(1);
        let mut usage = Self::default();
        for (node, cores) in &executor.record.layout.cores {
            let (used, free) = cores
                .iter()
                .copied()
                .partition(|core| holders.get(&(*node, *core)).is_some_and(|held| *held >= limit));
            usage.used_cores.insert(*node, used);
            usage.free_cores.insert(*node, free);
        }
        for (node, total) in &executor.record.layout.memory {
            let used = memory.get(node).copied().unwrap_or_default();
            usage.used_memory.insert(*node, used);
            usage.free_memory.insert(*node, total.saturating_sub(used));
        }
        usage
    }

    pub(super) fn totals(&self) -> Totals {
        let count = |cores: &BTreeMap<u32, Vec<u32>>| cores.values().map(|cores| cores.len() as u64).sum();
        Totals {
            free_cores: count(&self.free_cores),
            used_cores: count(&self.used_cores),
            free_memory: self.free_memory.values().sum(),
            used_memory: self.used_memory.values().sum(),
        }
    }
}

/// The sums over a node.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) free_cores: u64,
    pub(super) used_cores: u64,
    pub(super) free_memory: u64,
    pub(super) used_memory: u64,
}

/// `GET /cluster/executors` (docs/drove-api.md §2.8).
#[must_use]
pub(crate) fn executor_summary(state: &State, executor: &Executor) -> ExecutorSummary {
    let totals = Usage::of(state, executor).totals();
    ExecutorSummary {
        executor_id: executor.record.id.to_string(),
        hostname: executor.record.hostname.clone(),
        port: executor.record.api_port,
        transport_type: TransportType::Http,
        free_cores: totals.free_cores,
        used_cores: totals.used_cores,
        free_memory: totals.free_memory,
        used_memory: totals.used_memory,
        tags: executor.tags().cloned().collect(),
        state: executor.shown_state(),
    }
}

/// `GET /cluster/executors/{id}` (docs/drove-api.md §2.9).
#[must_use]
pub(crate) fn executor_node_data(state: &State, executor: &Executor) -> ExecutorNodeData {
    let usage = Usage::of(state, executor);
    let instances = state
        .live_instances_on(&executor.record.id)
        .filter(|instance| instance_state(state, instance).is_active())
        .map(|instance| instance_brief(state, instance));
    ExecutorNodeData {
        kind: "EXECUTOR".to_owned(),
        hostname: executor.record.hostname.clone(),
        port: executor.record.api_port,
        transport_type: TransportType::Http,
        updated: executor.updated,
        state: ExecutorResources {
            executor_id: executor.record.id.to_string(),
            cpus: CpuState {
                kind: "CPU".to_owned(),
                free_cores: usage.free_cores,
                used_cores: usage.used_cores,
            },
            memory: MemoryState {
                kind: "MEMORY".to_owned(),
                free_memory: usage.free_memory,
                used_memory: usage.used_memory,
            },
            layout: executor.record.layout.clone(),
        },
        instances: Vec::new(),
        tasks: Vec::new(),
        service_instances: instances.collect(),
        tags: executor.tags().cloned().collect(),
        version: executor.record.version.clone(),
        clock_skew_ms: executor.clock_skew_ms,
        contact: Some(executor.contact),
        contact_since: Some(executor.contact_since.at),
        given_tags: executor.given_tags.clone(),
        metadata: BTreeMap::new(),
        executor_state: executor.shown_state(),
        drain_deadline: executor.drain.and_then(|drain| drain.deadline),
    }
}
