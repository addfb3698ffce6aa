//! Slots that are wanted are assigned, others are taken away.

use super::{MAX_CHANGES, Plan};
use crate::state::{Change, State};

pub(super) fn plan(state: &State, plan: &mut Plan) {
    let unwanted = state.slots().filter(|(id, _)| !state.wants(id));
    let removals = unwanted.map(|(slot, held)| Change::RemoveSlot { slot, epoch: held.epoch });
    let wanted = state.services().flat_map(|service| state.wanted_slots(service));
    let missing = wanted.filter(|id| state.slot(id).is_none());
    let assignments = missing.map(|slot| Change::AssignSlot { slot });
    plan.changes.extend(removals.chain(assignments).take(MAX_CHANGES));
}
