//! What users ask for, and the object that an accepted request becomes.

mod accepted;
mod op_spec;
mod request;
mod validate;

use std::collections::BTreeMap;

use imbl::Vector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::id::{Epoch, Generation, InstanceId, OperationId, ServiceId, SlotId};
use crate::reason::Reason;
use crate::time::{LedTime, Timestamp};

pub use accepted::Accepted;
pub use op_spec::{Canary, ClusterOpSpec, FailureStrategy, NoParallelism, Parallelism};
pub use request::OperationRequest;
pub use validate::validate_request;

wire_enum! {
    /// The kinds of [`OperationRequest`], for messages and tables.
    pub enum OperationKind {
        /// See [`OperationRequest::Create`].
        Create = "CREATE",
        /// See [`OperationRequest::Activate`].
        Activate = "ACTIVATE",
        /// See [`OperationRequest::Deactivate`].
        Deactivate = "DEACTIVATE" | "STOP",
        /// See [`OperationRequest::DeployTestInstance`].
        DeployTestInstance = "DEPLOY_TEST_INSTANCE",
        /// See [`OperationRequest::AdjustInstances`].
        AdjustInstances = "ADJUST_INSTANCES",
        /// See [`OperationRequest::UpdateInstanceCount`].
        UpdateInstanceCount = "UPDATE_INSTANCE_COUNT",
        /// See [`OperationRequest::Restart`].
        Restart = "RESTART",
        /// See [`OperationRequest::ReplaceInstances`].
        ReplaceInstances = "REPLACE_INSTANCES",
        /// See [`OperationRequest::StopInstances`].
        StopInstances = "STOP_INSTANCES",
        /// See [`OperationRequest::UpdateSpec`]. An addition to Drove's.
        UpdateSpec = "UPDATE_SPEC",
        /// See [`OperationRequest::Rollback`]. An addition to Drove's.
        Rollback = "ROLLBACK",
        /// See [`OperationRequest::Retry`]. An addition to Drove's.
        Retry = "RETRY",
        /// See [`OperationRequest::Destroy`].
        Destroy = "DESTROY",
    }
}

impl OperationKind {
    /// Whether Drove has it too (docs/drove-api.md §2.7).
    #[must_use]
    pub const fn is_wires(self) -> bool {
        !matches!(self, Self::UpdateSpec | Self::Rollback | Self::Retry)
    }
}

wire_enum! {
    /// Where an operation is.
    pub enum OperationState {
        /// At work.
        Running = "RUNNING",
        /// A user paused it: what was begun is finished, nothing more is begun.
        Paused = "PAUSED",
        /// Its canaries are through; somebody must promote it.
        AwaitingPromotion = "AWAITING_PROMOTION",
        /// It failed; what was there before is being brought back.
        RollingBack = "ROLLING_BACK",
        /// Every slot did what was asked.
        Succeeded = "SUCCEEDED",
        /// At least one slot did not; `message` says why.
        Failed = "FAILED",
        /// A user ended it.
        Cancelled = "CANCELLED",
    }
}

impl OperationState {
    /// Whether it is over.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
            Self::Running | Self::Paused | Self::AwaitingPromotion | Self::RollingBack => false,
        }
    }

    /// Whether it stands still until a user says something.
    #[must_use]
    pub const fn is_held(self) -> bool {
        matches!(self, Self::Paused | Self::AwaitingPromotion)
    }
}

wire_enum! {
    /// How a user steers an operation that is at work.
    pub enum Steer {
        /// Begin nothing more for now.
        Pause = "PAUSE",
        /// Go on after a pause.
        Resume = "RESUME",
        /// Go on after the canaries.
        Promote = "PROMOTE",
        /// End it. What was begun is finished by the executors, nothing is undone.
        Cancel = "CANCEL",
    }
}

wire_enum! {
    /// Where one slot of an operation is.
    pub enum SlotOutcome {
        /// Its wave has not come.
        Waiting = "WAITING",
        /// Its epoch was raised.
        InProgress = "IN_PROGRESS",
        /// The new instance is HEALTHY, and must stay so for the operation's `settle` time.
        Settling = "SETTLING",
        /// Done.
        Done = "DONE",
        /// It is given back what it had before.
        RollingBack = "ROLLING_BACK",
        /// It has again what it had before.
        RolledBack = "ROLLED_BACK",
        /// Could not be done.
        Failed = "FAILED",
        /// Its executor is away, or those are that its zone holds it back for; counted apart, does not fail the operation.
        Away = "AWAY",
    }
}

/// What an operation did to one slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SlotProgress {
    /// The slot.
    pub slot: SlotId,
    /// The instance that is to go.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub old_instance: Option<InstanceId>,
    /// The epoch that the slot was raised to, once it was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub epoch: Option<Epoch>,
    /// Whether it is one of the canaries.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub canary: bool,
    /// How far it is.
    pub outcome: SlotOutcome,
    /// How often its slot had been restarted when it was begun: what failed since then is the operation's.
    #[serde(skip)]
    pub restarts: u64,
    /// Since when it is at work, or the new instance is HEALTHY (outcome SETTLING), by the leader's clock.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub since: Option<Timestamp>,
    /// Why it is not done.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<Reason>,
    /// Why, in words.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub message: String,
}

impl SlotProgress {
    /// A slot whose turn has not come.
    #[must_use]
    pub fn waiting(slot: SlotId, old_instance: Option<InstanceId>) -> Self {
        Self {
            slot,
            old_instance,
            epoch: None,
            canary: false,
            outcome: SlotOutcome::Waiting,
            restarts: 0,
            since: None,
            reason: None,
            message: String::new(),
        }
    }

    /// Says where it is now, in words.
    pub fn set(&mut self, outcome: SlotOutcome, message: &str) {
        self.outcome = outcome;
        self.since = None;
        self.reason = None;
        message.clone_into(&mut self.message);
    }
}

/// A user's accepted request, with its progress and its outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// Its id.
    pub id: OperationId,
    /// The service it is about.
    pub service: ServiceId,
    /// What was asked.
    pub kind: OperationKind,
    /// Who asked; empty when nobody had to say.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub by: String,
    /// How to proceed.
    pub op_spec: ClusterOpSpec,
    /// Whether the old instance stops before the new one starts.
    pub stop_first: bool,
    /// The generation of the spec that it brings (CREATE) or that its slots are to run (`UPDATE_SPEC`, ROLLBACK).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub generation: Option<Generation>,
    /// The generation of the spec that they ran before, and run again after a rollback.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from_generation: Option<Generation>,
    /// The generation whose spec is brought back (ROLLBACK).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub restores: Option<Generation>,
    /// The count that was asked for (CREATE, `UPDATE_INSTANCE_COUNT`).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub instances_per_host: Option<u32>,
    /// The instances that were named (`REPLACE_INSTANCES`, `STOP_INSTANCES`); empty: nobody named any.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub instance_ids: Vec<InstanceId>,
    /// When it was accepted.
    pub created: Timestamp,
    /// When it fails unless something happens, by the leader's clock. None for the moments in which no leader
    /// has set it yet.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub deadline: Option<Timestamp>,
    /// What was left of its timeout when its clock was last started.
    #[serde(default)]
    pub time_left_ms: u64,
    /// What was left of the time in which it may wait for a user's word, when its clock last stood while it did. None: all
    /// of it.
    #[serde(skip)]
    pub held_left_ms: Option<u64>,
    /// Whether somebody promoted it after its canaries.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub promoted: bool,
    /// Whether all was already as asked when it was accepted: it explains nothing, and is forgotten before others are.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub no_op: bool,
    /// Tells apart two requests that came under one idempotency key.
    #[serde(skip)]
    pub fingerprint: Uuid,
    /// When it was over.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub finished: Option<Timestamp>,
    /// The same, to tell how long it is kept.
    #[serde(skip)]
    pub finished_led: LedTime,
    /// Where it is.
    pub state: OperationState,
    /// The outcome in words; empty while it runs.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub message: String,
    /// Per slot, ordered by slot. Copies share what they hold: there can be ten thousand.
    #[schemars(with = "Vec<SlotProgress>")]
    pub slots: Vector<SlotProgress>,
}

/// An operation as lists show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationSummary {
    /// The operation, with the first few of the slots that failed or are away in place of all.
    #[serde(flatten)]
    pub operation: Operation,
    /// How many of its slots are where; what is nowhere is left out.
    pub outcomes: BTreeMap<SlotOutcome, usize>,
}

#[cfg(test)]
mod tests;
