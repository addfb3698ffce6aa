//! The fifteen states, and the one record of an instance that executors write, controllers store
//! and users read.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::{Condition, Phase, conditions};
use crate::evidence::{Evidence, ProbeRecord, Transition};
use crate::id::{Epoch, Generation, InstanceId, SlotId};
use crate::read::{Node, Read};
use crate::reason::Reason;
use crate::spec::PortType;
use crate::time::Timestamp;

wire_enum! {
    /// The state of one instance. Names and groups are Drove's.
    pub enum InstanceState {
        /// Minted; waits for ports and resources.
        Pending = "PENDING",
        /// The executable is being fetched.
        Provisioning = "PROVISIONING",
        /// The executable could not be fetched.
        ProvisioningFailed = "PROVISIONING_FAILED",
        /// The workload is being created and started.
        Starting = "STARTING",
        /// It could not be started.
        StartFailed = "START_FAILED",
        /// Runs, not yet ready.
        Unready = "UNREADY",
        /// Never became ready.
        ReadinessCheckFailed = "READINESS_CHECK_FAILED",
        /// Ready, not yet known to be healthy.
        Ready = "READY",
        /// Runs and passes its health check.
        Healthy = "HEALTHY",
        /// Runs and fails its health check.
        Unhealthy = "UNHEALTHY",
        /// Its container, ports, resources and scratch are being taken away.
        Deprovisioning = "DEPROVISIONING",
        /// Hooks run, then it is told to stop.
        Stopping = "STOPPING",
        /// Over. Final.
        Stopped = "STOPPED",
        /// Gone without a witness. Final.
        Lost = "LOST",
        /// The executor restarted, or cannot be reached; being found out.
        Unknown = "UNKNOWN",
    }
}

impl InstanceState {
    /// An ordinary life: up to HEALTHY, and down again.
    pub const LIFE: [Self; 9] = [
        Self::Pending,
        Self::Provisioning,
        Self::Starting,
        Self::Unready,
        Self::Ready,
        Self::Healthy,
        Self::Stopping,
        Self::Deprovisioning,
        Self::Stopped,
    ];

    /// In Drove's list of active instances; all others are in `instances/old`.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(
            self,
            Self::Pending
                | Self::Provisioning
                | Self::Starting
                | Self::Unready
                | Self::Ready
                | Self::Healthy
                | Self::Unhealthy
                | Self::Deprovisioning
                | Self::Stopping
        )
    }

    /// The workload runs and could serve.
    #[must_use]
    pub const fn is_running(self) -> bool {
        matches!(self, Self::Unready | Self::Ready | Self::Healthy)
    }

    /// Nothing comes after it.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Stopped | Self::Lost)
    }
}

wire_enum! {
    /// What starts things on a node.
    pub enum RunnerKind {
        /// Containers, through the Docker Engine.
        Docker = "DOCKER",
        /// Plain processes under a shim.
        Process = "PROCESS",
    }
}

/// A port as it was given to an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstancePort {
    /// The port in the spec.
    pub container_port: u16,
    /// The port on the node.
    pub host_port: u16,
    /// What is spoken there.
    pub port_type: PortType,
}

/// Where an instance can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalInfo {
    /// The node's host name.
    pub hostname: String,
    /// By port name.
    pub ports: BTreeMap<String, InstancePort>,
}

/// What was leased to an instance, by NUMA node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "UPPERCASE")]
pub enum ResourceAllocation {
    /// Core ids; empty where the spec asks a fraction (a quota pins nothing).
    Cpu {
        /// NUMA node → core ids.
        cores: BTreeMap<u32, Vec<u32>>,
    },
    /// Memory.
    Memory {
        /// NUMA node → MB.
        #[serde(rename = "memoryInMB")]
        memory_in_mb: BTreeMap<u32, u64>,
    },
}

wire_enum! {
    /// The `type` of a [`ResourceAllocation`].
    enum AllocationType {
        Cpu = "CPU",
        Memory = "MEMORY",
    }
}

// Not derived: serde cannot read numbers as keys beside a tag.
impl Read for ResourceAllocation {
    fn read(node: &Node<'_>) -> Self {
        let allocation = node.object();
        match allocation.required_tag("- Specify the resource: CPU or MEMORY") {
            AllocationType::Cpu => Self::Cpu { cores: allocation.get_or_default("cores") },
            AllocationType::Memory => Self::Memory { memory_in_mb: allocation.get_or_default("memoryInMB") },
        }
    }
}

deserialize_by_reading!(ResourceAllocation);

/// Everything that is known of one instance. The executor owns it while it lives; the controllers
/// keep what was last reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceRecord {
    /// Its id.
    pub id: InstanceId,
    /// The slot it fills, or filled.
    pub slot: SlotId,
    /// The service's name, without its version.
    pub service_name: String,
    /// The epoch of the slot that it was minted for.
    pub epoch: Epoch,
    /// The service's generation that it was built from.
    pub generation: Generation,
    /// Grows with every change of this record; of two copies the higher one is the truth.
    pub version: u64,
    /// Where it is.
    pub state: InstanceState,
    /// Why it is there, as a code.
    pub reason: Option<Reason>,
    /// The last error in words; empty when none. Kept through later states.
    pub error_message: String,
    /// What runs it.
    pub runner: RunnerKind,
    /// Known once the workload is created.
    pub local_info: Option<LocalInfo>,
    /// What is leased to it.
    pub resources: Vec<ResourceAllocation>,
    /// What the spec or the node asks and the workload runs without: a limit that could not be set.
    pub warnings: Vec<String>,
    /// When it was minted.
    pub created: Timestamp,
    /// When this record last changed.
    pub updated: Timestamp,
    /// When the workload started.
    pub started: Option<Timestamp>,
    /// When the workload ended.
    pub finished: Option<Timestamp>,
    /// Every transition, oldest first.
    pub timeline: Vec<Transition>,
    /// The last probe results, oldest first.
    pub probes: Vec<ProbeRecord>,
    /// How it ended, once it has.
    pub evidence: Option<Evidence>,
}

impl InstanceRecord {
    /// How many cores are its own.
    #[must_use]
    pub fn pinned_cores(&self) -> u64 {
        let of = |resource: &ResourceAllocation| match resource {
            ResourceAllocation::Cpu { cores } => cores.values().map(|cores| cores.len() as u64).sum(),
            ResourceAllocation::Memory { .. } => 0,
        };
        self.resources.iter().map(of).sum()
    }

    /// Whether its workload is over and all that is left is to copy the rest of its log: nobody need wait for that.
    #[must_use]
    pub fn is_only_copied(&self) -> bool {
        self.state == InstanceState::Deprovisioning && self.reason == Some(Reason::CopyingLog)
    }
}

/// The record as the REST API shows it: Drove's members first, Muster's additions after. Lists of instances that live
/// leave out what only the detail of one shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceInfo {
    /// The service's id.
    pub service_id: String,
    /// The service's name.
    pub service_name: String,
    /// The instance's id.
    pub instance_id: String,
    /// The executor's id.
    pub executor_id: String,
    /// Absent until the workload is created.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub local_info: Option<LocalInfo>,
    /// What is leased to it.
    pub resources: Vec<ResourceAllocation>,
    /// Its state.
    pub state: InstanceState,
    /// Always `{}`: drove-cli dies on anything else.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Always there, empty when there is no error: drove-cli indexes it.
    pub error_message: String,
    /// When it was minted.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
    /// The slot's index on its executor.
    pub slot_index: u32,
    /// The epoch it was minted for.
    pub epoch: Epoch,
    /// The generation it was built from.
    pub generation: Generation,
    /// What runs it.
    pub runner: RunnerKind,
    /// Its state in the few words that other systems use.
    pub phase: Phase,
    /// How many instances had to be replaced in its slot because they failed.
    #[serde(default)]
    pub restarts: u64,
    /// Why it is in its state.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<Reason>,
    /// What the spec or the node asks and the workload runs without: a limit that could not be set.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub warnings: Vec<String>,
    /// When the workload started.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub started_at: Option<Timestamp>,
    /// When the workload ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub finished_at: Option<Timestamp>,
    /// Its last error in words, if it had one. In detail only.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub last_failure_message: String,
    /// What holds of it, and since when. In detail only.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub conditions: Vec<Condition>,
    /// Every transition, oldest first. Not in lists of those that live.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub timeline: Vec<Transition>,
    /// The last probe results, oldest first. Not in lists of those that live.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub probes: Vec<ProbeRecord>,
    /// How it ended, once it has. Not in lists of those that live.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub evidence: Option<Evidence>,
}

impl InstanceInfo {
    /// What lists of living instances show of `record`, whose slot had to be filled anew so many times.
    #[must_use]
    pub fn brief(record: &InstanceRecord, restarts: u64) -> Self {
        Self {
            service_id: record.slot.service.to_string(),
            service_name: record.service_name.clone(),
            instance_id: record.id.to_string(),
            executor_id: record.slot.executor.to_string(),
            local_info: record.local_info.clone(),
            resources: record.resources.clone(),
            state: record.state,
            metadata: BTreeMap::new(),
            error_message: record.error_message.clone(),
            created: record.created,
            updated: record.updated,
            slot_index: record.slot.index,
            epoch: record.epoch,
            generation: record.generation,
            runner: record.runner,
            phase: Phase::of(record.state, &record.timeline),
            restarts,
            reason: record.reason,
            warnings: record.warnings.clone(),
            started_at: record.started,
            finished_at: record.finished,
            last_failure_message: String::new(),
            conditions: Vec::new(),
            timeline: Vec::new(),
            probes: Vec::new(),
            evidence: None,
        }
    }
}

impl From<&InstanceRecord> for InstanceInfo {
    /// The detail, as far as the record alone tells it.
    fn from(record: &InstanceRecord) -> Self {
        Self {
            last_failure_message: record.error_message.clone(),
            conditions: conditions(record.created, &record.timeline),
            timeline: record.timeline.clone(),
            probes: record.probes.clone(),
            evidence: record.evidence.clone(),
            ..Self::brief(record, 0)
        }
    }
}
