//! Readiness checks, health checks and what both may do.

use schemars::JsonSchema;
use serde::Serialize;

use super::header::Headers;
use crate::duration::DroveDuration;
use crate::read::{Node, Read};

/// Drove dies without one.
pub(super) const fn default_protocol() -> Protocol {
    Protocol::Http
}

pub(super) fn default_path() -> String {
    "/".to_owned()
}

pub(super) const fn default_verb() -> HttpVerb {
    HttpVerb::Get
}

/// How long a connection may take when the spec does not say (docs/drove-api.md §4.4).
const fn default_connection_timeout() -> DroveDuration {
    DroveDuration::from_secs(1)
}

/// How many failures in a row count when the spec does not say.
const fn default_attempts() -> u32 {
    3
}

wire_enum! {
    /// How an HTTP check speaks.
    pub enum Protocol {
        /// Plain.
        Http = "HTTP",
        /// TLS.
        Https = "HTTPS",
    }
}

impl Protocol {
    /// As a URL begins.
    #[must_use]
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that is meant when none is named.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

wire_enum! {
    /// What an HTTP check asks.
    pub enum HttpVerb {
        /// `GET`.
        Get = "GET",
        /// `POST`.
        Post = "POST",
        /// `PUT`.
        Put = "PUT",
    }
}

/// What to try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "UPPERCASE", rename_all_fields = "camelCase")]
pub enum CheckMode {
    /// A call to one of the instance's ports on the node.
    Http {
        /// Drove dies without it; here it defaults to HTTP.
        #[schemars(default = "default_protocol")]
        protocol: Protocol,
        /// Must name an exposed port.
        port_name: String,
        /// Where.
        #[schemars(default = "default_path")]
        path: String,
        /// What.
        #[schemars(default = "default_verb")]
        verb: HttpVerb,
        /// Passes iff the answer's status is one of these.
        success_codes: Vec<u16>,
        /// The body to send.
        #[schemars(default)]
        payload: String,
        /// Addition: sent with the call; a `Host` or `User-Agent` here replaces the check's own.
        #[serde(skip_serializing_if = "Headers::is_empty")]
        #[schemars(default)]
        headers: Headers,
        /// How long to wait for the connection.
        #[schemars(default = "default_connection_timeout")]
        connection_timeout: DroveDuration,
        /// Accept any certificate.
        #[schemars(default)]
        insecure: bool,
    },
    /// Addition: a connection to one of the instance's ports.
    Tcp {
        /// Must name an exposed port.
        port_name: String,
    },
    /// Addition: the standard gRPC health check (`grpc.health.v1.Health/Check`) on one of the instance's
    /// ports; SERVING passes.
    Grpc {
        /// Must name an exposed port.
        port_name: String,
        /// Whose health; empty for the server's as a whole.
        #[schemars(default)]
        service: String,
        /// Speak TLS; HTTP/2 without it otherwise.
        #[schemars(default)]
        tls: bool,
        /// Accept any certificate.
        #[schemars(default)]
        insecure: bool,
    },
    /// A command inside the container, or beside the process with its environment. 0 passes.
    Cmd {
        /// What to run.
        command: String,
        /// `false`: through `sh -c`; `true`: split on spaces.
        #[schemars(default)]
        shell_disabled: bool,
    },
}

impl CheckMode {
    /// The exposed port that this check needs, if it needs one.
    #[must_use]
    pub fn port_name(&self) -> Option<&str> {
        match self {
            Self::Http { port_name, .. } | Self::Tcp { port_name } | Self::Grpc { port_name, .. } => {
                Some(port_name)
            }
            Self::Cmd { .. } => None,
        }
    }
}

/// A check and its rhythm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckSpec {
    /// What to try.
    pub mode: CheckMode,
    /// How long one try may take.
    pub timeout: DroveDuration,
    /// How far tries are apart.
    pub interval: DroveDuration,
    /// How many failures in a row count, 1..=100.
    #[schemars(default = "default_attempts")]
    pub attempts: u32,
    /// How long to wait before the first try.
    #[schemars(default)]
    pub initial_delay: DroveDuration,
}

wire_enum! {
    /// The `type` of a [`CheckMode`].
    enum CheckType {
        Http = "HTTP",
        Tcp = "TCP",
        Grpc = "GRPC",
        Cmd = "CMD",
    }
}

impl Read for CheckMode {
    fn read(node: &Node<'_>) -> Self {
        let mode = node.object();
        match mode.required_tag("- Specify what to do: HTTP, TCP, GRPC or CMD") {
            CheckType::Http => Self::Http {
                protocol: mode.get("protocol").unwrap_or_else(default_protocol),
                port_name: mode.get_or_default("portName"),
                path: mode.get("path").unwrap_or_else(default_path),
                verb: mode.get("verb").unwrap_or_else(default_verb),
                success_codes: mode.get_or_default("successCodes"),
                payload: mode.get_or_default("payload"),
                headers: mode.get_or_default("headers"),
                connection_timeout: mode.get("connectionTimeout").unwrap_or_else(default_connection_timeout),
                insecure: mode.get_or_default("insecure"),
            },
            CheckType::Tcp => Self::Tcp { port_name: mode.get_or_default("portName") },
            CheckType::Grpc => Self::Grpc {
                port_name: mode.get_or_default("portName"),
                service: mode.get_or_default("service"),
                tls: mode.get_or_default("tls"),
                insecure: mode.get_or_default("insecure"),
            },
            CheckType::Cmd => Self::Cmd {
                command: mode.get_or_default("command"),
                shell_disabled: mode.get_or_default("shellDisabled"),
            },
        }
    }
}

impl Read for CheckSpec {
    fn read(node: &Node<'_>) -> Self {
        let check = node.object();
        Self {
            mode: check.required("mode", "- Specify what to check, by HTTP, TCP, GRPC or CMD"),
            timeout: check.get_or_default("timeout"),
            interval: check.get_or_default("interval"),
            attempts: check.count("attempts").unwrap_or_else(default_attempts),
            initial_delay: check.get_or_default("initialDelay"),
        }
    }
}

deserialize_by_reading!(CheckMode, CheckSpec);
