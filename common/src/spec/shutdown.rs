//! What happens before the stop.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::check::CheckMode;
use crate::duration::DroveDuration;
use crate::read::{Node, Read};

/// How long a hook may take when the spec does not say (docs/drove-api.md §4.3).
const DEFAULT_HOOK_TIMEOUT: DroveDuration = DroveDuration::from_secs(30);

/// What a workload has between the stop signal and the kill when the spec does not say: an engine's own default, as in
/// Drove.
pub(super) const DEFAULT_STOP_GRACE: DroveDuration = DroveDuration::from_secs(10);

/// Hooks, in order, a pause, and the grace of the stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreShutdownSpec {
    /// Run in order; a failure is noted and does not hold up the stop. Each is run at least once: one that is cut
    /// short because its executor ended is run again by the next, which first ends what is left of the earlier
    /// run. So a hook must bear to be run twice, but never meets itself.
    #[schemars(default)]
    pub hooks: Vec<CheckMode>,
    /// Addition: how long each hook may take, its repetitions included; see [`Self::hook_limit`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook_timeout: Option<DroveDuration>,
    /// Time between the hooks' end and the stop signal.
    #[schemars(default)]
    pub wait_before_kill: DroveDuration,
    /// Addition: time between the stop signal and the kill; 10 s when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace: Option<DroveDuration>,
}

impl PreShutdownSpec {
    /// How long each hook may take: `hookTimeout`, or Drove's 30 s.
    #[must_use]
    pub fn hook_limit(&self) -> Duration {
        self.hook_timeout.unwrap_or(DEFAULT_HOOK_TIMEOUT).as_duration()
    }
}

impl Read for PreShutdownSpec {
    fn read(node: &Node<'_>) -> Self {
        let before = node.object();
        Self {
            hooks: before.get_or_default("hooks"),
            hook_timeout: before.get("hookTimeout"),
            wait_before_kill: before.get_or_default("waitBeforeKill"),
            grace: before.get("grace"),
        }
    }
}

deserialize_by_reading!(PreShutdownSpec);
