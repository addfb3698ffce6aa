//! What is remembered of one slot.

use std::fmt;

use muster_common::id::{Epoch, Generation, ServiceId};
use muster_common::reason::Reason;
use muster_common::slot::{SlotAssignment, SlotPhase, SlotStatus, UnreadableRow};
use muster_common::time::Timestamp;

/// A slot of this executor.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlotKey {
    /// The service.
    pub service: ServiceId,
    /// The slot's index.
    pub index: u32,
}

impl SlotKey {
    /// The slot that `row` speaks of.
    #[must_use]
    pub fn of(row: &SlotAssignment) -> Self {
        Self { service: row.service.clone(), index: row.index }
    }
}

impl fmt::Display for SlotKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.index)
    }
}

/// What a slot is to hold.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted<'a> {
    /// A live instance as this row says.
    Filled(&'a SlotAssignment),
    /// Nothing, for this reason.
    Empty(Reason),
    /// Nobody knows: the row cannot be read.
    Unreadable(&'a SlotKey, &'a UnreadableRow),
}

/// What is remembered of one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// What controllers are told. The counters speak of its epoch and generation.
    pub status: SlotStatus,
    /// Failures in a row without a long enough time of health between them: the place in the back-off.
    pub failures: u32,
    /// The epoch whose start-first replacement failed while the older instance was well.
    pub kept_old: Option<Epoch>,
}

impl Slot {
    /// A slot that was just assigned. Its versions count from the time on: they go on from those of an earlier
    /// life of the same slot, whose record may be forgotten or damaged, as it cannot have changed every
    /// millisecond.
    #[must_use]
    pub fn assigned(row: &SlotAssignment, now: Timestamp) -> Self {
        Self::begun(&SlotKey::of(row), row.epoch, row.generation, now)
    }

    /// The same for a slot of which not more is known.
    pub(super) fn begun(key: &SlotKey, epoch: Epoch, generation: Generation, now: Timestamp) -> Self {
        let status = SlotStatus {
            service: key.service.clone(),
            index: key.index,
            epoch,
            generation: Some(generation),
            phase: SlotPhase::Filling,
            restarts: 0,
            retry_at: None,
            reason: None,
            message: String::new(),
            version: now.as_ms(),
        };
        Self { status, failures: 0, kept_old: None }
    }

    /// Begins anew where somebody asked anew: whatever went wrong before is no reason to wait, nor is it to be told of
    /// the new attempt, however long it takes until more is known of that.
    pub(super) fn begin_anew_for(&mut self, row: &SlotAssignment) {
        if self.status.epoch == row.epoch && self.status.generation == Some(row.generation) {
            return;
        }
        self.failures = 0;
        self.kept_old = None;
        self.status.epoch = row.epoch;
        self.status.generation = Some(row.generation);
        self.status.phase = SlotPhase::Filling;
        self.status.retry_at = None;
        self.status.reason = None;
        self.status.message.clear();
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> SlotKey {
        SlotKey { service: self.status.service.clone(), index: self.status.index }
    }
}
