//! Ids and moments.

use proptest::prelude::*;
use uuid::Uuid;

use crate::id::{ExecutorId, InstanceId, OperationId, ServiceId, SlotId};
use crate::time::Timestamp;

/// Services of a few names, so that two are sometimes the same.
pub fn service_id() -> impl Strategy<Value = ServiceId> {
    "[a-z]{1,3}-[0-9]".prop_filter_map("an id", |text| ServiceId::new(text).ok())
}

/// Executors of a few names, so that two are sometimes the same.
pub fn executor_id() -> impl Strategy<Value = ExecutorId> {
    "executor-[0-9]{1,2}".prop_filter_map("an id", |text| ExecutorId::new(text).ok())
}

/// Instances; no two are the same.
pub fn instance_id() -> impl Strategy<Value = InstanceId> {
    any::<u128>().prop_map(|bits| InstanceId::from_uuid(Uuid::from_u128(bits)))
}

/// Operations; no two are the same.
pub fn operation_id() -> impl Strategy<Value = OperationId> {
    any::<u128>().prop_map(|bits| OperationId::from_uuid(Uuid::from_u128(bits)))
}

/// Slots.
pub fn slot_id() -> impl Strategy<Value = SlotId> {
    (service_id(), executor_id(), 0..4_u32).prop_map(|(service, executor, index)| SlotId {
        service,
        executor,
        index,
    })
}

/// Any moment.
pub fn timestamp() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp)
}
