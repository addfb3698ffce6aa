//! Slots that are wanted are assigned, others are taken away.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use muster_common::id::{ExecutorId, SlotId};
use muster_common::service::ActivationState;

use super::{MAX_CHANGES, Plan};
use crate::state::{Change, Executor, Service, State};

/// Looks at `executors` until there are as many changes as a plan holds; notes those that are as wanted.
pub(super) fn plan(state: &State, executors: &BTreeSet<ExecutorId>, plan: &mut Plan) {
    plan.changes.extend(state.services().filter_map(|service| place_test(state, service)));
    for id in executors {
        if plan.changes.len() >= MAX_CHANGES {
            return;
        }
        let before = plan.changes.len();
        let turn = state.executor(id).and_then(|executor| state.drain_turn(executor));
        let unwanted = state.slots_on(id).filter(|(slot, _)| !state.wants(slot));
        let is_later = |slot: &SlotId| turn.is_some_and(|turn| state.goes_later(slot, turn));
        let (staying, leaving): (Vec<_>, Vec<_>) =
            unwanted.partition(|(slot, _)| state.stays_for(slot).is_some() || is_later(slot));
        let removed = leaving.into_iter().map(|(slot, held)| Change::RemoveSlot { slot, epoch: held.epoch });
        plan.changes.extend(removed);
        let wanted = state.executor(id).into_iter().flat_map(|executor| state.wanted_slots(executor));
        let missing = wanted.filter(|slot| state.slot(slot).is_none());
        plan.changes.extend(missing.map(|slot| Change::AssignSlot { slot }));
        let is_behind = state.slots_on(id).any(|(slot, held)| state.is_behind(&slot, held));
        if plan.changes.len() == before && !is_behind && staying.is_empty() {
            plan.settled.push(id.clone());
        }
    }
}

/// A test instance goes to any executor that is heard: which, changes with every test.
fn place_test(state: &State, service: &Service) -> Option<Change> {
    let host = service.test_host.as_ref().and_then(|host| state.executor(host));
    let is_placed = host.is_some_and(|host| service.may_be_on(host));
    if service.activation != ActivationState::ConfigTesting || is_placed {
        return None;
    }
    let heard =
        |executor: &&Arc<Executor>| service.may_be_on(executor) && state.is_connected(&executor.record.id);
    let places = state.executors().filter(heard).count();
    let mut hasher = DefaultHasher::new();
    (&service.id, service.generation).hash(&mut hasher);
    let chosen = usize::try_from(hasher.finish()).unwrap_or_default().checked_rem(places)?;
    let executor = state.executors().filter(heard).nth(chosen)?.record.id.clone();
    Some(Change::PlaceTest { service: service.id.clone(), executor })
}
