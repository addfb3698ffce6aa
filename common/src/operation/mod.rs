//! What users ask for, and the object that an accepted request becomes.

mod request;
mod validate;

use serde::{Deserialize, Serialize};

use crate::duration::DroveDuration;
use crate::id::{Epoch, InstanceId, OperationId, ServiceId, SlotId};
use crate::read::{Node, Read};
use crate::reason::Reason;
use crate::time::Timestamp;

pub use request::OperationRequest;
pub use validate::validate_request;

wire_enum! {
    /// What to do when a slot of an operation fails.
    pub enum FailureStrategy {
        /// Leave the rest as it is.
        Stop = "STOP",
        /// Bring back what was there before.
        Rollback = "ROLLBACK",
    }
}

/// How an operation proceeds (drove-wire.md §2.6).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterOpSpec {
    /// The whole operation's deadline.
    pub timeout: DroveDuration,
    /// How many slots at a time, 1..=512.
    pub parallelism: u32,
    /// What to do when a slot fails.
    pub failure_strategy: FailureStrategy,
}

impl Default for ClusterOpSpec {
    fn default() -> Self {
        Self {
            timeout: DroveDuration::from_secs(300),
            parallelism: 1,
            failure_strategy: FailureStrategy::Stop,
        }
    }
}

impl Read for ClusterOpSpec {
    fn read(node: &Node<'_>) -> Self {
        let spec = node.object();
        let default = Self::default();
        Self {
            timeout: spec.get("timeout").unwrap_or(default.timeout),
            parallelism: spec.count("parallelism").unwrap_or(default.parallelism),
            failure_strategy: spec.get("failureStrategy").unwrap_or(default.failure_strategy),
        }
    }
}

deserialize_by_reading!(ClusterOpSpec);

wire_enum! {
    /// The kinds of [`OperationRequest`], for messages and tables.
    pub enum OperationKind {
        /// See [`OperationRequest::Create`].
        Create = "CREATE",
        /// See [`OperationRequest::Activate`].
        Activate = "ACTIVATE",
        /// See [`OperationRequest::Deactivate`].
        Deactivate = "DEACTIVATE" | "STOP",
        /// A later addition of the wire; named here because refusals list it.
        DeployTestInstance = "DEPLOY_TEST_INSTANCE",
        /// A later addition of the wire; named here because refusals list it.
        AdjustInstances = "ADJUST_INSTANCES",
        /// See [`OperationRequest::UpdateInstanceCount`].
        UpdateInstanceCount = "UPDATE_INSTANCE_COUNT",
        /// See [`OperationRequest::Restart`].
        Restart = "RESTART",
        /// See [`OperationRequest::ReplaceInstances`].
        ReplaceInstances = "REPLACE_INSTANCES",
        /// See [`OperationRequest::StopInstances`].
        StopInstances = "STOP_INSTANCES",
        /// See [`OperationRequest::Destroy`].
        Destroy = "DESTROY",
    }
}

wire_enum! {
    /// Where an operation is.
    pub enum OperationState {
        /// At work.
        Running = "RUNNING",
        /// Every slot did what was asked.
        Succeeded = "SUCCEEDED",
        /// At least one slot did not; `message` says why.
        Failed = "FAILED",
        /// A user ended it.
        Cancelled = "CANCELLED",
    }
}

wire_enum! {
    /// Where one slot of an operation is.
    pub enum SlotOutcome {
        /// Its wave has not come.
        Waiting = "WAITING",
        /// Its epoch was raised.
        InProgress = "IN_PROGRESS",
        /// Done.
        Done = "DONE",
        /// Could not be done.
        Failed = "FAILED",
        /// Its executor is away; counted apart, does not fail the operation.
        Away = "AWAY",
    }
}

/// What an operation did to one slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// How far it is.
    pub outcome: SlotOutcome,
    /// Why it is not done.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<Reason>,
    /// Why, in words.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub message: String,
}

/// A user's accepted request, with its progress and its outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// When it was accepted.
    pub created: Timestamp,
    /// When it must be over.
    pub deadline: Timestamp,
    /// When it was over.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub finished: Option<Timestamp>,
    /// Where it is.
    pub state: OperationState,
    /// The outcome in words; empty while it runs.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub message: String,
    /// Per slot.
    pub slots: Vec<SlotProgress>,
}

#[cfg(test)]
mod tests;
