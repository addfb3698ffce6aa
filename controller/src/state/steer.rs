//! Users steer operations that are at work: pause, resume, promote, cancel.

use std::sync::Arc;

use muster_common::id::{OperationId, ServiceId};
use muster_common::operation::{Operation, OperationKind, OperationState, Steer};
use muster_common::service::ServiceState;
use muster_common::time::Timestamp;

use super::progress::{goes_in_waves, is_open, occupies};
use super::rollout::is_rollout;
use super::{Refusal, Reply, State};

/// Which operation a user means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Steered {
    /// This one.
    Operation(OperationId),
    /// Whichever can be cancelled of this service: Drove's users do not know operations' ids.
    Service(ServiceId),
}

/// What can be cancelled without leaving a service half switched on or off (docs/drove-api.md §3.2, and Muster's own).
const fn may_cancel(kind: OperationKind) -> bool {
    match kind {
        OperationKind::AdjustInstances
        | OperationKind::Restart
        | OperationKind::ReplaceInstances
        | OperationKind::UpdateSpec
        | OperationKind::Rollback
        | OperationKind::StopInstances
        | OperationKind::Retry => true,
        OperationKind::Create
        | OperationKind::Activate
        | OperationKind::Deactivate
        | OperationKind::DeployTestInstance
        | OperationKind::UpdateInstanceCount
        | OperationKind::Destroy => false,
    }
}

/// Whether an operation is where a user wants it: what was proposed may come again, because its answer was lost.
fn is_so(operation: &Operation, steer: Steer) -> bool {
    match steer {
        Steer::Pause => operation.state == OperationState::Paused,
        Steer::Resume => goes_in_waves(operation.kind) && operation.state == OperationState::Running,
        Steer::Promote => operation.promoted,
        Steer::Cancel => operation.state == OperationState::Cancelled,
    }
}

impl State {
    pub(super) fn steer(&mut self, at: Timestamp, which: &Steered, steer: Steer, by: &str) -> Reply {
        match self.steered(which).and_then(|operation| {
            self.steer_one(at, &operation, steer, by)?;
            Ok(operation)
        }) {
            Ok(operation) => {
                Reply::Accepted { operation: operation.id.clone(), service: operation.service.clone() }
            }
            Err(refusal) => Reply::Refused(refusal),
        }
    }

    /// The operation that a user means, also one that is over.
    pub(crate) fn steered(&self, which: &Steered) -> Result<Arc<Operation>, Refusal> {
        match which {
            Steered::Operation(id) => {
                self.operation(id).cloned().ok_or_else(|| Refusal::UnknownOperation(id.to_string()))
            }
            Steered::Service(id) => {
                let running = self.operations.running_of(id).filter(|operation| {
                    // The wire cannot: who means it knows its id.
                    may_cancel(operation.kind) && operation.kind != OperationKind::StopInstances
                });
                // What users see at work on the service goes before what runs beside it.
                let meant = running.min_by_key(|operation| !occupies(operation.kind));
                meant.cloned().ok_or(Refusal::NothingToCancel)
            }
        }
    }

    fn steer_one(
        &mut self,
        at: Timestamp,
        operation: &Operation,
        steer: Steer,
        by: &str,
    ) -> Result<(), Refusal> {
        use OperationState::{AwaitingPromotion, Paused, RollingBack, Running};
        let (id, state) = (&operation.id, operation.state);
        if is_so(operation, steer) {
            return Ok(());
        }
        if state.is_final() {
            return Err(Refusal::OperationOver(id.clone(), state));
        }
        let in_waves = goes_in_waves(operation.kind);
        match steer {
            Steer::Pause if in_waves && state == Running => self.hold_or_go_on(at, id, Paused),
            Steer::Resume if state == Paused && self.is_undone(operation) => {
                self.hold_or_go_on(at, id, RollingBack);
            }
            Steer::Resume if state == Paused => self.hold_or_go_on(at, id, Running),
            Steer::Promote
                if operation.op_spec.canary.is_some() && matches!(state, Running | AwaitingPromotion) =>
            {
                self.hold_or_go_on(at, id, Running);
                if let Some(operation) = self.operations.get_running_mut(id) {
                    operation.promoted = true;
                }
            }
            Steer::Cancel if may_cancel(operation.kind) => self.cancel(at, operation, by),
            _ => return Err(Refusal::CannotSteer(steer, operation.kind, state)),
        }
        Ok(())
    }

    /// Whether a rollout was on its way back when it was paused: what it brings is not wanted any more.
    fn is_undone(&self, operation: &Operation) -> bool {
        let wanted = self.service(&operation.service).map(|service| service.specs.wanted());
        is_rollout(operation.kind) && wanted != operation.generation
    }

    /// Whatever goes in waves waits for a user's word from now on, be it on its way back; what that is.
    pub(crate) fn pause_waves(&mut self, at: Timestamp) -> Vec<Arc<Operation>> {
        let goes_on =
            |operation: &&Arc<Operation>| goes_in_waves(operation.kind) && !operation.state.is_held();
        let going: Vec<_> = self.operations.running().filter(goes_on).cloned().collect();
        for operation in &going {
            self.hold_or_go_on(at, &operation.id, OperationState::Paused);
        }
        going
    }

    fn cancel(&mut self, at: Timestamp, operation: &Operation, by: &str) {
        let begun = self.progress(operation);
        let begun = begun.iter().filter(|slot| is_open(slot.outcome) && slot.epoch.is_some()).count();
        let message = if goes_in_waves(operation.kind) && begun > 0 {
            format!("cancelled by {by}; {begun} slots were at work, and their executors go on with them")
        } else {
            format!("cancelled by {by}")
        };
        self.end_operation(at, operation, OperationState::Cancelled, message);
        if operation.kind == OperationKind::AdjustInstances {
            self.deactivate_in_emergency(at, operation, by);
        }
    }

    /// Whoever cancels an adjustment wants it stopped: the wire deactivates the service (docs/drove-api.md §4.1).
    fn deactivate_in_emergency(&mut self, at: Timestamp, cancelled: &Operation, by: &str) {
        let Some(service) = self.service(&cancelled.service).cloned() else { return };
        if service.resting_state() == ServiceState::Inactive {
            return;
        }
        self.enter(at, &service.id, ServiceState::EmergencyDeactivationRequested);
        // One that follows from another has an id that follows from it: every controller makes the same.
        let Ok(id) = OperationId::new(format!("{}-deactivation", cancelled.id)) else { return };
        self.deactivate_for(&id, at, by, &service);
    }
}
