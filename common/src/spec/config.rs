//! Files that are placed before the start.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use super::check::{HttpVerb, Protocol, default_path, default_protocol, default_verb};
use crate::duration::DroveDuration;
use crate::read::{Node, Read};

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigSpec {
    /// Where the workload finds it.
    pub local_filename: String,
    /// Where it comes from.
    #[serde(flatten)]
    pub source: ConfigSource,
}

/// Where a file comes from. Its `Debug` shows no content.
#[derive(Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase")]
pub enum ConfigSource {
    /// The spec itself.
    Inline {
        /// Base64.
        #[schemars(default)]
        data: String,
    },
    /// A file on the node.
    ExecutorLocalFile {
        /// Its path.
        file_path_on_host: String,
    },
    /// A call that a controller makes for the executor, to a place that its configuration allows; of at most
    /// [`MAX_CONTROLLER_FETCH_BYTES`].
    ControllerHttpFetch {
        /// The call.
        http: HttpCallSpec,
    },
    /// A call that the executor makes.
    ExecutorHttpFetch {
        /// The call.
        http: HttpCallSpec,
    },
}

/// The largest file that a controller fetches, in bytes: it travels in one message to the executor, and several
/// may be in a controller's memory at once.
pub const MAX_CONTROLLER_FETCH_BYTES: usize = 2 << 20;

/// An HTTP call. Its `Debug` shows neither credentials nor headers nor the body nor the query.
#[derive(Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpCallSpec {
    /// HTTP or HTTPS.
    #[schemars(default = "default_protocol")]
    pub protocol: Protocol,
    /// Must be there.
    pub hostname: String,
    /// 0 is the protocol's own.
    #[schemars(default)]
    pub port: u16,
    /// Where.
    #[schemars(default = "default_path")]
    pub path: String,
    /// What.
    #[schemars(default = "default_verb")]
    pub verb: HttpVerb,
    /// Which statuses count as success.
    #[schemars(default = "default_success_codes")]
    pub success_codes: Vec<u16>,
    /// The body to send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// How long to wait for the connection.
    #[schemars(default = "default_timeout")]
    pub connection_timeout: DroveDuration,
    /// How long to wait for the answer.
    #[schemars(default = "default_timeout")]
    pub operation_timeout: DroveDuration,
    /// Sensitive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Sensitive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Sensitive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_header: Option<String>,
    /// Further headers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(default)]
    pub headers: BTreeMap<String, String>,
    /// Accept any certificate.
    #[schemars(default)]
    pub insecure: bool,
}

impl HttpCallSpec {
    /// Its JSON: the same for the same call. Holds what is sensitive.
    #[must_use]
    // All keys are strings and all numbers finite: writing to memory cannot fail.
    #[allow(clippy::expect_used, clippy::missing_panics_doc)]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a call is always JSON")
    }

    /// Whom it calls, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let bare = self.hostname.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        bare.unwrap_or(&self.hostname)
    }

    /// The port that it goes to.
    #[must_use]
    pub fn effective_port(&self) -> u16 {
        if self.port == 0 { self.protocol.default_port() } else { self.port }
    }

    /// The host as it is named in the request: with its port only where that is not the usual one.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = self.host();
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let port = self.effective_port();
        if port == self.protocol.default_port() { host } else { format!("{host}:{port}") }
    }

    /// The path alone: a query may be secret.
    #[must_use]
    pub fn path_without_query(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }

    /// Its address for people, without the query.
    #[must_use]
    pub fn shown_url(&self) -> String {
        format!("{}://{}{}", self.protocol.scheme(), self.authority(), self.path_without_query())
    }
}

impl fmt::Debug for ConfigSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline { data } => write!(f, "Inline({} bytes)", data.len()),
            Self::ExecutorLocalFile { file_path_on_host } => {
                write!(f, "ExecutorLocalFile({file_path_on_host})")
            }
            Self::ControllerHttpFetch { http } => write!(f, "ControllerHttpFetch({http:?})"),
            Self::ExecutorHttpFetch { http } => write!(f, "ExecutorHttpFetch({http:?})"),
        }
    }
}

impl fmt::Debug for HttpCallSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.shown_url())
    }
}

/// How long to wait for a connection or an answer when the spec does not say (docs/drove-api.md §2.2).
const fn default_timeout() -> DroveDuration {
    DroveDuration::from_secs(1)
}

fn default_success_codes() -> Vec<u16> {
    vec![200]
}

wire_enum! {
    /// The `type` of a [`ConfigSource`].
    enum ConfigType {
        Inline = "INLINE",
        ExecutorLocalFile = "EXECUTOR_LOCAL_FILE",
        ControllerHttpFetch = "CONTROLLER_HTTP_FETCH",
        ExecutorHttpFetch = "EXECUTOR_HTTP_FETCH",
    }
}

impl Read for ConfigSpec {
    fn read(node: &Node<'_>) -> Self {
        let config = node.object();
        Self { local_filename: config.get_or_default("localFilename"), source: config.flattened() }
    }
}

impl Read for ConfigSource {
    fn read(node: &Node<'_>) -> Self {
        const CALL: &str = "- Specify the call that fetches the file";
        let source = node.object();
        match source.required_tag("- Specify where the file comes from") {
            ConfigType::Inline => Self::Inline { data: source.get_or_default("data") },
            ConfigType::ExecutorLocalFile => {
                Self::ExecutorLocalFile { file_path_on_host: source.get_or_default("filePathOnHost") }
            }
            ConfigType::ControllerHttpFetch => {
                Self::ControllerHttpFetch { http: source.required("http", CALL) }
            }
            ConfigType::ExecutorHttpFetch => Self::ExecutorHttpFetch { http: source.required("http", CALL) },
        }
    }
}

impl Read for HttpCallSpec {
    fn read(node: &Node<'_>) -> Self {
        let call = node.object();
        Self {
            protocol: call.get("protocol").unwrap_or_else(default_protocol),
            hostname: call.get_or_default("hostname"),
            port: call.get_or_default("port"),
            path: call.get("path").unwrap_or_else(default_path),
            verb: call.get("verb").unwrap_or_else(default_verb),
            success_codes: call.get("successCodes").unwrap_or_else(default_success_codes),
            payload: call.get("payload"),
            connection_timeout: call.get("connectionTimeout").unwrap_or_else(default_timeout),
            operation_timeout: call.get("operationTimeout").unwrap_or_else(default_timeout),
            username: call.get("username"),
            password: call.get("password"),
            auth_header: call.get("authHeader"),
            headers: call.get_or_default("headers"),
            insecure: call.get_or_default("insecure"),
        }
    }
}

deserialize_by_reading!(ConfigSpec, HttpCallSpec);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_shown_without_what_may_be_secret() {
        let text = r#"{"hostname": "a.example.org", "path": "/x?token=hush", "password": "hush", "payload": "hush",
            "headers": {"X-Key": "hush"}}"#;
        let call: HttpCallSpec = serde_json::from_str(text).unwrap();
        assert_eq!(format!("{call:?}"), "GET http://a.example.org/x");
    }

    #[test]
    fn an_address_is_shown_with_a_port_where_it_is_not_the_usual_one() {
        for (text, shown) in [
            (r#"{"hostname": "a.org", "path": "/a?token=hush"}"#, "http://a.org/a"),
            (r#"{"hostname": "a.org", "port": 8080}"#, "http://a.org:8080/"),
            (r#"{"hostname": "a.org", "protocol": "HTTPS", "port": 443}"#, "https://a.org/"),
            (r#"{"hostname": "[::1]", "port": 81}"#, "http://[::1]:81/"),
            (r#"{"hostname": "::1"}"#, "http://[::1]/"),
        ] {
            let call: HttpCallSpec = serde_json::from_str(text).unwrap();
            assert_eq!(call.shown_url(), shown);
        }
        let bare: HttpCallSpec =
            serde_json::from_str(r#"{"hostname": "[::1]", "protocol": "HTTPS"}"#).unwrap();
        assert_eq!((bare.host(), bare.effective_port()), ("::1", 443));
    }
}
