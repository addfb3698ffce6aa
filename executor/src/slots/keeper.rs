//! Deciding about one slot: which instances to stop, and whether to mint a new one.

use std::time::Duration;

use muster_common::id::{Epoch, InstanceId};
use muster_common::instance::InstanceState;
use muster_common::reason::Reason;
use muster_common::slot::{ReplaceMode, SlotAssignment, SlotPhase, UnreadableRow};
use muster_common::time::Timestamp;

use super::policy::{backoff, has_failed, healthy_for, is_spent, longest};
use super::slot::{Slot, SlotKey, Wanted};
use crate::machine::{Instance, StopIntent};

/// What must be done for one slot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    /// What to remember from now on; none when the slot can be forgotten.
    pub slot: Option<Slot>,
    /// Ended instances whose end has been counted now.
    pub accounted: Vec<InstanceId>,
    /// Instances that have to stop.
    pub stop: Vec<(InstanceId, StopIntent)>,
    /// The epoch to mint a new instance for.
    pub mint: Option<Epoch>,
    /// After how long to look again even if nothing happens.
    pub look_again_in: Option<Duration>,
}

/// Decides about one slot, given all of its instances (live ones, and ended ones not yet accounted for). However short
/// its policy's waits are, after a failure it waits for `least_wait`.
#[must_use]
pub(crate) fn keep(
    wanted: Wanted<'_>,
    slot: Option<&Slot>,
    instances: &[&Instance],
    now: Timestamp,
    least_wait: Duration,
    random: &mut dyn FnMut() -> u64,
) -> Decision {
    match wanted {
        Wanted::Empty(reason) => empty(reason, slot, instances),
        Wanted::Unreadable(key, row) => leave_alone(key, row, slot, instances, now),
        Wanted::Filled(row) => Keeper::new(row, slot, instances, now, least_wait).decide(random),
    }
}

fn empty(reason: Reason, slot: Option<&Slot>, instances: &[&Instance]) -> Decision {
    let intent = StopIntent { reason, message: String::new() };
    let live = || instances.iter().filter(|instance| !instance.is_over());
    Decision {
        // The counters stay until the last instance is gone; and a slot that was only drained is filled again.
        slot: slot.filter(|_| reason == Reason::Draining || live().next().is_some()).cloned(),
        accounted: unaccounted(instances).map(|instance| instance.id().clone()).collect(),
        stop: live()
            .filter(|instance| instance.stop.is_none())
            .map(|instance| (instance.id().clone(), intent.clone()))
            .collect(),
        ..Decision::default()
    }
}

/// The row cannot be read, so nothing is stopped and nothing is started until one says what the slot is to hold.
fn leave_alone(
    key: &SlotKey,
    row: &UnreadableRow,
    slot: Option<&Slot>,
    instances: &[&Instance],
    now: Timestamp,
) -> Decision {
    if instances.iter().any(|instance| instance.state() == InstanceState::Unknown) {
        return Decision { slot: slot.cloned(), ..Decision::default() };
    }
    let mut after = slot.cloned().unwrap_or_else(|| Slot::begun(key, row.epoch, row.generation, now));
    let is_served = instances
        .iter()
        .any(|instance| instance.state() == InstanceState::Healthy && instance.stop.is_none());
    after.status.epoch = row.epoch;
    after.status.generation = Some(row.generation);
    after.status.phase = if is_served { SlotPhase::KeptOld } else { SlotPhase::Failed };
    after.status.retry_at = None;
    after.status.reason = Some(Reason::StartFailed);
    after.status.message = format!("this executor cannot read what the slot is to hold: {}", row.problem);
    if slot.is_none_or(|before| before.status != after.status) {
        after.status.version += 1;
    }
    Decision {
        slot: Some(after),
        accounted: unaccounted(instances).map(|instance| instance.id().clone()).collect(),
        ..Decision::default()
    }
}

fn unaccounted<'a>(instances: &'a [&'a Instance]) -> impl Iterator<Item = &'a Instance> {
    instances.iter().copied().filter(|instance| instance.is_spent() && !instance.accounted)
}

struct Keeper<'a> {
    row: &'a SlotAssignment,
    /// Of what the slot is to hold: the row's, or that of what lives and is newer. Controllers that were restored ask
    /// for what their backup says, and what came after it stays until they ask for something newer.
    epoch: Epoch,
    instances: &'a [&'a Instance],
    now: Timestamp,
    least_wait: Duration,
    before: Option<&'a Slot>,
    slot: Slot,
    decision: Decision,
}

impl<'a> Keeper<'a> {
    fn new(
        row: &'a SlotAssignment,
        before: Option<&'a Slot>,
        instances: &'a [&'a Instance],
        now: Timestamp,
        least_wait: Duration,
    ) -> Self {
        let mut slot = before.cloned().unwrap_or_else(|| Slot::assigned(row, now));
        slot.begin_anew_for(row);
        let stays = instances.iter().filter(|instance| !instance.is_spent() && instance.stop.is_none());
        let epoch = stays.map(|instance| instance.epoch()).fold(row.epoch, Epoch::max);
        Self { row, epoch, instances, now, least_wait, before, slot, decision: Decision::default() }
    }

    fn decide(mut self, random: &mut dyn FnMut() -> u64) -> Decision {
        // What runs is being found out; whatever would be decided now might be wrong.
        if self.instances.iter().any(|instance| instance.state() == InstanceState::Unknown) {
            return self.finish();
        }
        self.account(random);
        let live = self.instances.iter().copied().filter(|instance| !instance.is_spent());
        let (current, others): (Vec<_>, Vec<_>) = live.partition(|instance| instance.epoch() == self.epoch);
        if current.is_empty() {
            self.without_current(&others);
        } else {
            self.with_current(&current, &others);
        }
        self.finish()
    }

    /// Takes the ends into account that have not been yet.
    fn account(&mut self, random: &mut dyn FnMut() -> u64) {
        let policy = self.row.spec.restart_policy();
        let old_is_well = self.instances.iter().any(|other| {
            other.epoch() != self.epoch && other.stop.is_none() && other.state() == InstanceState::Healthy
        });
        for instance in unaccounted(self.instances) {
            self.decision.accounted.push(instance.id().clone());
            if !has_failed(instance) {
                continue;
            }
            self.slot.status.restarts += 1;
            if instance.epoch() != self.epoch {
                continue;
            }
            if healthy_for(instance) >= policy.reset_after.as_duration() {
                self.slot.failures = 0;
            }
            self.slot.failures += 1;
            self.slot.status.reason = instance.record.reason;
            self.slot.status.message.clone_from(&instance.record.error_message);
            if old_is_well {
                self.slot.kept_old = Some(self.epoch);
            }
            self.slot.status.retry_at = if is_spent(&policy, self.slot.failures) {
                None
            } else {
                let wait = backoff(&policy, self.slot.failures, random());
                Some(self.now.plus(wait.max(self.least_wait)))
            };
        }
    }

    /// An instance of the epoch lives.
    fn with_current(&mut self, current: &[&Instance], others: &[&Instance]) {
        let best = current.iter().find(|instance| instance.state() == InstanceState::Healthy);
        let Some(&kept) = best.or(current.iter().find(|instance| instance.stop.is_none())) else {
            // It is on its way out although it is wanted: it must be gone before the next one comes.
            self.say(SlotPhase::Filling, None, "the instance before is being stopped");
            return;
        };
        // There is never a second one, unless a damaged journal made it so.
        self.ask_to_go(current.iter().filter(|instance| instance.id() != kept.id()));
        if kept.state() == InstanceState::Healthy && kept.stop.is_none() {
            self.slot.kept_old = None;
            self.slot.status.retry_at = None;
            self.say(SlotPhase::Filled, None, "");
            self.ask_to_go(others.iter());
        } else {
            self.say(SlotPhase::Filling, kept.record.reason, &kept.record.error_message);
            if self.stops_first() {
                self.ask_to_go(others.iter());
            }
        }
    }

    /// No instance of the epoch lives, so it is the row's.
    fn without_current(&mut self, others: &[&Instance]) {
        let well = others
            .iter()
            .any(|instance| instance.state() == InstanceState::Healthy && instance.stop.is_none());
        if self.stops_first() {
            self.ask_to_go(others.iter());
            if !others.is_empty() {
                self.say(SlotPhase::Filling, None, "the instance before is being stopped");
                return;
            }
        } else {
            if well && self.slot.kept_old == Some(self.epoch) {
                // Reason and message are those of the replacement that failed.
                self.slot.status.retry_at = None;
                self.slot.status.phase = SlotPhase::KeptOld;
                return;
            }
            // Only an instance that serves is worth waiting for.
            self.ask_to_go(others.iter().filter(|other| other.state() != InstanceState::Healthy));
        }
        self.fill();
    }

    /// Mints, unless the slot has to wait or has failed too often.
    fn fill(&mut self) {
        let policy = self.row.spec.restart_policy();
        if is_spent(&policy, self.slot.failures) {
            self.slot.status.phase = SlotPhase::Failed;
            self.slot.status.retry_at = None;
            if self.slot.status.reason != Some(Reason::CrashLoop) {
                let last = std::mem::take(&mut self.slot.status.message);
                self.slot.status.message =
                    format!("failed {} times in a row; the last time: {last}", self.slot.failures);
                self.slot.status.reason = Some(Reason::CrashLoop);
            }
            return;
        }
        let wait = self.slot.status.retry_at.map_or(Duration::ZERO, |at| at.since(self.now));
        if !wait.is_zero() && wait <= longest(&policy).max(self.least_wait) {
            self.slot.status.phase = SlotPhase::Backoff;
            self.decision.look_again_in = Some(wait);
            return;
        }
        self.slot.status.retry_at = None;
        self.say(SlotPhase::Filling, None, "");
        self.decision.mint = Some(self.epoch);
    }

    fn stops_first(&self) -> bool {
        // Fixed host ports cannot be held twice.
        self.row.mode == ReplaceMode::StopFirst || self.row.spec.is_host_level()
    }

    fn ask_to_go<'b>(&mut self, instances: impl Iterator<Item = &'b &'b Instance>) {
        let message = format!("a newer instance takes over (epoch {})", self.epoch);
        let intent = StopIntent { reason: Reason::Replaced, message };
        let going = instances.filter(|instance| instance.stop.is_none());
        self.decision.stop.extend(going.map(|instance| (instance.id().clone(), intent.clone())));
    }

    fn say(&mut self, phase: SlotPhase, reason: Option<Reason>, message: &str) {
        let status = &mut self.slot.status;
        status.phase = phase;
        status.reason = reason;
        message.clone_into(&mut status.message);
    }

    fn finish(mut self) -> Decision {
        if self.before.is_none_or(|before| before.status != self.slot.status) {
            self.slot.status.version += 1;
        }
        self.decision.slot = Some(self.slot);
        self.decision
    }
}
