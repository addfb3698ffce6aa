//! Where output goes.

use schemars::JsonSchema;
use serde::Serialize;

use super::fetch::{bare_host, split_port};
use crate::read::{Node, Read};

/// Where output goes. Defaults to LOCAL, 3 files of 10 MB, compressed (docs/drove-api.md §4.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "UPPERCASE", rename_all_fields = "camelCase")]
pub enum LoggingSpec {
    /// Files on the node.
    Local {
        /// `10m`, `512k`, `1g` or bytes: a [`ByteSize`](crate::size::ByteSize).
        max_size: String,
        /// 1..=100.
        #[schemars(default = "default_files")]
        max_files: u32,
        /// Whether rotated files are compressed.
        #[schemars(default)]
        compress: bool,
    },
    /// A syslog server.
    Rsyslog {
        /// Its address: `udp://HOST:PORT`, or with `tcp` or `tcp+tls`.
        server: String,
        /// Before the tag.
        #[serde(skip_serializing_if = "Option::is_none")]
        tag_prefix: Option<String>,
        /// After the tag.
        #[serde(skip_serializing_if = "Option::is_none")]
        tag_suffix: Option<String>,
    },
}

/// How syslog servers are called. An engine could also write to a socket of its node (`unix`, `unixgram`), as root.
const SYSLOG_SCHEMES: [&str; 3] = ["udp", "tcp", "tcp+tls"];

impl LoggingSpec {
    /// Whether an address is that of a syslog server in the network.
    #[must_use]
    pub fn is_syslog_server(address: &str) -> bool {
        let Some((scheme, server)) = address.split_once("://") else { return false };
        let (host, port) = split_port(server);
        let is_port = |port: &str| !port.starts_with('+') && port.parse::<u16>().is_ok_and(|port| port > 0);
        SYSLOG_SCHEMES.contains(&scheme) && bare_host(host).is_some() && port.is_some_and(is_port)
    }
}

/// How many files are kept when the spec does not say (docs/drove-api.md §4.4).
const fn default_files() -> u32 {
    3
}

impl Default for LoggingSpec {
    fn default() -> Self {
        Self::Local { max_size: "10m".to_owned(), max_files: default_files(), compress: true }
    }
}

wire_enum! {
    /// The `type` of a [`LoggingSpec`].
    enum LoggingType {
        Local = "LOCAL",
        Rsyslog = "RSYSLOG",
    }
}

impl Read for LoggingSpec {
    fn read(node: &Node<'_>) -> Self {
        let logging = node.object();
        match logging.required_tag("- Specify where logs go: LOCAL or RSYSLOG") {
            LoggingType::Local => Self::Local {
                max_size: logging.get_or_default("maxSize"),
                max_files: logging.count("maxFiles").unwrap_or_else(default_files),
                compress: logging.get_or_default("compress"),
            },
            LoggingType::Rsyslog => Self::Rsyslog {
                server: logging.get_or_default("server"),
                tag_prefix: logging.get("tagPrefix"),
                tag_suffix: logging.get("tagSuffix"),
            },
        }
    }
}

deserialize_by_reading!(LoggingSpec);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_network_leads_to_a_syslog_server() {
        for server in ["udp://logs:514", "tcp://10.0.0.1:601", "tcp+tls://[::1]:6514"] {
            assert!(LoggingSpec::is_syslog_server(server), "{server}");
        }
        for other in [
            "",
            "logs:514",
            "udp://logs",
            "udp://:514",
            "udp://logs:0",
            "udp://logs:+514",
            "udp://logs:514/x",
            "udp://[logs]:514",
            "udp://a@logs:514",
            "unix:///dev/log",
            "unix:///dev/log:514",
            "unixgram:///dev/log",
            "UNIX:///dev/log:1",
        ] {
            assert!(!LoggingSpec::is_syslog_server(other), "{other}");
        }
    }
}
