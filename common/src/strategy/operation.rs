//! Requests of users.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::spec::{duration, local_service_spec};
use super::{any_of, text};
use crate::operation::{ClusterOpSpec, FailureStrategy, OperationRequest};

fn op_spec() -> impl Strategy<Value = ClusterOpSpec> {
    (duration(), any::<u32>(), any_of(FailureStrategy::ALL)).prop_map(
        |(timeout, parallelism, failure_strategy)| ClusterOpSpec { timeout, parallelism, failure_strategy },
    )
}

/// Any request that can be written: almost never a valid one.
pub fn operation_request() -> impl Strategy<Value = OperationRequest> {
    let ids = || vec(text(), 0..3);
    prop_oneof![
        (local_service_spec(), any::<u32>()).prop_map(|(spec, instances_per_host)| {
            OperationRequest::Create { spec: Box::new(spec), instances_per_host }
        }),
        text().prop_map(|service_id| OperationRequest::Activate { service_id }),
        text().prop_map(|service_id| OperationRequest::Deactivate { service_id }),
        text().prop_map(|service_id| OperationRequest::Destroy { service_id }),
        (text(), any::<u32>()).prop_map(|(service_id, instances_per_host)| {
            OperationRequest::UpdateInstanceCount { service_id, instances_per_host }
        }),
        (text(), any::<bool>(), option::of(op_spec())).prop_map(
            |(service_id, stop_first, cluster_op_spec)| {
                OperationRequest::Restart { service_id, stop_first, cluster_op_spec }
            }
        ),
        (text(), ids(), any::<bool>(), option::of(op_spec())).prop_map(
            |(service_id, instance_ids, stop_first, op_spec)| OperationRequest::ReplaceInstances {
                service_id,
                instance_ids,
                stop_first,
                op_spec
            }
        ),
        (text(), ids(), option::of(op_spec())).prop_map(|(service_id, instance_ids, op_spec)| {
            OperationRequest::StopInstances { service_id, instance_ids, op_spec }
        }),
    ]
}
