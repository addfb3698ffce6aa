//! Which slots of an operation are next: what is down before what is up, and never all of one zone at once.

use std::collections::{BTreeMap, VecDeque};

use muster_common::operation::{Operation, OperationState, SlotProgress};

use super::{is_begun, is_to_come};
use crate::state::State;

/// The slots of one zone. Executors that name no zone are in none, and nothing holds them back.
#[derive(Default)]
struct Zone<'a> {
    /// Slots of the service in it.
    slots: usize,
    /// How many of them the operation has at work.
    begun: usize,
    /// Those that can be begun: what is not HEALTHY first.
    to_come: VecDeque<&'a SlotProgress>,
}

impl Zone<'_> {
    /// One slot of a zone always stays out of the operation's hands, unless the zone has no other.
    fn has_room(&self, is_named: bool) -> bool {
        !self.to_come.is_empty() && (!is_named || self.slots <= 1 || self.begun + 1 < self.slots)
    }

    /// How much of it is at work, for comparing.
    fn load(&self) -> usize {
        self.begun * 1000 / self.slots.max(1)
    }
}

/// At most `room` slots to begin with now.
pub(super) fn next<'a>(
    state: &State,
    operation: &Operation,
    slots: &'a [SlotProgress],
    room: usize,
) -> Vec<&'a SlotProgress> {
    let mut zones = zones(state, operation, slots);
    let mut picked = Vec::new();
    while picked.len() < room {
        let open = zones.iter_mut().filter(|(name, zone)| zone.has_room(name.is_some()));
        // What is down goes before everything else: nothing is lost by replacing it.
        let next = open.min_by_key(|(_, zone)| {
            let up = zone.to_come.front().is_some_and(|progress| is_up(state, progress));
            (up, zone.load())
        });
        let Some((_, zone)) = next else { break };
        zone.begun += 1;
        picked.extend(zone.to_come.pop_front());
    }
    picked
}

fn zones<'a>(
    state: &State,
    operation: &Operation,
    slots: &'a [SlotProgress],
) -> BTreeMap<Option<String>, Zone<'a>> {
    let canaries_only = !operation.promoted
        && operation.state != OperationState::RollingBack
        && slots.iter().any(|progress| progress.canary);
    let mut zones: BTreeMap<Option<String>, Zone<'a>> = BTreeMap::new();
    for progress in slots {
        let executor = state.executor(&progress.slot.executor);
        let name = executor.and_then(|executor| executor.zone()).map(str::to_owned);
        let zone = zones.entry(name).or_default();
        zone.slots += 1;
        zone.begun += usize::from(is_begun(progress));
        if is_to_come(state, operation, progress) && (progress.canary || !canaries_only) {
            zone.to_come.push_back(progress);
        }
    }
    for zone in zones.values_mut() {
        zone.to_come.make_contiguous().sort_by_key(|progress| is_up(state, progress));
    }
    zones
}

fn is_up(state: &State, progress: &SlotProgress) -> bool {
    state.slot(&progress.slot).is_some_and(|slot| state.is_filled(&progress.slot, slot))
}
