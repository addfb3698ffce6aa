//! Ports that a workload opens.

use schemars::JsonSchema;
use serde::Serialize;

use crate::read::{Node, Read};

wire_enum! {
    /// What is spoken on a port.
    pub enum PortType {
        /// HTTP.
        Http = "HTTP",
        /// HTTPS.
        Https = "HTTPS",
        /// Any TCP.
        Tcp = "TCP",
        /// UDP.
        Udp = "UDP",
    }
}

/// One port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PortSpec {
    /// `[a-zA-Z0-9\-_]+`, unique in the spec.
    pub name: String,
    /// 1..=65535; wider here so that validation, not parsing, refuses it.
    pub port: i64,
    /// Must be there.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub port_type: Option<PortType>,
}

impl Read for PortSpec {
    fn read(node: &Node<'_>) -> Self {
        let port = node.object();
        Self {
            name: port.get_or_default("name"),
            port: port.get_or_default("port"),
            port_type: port.get("type"),
        }
    }
}

deserialize_by_reading!(PortSpec);
