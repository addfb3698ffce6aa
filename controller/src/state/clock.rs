//! The time that operations have. All of it is the leaders' time: a leader's clock starts when it first sees an
//! operation, and a new leader gives each operation what was left of its time, whatever the two clocks say.

use std::time::Duration;

use muster_common::id::OperationId;
use muster_common::operation::{Operation, OperationState};
use muster_common::time::Timestamp;

use super::progress::{goes_in_waves, is_begun};
use super::{Happening, State};

/// How long an operation may wait for a user's word before it fails.
const HELD_FOR_AT_MOST: Duration = Duration::from_secs(7 * 86_400);

/// What an operation that begins has: users say what each slot may take (docs/drove-api.md §4.1), and those that go in
/// waves take that for each wave.
pub(crate) fn whole(operation: &Operation) -> Duration {
    let op_spec = &operation.op_spec;
    let (each, slots) = (op_spec.timeout.as_duration(), operation.slots.len());
    if !goes_in_waves(operation.kind) {
        return each;
    }
    let at_once = op_spec.parallelism.of(slots);
    let canaries = operation.slots.iter().filter(|progress| progress.canary).count();
    // One slot of a zone stays out until the others are through.
    let apart = usize::from(at_once > 1 && slots > 1);
    let waves = canaries.div_ceil(at_once) + (slots - canaries).div_ceil(at_once).max(1) + apart;
    each.saturating_add(op_spec.settle.as_duration()).saturating_mul(u32::try_from(waves).unwrap_or(u32::MAX))
}

impl State {
    /// Starts the clock of an operation whose clock stands.
    pub(super) fn start_clock(&mut self, at: Timestamp, id: &OperationId) -> Option<()> {
        let operation =
            self.operations.get_running_mut(id).filter(|operation| operation.deadline.is_none())?;
        let time_ms = if operation.state.is_held() { held_left(operation) } else { operation.time_left_ms };
        operation.deadline = Some(at.plus(Duration::from_millis(time_ms)));
        Some(())
    }

    /// A new leader begins: whatever clocks ran stand until it starts them.
    pub(super) fn stop_all_clocks(&mut self) {
        let now = self.clock;
        let running: Vec<OperationId> =
            self.operations.running().map(|operation| operation.id.clone()).collect();
        for id in running {
            if let Some(operation) = self.operations.get_running_mut(&id) {
                stop_clock(operation, now);
                time_anew(operation);
            }
        }
        self.stop_drain_clocks();
    }

    /// Moves an operation that is at work to another state in which it is not over. Its clock stands.
    pub(super) fn hold_or_go_on(&mut self, at: Timestamp, id: &OperationId, state: OperationState) {
        let now = self.clock;
        if let Some(operation) = self.operations.get_running_mut(id) {
            stop_clock(operation, now);
            let before = std::mem::replace(&mut operation.state, state);
            if before != state {
                operation.held_left_ms = None;
            }
            let what = Happening::operation(operation);
            if before != state {
                self.emit(at, what);
            }
        }
    }
}

/// What is left of the time in which it may work, or wait for a user's word, is kept.
fn stop_clock(operation: &mut Operation, now: Timestamp) {
    let Some(deadline) = operation.deadline.take() else { return };
    let left = as_ms(deadline.since(now));
    if operation.state.is_held() {
        operation.held_left_ms = Some(held_left(operation).min(left));
    } else {
        operation.time_left_ms = operation.time_left_ms.min(left);
    }
}

/// For how long an operation that is held may be so still: each time that it is held it has the whole time.
fn held_left(operation: &Operation) -> u64 {
    operation.held_left_ms.unwrap_or_else(|| as_ms(HELD_FOR_AT_MOST))
}

/// Since when a slot is at work, or HEALTHY, by the next leader's clock, is for that to say.
fn time_anew(operation: &mut Operation) {
    // Copies share what is not touched.
    if operation.slots.iter().any(is_begun) {
        for progress in operation.slots.iter_mut().filter(|progress| is_begun(progress)) {
            progress.since = None;
        }
    }
}

/// When something of a series is said to have ended: at `at`, but after the `newest` of it where another leader's clock was
/// ahead. So what is forgotten first is what came first.
pub(super) fn after(newest: Option<Timestamp>, at: Timestamp) -> Timestamp {
    newest.filter(|newest| *newest > at).map_or(at, |newest| newest.plus(Duration::from_millis(1)))
}

/// A duration in whole ms.
pub(crate) fn as_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
