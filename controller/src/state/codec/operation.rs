//! Operations as they are stored.

use muster_common::id::Epoch;
use muster_common::operation::{ClusterOpSpec, Operation, SlotProgress};
use muster_common::time::Timestamp;
use muster_proto::{Fields, Malformed, v1};

use super::name_or_empty;

pub(super) fn write(operation: &Operation) -> v1::StoredOperation {
    v1::StoredOperation {
        id: operation.id.to_string(),
        service: operation.service.to_string(),
        kind: operation.kind.to_string(),
        by: operation.by.clone(),
        op_spec: Some(v1::OperationSpec {
            timeout: operation.op_spec.timeout.to_string(),
            parallelism: operation.op_spec.parallelism,
            failure_strategy: operation.op_spec.failure_strategy.to_string(),
        }),
        stop_first: operation.stop_first,
        created_ms: operation.created.as_ms(),
        deadline_ms: operation.deadline.as_ms(),
        finished_ms: operation.finished.map(Timestamp::as_ms),
        state: operation.state.to_string(),
        message: operation.message.clone(),
        slots: operation.slots.iter().map(write_progress).collect(),
    }
}

pub(super) fn read(message: v1::StoredOperation) -> Result<Operation, Malformed> {
    let fields = Fields("StoredOperation");
    let op_spec = fields.required("op_spec", message.op_spec)?;
    Ok(Operation {
        id: fields.parse("id", &message.id)?,
        service: fields.parse("service", &message.service)?,
        kind: fields.parse("kind", &message.kind)?,
        by: message.by,
        op_spec: ClusterOpSpec {
            timeout: Fields("OperationSpec").parse("timeout", &op_spec.timeout)?,
            parallelism: op_spec.parallelism,
            failure_strategy: Fields("OperationSpec").parse("failure_strategy", &op_spec.failure_strategy)?,
        },
        stop_first: message.stop_first,
        created: Timestamp(message.created_ms),
        deadline: Timestamp(message.deadline_ms),
        finished: message.finished_ms.map(Timestamp),
        state: fields.parse("state", &message.state)?,
        message: message.message,
        slots: message.slots.into_iter().map(read_progress).collect::<Result<_, _>>()?,
    })
}

fn write_progress(progress: &SlotProgress) -> v1::StoredProgress {
    v1::StoredProgress {
        slot: Some((&progress.slot).into()),
        old_instance: name_or_empty(progress.old_instance.as_ref()),
        epoch: progress.epoch.map(|epoch| epoch.0),
        outcome: progress.outcome.to_string(),
        reason: name_or_empty(progress.reason),
        message: progress.message.clone(),
    }
}

fn read_progress(message: v1::StoredProgress) -> Result<SlotProgress, Malformed> {
    let fields = Fields("StoredProgress");
    Ok(SlotProgress {
        slot: fields.required("slot", message.slot)?.try_into()?,
        old_instance: fields.parse_optional("old_instance", &message.old_instance)?,
        epoch: message.epoch.map(Epoch),
        outcome: fields.parse("outcome", &message.outcome)?,
        reason: fields.parse_optional("reason", &message.reason)?,
        message: message.message,
    })
}
