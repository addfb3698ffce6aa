//! Where output goes.

use serde::Serialize;

use crate::read::{Node, Read};

/// Where output goes. Defaults to LOCAL, 3 files of 10 MB, compressed (drove-wire.md §4.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "UPPERCASE", rename_all_fields = "camelCase")]
pub enum LoggingSpec {
    /// Files on the node.
    Local {
        /// `10m`, `512k`, `1g` or bytes: a [`ByteSize`](crate::size::ByteSize).
        max_size: String,
        /// 1..=100.
        max_files: u32,
        /// Whether rotated files are compressed.
        compress: bool,
    },
    /// A syslog server.
    Rsyslog {
        /// Its address.
        server: String,
        /// Before the tag.
        #[serde(skip_serializing_if = "Option::is_none")]
        tag_prefix: Option<String>,
        /// After the tag.
        #[serde(skip_serializing_if = "Option::is_none")]
        tag_suffix: Option<String>,
    },
}

/// How many files are kept when the spec does not say (drove-wire.md §4.4).
const DEFAULT_FILES: u32 = 3;

impl Default for LoggingSpec {
    fn default() -> Self {
        Self::Local { max_size: "10m".to_owned(), max_files: DEFAULT_FILES, compress: true }
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
                max_files: logging.count("maxFiles").unwrap_or(DEFAULT_FILES),
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
