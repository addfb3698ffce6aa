//! The specs that a service has or had.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::Generation;
use crate::spec::LocalServiceSpec;
use crate::time::Timestamp;

/// One spec that a service has or had.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpecGeneration {
    /// Which.
    pub generation: Generation,
    /// Since when it has it.
    pub created: Timestamp,
    /// Who brought it; empty when nobody had to say.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub by: String,
    /// The generation whose spec this is again, when a rollback brought it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub restores: Option<Generation>,
    /// Whether users want it everywhere.
    pub wanted: bool,
    /// Whether new slots are given it, and a rollback brings it back.
    pub stable: bool,
    /// How many slots are asked to run it.
    pub slots: usize,
    /// The spec, masked.
    pub spec: LocalServiceSpec,
}
