//! Slots: their ids, the table that controllers send, the status that executors answer.

use std::sync::Arc;

use bytes::Bytes;
use muster_common::evidence::{MAX_MESSAGE_BYTES, head};
use muster_common::id::{Epoch, Generation, Revision, SlotId};
use muster_common::slot::{SlotAssignment, SlotStatus, SlotTable, UnreadableRow};
use muster_common::spec::LocalServiceSpec;
use muster_common::time::Timestamp;

use super::evidence::reason_name;
use super::{Fields, Malformed};
use crate::v1;

/// Far more slots than one machine can hold.
const MAX_ROWS: usize = 100_000;

impl From<&SlotId> for v1::SlotId {
    fn from(slot: &SlotId) -> Self {
        Self { service: slot.service.to_string(), executor: slot.executor.to_string(), index: slot.index }
    }
}

impl TryFrom<v1::SlotId> for SlotId {
    type Error = Malformed;

    fn try_from(message: v1::SlotId) -> Result<Self, Malformed> {
        let fields = Fields("SlotId");
        Ok(Self {
            service: fields.parse("service", &message.service)?,
            executor: fields.parse("executor", &message.executor)?,
            index: message.index,
        })
    }
}

/// Every spec is written once: a machine may run hundreds of slots of one service.
impl From<&SlotTable> for v1::SlotTable {
    fn from(table: &SlotTable) -> Self {
        let mut specs: Vec<&Arc<LocalServiceSpec>> = Vec::new();
        let mut rows = Vec::with_capacity(table.rows.len());
        for row in &table.rows {
            // Rows are ordered by service, so the same spec is the previous one.
            if !specs.last().is_some_and(|last| Arc::ptr_eq(last, &row.spec) || **last == row.spec) {
                specs.push(&row.spec);
            }
            rows.push(row_to_wire(row, specs.len() - 1));
        }
        let specs_json = specs.into_iter().map(|spec| spec.to_json().into()).collect();
        let unreadable = table.unreadable.iter().map(Into::into).collect();
        Self { revision: table.revision.0, rows, specs_json, unreadable }
    }
}

/// A row that cannot be read costs only itself, and a spec only its rows.
impl TryFrom<v1::SlotTable> for SlotTable {
    type Error = Malformed;

    fn try_from(message: v1::SlotTable) -> Result<Self, Malformed> {
        let fields = Fields("SlotTable");
        fields.at_most("rows", message.rows.len() + message.unreadable.len(), MAX_ROWS)?;
        fields.at_most("specs_json", message.specs_json.len(), message.rows.len())?;
        let spec = |json: &Bytes| {
            let spec = LocalServiceSpec::from_json(json);
            spec.map(Arc::new).map_err(|problem| fields.refuse("specs_json", problem))
        };
        let specs: Vec<_> = message.specs_json.iter().map(spec).collect();
        let mut table = Self {
            revision: Revision(message.revision),
            rows: Vec::with_capacity(message.rows.len()),
            unreadable: message.unreadable.into_iter().map(Into::into).collect(),
        };
        for row in message.rows {
            match row_from_wire(&row, &specs) {
                Ok(row) => table.rows.push(row),
                Err(problem) => table.unreadable.push(UnreadableRow {
                    service: row.service,
                    index: row.index,
                    epoch: Epoch(row.epoch),
                    generation: Generation(row.generation),
                    problem: head(&problem.to_string(), MAX_MESSAGE_BYTES).to_owned(),
                }),
            }
        }
        Ok(table)
    }
}

impl From<&UnreadableRow> for v1::UnreadableRow {
    fn from(row: &UnreadableRow) -> Self {
        Self {
            service: row.service.clone(),
            index: row.index,
            epoch: row.epoch.0,
            generation: row.generation.0,
            problem: row.problem.clone(),
        }
    }
}

impl From<v1::UnreadableRow> for UnreadableRow {
    fn from(message: v1::UnreadableRow) -> Self {
        Self {
            service: message.service,
            index: message.index,
            epoch: Epoch(message.epoch),
            generation: Generation(message.generation),
            problem: head(&message.problem, MAX_MESSAGE_BYTES).to_owned(),
        }
    }
}

#[allow(clippy::cast_possible_truncation)] // a table has at most MAX_ROWS rows, and no more specs than rows
fn row_to_wire(row: &SlotAssignment, spec: usize) -> v1::SlotAssignment {
    v1::SlotAssignment {
        service: row.service.to_string(),
        index: row.index,
        epoch: row.epoch.0,
        generation: row.generation.0,
        mode: row.mode.to_string(),
        spec: spec as u32,
    }
}

fn row_from_wire(
    message: &v1::SlotAssignment,
    specs: &[Result<Arc<LocalServiceSpec>, Malformed>],
) -> Result<SlotAssignment, Malformed> {
    let fields = Fields("SlotAssignment");
    let spec = usize::try_from(message.spec).ok().and_then(|index| specs.get(index));
    let spec = fields.required("spec", spec)?.as_ref().map_err(Clone::clone)?;
    Ok(SlotAssignment {
        service: fields.parse("service", &message.service)?,
        index: message.index,
        epoch: Epoch(message.epoch),
        generation: Generation(message.generation),
        mode: fields.parse("mode", &message.mode)?,
        spec: Arc::clone(spec),
    })
}

impl From<&SlotStatus> for v1::SlotStatus {
    fn from(status: &SlotStatus) -> Self {
        Self {
            service: status.service.to_string(),
            index: status.index,
            epoch: status.epoch.0,
            generation: status.generation.map(|generation| generation.0),
            phase: status.phase.to_string(),
            restarts: status.restarts,
            retry_at_ms: status.retry_at.map(Timestamp::as_ms),
            reason: reason_name(status.reason),
            message: head(&status.message, MAX_MESSAGE_BYTES).to_owned(),
            version: status.version,
        }
    }
}

impl TryFrom<v1::SlotStatus> for SlotStatus {
    type Error = Malformed;

    fn try_from(message: v1::SlotStatus) -> Result<Self, Malformed> {
        let fields = Fields("SlotStatus");
        Ok(Self {
            service: fields.parse("service", &message.service)?,
            index: message.index,
            epoch: Epoch(message.epoch),
            generation: message.generation.map(Generation),
            phase: fields.parse("phase", &message.phase)?,
            restarts: message.restarts,
            retry_at: message.retry_at_ms.map(Timestamp),
            reason: fields.parse_optional("reason", &message.reason)?,
            message: fields.text("message", message.message, MAX_MESSAGE_BYTES)?,
            version: message.version,
        })
    }
}
