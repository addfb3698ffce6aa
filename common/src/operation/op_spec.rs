//! How an operation proceeds: how many at a time, how carefully, for how long.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::duration::DroveDuration;
use crate::read::{Node, Read};

wire_enum! {
    /// What to do when a slot of an operation fails.
    pub enum FailureStrategy {
        /// Leave the rest as it is.
        Stop = "STOP",
        /// Bring back what was there before.
        Rollback = "ROLLBACK",
    }
}

/// How many slots an operation may work on at a time: a number (the wire's form), or `"25%"` of its slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parallelism {
    /// So many.
    Slots(u32),
    /// So many of a hundred, at least one.
    Percent(u32),
}

impl Parallelism {
    /// How many of `slots` that is: at least one.
    #[must_use]
    pub fn of(self, slots: usize) -> usize {
        match self {
            Self::Slots(count) => usize::try_from(count).unwrap_or(usize::MAX).max(1),
            Self::Percent(percent) => {
                let percent = usize::try_from(percent).unwrap_or(usize::MAX);
                (slots.saturating_mul(percent) / 100).max(1)
            }
        }
    }
}

impl fmt::Display for Parallelism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slots(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// Neither a number nor a percentage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a whole number or a percentage such as 25%")]
pub struct NoParallelism;

impl FromStr for Parallelism {
    type Err = NoParallelism;

    fn from_str(text: &str) -> Result<Self, NoParallelism> {
        let text = text.trim();
        let number = |digits: &str| digits.trim().parse().map_err(|_| NoParallelism);
        match text.strip_suffix('%') {
            Some(percent) => number(percent).map(Self::Percent),
            None => number(text).map(Self::Slots),
        }
    }
}

impl Serialize for Parallelism {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Slots(count) => serializer.serialize_u32(*count),
            Self::Percent(_) => serializer.collect_str(self),
        }
    }
}

impl JsonSchema for Parallelism {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Parallelism".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A number of slots, or a share of them.",
            "anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": "^[0-9]+ *%$"}],
        })
    }
}

impl Read for Parallelism {
    fn read(node: &Node<'_>) -> Self {
        match node.as_text().filter(|text| text.contains('%')) {
            Some(_) => node.parsed().unwrap_or(Self::Slots(1)),
            None => Self::Slots(u32::try_from(i64::read(node).max(0)).unwrap_or(u32::MAX)),
        }
    }
}

/// The first wave of an operation: when it is through, the operation waits for a promotion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Canary {
    /// So many of a hundred slots, at least one.
    Percent(u32),
    /// The slots on executors with this tag.
    Tag(String),
}

impl Read for Canary {
    fn read(node: &Node<'_>) -> Self {
        let canary = node.object();
        match (canary.count("percent"), canary.get::<String>("tag")) {
            (Some(percent), None) => Self::Percent(percent),
            (None, Some(tag)) => Self::Tag(tag),
            _ => {
                node.refuse("- Specify either percent or tag");
                Self::Percent(1)
            }
        }
    }
}

/// How an operation proceeds (docs/drove-api.md §2.6; `settle` and `canary` are additions).
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(default)]
pub struct ClusterOpSpec {
    /// How long each slot may take; raised to what its spec allows an instance (docs/drove-api.md §4.1). An operation
    /// that goes in waves may be at work for that long and `settle` for each wave; time in which it is paused does not
    /// count.
    pub timeout: DroveDuration,
    /// How many slots at a time.
    pub parallelism: Parallelism,
    /// What to do when a slot fails.
    pub failure_strategy: FailureStrategy,
    /// How long a new instance must stay HEALTHY before its slot counts as done.
    #[serde(skip_serializing_if = "DroveDuration::is_zero")]
    pub settle: DroveDuration,
    /// What is replaced first, and alone until somebody promotes the operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
}

impl Default for ClusterOpSpec {
    fn default() -> Self {
        Self {
            timeout: DroveDuration::from_secs(300),
            parallelism: Parallelism::Slots(1),
            failure_strategy: FailureStrategy::Stop,
            settle: DroveDuration::from_secs(0),
            canary: None,
        }
    }
}

impl ClusterOpSpec {
    /// Its JSON, as it is stored.
    #[must_use]
    // All keys are strings and all numbers finite: writing to memory cannot fail.
    #[allow(clippy::expect_used, clippy::missing_panics_doc)]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an operation spec is always JSON")
    }
}

impl Read for ClusterOpSpec {
    fn read(node: &Node<'_>) -> Self {
        let spec = node.object();
        let default = Self::default();
        Self {
            timeout: spec.get("timeout").unwrap_or(default.timeout),
            parallelism: spec.get("parallelism").unwrap_or(default.parallelism),
            failure_strategy: spec.get("failureStrategy").unwrap_or(default.failure_strategy),
            settle: spec.get("settle").unwrap_or(default.settle),
            canary: spec.get("canary"),
        }
    }
}

deserialize_by_reading!(ClusterOpSpec, Canary, Parallelism);
