//! Instance records and all that is in them.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::{any_of, id, text};
use crate::evidence::{Evidence, MAX_PROBE_RECORDS, ProbeKind, ProbeRecord, Repeats, Transition};
use crate::id::{Epoch, Generation};
use crate::instance::{
    InstancePort, InstanceRecord, InstanceState, LocalInfo, ResourceAllocation, RunnerKind,
};
use crate::reason::Reason;
use crate::spec::PortType;

/// Any reason.
pub fn reason() -> impl Strategy<Value = Reason> {
    any_of(Reason::ALL)
}

/// Any change of state, possible or not.
pub fn transition() -> impl Strategy<Value = Transition> {
    let state = any_of(InstanceState::ALL);
    let repeats = (any::<u32>(), id::timestamp()).prop_map(|(times, last)| Repeats { times, last });
    (id::timestamp(), state.clone(), state, option::of(reason()), text(), option::of(repeats)).prop_map(
        |(at, from, to, reason, message, repeats)| Transition { at, from, to, reason, message, repeats },
    )
}

/// Any probe result.
pub fn probe_record() -> impl Strategy<Value = ProbeRecord> {
    (id::timestamp(), any_of(ProbeKind::ALL), any::<bool>(), any::<u64>(), any::<Option<i32>>(), text())
        .prop_map(|(at, kind, passed, latency_ms, code, answer)| ProbeRecord {
            at,
            kind,
            passed,
            latency_ms,
            code,
            answer,
        })
}

/// Any end.
pub fn evidence() -> impl Strategy<Value = Evidence> {
    (any::<Option<i32>>(), any::<Option<i32>>(), any::<bool>(), text()).prop_map(
        |(exit_code, signal, oom_killed, log_tail)| Evidence { exit_code, signal, oom_killed, log_tail },
    )
}

/// A few leased ports.
pub fn local_info() -> impl Strategy<Value = LocalInfo> {
    let port = (any::<u16>(), any::<u16>(), any_of(PortType::ALL)).prop_map(
        |(container_port, host_port, port_type)| InstancePort { container_port, host_port, port_type },
    );
    ("[a-z0-9.]{1,20}", btree_map("[a-z]{1,5}", port, 0..4))
        .prop_map(|(hostname, ports)| LocalInfo { hostname, ports })
}

/// Cores by NUMA node.
pub(super) fn cores() -> impl Strategy<Value = BTreeMap<u32, Vec<u32>>> {
    btree_map(0..4_u32, vec(any::<u32>(), 0..5), 0..3)
}

/// Memory by NUMA node.
pub(super) fn memory() -> impl Strategy<Value = BTreeMap<u32, u64>> {
    btree_map(0..4_u32, any::<u64>(), 0..3)
}

/// Nothing yet, or cores (none for a quota) and memory.
pub fn resources() -> impl Strategy<Value = Vec<ResourceAllocation>> {
    option::of((cores(), memory())).prop_map(|leased| {
        leased.map_or_else(Vec::new, |(cores, memory_in_mb)| {
            vec![ResourceAllocation::Cpu { cores }, ResourceAllocation::Memory { memory_in_mb }]
        })
    })
}

/// Any record, its parts independent of each other.
pub fn instance_record() -> impl Strategy<Value = InstanceRecord> {
    let identity = (id::instance_id(), id::slot_id(), "[a-z]{1,8}", any_of(RunnerKind::ALL));
    let numbers = (any::<u64>(), any::<u64>(), any::<u64>());
    let condition = (
        any_of(InstanceState::ALL),
        option::of(reason()),
        text(),
        option::of(local_info()),
        resources(),
        vec(text(), 0..3),
    );
    let moments =
        (id::timestamp(), id::timestamp(), option::of(id::timestamp()), option::of(id::timestamp()));
    let history =
        (vec(transition(), 0..5), vec(probe_record(), 0..=MAX_PROBE_RECORDS), option::of(evidence()));
    (identity, numbers, condition, moments, history).prop_map(
        |(
            (id, slot, service_name, runner),
            (epoch, generation, version),
            (state, reason, error_message, local_info, resources, warnings),
            (created, updated, started, finished),
            (timeline, probes, evidence),
        )| InstanceRecord {
            id,
            slot,
            service_name,
            epoch: Epoch(epoch),
            generation: Generation(generation),
            version,
            state,
            reason,
            error_message,
            runner,
            local_info,
            resources,
            warnings,
            created,
            updated,
            started,
            finished,
            timeline,
            probes,
            evidence,
        },
    )
}
