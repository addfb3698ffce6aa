//! Which slots of an operation are next: what is down before what is up, and never all of one zone at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use muster_common::id::SlotId;
use muster_common::operation::{Operation, SlotProgress};
use muster_common::slot::{ReplaceMode, SlotPhase};

use super::{has_place, is_at_work, is_to_come, mode};
use crate::state::{Slot, State, brief, is_for_canaries};

/// How many of those that it waits for a slot names.
const MAX_NAMED: usize = 3;

/// The slots of one zone. Executors that name no zone are in none, and nothing holds them back.
#[derive(Default)]
struct Zone<'a> {
    /// Slots of the service in it, the operation's and others. Those of lost executors do not count: they may never return.
    slots: usize,
    /// How many of the operation's have a place in the wave.
    taken: usize,
    /// How many of the others are heard and hold a HEALTHY instance.
    serving: usize,
    /// Whether one of the operation's is at work: what it holds back for that goes on by itself.
    is_at_work: bool,
    /// Those that do not serve, lost ones apart.
    idle: Vec<SlotId>,
    /// Those that can be begun, in their order.
    to_come: VecDeque<Candidate<'a>>,
}

/// What to begin with now, and what is held back by what the operation cannot mend.
#[derive(Default)]
pub(super) struct Wave {
    pub(super) next: Vec<SlotId>,
    held: Vec<Held>,
}

/// A slot that is not begun although the wave has room: hardly anything else of its zone serves.
pub(super) struct Held {
    slot: SlotId,
    pub(super) why: String,
    /// Whether nothing but executors that are away holds it back.
    is_for_away: bool,
}

impl Wave {
    /// Why a slot is held back.
    pub(super) fn holds(&self, slot: &SlotId) -> Option<&Held> {
        self.held.iter().find(|held| held.slot == *slot)
    }

    /// Whether a slot is held back by nothing but executors that are away.
    pub(super) fn awaits_away(&self, slot: &SlotId) -> bool {
        self.holds(slot).is_some_and(|held| held.is_for_away)
    }
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

    /// What keeps the first of those that can be begun from being begun, if it is not the operation itself.
    fn held(&self, state: &State, name: &str, mode: ReplaceMode) -> Option<Held> {
        let first = self.to_come.front().filter(|first| !self.has_room(first.rank, true, mode))?;
        if self.is_at_work {
            return None;
        }
        let others: Vec<&SlotId> = self.idle.iter().filter(|slot| **slot != first.progress.slot).collect();
        let is_away = |slot: &SlotId| !state.is_connected(&slot.executor);
        let what = match first.rank {
            Rank::Serving => format!("it is the last that serves in zone {name}"),
            Rank::Placed | Rank::Down => format!("all others in zone {name} were begun"),
        };
        let named = others.iter().take(MAX_NAMED).map(|slot| {
            let is = if is_away(slot) { "away" } else { "not filled" };
            format!("and {}/{} is {is}", slot.executor, slot.index)
        });
        let why = std::iter::once(what).chain(named).collect::<Vec<_>>().join(", ");
        let is_for_away = others.iter().all(|slot| is_away(slot));
        Some(Held { slot: first.progress.slot.clone(), why: brief(&why), is_for_away })
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

/// Those to begin with now, as many as the wave has room for, and those that wait for others.
pub(super) fn next(state: &State, operation: &Operation, slots: &[SlotProgress]) -> Wave {
    let mut zones = zones(state, operation, slots);
    let mode = mode(state, operation);
    let before = if mode == ReplaceMode::StopFirst { left_at_work(state, slots) } else { Vec::new() };
    let taken = before.len() + zones.values().map(|zone| zone.taken).sum::<usize>();
    let mut room = operation.op_spec.parallelism.of(slots.len()).saturating_sub(taken);
    let mut wave = Wave::default();
    loop {
        let open = zones.iter_mut().filter_map(|(name, zone)| {
            let rank = zone.to_come.front()?.rank;
            let has_room = rank == Rank::Placed || room > 0;
            (has_room && zone.has_room(rank, name.is_some(), mode)).then_some((rank, zone))
        });
        let Some((rank, zone)) = open.min_by_key(|(rank, zone)| (*rank, zone.load())) else { break };
        zone.take(rank);
        room -= usize::from(rank != Rank::Placed);
        wave.next.extend(zone.to_come.pop_front().map(|candidate| candidate.progress.slot.clone()));
        zone.is_at_work = true;
    }
    let named = zones.iter().filter_map(|(name, zone)| Some((name.as_deref()?, zone)));
    wave.held = named.filter_map(|(name, zone)| zone.held(state, name, mode)).collect();
    if room == 0 && wave.next.is_empty() {
        if before.is_empty() {
            wave.held.extend(held_for_away(state, operation, slots, &zones));
        } else {
            let named: Vec<String> = before.iter().take(MAX_NAMED).map(in_words).collect();
            let why = format!("the wave waits for what was begun before it: {}", named.join("; "));
            wave.held.extend(first_of_each(&zones, &why));
        }
    }
    wave
}

/// What an operation before this one began, and ended without seeing it through: the old instance goes first, so it is
/// down by our doing, and counts whoever began it. One whose instance failed and is tried again is down by its own.
fn left_at_work(state: &State, slots: &[SlotProgress]) -> Vec<SlotId> {
    let Some(service) = slots.first().map(|progress| &progress.slot.service) else { return Vec::new() };
    let ours: BTreeSet<&SlotId> = slots.iter().map(|progress| &progress.slot).collect();
    let is_at_work = |(id, slot): &(SlotId, &Arc<Slot>)| {
        slot.mode == ReplaceMode::StopFirst
            && !ours.contains(id)
            && state.is_connected(&id.executor)
            && slot.current_status().is_none_or(|status| status.phase == SlotPhase::Filling)
            && !state.is_filled(id, slot)
    };
    state.slots_of(service).filter(is_at_work).map(|(id, _)| id).collect()
}

fn in_words(slot: &SlotId) -> String {
    format!("{}/{}", slot.executor, slot.index)
}

fn first_of_each(zones: &BTreeMap<Option<String>, Zone<'_>>, why: &str) -> Vec<Held> {
    let first = zones.values().filter_map(|zone| zone.to_come.front());
    first
        .map(|first| Held { slot: first.progress.slot.clone(), why: brief(why), is_for_away: false })
        .collect()
}

/// The first of each zone, where nothing but executors that are away takes all places of the wave: they keep them until
/// they are heard, are lost, or the time is over, since what is there may be down by our doing.
fn held_for_away(
    state: &State,
    operation: &Operation,
    slots: &[SlotProgress],
    zones: &BTreeMap<Option<String>, Zone<'_>>,
) -> Vec<Held> {
    let mut placed = slots.iter().filter(|progress| has_place(state, operation, progress)).peekable();
    if placed.peek().is_none() || placed.clone().any(|progress| state.is_connected(&progress.slot.executor)) {
        return Vec::new();
    }
    let named = placed.take(MAX_NAMED).map(|progress| &progress.slot);
    let named: Vec<String> = named.map(|slot| format!("{}, which is away", in_words(slot))).collect();
    first_of_each(zones, &format!("the wave waits for what it may have taken down: {}", named.join("; ")))
}

fn zones<'a>(
    state: &State,
    operation: &Operation,
    slots: &'a [SlotProgress],
) -> BTreeMap<Option<String>, Zone<'a>> {
    let canaries_only = is_for_canaries(operation);
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
        if serves(&slot) {
            zone.serving += 1;
        } else {
            zone.idle.push(slot);
        }
    }
    for progress in slots {
        let zone = zones.entry(name(&progress.slot)).or_default();
        let has_place = has_place(state, operation, progress);
        let serves = state.slot(&progress.slot).is_some() && serves(&progress.slot);
        zone.taken += usize::from(has_place);
        zone.is_at_work |= is_at_work(state, progress);
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
