//! Gives the stable spec to slots that a rollout missed. At most one slot of a zone is unfilled at a time because of this
//! (all slots without a zone count as one). No slot that serves is touched while that spec fails in another one.

use std::collections::{BTreeMap, BTreeSet};

use muster_common::id::{ExecutorId, ServiceId, SlotId};
use muster_common::slot::{SlotPhase, SlotStatus};

use super::Plan;
use crate::state::{Change, State};

/// How many slots of a service are down already, and whether its stable spec works.
struct Standing<'a> {
    /// How many of its slots are not filled, by zone.
    down: BTreeMap<Option<&'a str>, usize>,
    /// Whether a slot that was given the stable spec has given up on it: what works is not replaced by what does not.
    stable_fails: bool,
}

pub(super) fn plan(state: &State, executors: &BTreeSet<ExecutorId>, plan: &mut Plan) {
    let mut services: BTreeMap<ServiceId, Standing<'_>> = BTreeMap::new();
    let slots = executors.iter().flat_map(|executor| state.slots_on(executor));
    for (id, slot) in slots.filter(|(id, slot)| state.may_catch_up(id, slot)) {
        let service = services.entry(id.service.clone()).or_insert_with(|| standing(state, &id.service));
        let down = service.down.entry(zone(state, &id)).or_default();
        // Nothing is lost by replacing what is down already, or where only the number of the spec is another.
        let is_replaced = state.serves(&id) && !state.runs_stable(&id, slot);
        if is_replaced && (*down > 0 || service.stable_fails) {
            continue;
        }
        *down += usize::from(is_replaced);
        let mode = state.catch_up_mode(&id, slot);
        plan.changes.push(Change::CatchUp { slot: id, epoch: slot.epoch, mode });
    }
}

/// Counts the slots of a service that are not filled. A slot that waits for its turn and keeps something HEALTHY of another
/// spec is up, though that is not what it is to run. A slot on an executor that fell silent just now counts as down, because
/// nobody knows. A slot of a lost executor does not count: the executor may never return.
fn standing<'a>(state: &'a State, service: &ServiceId) -> Standing<'a> {
    let stable = state.service(service).map(|service| service.specs.stable());
    let mut standing = Standing { down: BTreeMap::new(), stable_fails: false };
    for (id, slot) in state.slots_of(service) {
        let keeps_another = state.is_behind(&id, slot) && state.serves(&id);
        let is_up = state.is_connected(&id.executor) && (state.is_filled(&id, slot) || keeps_another);
        let is_down = !is_up && !state.is_lost(&id.executor);
        *standing.down.entry(zone(state, &id)).or_default() += usize::from(is_down);
        let gave_up = |status: &SlotStatus| matches!(status.phase, SlotPhase::Failed | SlotPhase::KeptOld);
        standing.stable_fails |= Some(slot.spec) == stable && slot.current_status().is_some_and(gave_up);
    }
    standing
}

fn zone<'a>(state: &'a State, slot: &SlotId) -> Option<&'a str> {
    state.executor(&slot.executor).and_then(|executor| executor.zone())
}
