//! The executors whose slots may not be as wanted: all of them at first and when a service changed, otherwise those that
//! changed. So a plan costs what happened, however large the fleet is.

use std::collections::BTreeSet;
use std::sync::Arc;

use muster_common::id::ExecutorId;

use crate::state::State;

/// What a reconciler remembers from one plan to the next. Forgetting it does no harm.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    seen: Option<Arc<State>>,
    executors: BTreeSet<ExecutorId>,
}

impl Unsettled {
    /// The executors to look at in `state`.
    pub(super) fn in_state(&mut self, state: &Arc<State>) -> &BTreeSet<ExecutorId> {
        match self.seen.replace(Arc::clone(state)) {
            Some(before) if state.shares_services_with(&before) => {
                self.executors.extend(state.executors_changed_since(&before).cloned());
            }
            Some(_) | None => self.executors = all(state),
        }
        &self.executors
    }

    /// Notes the executors whose slots were found to be as wanted.
    pub(super) fn settled(&mut self, executors: &[ExecutorId]) {
        for executor in executors {
            self.executors.remove(executor);
        }
    }

    /// Has everything looked at again.
    pub(super) fn doubt(&mut self) {
        self.seen = None;
    }
}

/// Every executor.
pub(super) fn all(state: &State) -> BTreeSet<ExecutorId> {
    state.executors().map(|executor| executor.record.id.clone()).collect()
}
