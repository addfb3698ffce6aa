//! An operation in full.

use muster_common::operation::{Canary, FailureStrategy, Operation, OperationState, SlotOutcome};

use super::page::Page;
use crate::client::screen::{Screen, Tone};
use crate::client::table::{Cell, Rows};
use crate::client::words::{age, counted, span, tone_of_operation};

/// More slots than these are not listed one by one where nothing is the matter with them.
const SLOTS_SHOWN: usize = 50;

pub(crate) fn operation(operation: &Operation, screen: &Screen) -> String {
    let mut page = Page::new(screen);
    page.field("Operation", operation.id.as_str());
    page.field("Kind", operation.kind.as_str());
    page.field("Service", operation.service.as_str());
    page.toned("State", tone_of_operation(operation.state), operation.state.as_str());
    page.field("By", &operation.by);
    page.field("Age", age(operation.created, screen));
    page.field("Took", operation.finished.map(|end| span(end.since(operation.created))).unwrap_or_default());
    page.field("Generation", generations(operation));
    page.field("Proceeds", proceeding(operation));
    page.paragraph(&why(operation, screen));
    page.section("Slots", &slots(operation, screen));
    page.next(&next(operation))
}

fn generations(operation: &Operation) -> String {
    match (operation.from_generation, operation.generation) {
        (Some(from), Some(to)) => format!("{from} -> {to}"),
        (None, Some(to)) => to.to_string(),
        (None | Some(_), None) => String::new(),
    }
}

fn proceeding(operation: &Operation) -> String {
    let spec = &operation.op_spec;
    let order = if operation.stop_first { "stop first" } else { "start first" };
    let failure = match spec.failure_strategy {
        FailureStrategy::Stop => "stops on a failure",
        FailureStrategy::Rollback => "rolls back on a failure",
    };
    let canary = match &spec.canary {
        None => String::new(),
        Some(Canary::Percent(percent)) => format!(", {percent}% as canaries"),
        Some(Canary::Tag(tag)) => format!(", canaries on {tag}"),
    };
    format!("{} at a time, {order}, {} for each, {failure}{canary}", spec.parallelism, spec.timeout)
}

fn count(operation: &Operation, outcome: SlotOutcome) -> usize {
    operation.slots.iter().filter(|slot| slot.outcome == outcome).count()
}

fn why(operation: &Operation, screen: &Screen) -> Vec<String> {
    let (all, done) = (operation.slots.len(), count(operation, SlotOutcome::Done));
    let mut sentences = match operation.state {
        OperationState::Running => {
            let left = operation.deadline.map_or_else(String::new, |deadline| {
                format!(" It fails unless it gets on within {}.", span(deadline.since(screen.now)))
            });
            vec![format!("It is at work: {done} of {} done.{left}", counted(all, "slot"))]
        }
        OperationState::Paused => {
            vec![format!("Somebody paused it after {done} of {}.", counted(all, "slot"))]
        }
        OperationState::AwaitingPromotion => {
            vec!["Its canaries are through; it goes on when somebody promotes it.".to_owned()]
        }
        OperationState::RollingBack => vec!["It failed, and brings back what ran before.".to_owned()],
        OperationState::Succeeded => {
            vec![format!("It did what was asked, in {done} of {}.", counted(all, "slot"))]
        }
        OperationState::Failed => vec![format!("It failed after {done} of {}.", counted(all, "slot"))],
        OperationState::Cancelled => {
            vec![format!("Somebody ended it after {done} of {}.", counted(all, "slot"))]
        }
    };
    if !operation.message.is_empty() {
        sentences.push(format!("{}.", operation.message.trim_end_matches('.')));
    }
    let away = count(operation, SlotOutcome::Away);
    if away > 0 {
        sentences.push(format!("It passed over {} on executors that are away.", counted(away, "slot")));
    }
    sentences
}

fn slots(operation: &Operation, screen: &Screen) -> String {
    if operation.slots.is_empty() {
        return String::new();
    }
    let is_quiet = |outcome| matches!(outcome, SlotOutcome::Done | SlotOutcome::Waiting);
    let is_long = operation.slots.len() > SLOTS_SHOWN;
    let mut rows = Rows::new(["EXECUTOR", "SLOT", "OUTCOME", "CANARY", "MESSAGE"]);
    let shown = operation.slots.iter().filter(|slot| !is_long || !is_quiet(slot.outcome));
    for slot in shown.take(SLOTS_SHOWN) {
        rows.add([
            Cell::text(slot.slot.executor.as_str()),
            Cell::count(slot.slot.index.into()),
            Cell::text(slot.outcome.as_str()).toned(tone(slot.outcome)),
            Cell::text(if slot.canary { "yes" } else { "" }),
            Cell::text(&slot.message),
        ]);
    }
    let rest = if is_long {
        format!(
            "({} are done and {} wait, which are not listed)\n",
            count(operation, SlotOutcome::Done),
            count(operation, SlotOutcome::Waiting)
        )
    } else {
        String::new()
    };
    rows.fitting(screen) + &rest
}

fn tone(outcome: SlotOutcome) -> Tone {
    match outcome {
        SlotOutcome::Waiting => Tone::Faint,
        SlotOutcome::InProgress | SlotOutcome::Settling | SlotOutcome::RollingBack => Tone::Busy,
        SlotOutcome::Done => Tone::Good,
        SlotOutcome::RolledBack | SlotOutcome::Failed | SlotOutcome::Away => Tone::Bad,
    }
}

fn next(operation: &Operation) -> Vec<(String, &'static str)> {
    let (id, service) = (&operation.id, &operation.service);
    let cancel = (format!("muster ops cancel {id}"), "end it; nothing is undone");
    match operation.state {
        OperationState::Running | OperationState::RollingBack => vec![
            (format!("muster rollout status {service} -w"), "wait until it is over"),
            (format!("muster rollout pause {service}"), "begin nothing more for now"),
            cancel,
        ],
        OperationState::Paused => vec![(format!("muster rollout resume {service}"), "go on"), cancel],
        OperationState::AwaitingPromotion => {
            vec![(format!("muster rollout promote {service}"), "go on everywhere"), cancel]
        }
        OperationState::Failed => {
            let why = (format!("muster describe {service}"), "why its instances ended");
            let undo = (format!("muster rollout undo {service}"), "bring back the spec before");
            // Where there was one.
            let undo = operation.from_generation.map(|_| undo);
            std::iter::once(why).chain(undo).collect()
        }
        OperationState::Succeeded | OperationState::Cancelled => {
            vec![(format!("muster describe {service}"), "how its service is")]
        }
    }
}
