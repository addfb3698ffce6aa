//! Operations that go slot by slot: RESTART, `REPLACE_INSTANCES`, `STOP_INSTANCES`. At most
//! `parallelism` slots are at work at a time, and the next is begun only when one is through.
//!
//! A slot whose executor is not heard is away: it is passed over, taken up again should the executor
//! come back in time, and never fails the operation. It keeps its place in the wave only if it may be
//! down by our doing, which start-first never is.

use muster_common::operation::{
    FailureStrategy, Operation, OperationKind, OperationState, SlotOutcome, SlotProgress,
};
use muster_common::reason::Reason;
use muster_common::slot::{ReplaceMode, SlotPhase};
use muster_common::time::Timestamp;

use super::Plan;
use super::convergence::Tally;
use crate::state::{Change, Slot, State, brief};

/// A slot's verdict: how it ended, and why.
struct Verdict {
    outcome: SlotOutcome,
    reason: Option<Reason>,
    message: String,
}

pub(super) fn plan(state: &State, operation: &Operation, now: Timestamp, plan: &mut Plan) {
    let late = now >= operation.deadline;
    if !late {
        plan.wake_at(operation.deadline);
    }
    let mut slots = operation.slots.clone();
    for progress in &mut slots {
        if let Some(verdict) = judge(state, operation, progress, late) {
            plan.changes.push(settle(operation, progress, &verdict));
            progress.outcome = verdict.outcome;
            progress.reason = verdict.reason;
            progress.message = verdict.message;
        }
    }
    let stopped = late || slots.iter().any(|progress| progress.outcome == SlotOutcome::Failed);
    if !stopped {
        begin_next(state, operation, &slots, plan);
    }
    let at_work = slots.iter().any(|progress| is_at_work(state, progress));
    let to_come = !stopped && slots.iter().any(|progress| is_to_come(state, progress));
    if late || !(at_work || to_come) {
        plan.changes.push(finish(state, operation, &slots));
    }
}

/// Where an open slot stands now; `None`: as before.
fn judge(state: &State, operation: &Operation, progress: &SlotProgress, late: bool) -> Option<Verdict> {
    let slot = state.slot(&progress.slot);
    match progress.outcome {
        SlotOutcome::Done | SlotOutcome::Failed | SlotOutcome::Away => None,
        SlotOutcome::Waiting if old_is_gone(state, operation, progress) => {
            Some(done("the instance had ended by itself"))
        }
        SlotOutcome::Waiting => slot.is_none().then(taken_away),
        SlotOutcome::InProgress => match slot {
            None => Some(taken_away()),
            Some(slot) => judge_at_work(state, operation, progress, slot, late),
        },
    }
}

fn judge_at_work(
    state: &State,
    operation: &Operation,
    progress: &SlotProgress,
    slot: &Slot,
    late: bool,
) -> Option<Verdict> {
    let through = match operation.kind {
        OperationKind::StopInstances => old_is_gone(state, operation, progress),
        _ => state.is_replaced(&progress.slot, slot),
    };
    if through {
        return Some(done(""));
    }
    let status = slot.current_status();
    if let Some(status) = status
        && matches!(status.phase, SlotPhase::Failed | SlotPhase::KeptOld)
    {
        return Some(Verdict {
            outcome: SlotOutcome::Failed,
            reason: status.reason,
            message: brief(&status.message),
        });
    }
    if !late || !state.is_connected(&progress.slot.executor) {
        return None;
    }
    let last = status.map_or_else(
        || "its executor did not say anything about it".to_owned(),
        |status| format!("it was {} {}", status.phase, status.message).trim_end().to_owned(),
    );
    let after = operation.deadline.since(operation.created).as_secs();
    let message = brief(&format!("timed out in {} after {after} s; {last}", operation.kind));
    Some(Verdict { outcome: SlotOutcome::Failed, reason: Some(Reason::TimedOut), message })
}

/// Whether what `STOP_INSTANCES` was to stop has stopped.
fn old_is_gone(state: &State, operation: &Operation, progress: &SlotProgress) -> bool {
    operation.kind == OperationKind::StopInstances
        && progress
            .old_instance
            .as_ref()
            .is_none_or(|old| state.instance(old).is_none_or(|instance| !instance.is_live()))
}

/// Raises as many slots as the wave has room for.
fn begin_next(state: &State, operation: &Operation, slots: &[SlotProgress], plan: &mut Plan) {
    let at_work = slots.iter().filter(|progress| has_place(state, operation, progress)).count();
    let parallelism = usize::try_from(operation.op_spec.parallelism.max(1)).unwrap_or(usize::MAX);
    let room = parallelism.saturating_sub(at_work);
    for progress in slots.iter().filter(|progress| is_to_come(state, progress)).take(room) {
        let Some(slot) = state.slot(&progress.slot) else { continue };
        plan.changes.push(Change::RaiseSlot {
            operation: operation.id.clone(),
            slot: progress.slot.clone(),
            epoch: slot.epoch,
            mode: mode(state, operation),
        });
    }
}

fn mode(state: &State, operation: &Operation) -> ReplaceMode {
    let host_level = state.service(&operation.service).is_some_and(|service| service.spec.is_host_level());
    let stops_first = operation.stop_first || host_level || operation.kind == OperationKind::StopInstances;
    if stops_first { ReplaceMode::StopFirst } else { ReplaceMode::StartFirst }
}

/// At work, and its executor is heard: worth waiting for.
fn is_at_work(state: &State, progress: &SlotProgress) -> bool {
    progress.outcome == SlotOutcome::InProgress && state.is_connected(&progress.slot.executor)
}

/// At work in a way that may have taken it down.
fn has_place(state: &State, operation: &Operation, progress: &SlotProgress) -> bool {
    progress.outcome == SlotOutcome::InProgress
        && (state.is_connected(&progress.slot.executor) || mode(state, operation) == ReplaceMode::StopFirst)
}

/// Not begun, and it could be.
fn is_to_come(state: &State, progress: &SlotProgress) -> bool {
    progress.outcome == SlotOutcome::Waiting
        && state.is_connected(&progress.slot.executor)
        && state.slot(&progress.slot).is_some()
}

fn done(message: &str) -> Verdict {
    Verdict { outcome: SlotOutcome::Done, reason: None, message: message.to_owned() }
}

fn taken_away() -> Verdict {
    Verdict {
        outcome: SlotOutcome::Away,
        reason: Some(Reason::SlotRemoved),
        message: "the slot was taken away".to_owned(),
    }
}

fn settle(operation: &Operation, progress: &SlotProgress, verdict: &Verdict) -> Change {
    Change::SettleSlot {
        operation: operation.id.clone(),
        slot: progress.slot.clone(),
        from: progress.outcome,
        outcome: verdict.outcome,
        reason: verdict.reason,
        message: verdict.message.clone(),
    }
}

/// The end, in words. What is still waiting or at work out of sight is shown as away by the state
/// when it seals the operation.
fn finish(state: &State, operation: &Operation, slots: &[SlotProgress]) -> Change {
    let shown = state.progress(&Operation { slots: slots.to_vec(), ..operation.clone() });
    let tally = Tally::of(&shown);
    let failed = tally.failed > 0 || tally.open > 0;
    let mut message = tally.in_words(&shown);
    if failed && operation.op_spec.failure_strategy == FailureStrategy::Rollback {
        message.push_str(match mode(state, operation) {
            ReplaceMode::StartFirst => {
                "; nothing had to be rolled back: a failed slot keeps its old instance, and all run the same spec"
            }
            ReplaceMode::StopFirst => {
                "; nothing could be rolled back: the old instances were stopped first, and all run the same spec"
            }
        });
    }
    let outcome = if failed { OperationState::Failed } else { OperationState::Succeeded };
    Change::FinishOperation { operation: operation.id.clone(), state: outcome, message }
}
