//! What can be said of a request without knowing the cluster's state; the controllers judge the rest when
//! they accept it.

use std::time::Duration;

use super::{Canary, ClusterOpSpec, OperationRequest, Parallelism};
use crate::id::MAX_ID_LEN;
use crate::problem::{FieldError, Place, Problems};
use crate::spec::{SpecLimits, validate};

/// How many instances of a service one executor may hold (docs/drove-api.md §2.7).
const MAX_INSTANCES_PER_HOST: u32 = 256;
/// How many slots an operation may work on at a time (docs/drove-api.md §2.6).
const MAX_PARALLELISM: u32 = 512;
/// How many instances one request may name.
const MAX_INSTANCE_IDS: usize = 10_000;
/// The longest deadline of an operation.
const MAX_TIMEOUT: Duration = Duration::from_secs(7 * 86_400);

/// Every problem of `request` that does not depend on the cluster's state.
#[must_use]
pub fn validate_request(request: &OperationRequest, limits: &SpecLimits) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let OperationRequest::Create { spec, .. } | OperationRequest::UpdateSpec { spec, .. } = request {
        errors.extend(validate(spec, limits).into_iter().map(|error| error.inside("spec")));
    }
    let problems = Problems::default();
    check(problems.root(), request);
    errors.extend(problems.into_errors());
    errors
}

fn check(root: Place<'_>, request: &OperationRequest) {
    match request {
        // That a fixed host port allows one instance only is told after what is told first of a service that there is
        // already, or of a closed cluster (docs/drove-api.md §3.1): by the controllers.
        OperationRequest::Create { spec: _, instances_per_host } => count(root, *instances_per_host),
        OperationRequest::AdjustInstances { service_id, op_spec: spec } => {
            service(root, service_id);
            op_spec(root.member("opSpec"), spec.as_ref());
            not_in_waves(root.member("opSpec"), spec.as_ref());
        }
        OperationRequest::UpdateSpec { spec: _, stop_first: _, op_spec: spec } => {
            op_spec(root.member("opSpec"), spec.as_ref());
        }
        OperationRequest::Rollback { service_id, generation: _, stop_first: _, op_spec: spec } => {
            service(root, service_id);
            op_spec(root.member("opSpec"), spec.as_ref());
        }
        OperationRequest::UpdateInstanceCount { service_id, instances_per_host } => {
            service(root, service_id);
            count(root, *instances_per_host);
        }
        OperationRequest::Restart { service_id, stop_first: _, cluster_op_spec } => {
            service(root, service_id);
            op_spec(root.member("opSpec"), cluster_op_spec.as_ref());
        }
        OperationRequest::ReplaceInstances { service_id, instance_ids, stop_first: _, op_spec: spec } => {
            service(root, service_id);
            instances(root, instance_ids);
            op_spec(root.member("opSpec"), spec.as_ref());
        }
        OperationRequest::StopInstances { service_id, instance_ids, op_spec: spec } => {
            service(root, service_id);
            let named = root.member("instanceIds");
            named.require(!instance_ids.is_empty(), "- Specify the instances to stop");
            instances(root, instance_ids);
            op_spec(root.member("opSpec"), spec.as_ref());
        }
        OperationRequest::Activate { service_id }
        | OperationRequest::Deactivate { service_id }
        | OperationRequest::DeployTestInstance { service_id }
        | OperationRequest::Retry { service_id }
        | OperationRequest::Destroy { service_id } => service(root, service_id),
    }
}

fn count(root: Place<'_>, instances_per_host: u32) {
    root.member("instancesPerHost").require(
        (1..=MAX_INSTANCES_PER_HOST).contains(&instances_per_host),
        format_args!("must be between 1 and {MAX_INSTANCES_PER_HOST}"),
    );
}

/// What no service can be called is told like any other unknown id, by the controllers.
fn service(root: Place<'_>, id: &str) {
    root.require_or_sentence(!id.is_empty(), "No local service id found in operation");
}

/// Whether there are such instances, and HEALTHY ones, is for the controllers to say; what no instance's id can be goes
/// no further.
fn instances(root: Place<'_>, ids: &[String]) {
    let place = root.member("instanceIds");
    let are_few = ids.len() <= MAX_INSTANCE_IDS;
    if place.require(are_few, format_args!("- Cannot name more than {MAX_INSTANCE_IDS}")) {
        for (index, id) in ids.iter().enumerate() {
            let is_short = id.len() <= MAX_ID_LEN;
            place.element(index).require(is_short, format_args!("- An id has {MAX_ID_LEN} bytes at most"));
        }
    }
}

fn op_spec(place: Place<'_>, spec: Option<&ClusterOpSpec>) {
    let Some(spec) = spec else { return };
    let timeout = spec.timeout.as_duration();
    place.member("timeout").require(!timeout.is_zero(), "- Must be longer than no time");
    place.member("timeout").require(timeout <= MAX_TIMEOUT, "- Cannot be more than 7 days");
    let parallelism = place.member("parallelism");
    match spec.parallelism {
        Parallelism::Slots(count) => parallelism.require(
            (1..=MAX_PARALLELISM).contains(&count),
            format_args!("must be between 1 and {MAX_PARALLELISM}"),
        ),
        Parallelism::Percent(percent) => {
            parallelism.require((1..=100).contains(&percent), "must be between 1% and 100%")
        }
    };
    let settles = spec.settle.as_duration() < timeout;
    place.member("settle").require(settles || timeout.is_zero(), "- Must be shorter than the timeout");
    match &spec.canary {
        None => {}
        Some(Canary::Percent(percent)) => {
            place
                .member("canary")
                .member("percent")
                .require((1..=99).contains(percent), "must be between 1 and 99");
        }
        Some(Canary::Tag(tag)) => {
            place.member("canary").member("tag").require(!tag.is_empty(), "- Specify a tag of executors");
        }
    }
}

/// What brings all slots in line at once has no first wave, and settles nowhere. The wire sends a parallelism and a failure
/// strategy along (docs/drove-api.md §2.7), and does nothing with them.
fn not_in_waves(place: Place<'_>, spec: Option<&ClusterOpSpec>) {
    let settles = spec.is_some_and(|spec| !spec.settle.is_zero());
    place.member("settle").require(!settles, "- This operation has no settle time: it does not go in waves");
    let canary = spec.is_some_and(|spec| spec.canary.is_some());
    place.member("canary").require(!canary, "- This operation has no canaries: it does not go in waves");
}
