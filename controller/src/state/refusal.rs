//! Why an operation was refused, in the words of drove-wire.md §3.1.

use std::fmt;

use muster_common::envelope::RefusalKind;
use muster_common::id::ServiceId;
use muster_common::operation::OperationKind;
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
    /// The service's state allows nothing at all.
    NothingAllowed(ServiceId, ServiceState),
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
        }
    }

    /// What kind of refusal it is.
    #[must_use]
    pub const fn kind(&self) -> RefusalKind {
        match self {
            Self::NoServiceId | Self::InvalidServiceId(_) | Self::InstanceCount | Self::HostLevelCount => {
                RefusalKind::Invalid
            }
            Self::UnknownService(_) | Self::NotReplaceable(_) | Self::NotStoppable(_) => {
                RefusalKind::NotFound
            }
            Self::Maintenance
            | Self::NothingAllowed(..)
            | Self::NotAllowed(..)
            | Self::AlreadyExists(_)
            | Self::HostLevelFixed => RefusalKind::Conflict,
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
            Self::NothingAllowed(id, state) => {
                write!(f, "No operations allowed for {id} as it is in {state} state")
            }
            Self::NotAllowed(id, state) => {
                let mut allowed: Vec<_> =
                    allowed_operations(*state).iter().map(|kind| kind.as_str()).collect();
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
                write!(f, "There are no replaceable healthy instances with ids: [{}]", ids.join(", "))
            }
            Self::NotStoppable(ids) => {
                write!(f, "There are no healthy instances with ids: [{}]", ids.join(", "))
            }
        }
    }
}

/// What the wire allows in each state (drove-wire.md §3.2).
#[must_use]
pub(crate) const fn allowed_operations(state: ServiceState) -> &'static [OperationKind] {
    use OperationKind as Op;
    match state {
        ServiceState::Inactive => {
            &[Op::Activate, Op::AdjustInstances, Op::DeployTestInstance, Op::Destroy, Op::UpdateInstanceCount]
        }
        ServiceState::ConfigTesting => &[
            Op::Activate,
            Op::AdjustInstances,
            Op::Deactivate,
            Op::ReplaceInstances,
            Op::Restart,
            Op::StopInstances,
        ],
        ServiceState::Active => &[
            Op::AdjustInstances,
            Op::Deactivate,
            Op::ReplaceInstances,
            Op::Restart,
            Op::StopInstances,
            Op::UpdateInstanceCount,
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
