//! Operations as they are stored.

use muster_common::id::{Epoch, Generation};
use muster_common::operation::{Operation, SlotProgress};
use muster_common::time::{LedTime, Timestamp};
use muster_proto::{Fields, Malformed, v1};
use uuid::Uuid;

use super::name_or_empty;

pub(super) fn write(operation: &Operation) -> v1::StoredOperation {
    v1::StoredOperation {
        id: operation.id.to_string(),
        service: operation.service.to_string(),
        kind: operation.kind.to_string(),
        by: operation.by.clone(),
        op_spec_json: operation.op_spec.to_json().into(),
        stop_first: operation.stop_first,
        generation: operation.generation.map(|generation| generation.0),
        from_generation: operation.from_generation.map(|generation| generation.0),
        restores: operation.restores.map(|generation| generation.0),
        instances_per_host: operation.instances_per_host,
        instance_ids: operation.instance_ids.iter().map(ToString::to_string).collect(),
        created_ms: operation.created.as_ms(),
        deadline_at_ms: operation.deadline.map(Timestamp::as_ms),
        time_left_ms: operation.time_left_ms,
        held_left_ms: operation.held_left_ms,
        promoted: operation.promoted,
        no_op: operation.no_op,
        fingerprint: operation.fingerprint.as_bytes().to_vec().into(),
        finished_ms: operation.finished.map(Timestamp::as_ms),
        finished_led_ms: operation.finished.map(|_| operation.finished_led.as_ms()),
        state: operation.state.to_string(),
        message: operation.message.clone(),
        slots: operation.slots.iter().map(write_progress).collect(),
    }
}

pub(super) fn read(message: v1::StoredOperation) -> Result<Operation, Malformed> {
    let fields = Fields("StoredOperation");
    let op_spec = serde_json::from_slice(&message.op_spec_json)
        .map_err(|problem| fields.refuse("op_spec_json", problem))?;
    let fingerprint =
        Uuid::from_slice(&message.fingerprint).map_err(|problem| fields.refuse("fingerprint", problem))?;
    let named = message.instance_ids.iter().map(|id| fields.parse("instance_ids", id));
    Ok(Operation {
        id: fields.parse("id", &message.id)?,
        service: fields.parse("service", &message.service)?,
        kind: fields.parse("kind", &message.kind)?,
        by: message.by,
        op_spec,
        stop_first: message.stop_first,
        generation: message.generation.map(Generation),
        from_generation: message.from_generation.map(Generation),
        restores: message.restores.map(Generation),
        instances_per_host: message.instances_per_host,
        instance_ids: named.collect::<Result<_, _>>()?,
        created: Timestamp(message.created_ms),
        deadline: message.deadline_at_ms.map(Timestamp),
        time_left_ms: message.time_left_ms,
        held_left_ms: message.held_left_ms,
        promoted: message.promoted,
        no_op: message.no_op,
        fingerprint,
        finished: message.finished_ms.map(Timestamp),
        finished_led: LedTime(message.finished_led_ms.or(message.finished_ms).unwrap_or_default()),
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
        canary: progress.canary,
        since_ms: progress.since.map(Timestamp::as_ms),
        restarts: progress.restarts,
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
        canary: message.canary,
        since: message.since_ms.map(Timestamp),
        restarts: message.restarts,
    })
}
