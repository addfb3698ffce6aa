//! Operations as users see them.

use std::collections::BTreeMap;

use muster_common::id::OperationId;
use muster_common::operation::{Operation, OperationSummary, SlotOutcome};

use crate::state::State;

/// How many slots of an operation a list shows.
const MAX_SLOTS_IN_LISTS: usize = 20;

/// An operation with its progress of this moment.
#[must_use]
pub(crate) fn operation(state: &State, id: &OperationId) -> Option<Operation> {
    let operation = state.operation(id)?;
    Some(Operation { slots: state.progress(operation).into(), ..Operation::clone(operation) })
}

/// The same, short enough for a list.
#[must_use]
pub(crate) fn operation_summary(state: &State, operation: &Operation) -> OperationSummary {
    let progress = state.progress(operation);
    let mut outcomes = BTreeMap::new();
    for slot in &progress {
        *outcomes.entry(slot.outcome).or_default() += 1;
    }
    let troubled = |outcome| matches!(outcome, SlotOutcome::Failed | SlotOutcome::Away);
    let named = progress.into_iter().filter(|slot| troubled(slot.outcome)).take(MAX_SLOTS_IN_LISTS);
    OperationSummary { operation: Operation { slots: named.collect(), ..operation.clone() }, outcomes }
}
