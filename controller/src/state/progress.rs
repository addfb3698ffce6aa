//! How far an operation is, slot by slot. What goes in waves keeps its progress in the operation
//! itself; for the rest (activation, count, destruction) it follows from the slots.

use std::collections::BTreeMap;
use std::sync::Arc;

use muster_common::evidence::head;
use muster_common::id::SlotId;
use muster_common::instance::InstanceState;
use muster_common::operation::{Operation, OperationKind, OperationState, SlotOutcome, SlotProgress};
use muster_common::reason::Reason;
use muster_common::slot::SlotPhase;

use super::{Instance, Slot, State};

/// How many bytes of a message stay with each slot of an operation: an operation can have ten
/// thousand slots, and the whole message is with the slot and its instances.
const MAX_MESSAGE_BYTES: usize = 256;

/// What an operation keeps of a slot's message.
pub(crate) fn brief(message: &str) -> String {
    head(message, MAX_MESSAGE_BYTES).to_owned()
}

/// Whether an operation replaces instances slot by slot, in waves.
#[must_use]
pub(crate) const fn goes_in_waves(kind: OperationKind) -> bool {
    match kind {
        OperationKind::Restart
        | OperationKind::ReplaceInstances
        | OperationKind::StopInstances
        | OperationKind::UpdateSpec
        | OperationKind::Rollback => true,
        OperationKind::Create
        | OperationKind::Activate
        | OperationKind::Deactivate
        | OperationKind::DeployTestInstance
        | OperationKind::AdjustInstances
        | OperationKind::UpdateInstanceCount
        | OperationKind::Retry
        | OperationKind::Destroy => false,
    }
}

/// Whether a service shows another than its resting state while an operation of this kind is at work.
#[must_use]
pub(super) const fn occupies(kind: OperationKind) -> bool {
    goes_in_waves(kind) || matches!(kind, OperationKind::AdjustInstances | OperationKind::Destroy)
}

/// Whether something may still become of a slot with this outcome.
#[must_use]
pub(super) const fn is_open(outcome: SlotOutcome) -> bool {
    match outcome {
        SlotOutcome::Waiting | SlotOutcome::InProgress | SlotOutcome::Settling | SlotOutcome::RollingBack => {
            true
        }
        SlotOutcome::Done | SlotOutcome::RolledBack | SlotOutcome::Failed | SlotOutcome::Away => false,
    }
}

/// Begun, and not through: its time runs.
#[must_use]
pub(crate) const fn is_begun(progress: &SlotProgress) -> bool {
    match progress.outcome {
        SlotOutcome::InProgress | SlotOutcome::Settling => true,
        SlotOutcome::RollingBack => progress.epoch.is_some(),
        SlotOutcome::Waiting
        | SlotOutcome::Done
        | SlotOutcome::RolledBack
        | SlotOutcome::Failed
        | SlotOutcome::Away => false,
    }
}

/// Whether nothing but canaries may begin: some were marked, and nobody said yet that the rest may follow.
#[must_use]
pub(crate) fn is_for_canaries(operation: &Operation) -> bool {
    !operation.promoted
        && operation.op_spec.canary.is_some()
        && operation.state != OperationState::RollingBack
        && operation.slots.iter().any(|progress| progress.canary)
}

impl State {
    /// How far `operation` is in each of its slots, ordered by slot.
    #[must_use]
    pub fn progress(&self, operation: &Operation) -> Vec<SlotProgress> {
        if operation.finished.is_some() {
            operation.slots.iter().cloned().collect()
        } else if goes_in_waves(operation.kind) {
            operation.slots.iter().map(|slot| self.wave_progress(slot)).collect()
        } else {
            self.convergence_progress(operation)
        }
    }

    /// As stored, except that what waits for an executor that is not heard is away.
    fn wave_progress(&self, progress: &SlotProgress) -> SlotProgress {
        let mut progress = progress.clone();
        if is_open(progress.outcome) && !self.is_connected(&progress.slot.executor) {
            self.set_away(&mut progress);
        }
        progress
    }

    /// Assigned slots are to be filled; places that still hold something although they are not
    /// assigned are to become empty, and those that the operation began with and are empty are done. Of what was lost with
    /// its executor nobody knows: it may run there until that comes back.
    fn convergence_progress(&self, operation: &Operation) -> Vec<SlotProgress> {
        let mut slots: BTreeMap<SlotId, SlotProgress> = BTreeMap::new();
        for recorded in &operation.slots {
            let mut progress = SlotProgress { outcome: SlotOutcome::Done, ..recorded.clone() };
            let old = recorded.old_instance.as_ref().and_then(|old| self.instance(old));
            if old.is_some_and(|old| old.is_awaited()) {
                self.set_away(&mut progress);
            }
            slots.insert(recorded.slot.clone(), progress);
        }
        // Only a DESTROY waits for the rest of a log to be copied.
        let counts = |instance: &&Arc<Instance>| {
            operation.kind == OperationKind::Destroy || !instance.record.is_only_copied()
        };
        for instance in self.live_instances(&operation.service).filter(counts) {
            let id = &instance.record.slot;
            let mut leaving = blank(id.clone(), SlotOutcome::InProgress);
            leaving.old_instance = Some(instance.record.id.clone());
            leaving.message = format!("{} is {}", instance.record.id, instance.state());
            self.if_away(&mut leaving);
            slots.insert(id.clone(), leaving);
        }
        for (id, slot) in self.slots_of(&operation.service) {
            let progress = self.filling(&id, slot);
            slots.insert(id, progress);
        }
        slots.into_values().collect()
    }

    /// How far an assigned slot is with becoming filled.
    fn filling(&self, id: &SlotId, slot: &Slot) -> SlotProgress {
        let mut progress = blank(id.clone(), SlotOutcome::InProgress);
        progress.epoch = Some(slot.epoch);
        if let Some(other) = self.stays_for(id) {
            progress.message = format!("it goes when {}/{} is filled", other.executor, other.index);
        } else if !self.is_connected(&id.executor) {
            self.set_away(&mut progress);
        } else if self.is_filled(id, slot) {
            progress.outcome = SlotOutcome::Done;
        } else if let Some(status) = slot.current_status() {
            progress.reason = status.reason;
            progress.message = brief(&status.message);
            if matches!(status.phase, SlotPhase::Failed | SlotPhase::KeptOld) {
                progress.outcome = SlotOutcome::Failed;
            }
        }
        progress
    }

    /// Whether a HEALTHY instance of the slot's epoch holds it.
    #[must_use]
    pub fn is_filled(&self, id: &SlotId, slot: &Slot) -> bool {
        self.live_instances_in(id)
            .any(|instance| instance.state() == InstanceState::Healthy && instance.record.epoch >= slot.epoch)
    }

    /// Whether something in the slot is HEALTHY, of whatever epoch.
    #[must_use]
    pub fn serves(&self, id: &SlotId) -> bool {
        self.live_instances_in(id).any(|instance| instance.state() == InstanceState::Healthy)
    }

    /// Whether the slot is filled and nothing of an earlier epoch is left in it: start-first has a
    /// time in which both live. A log that is still copied is nothing to wait for.
    #[must_use]
    pub fn is_replaced(&self, id: &SlotId, slot: &Slot) -> bool {
        self.is_filled(id, slot)
            && self
                .live_instances_in(id)
                .all(|instance| instance.record.epoch >= slot.epoch || instance.record.is_only_copied())
    }

    fn if_away(&self, progress: &mut SlotProgress) {
        if !self.is_connected(&progress.slot.executor) {
            self.set_away(progress);
        }
    }

    fn set_away(&self, progress: &mut SlotProgress) {
        progress.outcome = SlotOutcome::Away;
        progress.reason = Some(Reason::ExecutorUnreachable);
        let executor = &progress.slot.executor;
        let lost = if self.is_lost(executor) { "its executor is lost: " } else { "" };
        progress.message = format!("{lost}{}", self.absence(executor));
    }
}

fn blank(slot: SlotId, outcome: SlotOutcome) -> SlotProgress {
    SlotProgress { outcome, ..SlotProgress::waiting(slot, None) }
}
