//! Forgets history that is old enough.

use std::time::Duration;

use muster_common::time::Timestamp;

use super::Plan;
use crate::state::{Change, Retention, State};

/// Records go in batches: this much beyond their age is tolerated.
const SLACK: Duration = Duration::from_secs(60);

pub(super) fn plan(state: &State, now: Timestamp, plan: &mut Plan) {
    let Retention { records_for, events_for, .. } = state.retention();
    let due = [
        state.oldest_record().map(|oldest| oldest.plus(records_for + SLACK)),
        state.oldest_event().map(|oldest| oldest.plus(events_for + SLACK)),
    ];
    let Some(due) = due.into_iter().flatten().min() else { return };
    let led = state.led_at(now);
    if led < due {
        plan.wake_at(now.plus(due.since(led)));
    } else {
        plan.changes.push(Change::Prune {
            records_before: led.minus(records_for),
            events_before: led.minus(events_for),
        });
    }
}
