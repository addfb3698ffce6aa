//! What one executor must run, as it is sent to it.

use std::sync::Arc;

use muster_common::id::{ExecutorId, SlotId};
use muster_common::slot::{SlotAssignment, SlotTable};
use muster_common::spec::LocalServiceSpec;

use super::{Slot, State};

/// Everything that must run on `executor`; empty for one that is not known.
#[must_use]
pub(crate) fn slot_table(state: &State, executor: &ExecutorId) -> SlotTable {
    let Some(record) = state.executor(executor) else { return SlotTable::default() };
    let rows = state.slots.on_executor(executor).filter_map(|(id, slot)| {
        Some(SlotAssignment {
            spec: Arc::clone(state.spec_in(&id, slot)?),
            service: id.service,
            index: id.index,
            epoch: slot.epoch,
            generation: slot.generation,
            mode: slot.mode,
        })
    });
    SlotTable { revision: record.table_revision, rows: rows.collect(), unreadable: Vec::new() }
}

impl State {
    /// What an assigned slot must run.
    #[must_use]
    pub(crate) fn spec_in(&self, id: &SlotId, slot: &Slot) -> Option<&Arc<LocalServiceSpec>> {
        let specs = &self.service(&id.service)?.specs;
        // What slots run is kept; should it not be, what is wanted is the next best.
        Some(specs.get(slot.spec).map_or_else(|| specs.spec(), |version| &version.spec))
    }
}
