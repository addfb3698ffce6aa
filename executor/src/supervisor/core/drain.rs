//! A drain: slots are emptied in the order of their services' drain policies, all slots of one policy together. A slot whose
//! turn has not come goes on as before, and is filled again if its instance crashes.

use muster_common::spec::DrainPolicy;

use super::{Core, key_of};
use crate::slots::SlotKey;

/// How far a drain is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drain {
    /// Slots up to this policy are to be empty.
    turn: DrainPolicy,
    /// In the end, slots up to this one are.
    last: DrainPolicy,
}

impl Core {
    /// From now on slots are emptied, up to those of `last`.
    pub(crate) fn drain(&mut self, last: DrainPolicy) {
        self.drain = Some(Drain { turn: DrainPolicy::First, last });
        self.dirty.extend(self.slots.keys().chain(self.by_slot.keys()).cloned());
        self.advance_drain();
    }

    /// The turn of a policy has come when no workload is left of those before it.
    pub(super) fn advance_drain(&mut self) {
        let Some(Drain { turn, last }) = self.drain else { return };
        let left = self.live().filter(|instance| !instance.is_spent());
        let policies = left.map(|instance| self.drain_policy(&key_of(&instance.record.slot)));
        let next = policies.min().map_or(last, |first| first.min(last));
        if next > turn {
            self.drain = Some(Drain { turn: next, last });
            self.dirty.extend(self.slots.keys().chain(self.by_slot.keys()).cloned());
        }
    }

    /// Whether a drain wants a slot to be empty by now.
    pub(super) fn is_drained_of(&self, key: &SlotKey) -> bool {
        self.drain.is_some_and(|drain| self.drain_policy(key) <= drain.turn)
    }

    /// How many instances a drain has still to stop.
    pub(super) fn undrained(&self) -> usize {
        let Some(Drain { last, .. }) = self.drain else { return 0 };
        self.live().filter(|instance| self.drain_policy(&key_of(&instance.record.slot)) <= last).count()
    }

    /// As the slot's row says, or else what it holds.
    fn drain_policy(&self, key: &SlotKey) -> DrainPolicy {
        let asked = self.rows.get(key).map(|row| row.spec.drain_policy());
        let held = self.in_slot(key).filter(|instance| !instance.is_over());
        let of_held = held.map(|instance| instance.spec.drain_policy()).max();
        asked.or(of_held).unwrap_or(DrainPolicy::Normal)
    }
}
