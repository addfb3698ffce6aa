//! Devices that are passed in.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::read::{Node, Read};

wire_enum! {
    /// What a workload may do with a device.
    pub enum DevicePermissions {
        /// Read.
        ReadOnly = "READ_ONLY",
        /// Write.
        WriteOnly = "WRITE_ONLY",
        /// Make nodes.
        MknodOnly = "MKNOD_ONLY",
        /// All of it.
        All = "ALL",
        /// Read and write.
        ReadWrite = "READ_WRITE",
    }
}

/// One device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "UPPERCASE", rename_all_fields = "camelCase")]
pub enum DeviceSpec {
    /// A device node.
    Direct {
        /// On the node.
        path_on_host: String,
        /// In the container; the same path when absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        path_in_container: Option<String>,
        /// ALL when absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        permissions: Option<DevicePermissions>,
    },
    /// By driver.
    Detailed {
        /// Its name.
        #[serde(skip_serializing_if = "Option::is_none")]
        driver: Option<String>,
        /// How many.
        #[serde(skip_serializing_if = "Option::is_none")]
        count: Option<i64>,
        /// Which ones.
        #[schemars(default)]
        device_ids: Vec<String>,
        /// Any of these sets.
        #[schemars(default)]
        capabilities: Vec<Vec<String>>,
        /// For the driver.
        #[schemars(default)]
        options: BTreeMap<String, String>,
    },
}

wire_enum! {
    /// The `type` of a [`DeviceSpec`].
    enum DeviceType {
        Direct = "DIRECT",
        Detailed = "DETAILED",
    }
}

impl Read for DeviceSpec {
    fn read(node: &Node<'_>) -> Self {
        let device = node.object();
        match device.required_tag("- Specify how the device is named: DIRECT or DETAILED") {
            DeviceType::Direct => Self::Direct {
                path_on_host: device.get_or_default("pathOnHost"),
                path_in_container: device.get("pathInContainer"),
                permissions: device.get("permissions"),
            },
            DeviceType::Detailed => Self::Detailed {
                driver: device.get("driver"),
                count: device.get("count"),
                device_ids: device.get_or_default("deviceIds"),
                capabilities: device.get_or_default("capabilities"),
                options: device.get_or_default("options"),
            },
        }
    }
}

deserialize_by_reading!(DeviceSpec);
