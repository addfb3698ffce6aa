//! Which slots of an operation are next: what is down before what is up, and never all of one zone at once.

use std::collections::{BTreeMap, VecDeque};

use muster_common::id::SlotId;
use muster_common::operation::{Operation, OperationState, SlotProgress};
use muster_common::slot::ReplaceMode;

use super::{has_place, is_to_come, mode};
use crate::state::State;

/// The slots of one zone. Executors that name no zone are in none, and nothing holds them back.
#[derive(Default)]
struct Zone<'a> {
    /// Slots of the service in it, the operation's and others. Those of lost executors do not count: they may never return.
    slots: usize,
    /// How many of the operation's have a place in the wave.
    taken: usize,
    /// How many of the others are heard and hold a HEALTHY instance.
    serving: usize,
    /// Those that can be begun, in their order.
    to_come: VecDeque<Candidate<'a>>,
}

/// A slot that can be begun.
struct Candidate<'a> {
    progress: &'a SlotProgress,
    rank: Rank,
}

/// What is down goes before everything else: nothing is lost by replacing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// It has its place already: a rollout that failed made it what it is.
    Placed,
    /// Nothing in it is HEALTHY.
    Down,
    /// Something in it is.
    Serving,
}

impl Zone<'_> {
    /// One slot of a zone always stays out of the operation's hands, and of those that serve one that serves, unless the
    /// zone has no other. What is down may be up again by now. The last that serves, while others are down or away by
    /// themselves, is begun where it goes on serving meanwhile; where it would not, those are waited for.
    fn has_room(&self, rank: Rank, is_named: bool, mode: ReplaceMode) -> bool {
        let stays = match rank {
            Rank::Placed => true,
            Rank::Down => self.taken == 0 || self.taken + 1 < self.slots,
            Rank::Serving if self.serving > 1 || self.slots <= 1 => true,
            Rank::Serving => self.taken == 0 && mode == ReplaceMode::StartFirst,
        };
        stays || !is_named
    }

    /// How much of it is at work, for comparing.
    fn load(&self) -> usize {
        self.taken * 1000 / self.slots.max(1)
    }

    fn take(&mut self, rank: Rank) {
        match rank {
            Rank::Placed => {}
            Rank::Down => self.taken += 1,
            Rank::Serving => {
                self.taken += 1;
                self.serving -= 1;
            }
        }
    }
}

/// Those to begin with now: as many as the wave has room for.
pub(super) fn next<'a>(
    state: &State,
    operation: &Operation,
    slots: &'a [SlotProgress],
) -> Vec<&'a SlotProgress> {
    let mut zones = zones(state, operation, slots);
    let taken: usize = zones.values().map(|zone| zone.taken).sum();
    let mut room = operation.op_spec.parallelism.of(slots.len()).saturating_sub(taken);
    let mode = mode(state, operation);
    let mut picked = Vec::new();
    loop {
        let open = zones.iter_mut().filter_map(|(name, zone)| {
            let rank = zone.to_come.front()?.rank;
            let has_room = rank == Rank::Placed || room > 0;
            (has_room && zone.has_room(rank, name.is_some(), mode)).then_some((rank, zone))
        });
        let Some((rank, zone)) = open.min_by_key(|(rank, zone)| (*rank, zone.load())) else { break };
        zone.take(rank);
        room -= usize::from(rank != Rank::Placed);
        picked.extend(zone.to_come.pop_front().map(|candidate| candidate.progress));
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
    let name = |slot: &SlotId| {
        state.executor(&slot.executor).and_then(|executor| executor.zone()).map(str::to_owned)
    };
    // What an earlier operation began and left may be stopped at any moment.
    let is_going = |slot: &SlotId| {
        let raised = state.slot(slot).filter(|held| held.mode == ReplaceMode::StopFirst);
        raised.is_some_and(|held| !state.is_filled(slot, held))
    };
    let serves = |slot: &SlotId| state.is_connected(&slot.executor) && state.serves(slot) && !is_going(slot);
    let mut zones: BTreeMap<Option<String>, Zone<'a>> = BTreeMap::new();
    for (slot, _) in state.slots_of(&operation.service).filter(|(slot, _)| !state.is_lost(&slot.executor)) {
        let zone = zones.entry(name(&slot)).or_default();
        zone.slots += 1;
        zone.serving += usize::from(serves(&slot));
    }
    for progress in slots {
        let zone = zones.entry(name(&progress.slot)).or_default();
        let has_place = has_place(state, operation, progress);
        let serves = state.slot(&progress.slot).is_some() && serves(&progress.slot);
        zone.taken += usize::from(has_place);
        zone.serving -= usize::from(serves && has_place);
        if is_to_come(state, operation, progress) && (progress.canary || !canaries_only) {
            let rank = match (has_place, serves) {
                (true, _) => Rank::Placed,
                (false, false) => Rank::Down,
                (false, true) => Rank::Serving,
            };
            zone.to_come.push_back(Candidate { progress, rank });
        }
    }
    for zone in zones.values_mut() {
        zone.to_come.make_contiguous().sort_by_key(|candidate| candidate.rank);
    }
    zones
}
