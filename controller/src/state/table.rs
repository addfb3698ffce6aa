//! What one executor must run, as it is sent to it.

use muster_common::id::ExecutorId;
use muster_common::slot::{SlotAssignment, SlotTable};

use super::State;

/// Everything that must run on `executor`; empty for one that is not known.
#[must_use]
pub(crate) fn slot_table(state: &State, executor: &ExecutorId) -> SlotTable {
    let Some(record) = state.executor(executor) else { return SlotTable::default() };
    let rows = state.slots.on_executor(executor).filter_map(|(id, slot)| {
        let service = state.service(&id.service)?;
        Some(SlotAssignment {
            service: id.service,
            index: id.index,
            epoch: slot.epoch,
            generation: slot.generation,
            mode: slot.mode,
            spec: service
                .specs
                .get(slot.spec)
                .map_or_else(|| service.spec(), |version| &version.spec)
                .clone(),
        })
    });
    SlotTable { revision: record.table_revision, rows: rows.collect(), unreadable: Vec::new() }
}
