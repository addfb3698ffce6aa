//! Operations that are over when a service's slots are as wanted: activation, deactivation, a test, count,
//! adjustment, retry, destruction.

use muster_common::operation::{Operation, OperationKind, OperationState, SlotOutcome, SlotProgress};
use muster_common::time::Timestamp;

use super::{Plan, is_late};
use crate::state::{Change, State};

/// How many slots the message of an outcome names.
const MAX_NAMED: usize = 5;

pub(super) fn plan(state: &State, operation: &Operation, settled: bool, now: Timestamp, plan: &mut Plan) {
    let late = is_late(operation, now, plan);
    if !late && !settled {
        return;
    }
    let slots = state.progress(operation);
    let tally = Tally::of(&slots);
    let open = tally.open
        + match operation.kind {
            // A service is destroyed when nothing of it is left, not even out of sight; what is lost is not waited for.
            OperationKind::Destroy => unheard(state, &slots),
            // A test without a place has not begun, and of one out of sight nobody knows.
            OperationKind::DeployTestInstance => usize::from(slots.is_empty()) + tally.away,
            _ => 0,
        };
    let (outcome, message) = if open > 0 && late {
        (OperationState::Failed, timed_out(operation, &slots, open))
    } else if open > 0 {
        return;
    } else if tally.failed > 0 {
        (OperationState::Failed, tally.in_words(operation.kind, &slots))
    } else {
        (OperationState::Succeeded, tally.in_words(operation.kind, &slots))
    };
    plan.changes.push(Change::FinishOperation { operation: operation.id.clone(), state: outcome, message });
}

/// How many of the slots are out of sight and may be heard of soon.
fn unheard(state: &State, slots: &[SlotProgress]) -> usize {
    let is_away = |slot: &&SlotProgress| slot.outcome == SlotOutcome::Away;
    slots.iter().filter(is_away).filter(|slot| !state.is_lost(&slot.slot.executor)).count()
}

/// How many slots of an operation are where.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) open: usize,
    pub(super) done: usize,
    pub(super) rolled_back: usize,
    pub(super) failed: usize,
    pub(super) away: usize,
}

impl Tally {
    pub(super) fn of(slots: &[SlotProgress]) -> Self {
        let mut tally = Self::default();
        for slot in slots {
            match slot.outcome {
                SlotOutcome::Waiting
                | SlotOutcome::InProgress
                | SlotOutcome::Settling
                | SlotOutcome::RollingBack => tally.open += 1,
                SlotOutcome::Done => tally.done += 1,
                SlotOutcome::RolledBack => tally.rolled_back += 1,
                SlotOutcome::Failed => tally.failed += 1,
                SlotOutcome::Away => tally.away += 1,
            }
        }
        tally
    }

    /// `2 of 3 slots are done, 1 is away (…)`; what is wrong is named.
    pub(super) fn in_words(&self, kind: OperationKind, slots: &[SlotProgress]) -> String {
        let total = slots.len();
        if total == 0 {
            return nothing_to_do(kind).to_owned();
        }
        let mut words = match self.rolled_back {
            0 => vec![format!("{} of {total} slots are done", self.done)],
            rolled_back => vec![format!("{rolled_back} of {total} slots were rolled back")],
        };
        for (outcome, name) in [
            (SlotOutcome::Failed, "failed"),
            (SlotOutcome::Away, "are away"),
            (SlotOutcome::InProgress, "are at work"),
            (SlotOutcome::Settling, "are HEALTHY, but not for long enough"),
            (SlotOutcome::RollingBack, "were not rolled back"),
            (SlotOutcome::Waiting, "were not touched"),
        ] {
            let count = slots.iter().filter(|slot| slot.outcome == outcome).count();
            if count > 0 {
                let named = named(slots, |slot| slot.outcome == outcome);
                words.push(format!("{count} {name}{named}"));
            }
        }
        words.join("; ")
    }
}

/// The account of an operation that has no slots, and where to look on.
const fn nothing_to_do(kind: OperationKind) -> &'static str {
    match kind {
        OperationKind::Activate | OperationKind::DeployTestInstance => {
            "there was nothing to do: no executor takes it, and its placement says of each why not"
        }
        OperationKind::Restart | OperationKind::ReplaceInstances => {
            "there was nothing to do: none of its instances is HEALTHY; RETRY has slots that gave up try again"
        }
        OperationKind::Create
        | OperationKind::Deactivate
        | OperationKind::AdjustInstances
        | OperationKind::UpdateInstanceCount
        | OperationKind::StopInstances
        | OperationKind::UpdateSpec
        | OperationKind::Rollback
        | OperationKind::Retry
        | OperationKind::Destroy => "there was nothing to do",
    }
}

fn timed_out(operation: &Operation, slots: &[SlotProgress], open: usize) -> String {
    let total = slots.len();
    let left = if total == 0 {
        nothing_to_do(operation.kind).to_owned()
    } else {
        let named = named(slots, |slot| slot.outcome != SlotOutcome::Done);
        format!("{open} of {total} slots are not there yet{named}")
    };
    format!("timed out in {} after {}; {left}", operation.kind, operation.op_spec.timeout)
}

/// The first few of the chosen slots with their reasons, in brackets.
pub(super) fn named(slots: &[SlotProgress], choose: impl Fn(&SlotProgress) -> bool) -> String {
    let chosen: Vec<&SlotProgress> = slots.iter().filter(|slot| choose(slot)).collect();
    if chosen.is_empty() {
        return String::new();
    }
    let mut named: Vec<String> = chosen.iter().take(MAX_NAMED).map(|progress| in_words(progress)).collect();
    if chosen.len() > MAX_NAMED {
        named.push(format!("and {} more", chosen.len() - MAX_NAMED));
    }
    format!(": {}", named.join("; "))
}

fn in_words(progress: &SlotProgress) -> String {
    let place = format!("{}/{}", progress.slot.executor, progress.slot.index);
    match (progress.reason, progress.message.as_str()) {
        (None, "") => place,
        (None, message) => format!("{place} ({message})"),
        (Some(reason), "") => format!("{place} ({reason})"),
        (Some(reason), message) => format!("{place} ({reason}: {message})"),
    }
}
