//! How long an instance may honestly take: what waits for one waits that long.

use std::time::Duration;

use super::LocalServiceSpec;
use super::check::CheckSpec;
use super::executable::Executable;

/// What creating and starting, or stopping and removing, may take beside what the spec says.
const BESIDE: Duration = Duration::from_secs(60);

impl LocalServiceSpec {
    /// From nothing to HEALTHY, and from HEALTHY to nothing when the old one goes first: fetching, every try of both checks
    /// (drove-wire.md §4.1), every hook in full.
    #[must_use]
    pub fn longest_replacement(&self) -> Duration {
        let fetch = match &self.executable {
            Some(Executable::Docker { docker_pull_timeout, .. }) => docker_pull_timeout.as_duration(),
            Some(Executable::Process { .. }) | None => Duration::ZERO,
        };
        let checks = [&self.readiness, &self.healthcheck].into_iter().flatten().map(longest_check);
        let stop = self.pre_shutdown.as_ref().map_or(Duration::ZERO, |before| {
            let hooks = u32::try_from(before.hooks.len()).unwrap_or(u32::MAX);
            before.hook_limit().saturating_mul(hooks).saturating_add(before.wait_before_kill.as_duration())
        });
        checks.fold(fetch.saturating_add(stop).saturating_add(BESIDE), Duration::saturating_add)
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

    #[test]
    fn a_replacement_has_the_time_of_all_that_its_spec_allows() {
        let spec = serde_json::json!({
            "executable": {"type": "DOCKER", "url": "web:1", "dockerPullTimeout": "15m"},
            "readiness": {"mode": {"type": "TCP", "portName": "main"}, "timeout": "1s", "interval": "4s",
                          "attempts": 6, "initialDelay": "10s"},
            "preShutdown": {"hooks": [{"type": "CMD", "command": "one"}, {"type": "CMD", "command": "two"}],
                            "waitBeforeKill": "20s"}
        });
        let spec: LocalServiceSpec = serde_json::from_value(spec).unwrap();
        assert_eq!(spec.longest_replacement(), Duration::from_secs(900 + 10 + 30 + 60 + 20 + 60));
        assert_eq!(LocalServiceSpec::from_json(b"{}").unwrap().longest_replacement(), BESIDE);
    }
}
