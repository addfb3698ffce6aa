//! When and how often a failed instance is replaced.

use super::form::{self, DAY};
use crate::problem::Place;
use crate::spec::{LocalServiceSpec, RestartPolicy};

const MAX_STEPS: usize = 64;
/// Half of a wait: beyond it the order of the waits could turn around.
const MAX_JITTER_PERCENT: u64 = 50;

pub(super) fn check(spec_at: Place<'_>, spec: &LocalServiceSpec) {
    if let Some(grace) = spec.grace {
        form::capped(spec_at.member("grace"), grace, DAY);
    }
    if let Some(policy) = &spec.restart_policy {
        restart_policy(spec_at.member("restartPolicy"), policy);
    }
}

fn restart_policy(place: Place<'_>, policy: &RestartPolicy) {
    const MISSING: &str = "- Specify how long an instance must have been healthy";
    let backoff = place.member("backoff");
    if backoff.require(!policy.backoff.is_empty(), "- Specify at least one wait")
        && form::at_most(backoff, policy.backoff.len(), MAX_STEPS)
    {
        for (index, wait) in policy.backoff.iter().enumerate() {
            form::capped(backoff.element(index), *wait, DAY);
        }
    }
    form::between(place.member("jitter"), u64::from(policy.jitter), 0, MAX_JITTER_PERCENT);
    form::positive(place.member("resetAfter"), policy.reset_after, MISSING, DAY);
}
