//! The reconciler's changes are applied, each only if the condition under which it was planned still
//! holds.

use std::sync::Arc;

use muster_common::id::{Epoch, ExecutorId, Generation, OperationId, ServiceId, SlotId};
use muster_common::operation::{Operation, OperationKind, OperationState, SlotOutcome, SlotProgress};
use muster_common::reason::Reason;
use muster_common::service::{ActivationState, ServiceState};
use muster_common::slot::ReplaceMode;
use muster_common::time::Timestamp;

use super::command::Change;
use super::progress::{goes_in_waves, is_begun, is_for_canaries, occupies};
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

    /// Applies one change; `None` where its condition does not hold any more.
    pub(super) fn change(&mut self, at: Timestamp, change: &Change) -> Option<()> {
        if self.forbids(change) {
            return None;
        }
        match change {
            Change::AssignSlot { slot } => self.assign_slot(slot),
            Change::RemoveSlot { slot, epoch } => self.remove_slot(slot, *epoch),
            Change::PlaceTest { service, executor } => self.place_test(service, executor),
            Change::StartClock { operation } => self.start_clock(at, operation),
            Change::AwaitPromotion { operation } => self.await_promotion(at, operation),
            Change::RollBack { operation, message } => self.begin_rollback(at, operation, message),
            Change::RaiseSlot { operation, slot, epoch, mode, spec } => {
                let next = self.raised(slot, *epoch, *mode, *spec)?;
                self.raise_slot(at, operation, slot, next)
            }
            Change::CatchUp { slot, epoch, mode } => self.catch_up(slot, *epoch, *mode),
            Change::SettleSlot { operation, slot, from, outcome, reason, message } => {
                let progress = self.slot_of(operation, slot).filter(|progress| progress.outcome == *from)?;
                settle(progress, at, *outcome, *reason, message)
            }
            Change::FinishOperation { operation, state, message } => {
                let operation = self.operations.get(operation).cloned()?;
                self.may_finish(&operation, *state)
                    .then(|| self.end_operation(at, &operation, *state, message.clone()))
            }
            Change::ExecutorEmptied { executor } => self.executor_emptied(at, executor),
            Change::StartDrain { executor } => self.start_drain(at, executor),
            Change::ExpireDrain { executor } => self.expire_drain(at, executor),
            Change::RemoveLost { executor } => self.remove_lost(at, executor),
            Change::ForgetExecutor { executor } => self.forget_executor(executor),
            Change::Retain(retention) => self.retain(*retention),
            Change::Prune { records_before, events_before } => {
                let dropped = self.instances.prune(*records_before)
                    + self.operations.prune(*records_before)
                    + self.events.prune(*events_before);
                (dropped > 0).then_some(())
            }
        }
    }

    fn await_promotion(&mut self, at: Timestamp, operation: &OperationId) -> Option<()> {
        let running = self.operations.get_running_mut(operation)?;
        let due = running.state == OperationState::Running && !running.promoted;
        due.then(|| self.hold_or_go_on(at, operation, OperationState::AwaitingPromotion))
    }

    /// What a slot becomes when its epoch is raised; `None` where its epoch is not `epoch` any more.
    fn raised(&self, id: &SlotId, epoch: Epoch, mode: ReplaceMode, spec: Option<Generation>) -> Option<Slot> {
        let raised = Epoch(self.revision.0);
        let current = self.slots.get(id).filter(|slot| slot.epoch == epoch && raised > epoch)?;
        let generation = self.service(&id.service)?.generation;
        let spec = spec.unwrap_or(current.spec);
        Some(Slot { epoch: raised, mode, generation, spec, ..Slot::clone(current) })
    }

    /// Has an operation begin with a slot, which becomes `next`.
    fn raise_slot(&mut self, at: Timestamp, operation: &OperationId, id: &SlotId, next: Slot) -> Option<()> {
        let may_begin = self.operations.get(operation).is_some_and(|operation| begins(operation, id));
        let progress = self.slot_of(operation, id).filter(|_| may_begin)?;
        if progress.outcome == SlotOutcome::Waiting {
            progress.outcome = SlotOutcome::InProgress;
        }
        progress.epoch = Some(next.epoch);
        progress.since = Some(at);
        progress.restarts = next.restarts();
        progress.reason = None;
        progress.message.clear();
        self.slots.insert(id, Arc::new(next));
        self.touch_table(&id.executor);
        Some(())
    }

    fn assign_slot(&mut self, id: &SlotId) -> Option<()> {
        if !self.wants(id) || self.slots.get(id).is_some() {
            return None;
        }
        let service = self.service(&id.service)?;
        let slot = Slot {
            epoch: Epoch(self.revision.0),
            generation: service.generation,
            spec: service.specs.stable(),
            mode: service.default_mode(),
            assigned: self.revision,
            status: None,
        };
        self.slots.insert(id, Arc::new(slot));
        self.touch_table(&id.executor);
        self.join_rollout(id);
        Some(())
    }

    fn remove_slot(&mut self, id: &SlotId, epoch: Epoch) -> Option<()> {
        if self.wants(id) || self.slots.get(id)?.epoch != epoch || self.stays_for(id).is_some() {
            return None;
        }
        self.slots.remove(id)?;
        self.touch_table(&id.executor);
        Some(())
    }

    fn place_test(&mut self, id: &ServiceId, executor: &ExecutorId) -> Option<()> {
        let service =
            self.service(id).filter(|service| service.activation == ActivationState::ConfigTesting)?;
        let takes = |id: &ExecutorId| self.executor(id).is_some_and(|found| service.may_be_on(found));
        let is_placed = service.test_host.as_ref().is_some_and(takes);
        if is_placed || !takes(executor) {
            return None;
        }
        self.services.get_mut(id).map(Arc::make_mut)?.test_host = Some(executor.clone());
        Some(())
    }

    /// The progress of a running operation in one of its slots.
    pub(super) fn slot_of(&mut self, operation: &OperationId, slot: &SlotId) -> Option<&mut SlotProgress> {
        let operation = self.operations.get_running_mut(operation)?;
        let position = operation.slots.binary_search_by(|progress| progress.slot.cmp(slot)).ok()?;
        operation.slots.get_mut(position)
    }

    /// Nobody succeeds who has something left to do, though it was out of sight or not there when that was planned; nor a
    /// rollout to which a slot came meanwhile, and of whose spec no slot shows that it is good: it would become the one to
    /// go back to.
    fn may_finish(&self, operation: &Operation, state: OperationState) -> bool {
        let is_done = match operation.kind {
            OperationKind::Destroy => !self.holds_anything(operation),
            kind if goes_in_waves(kind) => {
                let is_left = |progress: &SlotProgress| {
                    progress.outcome == SlotOutcome::Waiting
                        && self.is_connected(&progress.slot.executor)
                        && self.slots.get(&progress.slot).is_some()
                };
                let slots = operation.slots.iter();
                !slots.clone().any(is_left) && !self.is_unproven(operation, slots)
            }
            _ => true,
        };
        operation.finished.is_none() && (is_done || state != OperationState::Succeeded)
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
        let slots = self.progress(operation).into();
        let sealed = Operation { slots, state, message, finished: Some(at), ..operation.clone() };
        if state == OperationState::Succeeded {
            self.settle_spec(&sealed);
        }
        self.put_operation(at, sealed);
        let Some(service) = self.service(&operation.service).cloned() else { return };
        if operation.kind == OperationKind::Destroy && state == OperationState::Succeeded {
            self.enter(at, &service.id, ServiceState::Destroyed);
            self.services.remove(&service.id);
        } else if occupies(operation.kind) {
            self.enter(at, &service.id, service.resting_state());
        }
    }
}

/// Notes how far an operation is with a slot. `None` where that is known already: the outcome and the message are the same,
/// and the slot's time has begun if it is to.
fn settle(
    progress: &mut SlotProgress,
    at: Timestamp,
    outcome: SlotOutcome,
    reason: Option<Reason>,
    message: &str,
) -> Option<()> {
    let is_timed = progress.since.is_some() || !is_begun(progress);
    if outcome == progress.outcome && is_timed && progress.message == message {
        return None;
    }
    progress.outcome = outcome;
    progress.since = is_begun(progress).then_some(at);
    progress.reason = reason;
    message.clone_into(&mut progress.message);
    Some(())
}

/// Whether it is the turn of a slot: since that was planned, users may have paused the operation.
fn begins(operation: &Operation, slot: &SlotId) -> bool {
    let place = operation.slots.binary_search_by(|progress| progress.slot.cmp(slot));
    let progress = place.ok().and_then(|place| operation.slots.get(place));
    progress.is_some_and(|progress| {
        let is_its_turn = match progress.outcome {
            SlotOutcome::Waiting => {
                operation.state == OperationState::Running && (progress.canary || !is_for_canaries(operation))
            }
            SlotOutcome::RollingBack => operation.state == OperationState::RollingBack,
            SlotOutcome::InProgress
            | SlotOutcome::Settling
            | SlotOutcome::Done
            | SlotOutcome::RolledBack
            | SlotOutcome::Failed
            | SlotOutcome::Away => false,
        };
        is_its_turn && progress.epoch.is_none()
    })
}
