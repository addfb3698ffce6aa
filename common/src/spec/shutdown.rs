//! What happens before the stop.

use serde::Serialize;

use super::check::CheckMode;
use crate::duration::DroveDuration;
use crate::read::{Node, Read};

/// Hooks, in order, and a pause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PreShutdownSpec {
    /// Run in order; a failure is noted and does not hold up the stop.
    pub hooks: Vec<CheckMode>,
    /// Time between the hooks' end and the stop signal.
    pub wait_before_kill: DroveDuration,
}

impl Read for PreShutdownSpec {
    fn read(node: &Node<'_>) -> Self {
        let before = node.object();
        Self {
            hooks: before.get_or_default("hooks"),
            wait_before_kill: before.get_or_default("waitBeforeKill"),
        }
    }
}

deserialize_by_reading!(PreShutdownSpec);
