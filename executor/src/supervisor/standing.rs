//! The supervisor's published state: the session reports from it, tests and metrics look at it.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use muster_common::id::{InstanceId, Revision};
use muster_common::instance::InstanceRecord;
use muster_common::slot::SlotStatus;

use crate::slots::SlotKey;

/// What is said before [`Standing::journal_trouble`].
pub(crate) const JOURNAL_TROUBLE: &str = "the journal cannot be written";

/// A record that is not acknowledged yet.
#[derive(Debug, Clone)]
pub struct Unacked {
    /// The record.
    pub record: Arc<InstanceRecord>,
    /// Which of the ends on this node it is, counted from one; 0 while the instance lives.
    pub ended: u64,
}

/// What the supervisor publishes after each turn. Copies share what they hold: with all controllers away for
/// days there is much of it.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// Records that are not acknowledged yet.
    pub unacked_instances: OrdMap<InstanceId, Unacked>,
    /// Slots whose status is not acknowledged yet.
    pub unacked_slots: OrdMap<SlotKey, SlotStatus>,
    /// Every instance in the journal.
    pub holds: OrdSet<InstanceId>,
    /// The controllers' history in which everything was acknowledged that is.
    pub history: String,
    /// The revision of the slot table that the executor works on.
    pub table_revision: Revision,
    /// How many of its rows cannot be read.
    pub unreadable_rows: usize,
    /// The highest term that a table came from.
    pub term: u64,
    /// Instances that are not over.
    pub live: usize,
    /// Those of them that a drain has still to stop; 0 where none was asked for.
    pub undrained: usize,
    /// Whether it has been found out what became of every instance while the executor was away.
    pub is_settled: bool,
    /// Whether a drain was asked for, and nothing is left of what it had to stop.
    pub is_drained: bool,
    /// Why the journal cannot be written, as long as that is so. Everything else then is as it was before.
    pub journal_trouble: Option<String>,
}
