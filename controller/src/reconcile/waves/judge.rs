//! How far a slot of an operation is, and whether it has failed.

use std::time::Duration;

use muster_common::operation::{Operation, OperationKind, OperationState, SlotOutcome, SlotProgress};
use muster_common::reason::Reason;
use muster_common::slot::{ReplaceMode, SlotPhase, SlotStatus};
use muster_common::time::Timestamp;

use crate::state::{Slot, State, brief, whole};

/// How many instances one after the other may fail in a slot that was begun.
const MAX_FAILURES: u64 = 3;

/// What has become of a slot, and why.
pub(super) struct Verdict {
    pub(super) outcome: SlotOutcome,
    pub(super) reason: Option<Reason>,
    pub(super) message: String,
}

/// Where an open slot stands now; `None`: as before.
pub(super) fn judge(
    state: &State,
    operation: &Operation,
    progress: &SlotProgress,
    now: Timestamp,
    late: bool,
) -> Option<Verdict> {
    let slot = state.slot(&progress.slot);
    match progress.outcome {
        SlotOutcome::RolledBack | SlotOutcome::Failed | SlotOutcome::Away => None,
        SlotOutcome::Done => slot.and_then(|slot| judge_done(state, operation, progress, slot, late)),
        SlotOutcome::Waiting if old_is_gone(state, operation, progress) => {
            Some(verdict(SlotOutcome::Done, "the instance had ended by itself"))
        }
        SlotOutcome::Waiting if slot.is_none() => Some(taken_away()),
        SlotOutcome::Waiting => not_for(state, operation, progress),
        SlotOutcome::RollingBack if progress.epoch.is_none() => slot.is_none().then(taken_away),
        SlotOutcome::InProgress | SlotOutcome::Settling | SlotOutcome::RollingBack => match slot {
            None => Some(taken_away()),
            Some(slot) => judge_at_work(state, operation, progress, slot, (now, late)),
        },
    }
}

fn judge_at_work(
    state: &State,
    operation: &Operation,
    progress: &SlotProgress,
    slot: &Slot,
    (now, late): (Timestamp, bool),
) -> Option<Verdict> {
    let through = match operation.kind {
        OperationKind::StopInstances => old_is_gone(state, operation, progress),
        _ => state.is_replaced(&progress.slot, slot),
    };
    match progress.outcome {
        SlotOutcome::RollingBack if through => {
            return Some(verdict(SlotOutcome::RolledBack, "it has again what it had before"));
        }
        SlotOutcome::Settling => return judge_settling(state, operation, progress, slot, (now, late)),
        _ if through && settles(operation) => {
            return Some(verdict(SlotOutcome::Settling, &format!("HEALTHY; {}", to_stay(operation))));
        }
        _ if through => return Some(verdict(SlotOutcome::Done, "")),
        _ => {}
    }
    let status = slot.current_status();
    if let Some(status) = status
        && has_failed(progress, status)
    {
        return Some(Verdict {
            outcome: SlotOutcome::Failed,
            reason: status.reason,
            message: brief(&status.message),
        });
    }
    let time = super::time_of(operation, progress.outcome);
    let is_over = progress.since.is_some_and(|since| now.since(since) >= time);
    // Who went down by our doing and is not heard keeps its place, but not for ever; who did not is passed over, and so is
    // who is lost.
    let is_lost = state.is_lost(&progress.slot.executor);
    let blocks = is_over && slot.mode == ReplaceMode::StopFirst && !is_lost;
    if !(late || is_over) || !(blocks || state.is_connected(&progress.slot.executor)) {
        return None;
    }
    let last = status.map_or_else(
        || "its executor did not say anything about it".to_owned(),
        |status| format!("it was {} {}", status.phase, status.message).trim_end().to_owned(),
    );
    Some(timed_out(operation, if is_over { time } else { whole(operation) }, &last))
}

/// Whether the executor gave up, or fails again and again: it may go on with that for far longer than operations last.
fn has_failed(progress: &SlotProgress, status: &SlotStatus) -> bool {
    match status.phase {
        SlotPhase::Failed | SlotPhase::KeptOld => true,
        SlotPhase::Backoff => status.restarts.saturating_sub(progress.restarts) >= MAX_FAILURES,
        SlotPhase::Filling | SlotPhase::Filled => false,
    }
}

/// A new instance that does not stay HEALTHY is a failed replacement, though it was HEALTHY once. Of one whose
/// executor is not heard nobody knows.
fn judge_settling(
    state: &State,
    operation: &Operation,
    progress: &SlotProgress,
    slot: &Slot,
    (now, late): (Timestamp, bool),
) -> Option<Verdict> {
    if !state.is_connected(&progress.slot.executor) {
        return None;
    }
    if !state.is_filled(&progress.slot, slot) {
        let why = slot.current_status().map(|status| (status.reason, status.message.as_str()));
        let (reason, why) = why.unwrap_or((None, ""));
        let message = format!("it was HEALTHY, and {}; it is not any more {why}", to_stay(operation));
        return Some(Verdict { outcome: SlotOutcome::Failed, reason, message: brief(message.trim_end()) });
    }
    let settled =
        progress.since.is_some_and(|since| now.since(since) >= super::time_of(operation, progress.outcome));
    if settled {
        return Some(verdict(SlotOutcome::Done, ""));
    }
    late.then(|| {
        let last = format!("it was HEALTHY, but not yet for {}", operation.op_spec.settle);
        timed_out(operation, whole(operation), &last)
    })
}

fn timed_out(operation: &Operation, time: Duration, last: &str) -> Verdict {
    let message = format!("timed out in {} after {} seconds; {last}", operation.kind, time.as_secs());
    Verdict { outcome: SlotOutcome::Failed, reason: Some(Reason::TimedOut), message: brief(&message) }
}

/// Executors' tags may change on the way.
fn not_for(state: &State, operation: &Operation, progress: &SlotProgress) -> Option<Verdict> {
    let target = state.service(&operation.service)?.specs.get(operation.generation?)?;
    Some(verdict(SlotOutcome::Done, &state.not_for(&progress.slot, &target.spec)?))
}

/// One that was through has failed if its instance is given up before the operation is over, or is down when its time
/// is: that is why the rest was not begun.
fn judge_done(
    state: &State,
    operation: &Operation,
    progress: &SlotProgress,
    slot: &Slot,
    late: bool,
) -> Option<Verdict> {
    let is_judged = operation.state != OperationState::RollingBack
        && progress.epoch == Some(slot.epoch)
        && state.is_connected(&progress.slot.executor)
        && !state.is_filled(&progress.slot, slot);
    let status = slot.current_status().filter(|_| is_judged);
    let gave_up = status.is_some_and(|status| status.phase == SlotPhase::Failed);
    (gave_up || (is_judged && late)).then(|| {
        let why = status.map_or("", |status| status.message.as_str());
        let what = match operation.kind {
            OperationKind::StopInstances => "its instance was stopped, and no other is HEALTHY yet",
            _ => "it was HEALTHY, and is not any more",
        };
        let message = format!("{what}: {why}");
        let message = brief(message.trim_end_matches(": "));
        Verdict { outcome: SlotOutcome::Failed, reason: status.and_then(|status| status.reason), message }
    })
}

/// What is stopped is through when it is gone; its slot keeps its place in the wave until it is filled again.
fn settles(operation: &Operation) -> bool {
    !operation.op_spec.settle.is_zero() && operation.kind != OperationKind::StopInstances
}

fn to_stay(operation: &Operation) -> String {
    format!("must stay so for {}", operation.op_spec.settle)
}

/// Whether what `STOP_INSTANCES` was to stop has stopped; its log may still be copied. Of what was lost with its executor
/// nobody knows.
fn old_is_gone(state: &State, operation: &Operation, progress: &SlotProgress) -> bool {
    operation.kind == OperationKind::StopInstances
        && progress
            .old_instance
            .as_ref()
            .and_then(|old| state.instance(old))
            .is_none_or(|old| !(old.is_live() || old.is_awaited()) || old.record.is_only_copied())
}

fn verdict(outcome: SlotOutcome, message: &str) -> Verdict {
    Verdict { outcome, reason: None, message: message.to_owned() }
}

fn taken_away() -> Verdict {
    Verdict { reason: Some(Reason::SlotRemoved), ..verdict(SlotOutcome::Away, "the slot was taken away") }
}
