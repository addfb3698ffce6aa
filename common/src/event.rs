//! What happened, in Drove's form (docs/drove-api.md §2.11), with Muster's revision.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::Revision;
use crate::time::Timestamp;

wire_enum! {
    /// The kinds of events.
    pub enum EventType {
        /// A service changed its state.
        LocalServiceStateChange = "LOCAL_SERVICE_STATE_CHANGE",
        /// An instance changed its state.
        LocalServiceInstanceStateChange = "LOCAL_SERVICE_INSTANCE_STATE_CHANGE",
        /// Addition: an operation was accepted, went on in another way, or ended.
        OperationStateChange = "OPERATION_STATE_CHANGE",
        /// An executor registered, or one that was lost is back.
        ExecutorAdded = "EXECUTOR_ADDED",
        /// An executor is gone: lost, or removed.
        ExecutorRemoved = "EXECUTOR_REMOVED",
        /// Addition: an executor is not heard, and so all that lives on it is UNKNOWN.
        ExecutorUnknown = "EXECUTOR_UNKNOWN",
        /// Addition: an executor is heard again before it was lost, and what lives on it is what it was.
        ExecutorFound = "EXECUTOR_FOUND",
        /// An executor is to be emptied.
        ExecutorBlacklistRequested = "EXECUTOR_BLACKLIST_REQUESTED",
        /// An executor is empty, and takes nothing.
        ExecutorBlacklisted = "EXECUTOR_BLACKLISTED",
        /// An executor takes instances again.
        ExecutorUnBlacklisted = "EXECUTOR_UN_BLACKLISTED",
        /// Addition: an executor is to be emptied within some time.
        ExecutorDrainRequested = "EXECUTOR_DRAIN_REQUESTED",
        /// Addition: somebody is about to run a command beside an instance.
        InstanceExec = "INSTANCE_EXEC",
        /// A controller became leader.
        LeadershipAcquired = "LEADERSHIP_ACQUIRED",
        /// A controller is not leader any more.
        LeadershipLost = "LEADERSHIP_LOST",
        /// Operators closed the cluster.
        MaintenanceModeSet = "MAINTENANCE_MODE_SET",
        /// Operators opened it again.
        MaintenanceModeRemoved = "MAINTENANCE_MODE_REMOVED",
    }
}

wire_enum! {
    /// Under which names events tell what they are about.
    pub enum EventTag {
        /// The service whose state changed.
        LocalServiceId = "LOCAL_SERVICE_ID",
        /// Its name.
        LocalServiceName = "LOCAL_SERVICE_NAME",
        /// Its version.
        LocalServiceVersion = "LOCAL_SERVICE_VERSION",
        /// What it runs.
        Executable = "EXECUTABLE",
        /// How many CPUs each of its instances has.
        CpuCount = "CPU_COUNT",
        /// How much memory each of its instances has, in MB.
        Memory = "MEMORY",
        /// Where it runs.
        PlacementPolicy = "PLACEMENT_POLICY",
        /// Its ports, or those that an instance was given.
        Ports = "PORTS",
        /// How many instances each executor is to hold.
        CurrentInstancesPerHost = "CURRENT_INSTANCES_PER_HOST",
        /// The state that was entered.
        CurrentState = "CURRENT_STATE",
        /// The operation.
        OperationId = "OPERATION_ID",
        /// The operation's kind.
        Type = "TYPE",
        /// The service of an operation or an instance.
        ServiceId = "SERVICE_ID",
        /// That service's name.
        ServiceName = "SERVICE_NAME",
        /// The operation's state.
        State = "STATE",
        /// What went wrong, in words.
        Error = "ERROR",
        /// The instance.
        InstanceId = "INSTANCE_ID",
        /// The executor.
        ExecutorId = "EXECUTOR_ID",
        /// The machine of an instance.
        ExecutorHost = "EXECUTOR_HOST",
        /// When the instance was made, in ms since 1970.
        Created = "CREATED",
        /// The program that a user runs.
        Program = "PROGRAM",
        /// Who runs it.
        User = "USER",
        /// The machine of an executor or a controller.
        Hostname = "HOSTNAME",
        /// The port of an executor.
        Port = "PORT",
        /// Whether the executor is heard.
        Contact = "CONTACT",
        /// How many instances live on it.
        Instances = "INSTANCES",
        /// What is shown of all of them.
        InstancesState = "INSTANCES_STATE",
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// A uuid, derived from the revision so that every controller gives the same.
    pub id: String,
    /// When, by the clock of whoever saw it.
    pub time: Timestamp,
    /// Texts and numbers under the names of [`EventTag`].
    pub metadata: BTreeMap<String, Value>,
    /// Addition: the revision; several events may share one.
    pub revision: Revision,
}

impl Event {
    /// What it tells under that name, as text.
    #[must_use]
    pub fn text(&self, tag: EventTag) -> Option<Cow<'_, str>> {
        match self.metadata.get(tag.as_str())? {
            Value::String(text) => Some(text.into()),
            other => Some(other.to_string().into()),
        }
    }
}

/// From where a reader of events can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResumeFrom {
    /// The events after this revision are kept.
    pub resume_from: Revision,
}

/// The newest events, and the time to ask from next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LatestEvents {
    /// Newest first.
    pub events: Vec<Event>,
    /// The newest event's time.
    pub last_sync_time: Timestamp,
}

/// How many events of each kind happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventCounts {
    /// By the names of their kinds; what did not happen is left out.
    pub events_count: BTreeMap<String, u64>,
    /// The newest event's time.
    pub last_sync_time: Timestamp,
}
