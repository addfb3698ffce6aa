//! Every deadline of the machine: how long an instance waits for each thing. Deadlines that must outlast the limit of
//! somebody else are in `limits`.

use std::time::Duration;

use muster_common::spec::{CheckSpec, Executable, LocalServiceSpec, PreShutdownSpec};

pub(super) use crate::limits::{COPY, EVIDENCE, FIND, REMOVE, START};
use crate::limits::{PROBE_SLACK, PULL_SLACK, PULL_TURN, STOP_SLACK};

/// For the bind check of leased ports. A bind does not block; this only covers a machine that hangs.
pub(super) const PORT_CHECK: Duration = Duration::from_secs(10);
/// How often a lease is asked for again while there is no room. Something that is given back on this
/// node wakes the waiting at once; this covers what others give back (a port of a foreign process).
pub(super) const LEASE_RETRY: Duration = Duration::from_secs(5);
/// How many taken ports in a row are skipped at once before the next lease waits for [`LEASE_RETRY`].
pub(super) const LEASE_TRIES: u32 = 8;
/// For finding a PROCESS executable on the node's own disk.
const PROCESS_PROVISION: Duration = Duration::from_secs(30);
/// For reading the end of a log while the runner is away: an engine that is restarted ends its containers first, and is back within a
/// minute or so.
pub(super) const EVIDENCE_AWAY: Duration = Duration::from_secs(120);
/// The first wait before an action that did not work is tried again; doubles up to [`RETRY_MAX`].
const RETRY: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// The first distance between two checks of an instance that comes up; doubles up to its interval.
pub(super) const FIRST_GAP: Duration = Duration::from_millis(10);

/// For fetching the executable.
pub(super) fn provision(spec: &LocalServiceSpec) -> Duration {
    match &spec.executable {
        Some(Executable::Docker { docker_pull_timeout, .. }) => {
            docker_pull_timeout.as_duration().saturating_add(PULL_TURN).saturating_add(PULL_SLACK)
        }
        Some(Executable::Process { .. }) | None => PROCESS_PROVISION,
    }
}

/// For passing `check` for the first time: its attempts or the grace, whichever is longer. Only a
/// watchdog: the attempts are counted one by one.
pub(super) fn coming_up(spec: &LocalServiceSpec, check: &CheckSpec) -> Duration {
    let attempts = interval(check).saturating_mul(check.attempts);
    let tries = attempts.max(spec.start_grace());
    tries.saturating_add(check.initial_delay.as_duration()).saturating_add(answer(check))
}

/// Between two checks of a steady instance; never so short that asking is all that is done.
pub(super) fn interval(check: &CheckSpec) -> Duration {
    check.interval.as_duration().max(FIRST_GAP)
}

/// For the answer to one check. The asker keeps the check's timeout; this covers one that does not.
pub(super) fn answer(check: &CheckSpec) -> Duration {
    check.timeout.as_duration().saturating_add(PROBE_SLACK)
}

/// For one pre-shutdown hook. Its caller keeps the hook's timeout; this covers one that does not.
pub(super) fn hook(spec: &LocalServiceSpec) -> Duration {
    let limit = spec.pre_shutdown.as_ref().map_or(Duration::ZERO, PreShutdownSpec::hook_limit);
    limit.saturating_add(PROBE_SLACK)
}

/// For the stop of a workload that has `grace`.
pub(super) fn stop(grace: Duration) -> Duration {
    grace + STOP_SLACK
}

/// Before the `tries`-th repetition of an action that did not work.
pub(super) fn retry(tries: u32) -> Duration {
    RETRY.saturating_mul(1 << tries.min(8)).min(RETRY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_has_the_time_that_its_spec_gives_it() {
        let hook_of = |json: &[u8]| hook(&LocalServiceSpec::from_json(json).unwrap());
        assert_eq!(hook_of(br#"{"preShutdown": {"hookTimeout": "2m"}}"#), Duration::from_secs(125));
        assert_eq!(hook_of(br#"{"preShutdown": {}}"#), Duration::from_secs(35));
    }
}
