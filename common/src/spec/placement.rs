//! Where to run.

use serde::Serialize;

use crate::read::{Node, Read};

/// Where to run. Anything but `LOCAL` is refused by validation, not by parsing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase")]
pub enum PlacementPolicy {
    /// On every matching executor.
    Local {
        /// Host ports are the declared ports, one instance per host.
        host_level: bool,
    },
    /// A policy of Drove's applications.
    Unsupported,
}

impl Read for PlacementPolicy {
    fn read(node: &Node<'_>) -> Self {
        let policy = node.object();
        let kind: String = policy.required_tag("- Specify the type of the policy: LOCAL");
        if kind.eq_ignore_ascii_case("LOCAL") {
            Self::Local { host_level: policy.get_or_default("hostLevel") }
        } else {
            Self::Unsupported
        }
    }
}

deserialize_by_reading!(PlacementPolicy);
