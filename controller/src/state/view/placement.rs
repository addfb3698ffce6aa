//! What of a service belongs on which executor, and why not more.
//!
//! Room is judged by what is known here: an executor's layout, and what living instances hold. The executor decides;
//! a slot for which it has no room stays PENDING there, with its reason.

use std::sync::Arc;

use muster_common::executor::{Contact, ExecutorState};
use muster_common::id::SlotId;
use muster_common::placement::{
    ExecutorPlacement, Obstacle, PlacedInstance, PlacementReason, SimulatedPlacement,
};
use muster_common::service::ActivationState;
use muster_common::spec::{CpuCount, LocalServiceSpec};

use super::executor::Usage;
use super::page::{Page, Range, WHOLE};
use crate::state::{Executor, Service, State};

/// Of a service that exists, on the executors.
#[must_use]
pub(crate) fn placement(state: &State, service: &Service, range: Range) -> Page<ExecutorPlacement> {
    let of = |executor: &Arc<Executor>| {
        let mut reasons = Vec::new();
        reasons.extend(idle(service, executor));
        on(state, service.specs.stable_spec(), executor, service.wanted_on(executor), reasons)
    };
    Page::of(state.executors(), range, of)
}

/// Of a service that may never exist: were it active with this spec and count.
#[must_use]
pub(crate) fn placement_of_spec(
    state: &State,
    spec: &LocalServiceSpec,
    instances_per_host: u32,
    range: Range,
) -> Page<ExecutorPlacement> {
    let of = |executor: &Arc<Executor>| {
        let fits = executor.takes_slots() && spec.matches(|tag| executor.has_tag(tag));
        on(state, spec, executor, if fits { instances_per_host } else { 0 }, Vec::new())
    };
    Page::of(state.executors(), range, of)
}

/// How many reasons are told of a spec that is for no executor at all.
const MAX_NAMED: usize = 5;

/// The same as a count of instances and as sentences: `POST /cluster/placement/simulate`.
#[must_use]
pub(crate) fn simulated_placement(
    state: &State,
    spec: &LocalServiceSpec,
    instances_per_host: u32,
    detail: bool,
) -> SimulatedPlacement {
    let mut simulated =
        SimulatedPlacement { requested: 0, placed: 0, placements: Vec::new(), errors: Vec::new() };
    let mut elsewhere: Vec<String> = Vec::new();
    let all = placement_of_spec(state, spec, instances_per_host, WHOLE).items;
    for (executor, place) in state.executors().zip(all) {
        let sentences = place.reasons.iter().map(|reason| format!("{}: {}", place.hostname, reason.message));
        if place.wanted == 0 {
            elsewhere.extend(sentences.take(MAX_NAMED.saturating_sub(elsewhere.len())));
            continue;
        }
        let fits = if place.reasons.iter().all(|reason| reason.code == Obstacle::NoRoom) {
            let missing = place.wanted.saturating_sub(place.live);
            let port_is_free = taken_port(state, spec, executor).is_none();
            let room = if port_is_free { room(state, spec, executor).min(u64::from(missing)) } else { 0 };
            u64::from(place.wanted.min(place.live)) + room
        } else {
            0
        };
        simulated.requested += u64::from(place.wanted);
        simulated.placed += fits;
        simulated.errors.extend(sentences);
        if detail {
            let placed = PlacedInstance {
                executor_id: place.executor_id,
                hostname: place.hostname,
                port: executor.record.api_port,
                executor_state: place.state,
            };
            simulated.placements.extend((0..fits).map(|_| placed.clone()));
        }
    }
    if simulated.requested == 0 {
        let nowhere = "no executor that takes instances has the tags that the spec asks for";
        let reasons =
            if elsewhere.is_empty() { String::new() } else { format!(": {}", elsewhere.join("; ")) };
        simulated.errors.push(format!("{nowhere}{reasons}"));
    }
    simulated
}

/// Why a service as such wants nothing there.
fn idle(service: &Service, executor: &Executor) -> Option<PlacementReason> {
    match service.activation {
        ActivationState::Inactive => {
            Some(reason(Obstacle::NotActive, format!("the service is {}", service.state)))
        }
        ActivationState::ConfigTesting => match &service.test_host {
            Some(host) if *host == executor.record.id => None,
            Some(host) => Some(reason(Obstacle::TestedElsewhere, format!("it is tested on executor {host}"))),
            None => {
                Some(reason(Obstacle::TestedElsewhere, "no executor was found for the test yet".to_owned()))
            }
        },
        ActivationState::Active => None,
    }
}

fn on(
    state: &State,
    spec: &LocalServiceSpec,
    executor: &Executor,
    wanted: u32,
    mut reasons: Vec<PlacementReason>,
) -> ExecutorPlacement {
    let id = &executor.record.id;
    if let Some(mismatch) = spec.mismatch(|tag| executor.has_tag(tag)) {
        reasons.push(reason(Obstacle::Tags, mismatch));
    }
    let duty = executor.duty;
    match duty {
        ExecutorState::BlacklistRequested | ExecutorState::Blacklisted => {
            reasons.push(reason(Obstacle::Blacklisted, format!("executor {id} is {duty}")));
        }
        ExecutorState::Draining => {
            reasons.push(reason(Obstacle::Draining, format!("executor {id} is being drained")));
        }
        ExecutorState::Removed => {
            reasons.push(reason(Obstacle::Removed, format!("executor {id} was removed")));
        }
        ExecutorState::Active | ExecutorState::Unready => {}
    }
    if executor.contact != Contact::Connected && duty != ExecutorState::Removed {
        reasons.push(reason(Obstacle::NotHeard, state.absence(id)));
    }
    let is_ours = |slot: &SlotId| spec.service_id().is_ok_and(|service| slot.service == service);
    let live = state.live_instances_on(id).filter(|instance| is_ours(&instance.record.slot)).count();
    let live = u32::try_from(live).unwrap_or(u32::MAX);
    reasons.extend(shortage(state, spec, executor, wanted.saturating_sub(live)));
    if wanted > live {
        reasons.extend(taken_port(state, spec, executor));
    }
    if wanted > live && state.is_in_maintenance() {
        reasons.push(reason(Obstacle::Maintenance, "the cluster is closed for maintenance".to_owned()));
    }
    ExecutorPlacement {
        executor_id: id.to_string(),
        hostname: executor.record.hostname.clone(),
        state: executor.shown_state(),
        wanted,
        live,
        reasons,
    }
}

/// What is short for so many more instances.
fn shortage(
    state: &State,
    spec: &LocalServiceSpec,
    executor: &Executor,
    missing: u32,
) -> Option<PlacementReason> {
    if missing == 0 {
        return None;
    }
    let room = room(state, spec, executor);
    (room < u64::from(missing)).then(|| {
        let free = CpuCount::from_millis(free_millis(state, executor));
        let message = format!(
            "{missing} more are wanted, and there is room for {room}: each asks for {} cores and {} MB; {free} cores \
             and {} MB are free",
            spec.cpu_count(),
            spec.memory_mb(),
            Usage::of(state, executor).totals().free_memory
        );
        reason(Obstacle::NoRoom, message)
    })
}

/// How many more instances the executor's cores and memory are enough for.
fn room(state: &State, spec: &LocalServiceSpec, executor: &Executor) -> u64 {
    let (cpu, memory_mb) = (spec.cpu_count(), spec.memory_mb());
    let totals = Usage::of(state, executor).totals();
    let by_cores = match cpu.whole() {
        Some(whole) if totals.free_cores < whole => 0,
        _ => free_millis(state, executor) / cpu.as_millis().max(1),
    };
    by_cores.min(totals.free_memory / memory_mb.max(1))
}

/// What is free of the executor's cores.
fn free_millis(state: &State, executor: &Executor) -> u64 {
    let all: u64 = executor.record.layout.cores.values().map(|cores| cores.len() as u64).sum();
    let all_millis = all * 1000 * u64::from(executor.record.core_overcommit.max(1));
    all_millis.saturating_sub(held_millis(state, executor))
}

/// Which of a spec's fixed host ports somebody else has there, or is to have: another instance, or another service with
/// fixed ports of which nothing runs yet.
fn taken_port(state: &State, spec: &LocalServiceSpec, executor: &Executor) -> Option<PlacementReason> {
    if !spec.is_host_level() {
        return None;
    }
    let ours = spec.service_id().ok();
    let is_others = |slot: &SlotId| ours.as_ref() != Some(&slot.service);
    let is_wanted = |port: i64| spec.exposed_ports.iter().any(|wanted| wanted.port == port);
    let held = state
        .live_instances_on(&executor.record.id)
        .filter(|held| is_others(&held.record.slot))
        .find_map(|held| {
            let ports = held.record.local_info.iter().flat_map(|info| info.ports.values());
            let port = ports.map(|port| i64::from(port.host_port)).find(|port| is_wanted(*port))?;
            Some(format!(
                "host port {port} is fixed, and {} of {} has it",
                held.record.id, held.record.slot.service
            ))
        });
    let promised = || {
        state.slots.on_executor(&executor.record.id).filter(|(slot, _)| is_others(slot)).find_map(
            |(id, slot)| {
                let other = state.spec_in(&id, slot).filter(|other| other.is_host_level())?;
                let port = other.exposed_ports.iter().map(|port| port.port).find(|port| is_wanted(*port))?;
                Some(format!("host port {port} is fixed, and {} is to have it too", id.service))
            },
        )
    };
    held.or_else(promised).map(|message| reason(Obstacle::NoRoom, message))
}

/// What living instances hold of the cores: pinned ones by their executor's word, fractions by their spec.
fn held_millis(state: &State, executor: &Executor) -> u64 {
    let held = state.live_instances_on(&executor.record.id).map(|instance| {
        let service = state.service(&instance.record.slot.service);
        let pinned: u64 = instance.record.pinned_cores() * 1000;
        if pinned > 0 { pinned } else { service.map_or(0, |service| service.spec().cpu_count().as_millis()) }
    });
    held.sum()
}

const fn reason(code: Obstacle, message: String) -> PlacementReason {
    PlacementReason { code, message }
}
