//! Executors as the controllers keep them and as users see them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::ExecutorId;
use crate::instance::InstanceInfo;
use crate::time::Timestamp;

wire_enum! {
    /// Where an executor is (drove-wire.md §2.8).
    pub enum ExecutorState {
        /// Takes instances.
        Active = "ACTIVE",
        /// Is being emptied.
        BlacklistRequested = "BLACKLIST_REQUESTED",
        /// Takes nothing.
        Blacklisted = "BLACKLISTED",
        /// Known, but not in contact.
        Unready = "UNREADY",
        /// Gone for good.
        Removed = "REMOVED",
    }
}

wire_enum! {
    /// Whether the leader hears an executor. Judged by the leader's session hub on its own monotonic
    /// clock; only the verdict is replicated.
    pub enum Contact {
        /// It has a session.
        Connected = "CONNECTED",
        /// Not heard for `unknownAfter`: what it runs is unknown.
        Unreachable = "UNREACHABLE",
        /// Not heard for `lostAfter`: what it ran counts as lost.
        Lost = "LOST",
    }
}

wire_enum! {
    /// Scheme of an executor's API.
    pub enum TransportType {
        /// Plain.
        Http = "HTTP",
        /// TLS.
        Https = "HTTPS",
    }
}

/// Cores and memory of a node by NUMA node, as far as Muster may use them.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeLayout {
    /// NUMA node → core ids.
    pub cores: BTreeMap<u32, Vec<u32>>,
    /// NUMA node → MB.
    pub memory: BTreeMap<u32, u64>,
}

/// What an executor says of itself when it registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutorRecord {
    /// From its certificate.
    pub id: ExecutorId,
    /// The node's host name.
    pub hostname: String,
    /// The port of its own API (metrics).
    pub api_port: u16,
    /// Grows with each start of the executor's process.
    pub incarnation: u64,
    /// Changes when the machine boots.
    pub boot_id: String,
    /// The program's version.
    pub version: String,
    /// Always holds the host name.
    pub tags: Vec<String>,
    /// What may be used.
    pub layout: NodeLayout,
    /// How many times each core may be given out (1 = exclusively).
    pub core_overcommit: u32,
}

impl ExecutorRecord {
    /// What fails together with it, when its tags say so (`zone=…`): a rack, a room, a data centre.
    #[must_use]
    pub fn zone(&self) -> Option<&str> {
        self.tags.iter().find_map(|tag| tag.strip_prefix("zone="))
    }
}

/// `GET /cluster/executors`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutorSummary {
    /// The executor's id.
    pub executor_id: String,
    /// The node's host name.
    pub hostname: String,
    /// The port of its own API.
    pub port: u16,
    /// The scheme of its own API.
    pub transport_type: TransportType,
    /// Cores that are free.
    pub free_cores: u64,
    /// Cores that are leased.
    pub used_cores: u64,
    /// MB that are free.
    pub free_memory: u64,
    /// MB that are leased.
    pub used_memory: u64,
    /// Always holds the host name.
    pub tags: Vec<String>,
    /// Where it is.
    pub state: ExecutorState,
}

/// The `cpus` member of [`ExecutorResources`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CpuState {
    /// Always `CPU`.
    #[serde(rename = "type")]
    pub kind: String,
    /// By NUMA node.
    pub free_cores: BTreeMap<u32, Vec<u32>>,
    /// By NUMA node.
    pub used_cores: BTreeMap<u32, Vec<u32>>,
}

/// The `memory` member of [`ExecutorResources`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemoryState {
    /// Always `MEMORY`.
    #[serde(rename = "type")]
    pub kind: String,
    /// By NUMA node, MB.
    pub free_memory: BTreeMap<u32, u64>,
    /// By NUMA node, MB.
    pub used_memory: BTreeMap<u32, u64>,
}

/// The `state` member of [`ExecutorNodeData`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutorResources {
    /// The executor's id.
    pub executor_id: String,
    /// Cores.
    pub cpus: CpuState,
    /// Memory.
    pub memory: MemoryState,
    /// What there is in all.
    pub layout: NodeLayout,
}

/// `GET /cluster/executors/{id}` (drove-wire.md §2.9).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutorNodeData {
    /// Always `EXECUTOR`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The node's host name.
    pub hostname: String,
    /// The port of its own API.
    pub port: u16,
    /// The scheme of its own API.
    pub transport_type: TransportType,
    /// When its data last changed.
    pub updated: Timestamp,
    /// Resources.
    pub state: ExecutorResources,
    /// Applications; always empty here.
    pub instances: Vec<serde_json::Value>,
    /// Tasks; always empty here.
    pub tasks: Vec<serde_json::Value>,
    /// The local service instances on it.
    pub service_instances: Vec<InstanceInfo>,
    /// Always holds the host name.
    pub tags: Vec<String>,
    /// Always `{}`.
    pub metadata: BTreeMap<String, String>,
    /// Where it is.
    pub executor_state: ExecutorState,
}
