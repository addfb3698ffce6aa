//! Slots that are wanted are assigned, others are taken away.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use muster_common::service::ActivationState;

use super::{MAX_CHANGES, Plan};
use crate::state::{Change, Executor, Service, State};

pub(super) fn plan(state: &State, plan: &mut Plan) {
    let unwanted = state.slots().filter(|(id, _)| !state.wants(id));
    let removals = unwanted.map(|(slot, held)| Change::RemoveSlot { slot, epoch: held.epoch });
    let wanted = state.services().flat_map(|service| state.wanted_slots(service));
    let missing = wanted.filter(|id| state.slot(id).is_none());
    let assignments = missing.map(|slot| Change::AssignSlot { slot });
    let tests = state.services().filter_map(|service| place_test(state, service));
    plan.changes.extend(tests.chain(removals).chain(assignments).take(MAX_CHANGES));
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
