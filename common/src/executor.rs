//! Executors as the controllers keep them and as users see them.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::DroveDuration;
use crate::id::ExecutorId;
use crate::instance::InstanceInfo;
use crate::problem::{FieldError, Problems};
use crate::read::{Node, Read};
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
        /// Addition: is being emptied, and has a deadline for that.
        Draining = "DRAINING",
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

/// `POST /cluster/executors/blacklist` and `unblacklist` (drove-wire.md §2.10).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlacklistOperationResponse {
    /// Executors of which it was done.
    pub successful: Vec<String>,
    /// Executors of which it was not.
    pub failed: Vec<String>,
    /// Always 0: what follows is seen in the executors' states.
    pub approx_completion_time_ms: u64,
    /// The outcome in words.
    pub message: String,
}

/// The body of `POST /cluster/executors/{id}/drain`.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(default)]
pub struct DrainRequest {
    /// How long it may take until nothing is left there.
    pub timeout: DroveDuration,
}

impl Default for DrainRequest {
    /// Longer than the longest wait of an instance on its way down, by default.
    fn default() -> Self {
        Self { timeout: DroveDuration::from_secs(15 * 60) }
    }
}

impl Read for DrainRequest {
    fn read(node: &Node<'_>) -> Self {
        let request = node.object();
        Self { timeout: request.get("timeout").unwrap_or(Self::default().timeout) }
    }
}

impl DrainRequest {
    /// Every problem of it.
    #[must_use]
    pub fn problems(&self) -> Vec<FieldError> {
        let problems = Problems::default();
        let time = self.timeout.as_duration();
        let is_sensible = (Duration::from_secs(1)..=Duration::from_secs(86_400)).contains(&time);
        problems.root().member("timeout").require(is_sensible, "- Must be between 1 second and 1 day");
        problems.into_errors()
    }
}

/// Cores and memory of a node by NUMA node, as far as Muster may use them.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// How many tags users may give or ask for in one place.
pub const MAX_TAGS: usize = 64;

/// What [`is_tag`] wants, in words.
pub(crate) const TAG_RULE: &str =
    "- A tag is a word or key=value of at most 255 bytes, without spaces and commas";

/// Whether a text can be a tag.
#[must_use]
pub fn is_tag(text: &str) -> bool {
    (1..=255).contains(&text.len()) && !text.chars().any(|c| c.is_whitespace() || c.is_control() || c == ',')
}

/// The body of `POST /cluster/executors/{id}/tags`.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
pub struct TagsRequest {
    /// The tags that users give it from now on, beside those that it brings.
    pub tags: Vec<String>,
}

impl Read for TagsRequest {
    fn read(node: &Node<'_>) -> Self {
        let request = node.object();
        Self { tags: request.required("tags", "- Specify the tags, or an empty list for none") }
    }
}

impl TagsRequest {
    /// Every problem of it.
    #[must_use]
    pub fn problems(&self) -> Vec<FieldError> {
        let problems = Problems::default();
        let root = problems.root();
        let place = root.member("tags");
        let few = self.tags.len() <= MAX_TAGS;
        if place.require(few, format_args!("- Cannot have more than {MAX_TAGS} entries")) {
            for (index, tag) in self.tags.iter().enumerate() {
                place.element(index).require(is_tag(tag), TAG_RULE);
            }
        }
        problems.into_errors()
    }
}

/// `GET /cluster/executors`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// Addition: the program's version.
    #[serde(default)]
    pub version: String,
    /// Addition: how many ms its clock is ahead of the leader's, to a second or so. No decision depends on it.
    #[serde(default)]
    pub clock_skew_ms: i64,
    /// Addition: whether the leader hears it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub contact: Option<Contact>,
    /// Addition: since when that is so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub contact_since: Option<Timestamp>,
    /// Addition: those of its tags that users gave it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub given_tags: Vec<String>,
    /// Addition: when it must be empty, while it is DRAINING.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub drain_deadline: Option<Timestamp>,
}
