//! How long an instance may honestly take: what waits for one waits that long.

use std::time::Duration;

use super::LocalServiceSpec;
use super::check::CheckSpec;
use super::executable::Executable;

/// What creating and starting, or stopping and removing, may take beside what the spec says.
const BESIDE: Duration = Duration::from_secs(60);

impl LocalServiceSpec {
    /// From nothing to HEALTHY, and from HEALTHY to nothing when the old one goes first: fetching, every try of both checks
    /// (docs/drove-api.md §4.1) or its grace, every hook and the stop in full.
    #[must_use]
    pub fn longest_replacement(&self) -> Duration {
        let fetch = match &self.executable {
            Some(Executable::Docker { docker_pull_timeout, .. }) => docker_pull_timeout.as_duration(),
            Some(Executable::Process { .. }) | None => Duration::ZERO,
        };
        let grace = self.start_grace();
        let checks = [&self.readiness, &self.healthcheck].into_iter().flatten();
        let checks = checks.map(|check| longest_check(check).max(grace));
        let stop = self.pre_shutdown.as_ref().map_or(Duration::ZERO, |before| {
            let hooks = u32::try_from(before.hooks.len()).unwrap_or(u32::MAX);
            before.hook_limit().saturating_mul(hooks).saturating_add(before.wait_before_kill.as_duration())
        });
        let rest = fetch.saturating_add(stop).saturating_add(self.stop_grace()).saturating_add(BESIDE);
        checks.fold(rest, Duration::saturating_add)
    }
}

fn longest_check(check: &CheckSpec) -> Duration {
    let tries = check.timeout.as_duration().saturating_add(check.interval.as_duration());
    check.initial_delay.as_duration().saturating_add(tries.saturating_mul(check.attempts))
}

#[cfg(test)]
mod tests {
    // Tests may panic.
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::duration::DroveDuration;

    #[test]
    fn a_replacement_has_the_time_of_all_that_its_spec_allows() {
        let spec = serde_json::json!({
            "executable": {"type": "DOCKER", "url": "web:1", "dockerPullTimeout": "15m"},
            "readiness": {"mode": {"type": "TCP", "portName": "main"}, "timeout": "1s", "interval": "4s",
                          "attempts": 6, "initialDelay": "10s"},
            "preShutdown": {"hooks": [{"type": "CMD", "command": "one"}, {"type": "CMD", "command": "two"}],
                            "waitBeforeKill": "20s", "grace": "2m"},
            "grace": "5s"
        });
        let mut spec: LocalServiceSpec = serde_json::from_value(spec).unwrap();
        assert_eq!(spec.longest_replacement(), Duration::from_secs(900 + 10 + 30 + 60 + 20 + 120 + 60));
        spec.grace = Some(DroveDuration::from_secs(3600));
        assert_eq!(spec.longest_replacement(), Duration::from_secs(900 + 3600 + 60 + 20 + 120 + 60));
        let empty = LocalServiceSpec::from_json(b"{}").unwrap();
        assert_eq!(empty.longest_replacement(), empty.stop_grace() + BESIDE);
    }
}
