//! Why an operation was refused, in the words of docs/drove-api.md §3.1.

use std::fmt;

use muster_common::envelope::RefusalKind;
use muster_common::executor::{ExecutorState, MAX_TAGS};
use muster_common::id::{ExecutorId, Generation, MAX_ID_LEN, OperationId, ServiceId};
use muster_common::operation::{OperationKind, OperationState, Steer};
use muster_common::problem::printable;
use muster_common::service::ServiceState;

/// Why an operation was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Operators closed the cluster for operations.
    Maintenance,
    /// The request names no service.
    NoServiceId,
    /// The service's id could never exist.
    InvalidServiceId(String),
    /// There is no such service.
    UnknownService(String),
    /// The service's state allows nothing at all; the operation that brought it there.
    NothingAllowed(ServiceId, ServiceState, Option<(OperationKind, OperationId)>),
    /// The service's state allows other things only.
    NotAllowed(ServiceId, ServiceState),
    /// There is such a service already.
    AlreadyExists(ServiceId),
    /// The count is not within 1..=256.
    InstanceCount,
    /// More than one instance with fixed host ports.
    HostLevelCount,
    /// The count of a service with fixed host ports cannot change.
    HostLevelFixed,
    /// These instances are not HEALTHY ones of the service.
    NotReplaceable(Vec<String>),
    /// These instances are not HEALTHY ones of the service.
    NotStoppable(Vec<String>),
    /// There is no such operation, or none any more.
    UnknownOperation(String),
    /// The operation is over.
    OperationOver(OperationId, OperationState),
    /// An operation of this kind cannot be steered so in this state.
    CannotSteer(Steer, OperationKind, OperationState),
    /// Nothing that can be cancelled is at work on the service.
    NothingToCancel,
    /// The idempotency key was used for another request.
    KeyReused(OperationId),
    /// The service does not have the spec of this generation; those that it has.
    UnknownGeneration(ServiceId, u64, Vec<String>),
    /// The service never had another spec.
    NoEarlierSpec(ServiceId),
    /// The new spec is for none of the executors that the service is on: nothing could show that it is good.
    NoCommonPlace(ServiceId),
    /// The service is not of the generation that the request is for; of which it was to be, and is.
    GenerationMoved(ServiceId, Generation, Generation),
    /// There is no such service yet, and so none of the generation that the request is for.
    NothingToMatch(String, Generation),
    /// No slot of the operation is on an executor with this tag.
    NoCanary(String),
    /// There is no such executor, or none any more.
    UnknownExecutor(String),
    /// The executor has a duty that forbids it.
    DutyHeld(ExecutorId, ExecutorState),
    /// The executor is heard, and cannot be removed; so many instances are on it.
    StillHolds(ExecutorId, usize),
    /// The executor would have so many tags that users gave it.
    TooManyTags(ExecutorId, usize),
}

impl Refusal {
    /// Its name, for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Maintenance => "MAINTENANCE",
            Self::NoServiceId => "NO_SERVICE_ID",
            Self::InvalidServiceId(_) => "INVALID_SERVICE_ID",
            Self::UnknownService(_) => "UNKNOWN_SERVICE",
            Self::NothingAllowed(..) => "NOTHING_ALLOWED",
            Self::NotAllowed(..) => "NOT_ALLOWED",
            Self::AlreadyExists(_) => "ALREADY_EXISTS",
            Self::InstanceCount => "INSTANCE_COUNT",
            Self::HostLevelCount => "HOST_LEVEL_COUNT",
            Self::HostLevelFixed => "HOST_LEVEL_FIXED",
            Self::NotReplaceable(_) => "NOT_REPLACEABLE",
            Self::NotStoppable(_) => "NOT_STOPPABLE",
            Self::UnknownOperation(_) => "UNKNOWN_OPERATION",
            Self::OperationOver(..) => "OPERATION_OVER",
            Self::CannotSteer(..) => "CANNOT_STEER",
            Self::NothingToCancel => "NOTHING_TO_CANCEL",
            Self::KeyReused(_) => "KEY_REUSED",
            Self::UnknownGeneration(..) => "UNKNOWN_GENERATION",
            Self::NoEarlierSpec(_) => "NO_EARLIER_SPEC",
            Self::NoCommonPlace(_) => "NO_COMMON_PLACE",
            Self::GenerationMoved(..) => "GENERATION_MOVED",
            Self::NothingToMatch(..) => "NOTHING_TO_MATCH",
            Self::NoCanary(_) => "NO_CANARY",
            Self::UnknownExecutor(_) => "UNKNOWN_EXECUTOR",
            Self::DutyHeld(..) => "DUTY_HELD",
            Self::StillHolds(..) => "STILL_HOLDS",
            Self::TooManyTags(..) => "TOO_MANY_TAGS",
        }
    }

    /// What more there is to say. The text itself is the wire's, word by word: programs may know it.
    #[must_use]
    pub fn addition(&self) -> Option<String> {
        let Self::NothingAllowed(_, _, Some((kind, operation))) = self else { return None };
        Some(format!("{kind} {operation} is at work on it"))
    }

    /// What kind of refusal it is.
    #[must_use]
    pub const fn kind(&self) -> RefusalKind {
        match self {
            Self::NoServiceId | Self::InvalidServiceId(_) | Self::InstanceCount | Self::HostLevelCount => {
                RefusalKind::Invalid
            }
            Self::UnknownService(_)
            | Self::NotReplaceable(_)
            | Self::NotStoppable(_)
            | Self::UnknownOperation(_)
            | Self::UnknownExecutor(_)
            | Self::UnknownGeneration(..) => RefusalKind::NotFound,
            Self::Maintenance
            | Self::NothingAllowed(..)
            | Self::NotAllowed(..)
            | Self::AlreadyExists(_)
            | Self::HostLevelFixed
            | Self::OperationOver(..)
            | Self::CannotSteer(..)
            | Self::NothingToCancel
            | Self::KeyReused(_)
            | Self::NoEarlierSpec(_)
            | Self::NoCommonPlace(_)
            | Self::GenerationMoved(..)
            | Self::NothingToMatch(..)
            | Self::NoCanary(_)
            | Self::DutyHeld(..)
            | Self::StillHolds(..)
            | Self::TooManyTags(..) => RefusalKind::Conflict,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Maintenance => f.write_str("Cluster is in maintenance mode"),
            Self::NoServiceId => f.write_str("No local service id found in operation"),
            Self::InvalidServiceId(problem) => f.write_str(problem),
            Self::UnknownService(id) => write!(f, "No state found for local service: {id}"),
            Self::NothingAllowed(id, state, _) => {
                write!(f, "No operations allowed for {id} as it is in {state} state")
            }
            Self::NotAllowed(id, state) => {
                // The wire's text, word by word: it names the wire's own operations.
                let wires = allowed_operations(*state).iter().filter(|kind| kind.is_wires());
                let mut allowed: Vec<_> = wires.map(|kind| kind.as_str()).collect();
                allowed.sort_unstable();
                let allowed = allowed.join(", ");
                write!(f, "Only [{allowed}] allowed for local service {id} as it is in {state} state")
            }
            Self::AlreadyExists(id) => write!(f, "Local service {id} already exists"),
            Self::InstanceCount => f.write_str("instancesPerHost must be between 1 and 256"),
            Self::HostLevelCount => f.write_str("Host level service cannot have more than one instance"),
            Self::HostLevelFixed => f.write_str(
                "Instance count update is allowed only for services that do not have Host Level option set",
            ),
            Self::NotReplaceable(ids) => {
                write!(f, "There are no replaceable healthy instances with ids: [{}]", named(ids))
            }
            Self::NotStoppable(ids) => {
                write!(f, "There are no healthy instances with ids: [{}]", named(ids))
            }
            Self::UnknownOperation(id) => write!(f, "No operation found with id: {id}"),
            Self::OperationOver(id, state) => write!(f, "Operation {id} is over: it is {state}"),
            Self::CannotSteer(steer, kind, state) => {
                write!(f, "{steer} is not possible for {kind} while it is {state}")?;
                f.write_str(match steer {
                    Steer::Pause => "; only what goes in waves can be paused, while it is RUNNING",
                    Steer::Resume => "; only what is PAUSED can be resumed",
                    Steer::Promote if *state == OperationState::Paused => {
                        "; what began with canaries can be promoted once it is resumed"
                    }
                    Steer::Promote => "; only what began with canaries can be promoted",
                    Steer::Cancel => instead_of_cancel(*kind),
                })
            }
            Self::NothingToCancel => f.write_str("Current operation could not be cancelled"),
            Self::KeyReused(id) => {
                write!(f, "This idempotency key was used for another request, which became operation {id}")
            }
            Self::UnknownGeneration(service, generation, kept) => write!(
                f,
                "Local service {service} has no spec of generation {generation} any more; it has [{}]",
                kept.join(", ")
            ),
            Self::NoCommonPlace(service) => write!(
                f,
                "The new spec is for none of the executors that local service {service} is on, so it would leave all at \
                 once; first give it a spec that is for both, or deactivate it"
            ),
            Self::NoEarlierSpec(service) => {
                write!(f, "Local service {service} never had another spec to go back to")
            }
            Self::GenerationMoved(service, expected, is) => write!(
                f,
                "Local service {service} is of generation {is} by now, and not of {expected} as If-Match expects: read it \
                 again, and decide anew"
            ),
            Self::NothingToMatch(id, expected) => write!(
                f,
                "There is no local service {id}, and so none of generation {expected} as If-Match expects: leave If-Match out \
                 to create it"
            ),
            Self::NoCanary(tag) => {
                write!(f, "No slot of this operation is on an executor with the tag {tag}")
            }
            Self::UnknownExecutor(id) => write!(f, "No executor found with id: {id}"),
            Self::DutyHeld(id, duty) => write!(f, "Executor {id} is {duty}{}", way_out(*duty)),
            Self::StillHolds(id, instances) => {
                write!(f, "Executor {id} is in contact and holds {instances} instances; ")?;
                f.write_str("drain it, stop the executor, and remove it when it is not heard any more")
            }
            Self::TooManyTags(id, count) => write!(
                f,
                "Executor {id} would have {count} tags beside those that it brings, and can have {MAX_TAGS}: take some away \
                 in the same call"
            ),
        }
    }
}

/// What users named, as far as a sentence can hold it.
fn named(ids: &[String]) -> String {
    /// How many are named; the others are counted.
    const MAX_NAMED: usize = 20;
    let first = ids.iter().take(MAX_NAMED).map(|id| printable(id, MAX_ID_LEN));
    let more = ids.len().saturating_sub(MAX_NAMED);
    first.chain((more > 0).then(|| format!("and {more} more"))).collect::<Vec<_>>().join(", ")
}

/// What to do about an operation that cannot be cancelled.
const fn instead_of_cancel(kind: OperationKind) -> &'static str {
    match kind {
        OperationKind::Activate | OperationKind::DeployTestInstance => "; ask for DEACTIVATE instead",
        OperationKind::Deactivate => "; ask for ACTIVATE instead",
        OperationKind::UpdateInstanceCount => "; ask for the count that there was before instead",
        OperationKind::Destroy => "; what is destroyed can only be created anew",
        OperationKind::Create
        | OperationKind::AdjustInstances
        | OperationKind::Restart
        | OperationKind::ReplaceInstances
        | OperationKind::StopInstances
        | OperationKind::UpdateSpec
        | OperationKind::Rollback
        | OperationKind::Retry => "",
    }
}

/// How an executor comes out of a duty.
const fn way_out(duty: ExecutorState) -> &'static str {
    match duty {
        ExecutorState::BlacklistRequested | ExecutorState::Blacklisted => "; unblacklist it first",
        ExecutorState::Removed => "; it comes back when it registers again",
        ExecutorState::Active | ExecutorState::Draining | ExecutorState::Unready => "",
    }
}

/// What the wire allows in each state (docs/drove-api.md §3.2), and of Muster's own what changes a service that rests.
#[must_use]
pub(crate) const fn allowed_operations(state: ServiceState) -> &'static [OperationKind] {
    use OperationKind as Op;
    match state {
        ServiceState::Inactive => &[
            Op::Activate,
            Op::AdjustInstances,
            Op::DeployTestInstance,
            Op::Destroy,
            Op::UpdateInstanceCount,
            Op::UpdateSpec,
            Op::Rollback,
        ],
        ServiceState::ConfigTesting => &[
            Op::Activate,
            Op::AdjustInstances,
            Op::Deactivate,
            Op::ReplaceInstances,
            Op::Restart,
            Op::StopInstances,
            Op::UpdateSpec,
            Op::Rollback,
            Op::Retry,
        ],
        ServiceState::Active => &[
            Op::AdjustInstances,
            Op::Deactivate,
            Op::ReplaceInstances,
            Op::Restart,
            Op::StopInstances,
            Op::UpdateInstanceCount,
            Op::UpdateSpec,
            Op::Rollback,
            Op::Retry,
        ],
        ServiceState::EmergencyDeactivationRequested => &[Op::Deactivate],
        ServiceState::Init
        | ServiceState::ActivationRequested
        | ServiceState::ConfigTestingRequested
        | ServiceState::DeactivationRequested
        | ServiceState::AdjustingInstances
        | ServiceState::DeployingTestInstance
        | ServiceState::ReplacingInstances
        | ServiceState::StoppingInstances
        | ServiceState::UpdatingInstancesCount
        | ServiceState::DestroyRequested
        | ServiceState::Destroyed => &[],
    }
}
