//! What controllers ask of an executor (the slot table), and what an executor answers per slot.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{Epoch, ExecutorId, Generation, InstanceId, Revision, ServiceId};
use crate::reason::Reason;
use crate::spec::LocalServiceSpec;
use crate::time::Timestamp;

wire_enum! {
    /// How an instance of an older epoch gives way to the new one.
    pub enum ReplaceMode {
        /// The new one becomes HEALTHY, then the old one stops. If the new one fails, the old one stays.
        StartFirst = "START_FIRST",
        /// The old one stops, then the new one starts.
        StopFirst = "STOP_FIRST",
    }
}

/// One row of the table: this slot must hold a live instance of this epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct SlotAssignment {
    /// The service.
    pub service: ServiceId,
    /// `0..instancesPerHost`.
    pub index: u32,
    /// An instance of a lower epoch must be replaced.
    pub epoch: Epoch,
    /// The generation that `spec` belongs to.
    pub generation: Generation,
    /// How a lower epoch gives way.
    pub mode: ReplaceMode,
    /// What to run.
    pub spec: Arc<LocalServiceSpec>,
}

/// A row that this program cannot read: one that a later version wrote, say. What its slot holds is left alone, since
/// nobody knows what it is to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableRow {
    /// The service, whether that is a valid id or not.
    pub service: String,
    /// `0..instancesPerHost`.
    pub index: u32,
    /// The row's epoch.
    pub epoch: Epoch,
    /// The row's generation.
    pub generation: Generation,
    /// What is wrong with it.
    pub problem: String,
}

/// Everything that must run on one executor. A slot that is not in the table must be empty.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SlotTable {
    /// The revision of the last change to this executor's slots.
    pub revision: Revision,
    /// The rows, ordered by service and index.
    pub rows: Vec<SlotAssignment>,
    /// Rows that came with it and could not be read.
    pub unreadable: Vec<UnreadableRow>,
}

wire_enum! {
    /// How far a slot is.
    pub enum SlotPhase {
        /// An instance is on its way up (or waits for room).
        Filling = "FILLING",
        /// A HEALTHY instance of the wanted epoch holds it.
        Filled = "FILLED",
        /// The last instance ended; the next one is minted after the back-off.
        Backoff = "BACKOFF",
        /// The crash-loop budget is spent; nothing is tried until a new epoch or generation.
        Failed = "FAILED",
        /// A start-first replacement failed; the instance of the older epoch stays.
        KeptOld = "KEPT_OLD",
    }
}

/// What an executor says of one slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SlotStatus {
    /// The service.
    pub service: ServiceId,
    /// The slot's index.
    pub index: u32,
    /// The epoch that this status speaks of.
    pub epoch: Epoch,
    /// The generation that it speaks of: what was given up may be asked for again at the same epoch, and that the attempt
    /// before failed says nothing of the new one. Executors of before do not say it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub generation: Option<Generation>,
    /// How far it is.
    pub phase: SlotPhase,
    /// How many instances had to be replaced because they failed; never decreases.
    pub restarts: u64,
    /// When the next instance is minted (phase BACKOFF), by the executor's clock.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry_at: Option<Timestamp>,
    /// Why it is not filled.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<Reason>,
    /// Why, in words.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub message: String,
    /// Grows with every change; of two copies the higher one is the truth.
    pub version: u64,
}

/// One slot of a service as users see it: what is asked of it, and what its executor says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SlotInfo {
    /// Where it is.
    pub executor_id: ExecutorId,
    /// `0..instancesPerHost`.
    pub index: u32,
    /// What is asked of it: an instance of a lower epoch must be replaced.
    pub epoch: Epoch,
    /// The generation that its epoch belongs to.
    pub generation: Generation,
    /// The generation of the spec that it must run.
    pub spec_generation: Generation,
    /// How a lower epoch gives way.
    pub mode: ReplaceMode,
    /// Absent until its executor has spoken of the present epoch.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub status: Option<SlotStatus>,
    /// The instances in it that may still run.
    pub instances: Vec<InstanceId>,
}
