//! Requests of users.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::spec::{duration, local_service_spec};
use super::{any_of, text};
use crate::operation::{Canary, ClusterOpSpec, FailureStrategy, OperationRequest, Parallelism};

fn parallelism() -> impl Strategy<Value = Parallelism> {
    prop_oneof![any::<u32>().prop_map(Parallelism::Slots), any::<u32>().prop_map(Parallelism::Percent)]
}

fn canary() -> impl Strategy<Value = Canary> {
    prop_oneof![any::<u32>().prop_map(Canary::Percent), text().prop_map(Canary::Tag)]
}

fn op_spec() -> impl Strategy<Value = ClusterOpSpec> {
    let strategy = any_of(FailureStrategy::ALL);
    (duration(), parallelism(), strategy, duration(), option::of(canary())).prop_map(
        |(timeout, parallelism, failure_strategy, settle, canary)| ClusterOpSpec {
            timeout,
            parallelism,
            failure_strategy,
            settle,
            canary,
        },
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
        text().prop_map(|service_id| OperationRequest::DeployTestInstance { service_id }),
        text().prop_map(|service_id| OperationRequest::Retry { service_id }),
        (text(), option::of(op_spec()))
            .prop_map(|(service_id, op_spec)| OperationRequest::AdjustInstances { service_id, op_spec }),
        (local_service_spec(), any::<bool>(), option::of(op_spec())).prop_map(
            |(spec, stop_first, op_spec)| OperationRequest::UpdateSpec {
                spec: Box::new(spec),
                stop_first,
                op_spec
            }
        ),
        (text(), option::of(any::<u64>()), any::<bool>(), option::of(op_spec())).prop_map(
            |(service_id, generation, stop_first, op_spec)| OperationRequest::Rollback {
                service_id,
                generation,
                stop_first,
                op_spec
            }
        ),
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
