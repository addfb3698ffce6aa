//! Operations as users see them.

use muster_common::id::OperationId;
use muster_common::operation::Operation;

use crate::state::State;

/// An operation with its progress of this moment.
#[must_use]
pub(crate) fn operation(state: &State, id: &OperationId) -> Option<Operation> {
    let operation = state.operation(id)?;
    Some(Operation { slots: state.progress(operation), ..Operation::clone(operation) })
}
