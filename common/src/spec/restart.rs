//! When and how often a failed instance is replaced.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use crate::duration::DroveDuration;
use crate::read::{Node, Read};

/// Back-off and budget of one slot. By default 1 s, 2 s, 5 s, 30 s, 5 min
/// with ±10 % jitter, reset after 10 min of health.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(default)]
pub struct RestartPolicy {
    /// How long to wait before the n-th replacement; the last one repeats.
    pub backoff: Vec<DroveDuration>,
    /// By how much a wait varies, in percent of it, 0..=50.
    pub jitter: u8,
    /// How long an instance must have been HEALTHY for the count to start anew.
    pub reset_after: DroveDuration,
    /// How many replacements without such a reset make the slot FAILED; `UNLIMITED` on the wire is `None`.
    #[serde(serialize_with = "write_budget")]
    #[schemars(schema_with = "budget_schema")]
    pub budget: Option<u32>,
}

/// The word for a budget without end: an absent one means the default, and null is never written.
const UNLIMITED: &str = "UNLIMITED";

#[allow(clippy::ref_option, clippy::trivially_copy_pass_by_ref)] // the signature that serde calls
fn write_budget<S: Serializer>(budget: &Option<u32>, serializer: S) -> Result<S::Ok, S::Error> {
    match budget {
        Some(count) => serializer.serialize_u32(*count),
        None => serializer.serialize_str(UNLIMITED),
    }
}

fn budget_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"anyOf": [{"type": "integer", "minimum": 0}, {"const": UNLIMITED}]})
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            backoff: [1, 2, 5, 30, 300].map(DroveDuration::from_secs).to_vec(),
            jitter: 10,
            reset_after: DroveDuration::from_secs(600),
            budget: Some(20),
        }
    }
}

/// A budget as it is written: a count or the word.
struct Budget(Option<u32>);

impl Read for Budget {
    fn read(node: &Node<'_>) -> Self {
        match node.as_text() {
            Some(word) if word.eq_ignore_ascii_case(UNLIMITED) => Self(None),
            _ => Self(Some(u32::read(node))),
        }
    }
}

impl Read for RestartPolicy {
    fn read(node: &Node<'_>) -> Self {
        let policy = node.object();
        let default = Self::default();
        Self {
            backoff: policy.get("backoff").unwrap_or(default.backoff),
            jitter: policy.get("jitter").unwrap_or(default.jitter),
            reset_after: policy.get("resetAfter").unwrap_or(default.reset_after),
            budget: policy.get("budget").map_or(default.budget, |Budget(budget)| budget),
        }
    }
}

deserialize_by_reading!(RestartPolicy);
