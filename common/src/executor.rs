//! Executors as the controllers keep them and as users see them.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::DroveDuration;
use crate::id::ExecutorId;
use crate::instance::InstanceInfo;
use crate::problem::{FieldError, Place, Problems};
use crate::read::{Node, Read};
use crate::time::Timestamp;

wire_enum! {
    /// Where an executor is (docs/drove-api.md §2.8).
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

/// `POST /cluster/executors/blacklist` and `unblacklist` (docs/drove-api.md §2.10).
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

/// The body of `POST /cluster/executors/{id}/tags`: what becomes of the tags that users give it, beside those that it
/// brings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum TagsRequest {
    /// It has these from now on, and no others.
    Replace {
        /// The tags.
        tags: Vec<String>,
    },
    /// It has some less and some more from now on: of several who ask for that at once, each gets it.
    Amend {
        /// What goes: tags, or the keys of tags.
        #[schemars(default)]
        remove: Vec<String>,
        /// What comes, in place of another value of its key.
        #[schemars(default)]
        add: Vec<String>,
    },
}

impl Read for TagsRequest {
    fn read(node: &Node<'_>) -> Self {
        let request = node.object();
        let (remove, add) = (request.get("remove"), request.get("add"));
        if remove.is_none() && add.is_none() {
            let message = "- Specify the tags, an empty list for none; or which to add, and which to remove";
            return Self::Replace { tags: request.required("tags", message) };
        }
        if request.get::<Vec<String>>("tags").is_some() {
            node.refuse("- Specify either the tags, or which to add and which to remove");
        }
        Self::Amend { remove: remove.unwrap_or_default(), add: add.unwrap_or_default() }
    }
}

impl TagsRequest {
    /// Every problem of it.
    #[must_use]
    pub fn problems(&self) -> Vec<FieldError> {
        let problems = Problems::default();
        let root = problems.root();
        match self {
            Self::Replace { tags } => check_tags(root.member("tags"), tags),
            Self::Amend { remove, add } => {
                let (removed, added) = (root.member("remove"), root.member("add"));
                check_tags(removed, remove);
                check_tags(added, add);
                for (index, tag) in add.iter().enumerate().take(MAX_TAGS) {
                    added.element(index).require(!remove.contains(tag), "- Is to be removed as well");
                }
            }
        }
        problems.into_errors()
    }
}

fn check_tags(place: Place<'_>, tags: &[String]) {
    if place.require(tags.len() <= MAX_TAGS, format_args!("- Cannot have more than {MAX_TAGS} entries")) {
        for (index, tag) in tags.iter().enumerate() {
            place.element(index).require(is_tag(tag), TAG_RULE);
        }
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

/// `GET /cluster/executors/{id}` (docs/drove-api.md §2.9).
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::accept;

    #[test]
    fn tags_are_replaced_or_amended_and_never_both() {
        let read = |body: &str| accept(body.as_bytes(), TagsRequest::problems);
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let tags = |tags| TagsRequest::Replace { tags: texts(tags) };
        let amend = |remove, add| TagsRequest::Amend { remove: texts(remove), add: texts(add) };
        for (body, request) in [
            (r#"{"tags":[]}"#, tags(&[])),
            (r#"{"tags":["a"],"add":null}"#, tags(&["a"])),
            (r#"{"add":["zone=a"]}"#, amend(&[], &["zone=a"])),
            (r#"{"remove":["zone"],"add":["zone=a"],"tags":null}"#, amend(&["zone"], &["zone=a"])),
        ] {
            assert_eq!(read(body).unwrap(), request, "{body}");
        }
        for (body, problem) in [
            ("{}", "tags - Specify the tags, an empty list for none; or which to add, and which to remove"),
            (r#"{"tags":[],"add":["a"]}"#, "Specify either the tags, or which to add and which to remove"),
            (r#"{"add":["a"],"remove":["a"]}"#, "add[0] - Is to be removed as well"),
            (
                r#"{"remove":["a b"]}"#,
                "remove[0] - A tag is a word or key=value of at most 255 bytes, without spaces and commas",
            ),
            (r#"{"add":7}"#, "add - must be a list, not a number"),
        ] {
            let refused = read(body).unwrap_err();
            assert_eq!(
                refused.errors().iter().map(ToString::to_string).collect::<Vec<_>>(),
                [problem],
                "{body}"
            );
        }
        let many = format!(r#"{{"add":[{}]}}"#, vec!["\"a\""; MAX_TAGS + 1].join(","));
        assert_eq!(
            read(&many).unwrap_err().errors()[0].to_string(),
            "add - Cannot have more than 64 entries"
        );
    }
}
