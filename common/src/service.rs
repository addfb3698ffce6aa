//! A service as the controllers keep it and as users see it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::Generation;
use crate::time::Timestamp;

wire_enum! {
    /// What the user wants of a service.
    pub enum ActivationState {
        /// It runs on every matching executor.
        Active = "ACTIVE",
        /// One instance runs on one executor.
        ConfigTesting = "CONFIG_TESTING",
        /// It is registered; nothing runs.
        Inactive = "INACTIVE",
    }
}

wire_enum! {
    /// Where a service is. Names are Drove's (docs/drove-api.md §2.4).
    pub enum ServiceState {
        /// Being registered.
        Init = "INIT",
        /// ACTIVATE was accepted.
        ActivationRequested = "ACTIVATION_REQUESTED",
        /// `DEPLOY_TEST_INSTANCE` was accepted.
        ConfigTestingRequested = "CONFIG_TESTING_REQUESTED",
        /// DEACTIVATE was accepted.
        DeactivationRequested = "DEACTIVATION_REQUESTED",
        /// A cancelled adjustment ends in deactivation.
        EmergencyDeactivationRequested = "EMERGENCY_DEACTIVATION_REQUESTED",
        /// Registered; nothing should run.
        Inactive = "INACTIVE",
        /// Should run everywhere.
        Active = "ACTIVE",
        /// One test instance should run.
        ConfigTesting = "CONFIG_TESTING",
        /// Slots are being brought in line.
        AdjustingInstances = "ADJUSTING_INSTANCES",
        /// In Drove's list, never entered.
        DeployingTestInstance = "DEPLOYING_TEST_INSTANCE",
        /// RESTART or `REPLACE_INSTANCES` is at work.
        ReplacingInstances = "REPLACING_INSTANCES",
        /// `STOP_INSTANCES` is at work.
        StoppingInstances = "STOPPING_INSTANCES",
        /// `UPDATE_INSTANCE_COUNT` is at work.
        UpdatingInstancesCount = "UPDATING_INSTANCES_COUNT",
        /// DESTROY was accepted; ends when the last instance is gone.
        DestroyRequested = "DESTROY_REQUESTED",
        /// Gone. Final.
        Destroyed = "DESTROYED",
    }
}

/// `GET /localservices/{id}`. The id's key is `id`, not `serviceId` (docs/drove-api.md §2.4).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSummary {
    /// The service's id.
    pub id: String,
    /// The spec's name.
    pub name: String,
    /// How many instances each executor must hold.
    pub instances_per_host: u32,
    /// How many are HEALTHY.
    pub healthy_instances: u64,
    /// CPU count × active instances; whole when the spec's count is.
    #[serde(rename = "totalCPUs")]
    pub total_cpus: serde_json::Number,
    /// MB × active instances.
    pub total_memory: u64,
    /// The spec's tags.
    pub tags: BTreeMap<String, String>,
    /// What is wanted.
    pub activation_state: ActivationState,
    /// Where it is.
    pub state: ServiceState,
    /// When it was created.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
    /// Addition: the generation.
    pub generation: Generation,
    /// Addition: how many instances there should be.
    pub required_instances: u64,
    /// Addition: how many of them belong on executors that are not heard.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub away_instances: u64,
    /// Addition: how many of them are not tried any more, for the reasons in `problems`.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub failed_instances: u64,
    /// Addition: executors that are not heard, and slots whose crash-loop budget is spent or that wait in back-off, with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub problems: Vec<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature that serde calls
fn is_zero(count: &u64) -> bool {
    *count == 0
}
