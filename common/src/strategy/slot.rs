//! Slot tables and slot statuses.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::{any_of, id, instance, spec, text};
use crate::id::{Epoch, Generation, Revision};
use crate::slot::{ReplaceMode, SlotAssignment, SlotPhase, SlotStatus, SlotTable};

/// Any row.
pub fn slot_assignment() -> impl Strategy<Value = SlotAssignment> {
    let numbers = (0..4_u32, any::<u64>(), any::<u64>());
    (id::service_id(), numbers, any_of(ReplaceMode::ALL), spec::local_service_spec()).prop_map(
        |(service, (index, epoch, generation), mode, spec)| SlotAssignment {
            service,
            index,
            epoch: Epoch(epoch),
            generation: Generation(generation),
            mode,
            spec: Arc::new(spec),
        },
    )
}

/// A small table; its rows are in no order and may name a slot twice.
pub fn slot_table() -> impl Strategy<Value = SlotTable> {
    (any::<u64>(), vec(slot_assignment(), 0..3)).prop_map(|(revision, rows)| SlotTable {
        revision: Revision(revision),
        rows,
        unreadable: Vec::new(),
    })
}

/// Any status, its parts independent of each other.
pub fn slot_status() -> impl Strategy<Value = SlotStatus> {
    let asked = (any::<u64>(), option::of(any::<u64>()));
    let numbers = (0..4_u32, asked, any::<u64>(), any::<u64>());
    let why = (any_of(SlotPhase::ALL), option::of(id::timestamp()), option::of(instance::reason()), text());
    (id::service_id(), numbers, why).prop_map(
        |(service, (index, (epoch, generation), restarts, version), (phase, retry_at, reason, message))| {
            SlotStatus {
                service,
                index,
                epoch: Epoch(epoch),
                generation: generation.map(Generation),
                phase,
                restarts,
                retry_at,
                reason,
                message,
                version,
            }
        },
    )
}
