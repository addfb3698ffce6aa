//! Operations that go slot by slot: RESTART, `REPLACE_INSTANCES`, `STOP_INSTANCES`, `UPDATE_SPEC`, ROLLBACK. At most
//! `parallelism` slots are at work at a time, and the next is begun only when one is through: its new instance is
//! HEALTHY, has stayed so for the `settle` time, and the old one is gone.
//!
//! | module | noun |
//! |---|---|
//! | `judge` | how far a slot is, and whether it has failed |
//! | `pick` | which slots to begin with next |
//!
//! **When a slot fails.** A slot has failed when it is not through within the operation's `timeout`. (The operation as a
//! whole has that time for each wave.) It has also failed when its instances fail one after the other, whether its executor
//! gave up or goes on trying. A slot that `STOP_INSTANCES` stops is through when its instance is gone, but keeps its place in
//! the wave until it is filled again.
//!
//! **What counts as at work.** Slots that earlier operations began and left unfinished count as well. A slot that an earlier
//! rollout of the same spec began and left has been begun already. A slot that was through and is not HEALTHY any more takes
//! its place again, so that a spec that is good for a moment only never gets everywhere.
//!
//! **Executors that are away.** A slot whose executor is not heard is away. It is passed over, is taken up again if the
//! executor comes back in time, and never fails the operation. It keeps its place in the wave only if it may be down because
//! of this operation or of a rollout before it (which start-first never causes); then it fails when its time is over. It
//! gives its place up once its executor is lost.
//!
//! **Zones.** The last slot of a zone that serves is held back. Users are told which slots it waits for. Where it waits only
//! for executors that are away, it counts as away, too.
//!
//! **Canaries** go first, and the rest only once somebody promoted the operation.
//!
//! **After a failure** nothing more is begun. What was begun is awaited. But where the strategy is ROLLBACK and there is
//! another spec to go back to, every slot that was given the new spec is given the old one again, in waves of the same width.
//! Where the way back fails as well, the operation ends, rather than take down more of what works.

mod judge;
mod pick;

use std::time::Duration;

use muster_common::operation::{
    FailureStrategy, Operation, OperationKind, OperationState, SlotOutcome, SlotProgress,
};
use muster_common::reason::Reason;
use muster_common::slot::ReplaceMode;
use muster_common::time::Timestamp;

use super::convergence::Tally;
use super::{Plan, is_late};
use crate::state::{Change, State, is_begun, is_for_canaries, whole};
use judge::{Verdict, judge};
use pick::Wave;

pub(super) fn plan(state: &State, operation: &Operation, now: Timestamp, plan: &mut Plan) {
    let late = is_late(operation, now, plan);
    let mut slots = judged(state, operation, (now, late), plan);
    let rolling_back = operation.state == OperationState::RollingBack;
    let failing = late || slots.iter().any(|progress| progress.outcome == SlotOutcome::Failed);
    if failing && !rolling_back && can_roll_back(operation) {
        // Who paused it says when it goes on, be it back.
        if operation.state == OperationState::Paused && !late {
            return;
        }
        let message = account(state, operation, &shown(state, operation, &slots), late);
        plan.changes.push(Change::RollBack { operation: operation.id.clone(), message });
        return;
    }
    let stopped = late || (failing && !rolling_back);
    let mut wave = Wave::default();
    if !stopped && !operation.state.is_held() {
        if awaits_promotion(state, operation, &slots) {
            plan.changes.push(Change::AwaitPromotion { operation: operation.id.clone() });
            return;
        }
        wave = pick::next(state, operation, &slots);
        begin(state, operation, &wave, plan);
        say_why_held(operation, &slots, &wave, plan);
    }
    let at_work = !wave.next.is_empty() || slots.iter().any(|progress| is_at_work(state, progress));
    let may_come =
        |progress: &SlotProgress| is_to_come(state, operation, progress) && !wave.awaits_away(&progress.slot);
    let to_come = !stopped && slots.iter().any(may_come);
    // Slots that failed on the way back keep their places: when no place is left, that is the end of it.
    let is_stuck = rolling_back && failing && !at_work;
    // Who is held waits for a user's word, and a spec that nothing has run yet for somebody to come back, though nothing
    // that could be begun is left for the moment.
    let waits = operation.state.is_held() || state.is_unproven(operation, slots.iter());
    let is_through = !(at_work || to_come) && (stopped || !waits);
    if late || is_stuck || is_through {
        leave_for_away(operation, &mut slots, &wave, plan);
        plan.changes.push(finish(state, operation, &slots, late));
    }
}

/// Where each slot stands now.
fn judged(
    state: &State,
    operation: &Operation,
    (now, late): (Timestamp, bool),
    plan: &mut Plan,
) -> Vec<SlotProgress> {
    let mut slots: Vec<SlotProgress> = operation.slots.iter().cloned().collect();
    for progress in &mut slots {
        if let Some(verdict) = judge(state, operation, progress, now, late) {
            plan.changes.push(settle(operation, progress, &verdict));
            progress.outcome = verdict.outcome;
            progress.reason = verdict.reason;
            progress.message = verdict.message;
            progress.since = Some(now);
        }
        match progress.since {
            // Who is not heard and in nobody's way is judged when it is.
            Some(since) if is_at_work(state, progress) || blocks(state, operation, progress) => {
                plan.wake_at(since.plus(time_of(operation, progress.outcome)));
            }
            // Another leader's clock began it.
            None if is_begun(progress) => plan.changes.push(time_anew(operation, progress)),
            Some(_) | None => {}
        }
    }
    slots
}

/// Whether a slot that is not heard holds up others: it may be down by our doing.
fn blocks(state: &State, operation: &Operation, progress: &SlotProgress) -> bool {
    is_begun(progress) && progress.outcome != SlotOutcome::Settling && has_place(state, operation, progress)
}

/// How long a slot that was begun may stay where it is.
fn time_of(operation: &Operation, outcome: SlotOutcome) -> Duration {
    let op_spec = &operation.op_spec;
    let time = if outcome == SlotOutcome::Settling { op_spec.settle } else { op_spec.timeout };
    time.as_duration()
}

/// Only a rollout has something to go back to: all others replace instances by instances of the same spec.
fn can_roll_back(operation: &Operation) -> bool {
    operation.generation.is_some() && operation.op_spec.failure_strategy == FailureStrategy::Rollback
}

/// Whether the canaries are through, one of them at least to be looked at, and others are to come.
fn awaits_promotion(state: &State, operation: &Operation, slots: &[SlotProgress]) -> bool {
    let mut canaries = slots.iter().filter(|progress| progress.canary);
    operation.state == OperationState::Running
        && is_for_canaries(operation)
        && slots.iter().any(|progress| progress.canary && state.shows_it(operation, progress))
        && !canaries.any(|progress| is_at_work(state, progress) || is_to_come(state, operation, progress))
        && slots.iter().any(|progress| !progress.canary && is_left(state, progress))
}

/// Its turn has not come, be its executor heard or not.
fn is_left(state: &State, progress: &SlotProgress) -> bool {
    progress.outcome == SlotOutcome::Waiting && state.slot(&progress.slot).is_some()
}

/// Raises the slots whose turn it is. What missed a rollout and is replaced anyway is given what that brought.
fn begin(state: &State, operation: &Operation, wave: &Wave, plan: &mut Plan) {
    let stable = state.service(&operation.service).map(|service| service.specs.stable());
    for id in &wave.next {
        let Some(slot) = state.slot(id) else { continue };
        let spec = match operation.state {
            OperationState::RollingBack => stable,
            _ => operation.generation.or(stable.filter(|_| state.is_behind(id, slot))),
        };
        plan.changes.push(Change::RaiseSlot {
            operation: operation.id.clone(),
            slot: id.clone(),
            epoch: slot.epoch,
            mode: mode(state, operation),
            spec,
        });
    }
}

/// Tells users why a slot is not begun, and takes that back when it does not hold any more.
fn say_why_held(operation: &Operation, slots: &[SlotProgress], wave: &Wave, plan: &mut Plan) {
    for progress in slots.iter().filter(|progress| progress.outcome == SlotOutcome::Waiting) {
        let why = wave.holds(&progress.slot).map_or("", |held| &held.why);
        if progress.message != why && !wave.next.contains(&progress.slot) {
            let verdict = Verdict { outcome: progress.outcome, reason: None, message: why.to_owned() };
            plan.changes.push(settle(operation, progress, &verdict));
        }
    }
}

/// At the end, what is held back for executors that are away counts as they do.
fn leave_for_away(operation: &Operation, slots: &mut [SlotProgress], wave: &Wave, plan: &mut Plan) {
    for progress in slots.iter_mut().filter(|progress| wave.awaits_away(&progress.slot)) {
        let message = wave.holds(&progress.slot).map(|held| held.why.clone()).unwrap_or_default();
        let (outcome, reason) = (SlotOutcome::Away, Some(Reason::ExecutorUnreachable));
        plan.changes.push(settle(
            operation,
            progress,
            &Verdict { outcome, reason, message: message.clone() },
        ));
        progress.set(outcome, &message);
        progress.reason = reason;
    }
}

fn mode(state: &State, operation: &Operation) -> ReplaceMode {
    let specs = state.service(&operation.service).map(|service| &service.specs);
    let host_level = specs.is_some_and(|specs| {
        let before = operation.from_generation.and_then(|before| specs.get(before));
        specs.spec().is_host_level() || before.is_some_and(|before| before.spec.is_host_level())
    });
    let stops_first = operation.stop_first || host_level || operation.kind == OperationKind::StopInstances;
    if stops_first { ReplaceMode::StopFirst } else { ReplaceMode::StartFirst }
}

/// At work, and its executor is heard: worth waiting for.
fn is_at_work(state: &State, progress: &SlotProgress) -> bool {
    is_begun(progress) && state.is_connected(&progress.slot.executor)
}

/// Takes one of the places that the wave has: at work in a way that may have taken it down, or down since. What is lost
/// may never return, and holds up nobody.
fn has_place(state: &State, operation: &Operation, progress: &SlotProgress) -> bool {
    if state.is_lost(&progress.slot.executor) {
        return false;
    }
    let is_heard = state.is_connected(&progress.slot.executor);
    // What it was begun with, be that by an earlier operation that wanted the same.
    let stops_first = || {
        let slot = state.slot(&progress.slot);
        slot.map_or_else(|| mode(state, operation), |slot| slot.mode) == ReplaceMode::StopFirst
    };
    let is_down = || state.slot(&progress.slot).is_some_and(|slot| !state.is_filled(&progress.slot, slot));
    match progress.outcome {
        SlotOutcome::InProgress | SlotOutcome::Settling => is_heard || stops_first(),
        // Once its turn has come again it is at work; until then it is what the failed rollout made of it, if that
        // ever touched it.
        SlotOutcome::RollingBack => {
            let is_of_it = progress.epoch.is_some() || (was_raised(state, operation, progress) && is_down());
            is_of_it && (is_heard || stops_first())
        }
        SlotOutcome::Done => progress.epoch.is_some() && is_heard && is_down(),
        // Start-first kept what there was before.
        SlotOutcome::Failed => stops_first() && is_down(),
        SlotOutcome::Waiting => !is_heard && is_left_down(state, progress),
        SlotOutcome::RolledBack | SlotOutcome::Away => false,
    }
}

/// Whether a rollout before this one may have taken a slot down and left it so: it gave it another spec than the stable
/// one, its old instance stopped first, and nothing came in its place.
fn is_left_down(state: &State, progress: &SlotProgress) -> bool {
    let stable = state.service(&progress.slot.service).map(|service| service.specs.stable());
    let slot = state.slot(&progress.slot).filter(|slot| slot.mode == ReplaceMode::StopFirst);
    slot.is_some_and(|slot| Some(slot.spec) != stable && !state.is_filled(&progress.slot, slot))
}

/// Whether a rollout gave the slot its epoch, and not one before it. Epochs and generations are revisions both.
fn was_raised(state: &State, operation: &Operation, progress: &SlotProgress) -> bool {
    let begun = operation.generation.map(|generation| generation.0);
    state.slot(&progress.slot).zip(begun).is_some_and(|(slot, begun)| slot.epoch.0 > begun)
}

/// Not begun, and it could be.
fn is_to_come(state: &State, operation: &Operation, progress: &SlotProgress) -> bool {
    let waits = match operation.state {
        OperationState::RollingBack => {
            progress.outcome == SlotOutcome::RollingBack && progress.epoch.is_none()
        }
        _ => progress.outcome == SlotOutcome::Waiting,
    };
    waits && state.is_connected(&progress.slot.executor) && state.slot(&progress.slot).is_some()
}

fn time_anew(operation: &Operation, progress: &SlotProgress) -> Change {
    let (outcome, reason, message) = (progress.outcome, progress.reason, progress.message.clone());
    settle(operation, progress, &Verdict { outcome, reason, message })
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

/// The progress as users see it.
fn shown(state: &State, operation: &Operation, slots: &[SlotProgress]) -> Vec<SlotProgress> {
    state.progress(&Operation { slots: slots.into(), ..operation.clone() })
}

/// How far an operation came, in words, and what kept it from going on.
fn account(state: &State, operation: &Operation, shown: &[SlotProgress], late: bool) -> String {
    let tally = Tally::of(shown);
    let mut message = tally.in_words(operation.kind, shown);
    if state.is_unproven(operation, shown.iter()) && tally.failed == 0 {
        message = format!("no slot showed that the new spec is good; {message}");
    }
    if let Some(why) = waits_for_canaries(state, operation, shown) {
        message = format!("{message}; {why}, and the rest waits for them");
    }
    if late && operation.state.is_held() {
        format!("nobody said how to go on while it was {}; {message}", operation.state)
    } else if late {
        let seconds = whole(operation).as_secs();
        format!("timed out in {} after {seconds} seconds; {message}", operation.kind)
    } else {
        message
    }
}

/// The end, in words. What is still waiting or at work out of sight is shown as away by the state
/// when it seals the operation.
fn finish(state: &State, operation: &Operation, slots: &[SlotProgress], late: bool) -> Change {
    let shown = shown(state, operation, slots);
    let tally = Tally::of(&shown);
    let undone = operation.state == OperationState::RollingBack;
    let failed = undone || state.is_unproven(operation, slots.iter()) || tally.failed > 0 || tally.open > 0;
    let is_late = late && (failed || operation.state.is_held());
    let mut message = account(state, operation, &shown, is_late);
    if undone {
        let before = operation.from_generation.unwrap_or_default();
        message = format!("{}; back to generation {before}: {message}", operation.message);
    } else if failed
        && !(late && operation.state.is_held())
        && operation.op_spec.failure_strategy == FailureStrategy::Rollback
    {
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

/// Why the rest was not begun, where the canaries are the reason: they are away, or none came to run the new spec.
fn waits_for_canaries(state: &State, operation: &Operation, shown: &[SlotProgress]) -> Option<&'static str> {
    let canaries = || shown.iter().filter(|progress| progress.canary);
    let decides = |progress: &SlotProgress| {
        progress.outcome == SlotOutcome::Failed || state.shows_it(operation, progress)
    };
    let is_left = |progress: &SlotProgress| !progress.canary && progress.outcome == SlotOutcome::Waiting;
    let waits = is_for_canaries(operation) && !canaries().any(decides) && shown.iter().any(is_left);
    let are_away = canaries().any(|progress| progress.outcome == SlotOutcome::Away);
    waits.then_some(if are_away { "the canaries are away" } else { "no canary runs the new spec" })
}
