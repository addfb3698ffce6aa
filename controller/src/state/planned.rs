//! The reconciler's changes are applied, each only if the condition under which it was planned still
//! holds.

use std::sync::Arc;

use muster_common::id::{Epoch, SlotId};
use muster_common::operation::{Operation, OperationKind, OperationState, SlotOutcome, SlotProgress};
use muster_common::service::ServiceState;
use muster_common::time::Timestamp;

use super::command::Change;
use super::progress::goes_in_waves;
use super::{Reply, Slot, State};

impl State {
    pub(super) fn plan(&mut self, at: Timestamp, changes: &[Change]) -> Reply {
        let mut applied = 0;
        for change in changes {
            applied += u32::from(self.change(at, change).is_some());
        }
        let skipped = u32::try_from(changes.len()).unwrap_or(u32::MAX).saturating_sub(applied);
        Reply::Planned { applied, skipped }
    }

    /// `None`: the condition does not hold any more.
    fn change(&mut self, at: Timestamp, change: &Change) -> Option<()> {
        match change {
            Change::AssignSlot { slot } => self.assign_slot(slot),
            Change::RemoveSlot { slot, epoch } => self.remove_slot(slot, *epoch),
            Change::RaiseSlot { operation, slot, epoch, mode } => {
                let raised = Epoch(self.revision.0);
                let current = self.slots.get(slot).filter(|slot| slot.epoch == *epoch && raised > *epoch)?;
                let generation = self.service(&slot.service)?.generation;
                let current = Slot { epoch: raised, mode: *mode, generation, ..Slot::clone(current) };
                let progress = self.open_slot(operation, slot, SlotOutcome::Waiting)?;
                progress.outcome = SlotOutcome::InProgress;
                progress.epoch = Some(raised);
                self.slots.insert(slot, Arc::new(current));
                self.touch_table(&slot.executor);
                Some(())
            }
            Change::SettleSlot { operation, slot, from, outcome, reason, message } => {
                let progress = self.open_slot(operation, slot, *from)?;
                progress.outcome = *outcome;
                progress.reason = *reason;
                progress.message.clone_from(message);
                Some(())
            }
            Change::FinishOperation { operation, state, message } => {
                let operation = self.operations.get(operation).cloned()?;
                self.may_finish(&operation, *state)
                    .then(|| self.end_operation(at, &operation, *state, message.clone()))
            }
            Change::Prune { records_before, events_before } => {
                let dropped = self.instances.prune(*records_before)
                    + self.operations.prune(*records_before)
                    + self.events.prune(*events_before);
                (dropped > 0).then_some(())
            }
        }
    }

    fn assign_slot(&mut self, id: &SlotId) -> Option<()> {
        if !self.wants(id) || self.slots.get(id).is_some() {
            return None;
        }
        let service = self.service(&id.service)?;
        let slot = Slot {
            epoch: Epoch(self.revision.0),
            generation: service.generation,
            mode: service.default_mode(),
            assigned: self.revision,
            status: None,
        };
        self.slots.insert(id, Arc::new(slot));
        self.touch_table(&id.executor);
        Some(())
    }

    fn remove_slot(&mut self, id: &SlotId, epoch: Epoch) -> Option<()> {
        if self.wants(id) || self.slots.get(id)?.epoch != epoch {
            return None;
        }
        self.slots.remove(id)?;
        self.touch_table(&id.executor);
        Some(())
    }

    /// The progress of a running operation in one of its slots, if it is at `outcome`.
    fn open_slot(
        &mut self,
        operation: &muster_common::id::OperationId,
        slot: &SlotId,
        outcome: SlotOutcome,
    ) -> Option<&mut SlotProgress> {
        let operation = self.operations.get_running_mut(operation)?;
        let position = operation.slots.binary_search_by(|progress| progress.slot.cmp(slot)).ok()?;
        operation.slots.get_mut(position).filter(|progress| progress.outcome == outcome)
    }

    fn may_finish(&self, operation: &Operation, state: OperationState) -> bool {
        let destroyed = operation.kind == OperationKind::Destroy && state == OperationState::Succeeded;
        operation.finished.is_none() && !(destroyed && self.holds_anything(operation))
    }

    fn holds_anything(&self, operation: &Operation) -> bool {
        self.slots_of(&operation.service).next().is_some()
            || self.live_instances(&operation.service).next().is_some()
    }

    /// Ends a running operation: its progress is sealed, and its service rests again or is gone.
    pub(super) fn end_operation(
        &mut self,
        at: Timestamp,
        operation: &Operation,
        state: OperationState,
        message: String,
    ) {
        let slots = self.progress(operation);
        let sealed = Operation { slots, state, message, finished: Some(at), ..operation.clone() };
        self.operations.put(sealed);
        let Some(service) = self.service(&operation.service).cloned() else { return };
        if operation.kind == OperationKind::Destroy && state == OperationState::Succeeded {
            self.enter(at, &service.id, ServiceState::Destroyed);
            self.services.remove(&service.id);
        } else if goes_in_waves(operation.kind) || operation.kind == OperationKind::Destroy {
            self.enter(at, &service.id, service.resting_state());
        }
    }
}
