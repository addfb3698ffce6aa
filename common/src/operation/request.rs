//! What users ask for, as they send it.

use schemars::JsonSchema;
use serde::Serialize;

use super::{ClusterOpSpec, OperationKind};
use crate::read::{Node, Read};
use crate::spec::LocalServiceSpec;

/// The body of `POST /localservices/operations` (docs/drove-api.md §2.7).
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase")]
pub enum OperationRequest {
    /// Registers a service; it lands in INACTIVE.
    Create {
        /// What to run.
        spec: Box<LocalServiceSpec>,
        /// 1..=256; missing counts as 0 and is refused.
        instances_per_host: u32,
    },
    /// Runs it everywhere.
    Activate {
        /// The service.
        service_id: String,
    },
    /// Stops it everywhere.
    Deactivate {
        /// The service.
        service_id: String,
    },
    /// Runs one instance of an INACTIVE service on one executor.
    DeployTestInstance {
        /// The service.
        service_id: String,
    },
    /// Ends when every slot is as it must be: what reconciling does anyway, to be waited for.
    AdjustInstances {
        /// The service.
        service_id: String,
        /// How to proceed.
        #[serde(skip_serializing_if = "Option::is_none")]
        op_spec: Option<ClusterOpSpec>,
    },
    /// Changes how many instances each executor holds.
    UpdateInstanceCount {
        /// The service.
        service_id: String,
        /// 1..=256.
        instances_per_host: u32,
    },
    /// Replaces all HEALTHY instances.
    Restart {
        /// The service.
        service_id: String,
        /// Stop the old one before the new one starts.
        #[schemars(default)]
        stop_first: bool,
        /// How to proceed. drove-cli says `opSpec`, Drove's server `clusterOpSpec`.
        #[serde(skip_serializing_if = "Option::is_none")]
        cluster_op_spec: Option<ClusterOpSpec>,
    },
    /// Replaces the named HEALTHY instances; none named means all.
    ReplaceInstances {
        /// The service.
        service_id: String,
        /// Which ones.
        #[schemars(default)]
        instance_ids: Vec<String>,
        /// Stop the old one before the new one starts.
        #[schemars(default)]
        stop_first: bool,
        /// How to proceed.
        #[serde(skip_serializing_if = "Option::is_none")]
        op_spec: Option<ClusterOpSpec>,
    },
    /// Stops the named HEALTHY instances; their slots are filled again while the service is ACTIVE.
    StopInstances {
        /// The service.
        service_id: String,
        /// Which ones; at least one.
        instance_ids: Vec<String>,
        /// How to proceed.
        #[serde(skip_serializing_if = "Option::is_none")]
        op_spec: Option<ClusterOpSpec>,
    },
    /// Gives a service another spec of the same name and version, slot by slot where it runs.
    UpdateSpec {
        /// What to run.
        spec: Box<LocalServiceSpec>,
        /// Stop the old one before the new one starts.
        #[schemars(default)]
        stop_first: bool,
        /// How to proceed.
        #[serde(skip_serializing_if = "Option::is_none")]
        op_spec: Option<ClusterOpSpec>,
    },
    /// Gives a service a spec that it had before.
    Rollback {
        /// The service.
        service_id: String,
        /// The spec of which generation; none: the one before.
        #[serde(skip_serializing_if = "Option::is_none")]
        generation: Option<u64>,
        /// Stop the old one before the new one starts.
        #[schemars(default)]
        stop_first: bool,
        /// How to proceed.
        #[serde(skip_serializing_if = "Option::is_none")]
        op_spec: Option<ClusterOpSpec>,
    },
    /// Lets the slots that gave up try again.
    Retry {
        /// The service.
        service_id: String,
    },
    /// Removes an INACTIVE service; ends when its last instance is gone.
    Destroy {
        /// The service.
        service_id: String,
    },
}

impl OperationRequest {
    /// Its JSON, as it is stored.
    #[must_use]
    // All keys are strings and all numbers finite: writing to memory cannot fail.
    #[allow(clippy::expect_used, clippy::missing_panics_doc)]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a request is always JSON")
    }

    /// The request that [`Self::to_json`] wrote. What users send is read by [`crate::read::accept`], which
    /// names every problem.
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// The id of the service that it is about; whether that can be one is not known yet.
    #[must_use]
    pub fn service_id(&self) -> String {
        match self {
            Self::Create { spec, .. } | Self::UpdateSpec { spec, .. } => {
                format!("{}-{}", spec.name, spec.version)
            }
            Self::Activate { service_id }
            | Self::Deactivate { service_id }
            | Self::DeployTestInstance { service_id }
            | Self::AdjustInstances { service_id, .. }
            | Self::UpdateInstanceCount { service_id, .. }
            | Self::Restart { service_id, .. }
            | Self::ReplaceInstances { service_id, .. }
            | Self::StopInstances { service_id, .. }
            | Self::Rollback { service_id, .. }
            | Self::Retry { service_id }
            | Self::Destroy { service_id } => service_id.clone(),
        }
    }

    /// Which kind it is.
    #[must_use]
    pub const fn kind(&self) -> OperationKind {
        match self {
            Self::Create { .. } => OperationKind::Create,
            Self::Activate { .. } => OperationKind::Activate,
            Self::Deactivate { .. } => OperationKind::Deactivate,
            Self::DeployTestInstance { .. } => OperationKind::DeployTestInstance,
            Self::AdjustInstances { .. } => OperationKind::AdjustInstances,
            Self::UpdateInstanceCount { .. } => OperationKind::UpdateInstanceCount,
            Self::Restart { .. } => OperationKind::Restart,
            Self::ReplaceInstances { .. } => OperationKind::ReplaceInstances,
            Self::StopInstances { .. } => OperationKind::StopInstances,
            Self::UpdateSpec { .. } => OperationKind::UpdateSpec,
            Self::Rollback { .. } => OperationKind::Rollback,
            Self::Retry { .. } => OperationKind::Retry,
            Self::Destroy { .. } => OperationKind::Destroy,
        }
    }
}

impl Read for OperationRequest {
    fn read(node: &Node<'_>) -> Self {
        let request = node.object();
        let service_id = || request.get_or_default("serviceId");
        let instances_per_host = || request.count("instancesPerHost").unwrap_or_default();
        let stop_first = || request.get_or_default("stopFirst");
        // drove-cli says `opSpec` where Drove's server reads `clusterOpSpec` (docs/drove-api.md §0): both are read.
        let op_spec = || request.get_or_alias("opSpec", "clusterOpSpec");
        match request.required_tag("- Specify the type of the operation") {
            OperationKind::Create => Self::Create {
                spec: request.required("spec", "- Specify what to run"),
                instances_per_host: instances_per_host(),
            },
            OperationKind::Activate => Self::Activate { service_id: service_id() },
            OperationKind::Deactivate => Self::Deactivate { service_id: service_id() },
            OperationKind::DeployTestInstance => Self::DeployTestInstance { service_id: service_id() },
            OperationKind::AdjustInstances => {
                Self::AdjustInstances { service_id: service_id(), op_spec: op_spec() }
            }
            OperationKind::UpdateInstanceCount => Self::UpdateInstanceCount {
                service_id: service_id(),
                instances_per_host: instances_per_host(),
            },
            OperationKind::Restart => Self::Restart {
                service_id: service_id(),
                stop_first: stop_first(),
                cluster_op_spec: op_spec(),
            },
            OperationKind::ReplaceInstances => Self::ReplaceInstances {
                service_id: service_id(),
                instance_ids: request.get_or_default("instanceIds"),
                stop_first: stop_first(),
                op_spec: op_spec(),
            },
            OperationKind::StopInstances => Self::StopInstances {
                service_id: service_id(),
                instance_ids: request.get_or_default("instanceIds"),
                op_spec: op_spec(),
            },
            OperationKind::UpdateSpec => Self::UpdateSpec {
                spec: request.required("spec", "- Specify what to run"),
                stop_first: stop_first(),
                op_spec: op_spec(),
            },
            OperationKind::Rollback => Self::Rollback {
                service_id: service_id(),
                generation: request.get("generation"),
                stop_first: stop_first(),
                op_spec: op_spec(),
            },
            OperationKind::Retry => Self::Retry { service_id: service_id() },
            OperationKind::Destroy => Self::Destroy { service_id: service_id() },
        }
    }
}

deserialize_by_reading!(OperationRequest);
