//! Back-off and budget: when the next instance may be minted.

use std::time::Duration;

use muster_common::instance::InstanceState;
use muster_common::reason::Reason;
use muster_common::spec::RestartPolicy;

use crate::machine::Instance;

/// How many unconfirmed ends make the least wait a second longer.
const ENDS_FOR_A_SECOND: usize = 1000;

/// Whether an instance whose workload is no more ended by its own fault: nobody asked it to, and the machine did
/// not boot under it.
pub(super) fn has_failed(instance: &Instance) -> bool {
    instance.is_spent() && instance.stop.is_none() && instance.record.reason != Some(Reason::Rebooted)
}

/// How long an instance was HEALTHY; a restart of the executor in between does not interrupt it. It was so until it
/// ended, however long after that was learnt.
pub(super) fn healthy_for(instance: &Instance) -> Duration {
    let mut since = None;
    for transition in &instance.record.timeline {
        match transition.to {
            InstanceState::Healthy => since = since.or(Some(transition.at)),
            InstanceState::Unknown => {}
            _ => {
                if let Some(since) = since {
                    let ended = instance.record.finished.unwrap_or(transition.at);
                    return transition.at.min(ended).since(since);
                }
            }
        }
    }
    Duration::ZERO
}

/// The wait before the instance after the `failures`-th failure in a row, moved by the policy's
/// jitter as `random` says.
pub(super) fn backoff(policy: &RestartPolicy, failures: u32, random: u64) -> Duration {
    let place = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
    let Some(wait) = policy.backoff.get(place).or(policy.backoff.last()) else { return Duration::ZERO };
    let wait = wait.as_duration();
    let span = wait.saturating_mul(u32::from(policy.jitter.min(50))) / 100;
    let wide = u64::try_from(span.as_millis()).unwrap_or(u64::MAX / 4).min(u64::MAX / 4) * 2;
    let moved = Duration::from_millis(random % (wide + 1));
    wait.saturating_sub(span).saturating_add(moved)
}

/// The least wait while so many ends have been confirmed by nobody. None of them is ever dropped, so what crashes again and
/// again at once gets slower instead: their number grows with the root of the time.
pub(crate) fn least_wait(unconfirmed_ends: usize) -> Duration {
    Duration::from_secs(u64::try_from(unconfirmed_ends / ENDS_FOR_A_SECOND).unwrap_or(u64::MAX))
}

/// The longest wait that the policy can ask for: a longer one is a clock that went back.
pub(super) fn longest(policy: &RestartPolicy) -> Duration {
    let longest = policy.backoff.iter().map(|wait| wait.as_duration()).max().unwrap_or_default();
    longest.saturating_mul(3) / 2
}

/// Whether the crash-loop budget is spent.
pub(super) fn is_spent(policy: &RestartPolicy, failures: u32) -> bool {
    policy.budget.is_some_and(|budget| failures > budget)
}
