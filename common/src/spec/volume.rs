//! Host directories that are mounted.

use schemars::JsonSchema;
use serde::Serialize;

use crate::read::{Node, Read};

wire_enum! {
    /// Whether a mount may be written.
    pub enum MountMode {
        /// Yes.
        ReadWrite = "READ_WRITE",
        /// No.
        ReadOnly = "READ_ONLY",
    }
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MountedVolume {
    /// Must be there.
    pub path_in_container: String,
    /// Must be there.
    pub path_on_host: String,
    /// Must be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub mode: Option<MountMode>,
}

impl Read for MountedVolume {
    fn read(node: &Node<'_>) -> Self {
        let volume = node.object();
        Self {
            path_in_container: volume.get_or_default("pathInContainer"),
            path_on_host: volume.get_or_default("pathOnHost"),
            mode: volume.get("mode"),
        }
    }
}

deserialize_by_reading!(MountedVolume);
