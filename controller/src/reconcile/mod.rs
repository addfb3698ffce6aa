//! Compares what is with what must be: which slots to assign or take away, and which epochs to raise next.
//!
//! [`plan_on`] is a pure function of the state and the time; every change that it gives carries the
//! condition under which it was planned, so that a stale or repeated plan is harmless. The leader's
//! [`Reconciler`] runs it whenever the state changes.
//!
//! It must not know sessions, or how executors work: it knows slots and reports only.

mod catch_up;
mod convergence;
mod duty;
mod placement;
mod retention;
mod task;
#[cfg(test)]
mod tests;
mod unsettled;
mod waves;

use std::collections::BTreeSet;

use muster_common::id::ExecutorId;
use muster_common::operation::Operation;
use muster_common::time::Timestamp;

use crate::state::{Change, State, goes_in_waves};

pub(crate) use task::Reconciler;

/// How many changes one plan holds at most, so that a log entry stays small; the rest follows in the
/// next plan, at once.
pub(crate) const MAX_CHANGES: usize = 1000;
/// About how many bytes a plan may have as a command: far below what the log takes.
const MAX_PLAN_BYTES: usize = 256 * 1024;

/// What to change now, and when to look again even if nothing happens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Plan {
    /// The changes, in the order in which they are to be applied. Where there is none, nothing is proposed.
    pub changes: Vec<Change>,
    /// When to plan again even if nothing happens: the earliest deadline.
    pub wake: Option<Timestamp>,
    /// The executors whose slots were found to be as wanted.
    pub settled: Vec<ExecutorId>,
}

impl Plan {
    fn wake_at(&mut self, moment: Timestamp) {
        self.wake = Some(self.wake.map_or(moment, |wake| wake.min(moment)));
    }
}

/// Plans for the whole `state` at `now`.
#[cfg(test)]
#[must_use]
pub(crate) fn plan(state: &State, now: Timestamp) -> Plan {
    plan_on(state, &unsettled::all(state), now)
}

/// What `state` asks for at `now`, where only the slots on `executors` may be others than wanted. While it is closed
/// for maintenance that is nothing but to forget what is old.
#[must_use]
fn plan_on(state: &State, executors: &BTreeSet<ExecutorId>, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    if !state.is_in_maintenance() {
        converge(state, executors, now, &mut plan);
    }
    retention::plan(state, now, &mut plan);
    plan.changes.truncate(MAX_CHANGES);
    limit(&mut plan.changes);
    plan
}

fn converge(state: &State, executors: &BTreeSet<ExecutorId>, now: Timestamp, plan: &mut Plan) {
    placement::plan(state, executors, plan);
    duty::plan(state, now, plan);
    // Only what is placed as wanted can be judged.
    let settled = plan.changes.is_empty();
    catch_up::plan(state, executors, plan);
    for operation in state.running_operations() {
        if goes_in_waves(operation.kind) {
            waves::plan(state, operation, now, plan);
        } else {
            convergence::plan(state, operation, settled, now, plan);
        }
    }
}

/// Whether an operation's time is over. One whose clock stands has its time started.
fn is_late(operation: &Operation, now: Timestamp, plan: &mut Plan) -> bool {
    let Some(deadline) = operation.deadline else {
        plan.changes.push(Change::StartClock { operation: operation.id.clone() });
        return false;
    };
    let late = now >= deadline;
    if !late {
        plan.wake_at(deadline);
    }
    late
}

/// Keeps as many changes as fit into one command, and always the first: what is left is planned again
/// when these have been made.
fn limit(changes: &mut Vec<Change>) {
    let mut bytes = 0;
    let fitting = changes.iter().take_while(|change| {
        bytes += change.encoded_len();
        bytes <= MAX_PLAN_BYTES
    });
    let fitting = fitting.count().max(1);
    changes.truncate(fitting);
}
