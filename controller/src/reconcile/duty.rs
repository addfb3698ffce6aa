//! Executors that leave: one that is empty now, whose drain is out of time, that is not expected back, or that can be
//! forgotten.

use std::time::Duration;

use muster_common::executor::ExecutorState;
use muster_common::time::Timestamp;

use super::Plan;
use crate::state::{Change, Executor, State};

/// How long a removed executor is shown (docs/drove-api.md §1.4).
pub(super) const SHOWN_FOR: Duration = Duration::from_secs(2 * 24 * 3600);

pub(super) fn plan(state: &State, now: Timestamp, plan: &mut Plan) {
    let led = state.led_at(now);
    for executor in state.executors() {
        let id = || executor.record.id.clone();
        match state.expected_until(executor) {
            Some(due) if led >= due => {
                plan.changes.push(Change::RemoveLost { executor: id() });
                continue;
            }
            Some(due) => plan.wake_at(now.plus(due.since(led))),
            None => {}
        }
        match executor.duty {
            ExecutorState::BlacklistRequested | ExecutorState::Draining if state.is_empty(executor) => {
                plan.changes.push(Change::ExecutorEmptied { executor: id() });
            }
            ExecutorState::Draining => drain(executor, now, plan),
            ExecutorState::Removed if state.is_gone(executor) => {
                let due = executor.duty_since.led.plus(SHOWN_FOR);
                if led < due {
                    plan.wake_at(now.plus(due.since(led)));
                } else {
                    plan.changes.push(Change::ForgetExecutor { executor: id() });
                }
            }
            ExecutorState::Active
            | ExecutorState::Unready
            | ExecutorState::BlacklistRequested
            | ExecutorState::Blacklisted
            | ExecutorState::Removed => {}
        }
    }
}

fn drain(executor: &Executor, now: Timestamp, plan: &mut Plan) {
    let Some(drain) = executor.drain else { return };
    let executor = executor.record.id.clone();
    match drain.deadline {
        None => plan.changes.push(Change::StartDrain { executor }),
        Some(deadline) if now < deadline => plan.wake_at(deadline),
        Some(_) => plan.changes.push(Change::ExpireDrain { executor }),
    }
}
