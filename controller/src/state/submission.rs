//! What a request brings along when it becomes an operation: who asked and when, how it is to proceed, and with how much
//! time. Whether it is accepted is not decided here.

use muster_common::duration::DroveDuration;
use muster_common::id::{OperationId, ServiceId};
use muster_common::operation::{ClusterOpSpec, Operation, OperationKind, OperationState, SlotProgress};
use muster_common::spec::LocalServiceSpec;
use muster_common::time::{LedTime, Timestamp};
use uuid::Uuid;

use super::Service;
use super::clock::{as_ms, whole};

/// Who asked for what, and when.
pub(super) struct Submission<'a> {
    pub(super) id: &'a OperationId,
    pub(super) at: Timestamp,
    pub(super) by: &'a str,
    /// Of the request.
    pub(super) fingerprint: Uuid,
}

impl Submission<'_> {
    /// The operation that the request becomes, at work from now on.
    pub(super) fn operation(
        &self,
        service: &ServiceId,
        kind: OperationKind,
        how: &How,
        slots: Vec<SlotProgress>,
    ) -> Operation {
        let mut operation = Operation {
            id: self.id.clone(),
            service: service.clone(),
            kind,
            by: self.by.to_owned(),
            op_spec: how.op_spec.clone(),
            stop_first: how.stop_first,
            generation: None,
            from_generation: None,
            restores: None,
            instances_per_host: None,
            instance_ids: Vec::new(),
            created: self.at,
            deadline: None,
            time_left_ms: 0,
            held_left_ms: None,
            promoted: false,
            no_op: false,
            fingerprint: self.fingerprint,
            finished: None,
            finished_led: LedTime::default(),
            state: OperationState::Running,
            message: String::new(),
            slots: slots.into(),
        };
        operation.time_left_ms = as_ms(whole(&operation));
        operation
    }
}

/// How an operation proceeds.
#[derive(Default)]
pub(super) struct How {
    pub(super) op_spec: ClusterOpSpec,
    pub(super) stop_first: bool,
}

impl How {
    /// For what users give no time: as long as one instance may honestly take, for all take theirs at the same time.
    pub(super) fn patient(service: &Service) -> Self {
        Self::default().no_shorter_than([service.spec().as_ref()])
    }

    /// The same with no less time for each slot than one of these specs allows an instance (docs/drove-api.md §4.1):
    /// who is still within what the spec allows has not failed.
    pub(super) fn no_shorter_than<'a>(&self, specs: impl IntoIterator<Item = &'a LocalServiceSpec>) -> Self {
        let longest = specs.into_iter().map(LocalServiceSpec::longest_replacement).max().unwrap_or_default();
        let mut op_spec = self.op_spec.clone();
        if longest > op_spec.timeout.as_duration() {
            op_spec.timeout = DroveDuration::from_secs(longest.as_secs());
        }
        Self { op_spec, stop_first: self.stop_first }
    }

    pub(super) fn replacing(op_spec: Option<&ClusterOpSpec>, stop_first: bool) -> Self {
        Self { op_spec: op_spec.cloned().unwrap_or_default(), stop_first }
    }
}
