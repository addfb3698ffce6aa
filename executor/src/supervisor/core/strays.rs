//! Strays: workloads that a runner knows and no record stands for, because the journal was lost, damaged or
//! put back from a copy.
//!
//! A stray whose slot asks for its very epoch is taken in and goes on running: a lost journal costs no restart.
//! Any other is taken in to be stopped, so that it leaves its record and its evidence like everything that ends.
//! Both wait for the first slot table: without one nobody can say what is wanted, and what runs keeps running.
//! Workloads that do not say to which slot they belong, and leftovers of instances that were reported long ago, are only
//! cleared away.
//!
//! While the journal is not whole, a runner starts nothing new before it has said what it runs: a new instance might be
//! the second one of its slot and epoch.

use std::collections::BTreeSet;
use std::sync::Arc;

use muster_common::id::{InstanceId, SlotId};
use muster_common::instance::{InstanceState, RunnerKind};
use muster_common::reason::Reason;
use muster_common::slot::SlotAssignment;

use super::Core;
use crate::machine::{Event, Instance, Now, StopIntent};
use crate::runner::{Listed, Place};
use crate::slots::SlotKey;

/// What became of a stray, for the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum StrayFate {
    /// It goes on running.
    TakenIn,
    /// It is being stopped.
    Orphaned,
}

impl StrayFate {
    pub(in super::super) const fn as_str(self) -> &'static str {
        match self {
            Self::TakenIn => "taken_in",
            Self::Orphaned => "orphaned",
        }
    }
}

/// A stray that waits for the first slot table.
#[derive(Debug, Clone)]
pub(super) struct Stray {
    kind: RunnerKind,
    place: Place,
}

/// Which runners must still say what they know.
#[derive(Debug, Default, Clone)]
pub(super) struct Hearing {
    /// Nothing new is started by these before.
    unheard: BTreeSet<RunnerKind>,
    /// Those of them that have not even been asked in vain.
    unasked: BTreeSet<RunnerKind>,
    /// Whether the journal still says that something is missing.
    is_noted: bool,
}

impl Hearing {
    /// After a start: a journal that is whole needs nobody's word.
    pub(super) fn after(journal_is_whole: bool) -> Self {
        if journal_is_whole {
            return Self::default();
        }
        let all = BTreeSet::from([RunnerKind::Docker, RunnerKind::Process]);
        Self { unheard: all.clone(), unasked: all, is_noted: true }
    }

    /// Whether every runner was asked once.
    pub(super) fn is_over(&self) -> bool {
        self.unasked.is_empty()
    }
}

impl Core {
    /// Whether a runner's word is still needed before all slots can be filled.
    #[must_use]
    pub(crate) fn awaits_listing(&self) -> bool {
        !self.hearing.unheard.is_empty()
    }

    pub(super) fn is_unheard(&self, kind: RunnerKind) -> bool {
        self.hearing.unheard.contains(&kind)
    }

    /// So many runners have been asked what they know.
    pub(crate) fn listings_begin(&mut self, asked: usize) {
        self.answers_due += asked;
    }

    /// A runner could not be asked what it knows.
    pub(crate) fn listing_failed(&mut self, kind: RunnerKind) {
        self.hearing.unasked.remove(&kind);
        self.answer_came();
    }

    /// An instance is forgotten: an answer that is on its way may name it still.
    pub(super) fn forget_while_asking(&mut self, id: &InstanceId) {
        if self.answers_due > 0 {
            self.forgotten.insert(id.clone());
        }
    }

    /// With the last answer on its way nothing can name who was forgotten meanwhile.
    fn answer_came(&mut self) {
        self.answers_due = self.answers_due.saturating_sub(1);
        if self.answers_due == 0 {
            self.forgotten.clear();
        }
    }

    /// Everything that a runner knows. Answers with what is to be cleared away without a record.
    pub(crate) fn take_listing(&mut self, kind: RunnerKind, listed: Vec<Listed>) -> Vec<InstanceId> {
        let journal_was_whole = !self.is_unheard(kind);
        let mut leftovers = Vec::new();
        for Listed { instance, place, runs } in listed {
            // One that ended while the runner was being asked has been told of, and is gone by now.
            if self.is_live(&instance) || self.forgotten.contains(&instance) {
                continue;
            }
            match place {
                Some(place) if !self.instances.contains_key(&instance) && (runs || !journal_was_whole) => {
                    self.standing.holds.insert(instance.clone());
                    self.strays.insert(instance, Stray { kind, place });
                    self.has_news = true;
                }
                _ => leftovers.push(instance),
            }
        }
        self.hearing.unasked.remove(&kind);
        if self.hearing.unheard.remove(&kind) {
            self.offer_room();
        }
        self.answer_came();
        leftovers
    }

    /// Takes in what waited for a slot table, once there is one.
    pub(super) fn take_in_strays(&mut self, now: Now) {
        // Whoever is drained needs nobody to say what is wanted.
        if !self.has_table && self.drain.is_none() {
            return;
        }
        while let Some((id, Stray { kind, place })) = self.strays.pop_first() {
            self.take_in(id, kind, place, now);
        }
        if self.hearing.is_noted && self.hearing.unheard.is_empty() {
            self.hearing.is_noted = false;
            self.output.batch.is_whole_again();
        }
    }

    fn take_in(&mut self, id: InstanceId, kind: RunnerKind, place: Place, now: Now) {
        let key = SlotKey { service: place.service.clone(), index: place.index };
        let row = self.rows.get(&key);
        let row = row.filter(|row| !self.is_drained_of(&key) && self.is_asked_for(row, &key, kind, &place));
        let spec = row.map(|row| Arc::clone(&row.spec));
        let slot = SlotId { service: key.service.clone(), executor: self.executor.clone(), index: key.index };
        let instance = Instance::found(id.clone(), slot, place, kind, spec.clone(), now);
        tracing::warn!(instance = %id, slot = %key, wanted = spec.is_some(), "took in a workload that no record stood for");
        self.output.batch.mint(&instance);
        self.adopt(instance);
        self.events.push_back((id.clone(), Event::Restarted { rebooted: false }));
        let fate = if spec.is_some() {
            self.step_aside(&key, &id);
            StrayFate::TakenIn
        } else {
            let message = format!("no record of it was left, and slot {key} does not ask for it");
            let intent = StopIntent { reason: Reason::Orphaned, message };
            self.events.push_back((id, Event::StopRequested(intent)));
            StrayFate::Orphaned
        };
        self.output.strays.push((kind, fate));
    }

    /// Whether a slot wants this very workload, and nothing that may run fills it.
    fn is_asked_for(&self, row: &SlotAssignment, key: &SlotKey, kind: RunnerKind, place: &Place) -> bool {
        let fills = |instance: &Instance| {
            instance.epoch() >= row.epoch && !instance.is_spent() && !never_ran(instance)
        };
        row.epoch == place.epoch && row.spec.runner() == kind && !self.in_slot(key).any(fills)
    }

    /// What was minted for the slot meanwhile, and never ran, makes way.
    fn step_aside(&mut self, key: &SlotKey, found: &InstanceId) {
        let waiting = self.in_slot(key).filter(|instance| instance.id() != found && never_ran(instance));
        let waiting: Vec<InstanceId> = waiting.map(|instance| instance.id().clone()).collect();
        for id in waiting {
            let message = format!("{found}, which ran before, was found again");
            let intent = StopIntent { reason: Reason::Replaced, message };
            self.events.push_back((id, Event::StopRequested(intent)));
        }
    }
}

/// Without a lease nothing is started; one that is UNKNOWN had none either before the restart, unless it gave it back.
pub(super) fn never_ran(instance: &Instance) -> bool {
    matches!(instance.state(), InstanceState::Pending | InstanceState::Unknown)
        && !instance.holds_lease()
        && !instance.gave_lease_back
}
