//! What is old enough is forgotten.

use std::time::Duration;

use muster_common::time::Timestamp;

use super::Plan;
use crate::state::{Change, State};

/// How long ended instances and finished operations are kept (drove-wire.md §4.4).
pub(super) const RECORD_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long events are kept (drove-wire.md §4.4).
pub(super) const EVENT_AGE: Duration = Duration::from_secs(3600);
/// Records go in batches: this much beyond their age is tolerated.
const SLACK: Duration = Duration::from_secs(60);

pub(super) fn plan(state: &State, now: Timestamp, plan: &mut Plan) {
    let due = [
        state.oldest_record().map(|oldest| oldest.plus(RECORD_AGE + SLACK)),
        state.oldest_event().map(|oldest| oldest.plus(EVENT_AGE + SLACK)),
    ];
    let Some(due) = due.into_iter().flatten().min() else { return };
    if now < due {
        plan.wake_at(due);
    } else {
        plan.changes.push(Change::Prune {
            records_before: before(now, RECORD_AGE),
            events_before: before(now, EVENT_AGE),
        });
    }
}

fn before(now: Timestamp, age: Duration) -> Timestamp {
    Timestamp(now.as_ms().saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)))
}
