//! Cores and memory.

use std::fmt;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::read::{Node, Read};

/// A number of cores, kept in thousandths. Whole numbers are pinned cores, others a quota.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuCount {
    millis: u64,
}

impl CpuCount {
    /// From thousandths of a core.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self { millis }
    }

    /// In thousandths of a core.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.millis
    }

    /// The number of cores, when it is whole.
    #[must_use]
    pub const fn whole(self) -> Option<u64> {
        if self.millis.is_multiple_of(1000) { Some(self.millis / 1000) } else { None }
    }

    /// As a JSON number: an integer when it is whole.
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // counts of cores are far below 2^52 thousandths
    pub fn to_number(self) -> serde_json::Number {
        self.whole().map_or_else(
            || serde_json::Number::from_f64(self.millis as f64 / 1000.0).unwrap_or_else(|| 0.into()),
            Into::into,
        )
    }
}

impl fmt::Display for CpuCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_number())
    }
}

impl Serialize for CpuCount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_number().serialize(serializer)
    }
}

impl JsonSchema for CpuCount {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "CpuCount".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "number", "minimum": 0, "maximum": 1_000_000})
    }
}

impl Read for CpuCount {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // the range is checked first
    fn read(node: &Node<'_>) -> Self {
        /// More cores than any machine has.
        const MAX: f64 = 1_000_000.0;
        let Some(count) = node.number() else { return Self::default() };
        let millis = (count * 1000.0).round();
        if !(0.0..=MAX).contains(&count) {
            node.refuse(format_args!("- {count} is not a number of cores"));
            Self::default()
        } else if (count * 1000.0 - millis).abs() > 1e-6 {
            node.refuse(format_args!("- {count} has more than three decimals"));
            Self::default()
        } else {
            Self { millis: millis as u64 }
        }
    }
}

deserialize_by_reading!(CpuCount, ResourceRequirement);

/// One requirement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "UPPERCASE")]
pub enum ResourceRequirement {
    /// Cores.
    Cpu {
        /// How many.
        count: CpuCount,
    },
    /// Memory.
    Memory {
        /// MB.
        #[serde(rename = "sizeInMB")]
        size_in_mb: u64,
    },
}

wire_enum! {
    /// The `type` of a [`ResourceRequirement`].
    enum ResourceType {
        Cpu = "CPU",
        Memory = "MEMORY",
    }
}

impl Read for ResourceRequirement {
    fn read(node: &Node<'_>) -> Self {
        let resource = node.object();
        match resource.required_tag("- Specify the resource: CPU or MEMORY") {
            ResourceType::Cpu => Self::Cpu { count: resource.get_or_default("count") },
            ResourceType::Memory => Self::Memory { size_in_mb: resource.get_or_default("sizeInMB") },
        }
    }
}
