//! The cluster as a whole.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::problem::{FieldError, Problems, Quoted};
use crate::read::{Node, Read};
use crate::time::Timestamp;

wire_enum! {
    /// Whether the cluster accepts operations and acts on what is wanted.
    pub enum ClusterState {
        /// It does.
        Normal = "NORMAL",
        /// It does not.
        Maintenance = "MAINTENANCE",
    }
}

/// `POST /cluster/maintenance/set` and `unset` (docs/drove-api.md §2.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterStateData {
    /// Whether operations are accepted.
    pub state: ClusterState,
    /// Since when.
    pub updated: Timestamp,
}

/// `GET /cluster` (docs/drove-api.md §2.10).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSummary {
    /// `host:port` of the leader's API, or "Leader election underway".
    pub leader: String,
    /// Whether operations are accepted.
    pub state: ClusterState,
    /// Executors in state ACTIVE.
    pub num_executors: u64,
    /// Always 0: applications are not what Muster runs.
    pub num_applications: u64,
    /// Always 0.
    pub num_active_applications: u64,
    /// Always 0.
    pub num_active_tasks: u64,
    /// All services.
    pub num_local_services: u64,
    /// Services in state ACTIVE or `CONFIG_TESTING`.
    pub num_active_local_services: u64,
    /// Cores that are free on ACTIVE executors.
    pub free_cores: u64,
    /// Cores that are leased.
    pub used_cores: u64,
    /// Both.
    pub total_cores: u64,
    /// MB that are free.
    pub free_memory: u64,
    /// MB that are leased.
    pub used_memory: u64,
    /// Both.
    pub total_memory: u64,
}

wire_enum! {
    /// What a controller is in its group.
    pub enum ControllerRole {
        /// It decides.
        Leader = "LEADER",
        /// It votes.
        Voter = "VOTER",
        /// It is catching up, and has no vote yet.
        Learner = "LEARNER",
    }
}

/// One controller, in `GET /cluster/controllers` (an addition to Drove's API).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ControllerInfo {
    /// Its id.
    pub id: u64,
    /// `host:port` of its API.
    pub api: String,
    /// `host:port` of its cluster port.
    pub cluster: String,
    /// Whether it leads.
    pub leader: bool,
    /// What it is in the group.
    pub role: ControllerRole,
    /// The last entry of the log that it is known to have; only the leader knows.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_log: Option<u64>,
    /// How many entries it is behind the leader; only the leader knows.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lag: Option<u64>,
    /// Milliseconds since it answered the leader; only the leader knows, of the others.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub silent_ms: Option<u64>,
    /// The revision that it has applied; only known of the one that answers.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub applied_revision: Option<u64>,
    /// Raft's term; only known of the one that answers.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub term: Option<u64>,
}

/// `POST /cluster/controllers`: a controller that runs and is in no group, to be taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddController {
    /// Its id.
    pub id: u64,
    /// `host:port` of its cluster port.
    pub cluster: String,
}

impl Read for AddController {
    fn read(node: &Node<'_>) -> Self {
        let controller = node.object();
        Self {
            id: controller.required("id", "- Specify the controller's id"),
            cluster: controller.required("cluster", "- Specify host:port of the controller's cluster port"),
        }
    }
}

impl AddController {
    /// Every problem of it. Whether something is an address is the caller's to judge.
    #[must_use]
    pub fn problems(&self, is_address: impl FnOnce(&str) -> bool) -> Vec<FieldError> {
        let problems = Problems::default();
        let root = problems.root();
        root.member("id").require(self.id > 0, "- Ids begin at 1");
        let (cluster, shown) = (root.member("cluster"), Quoted(&self.cluster));
        let is_address = is_address(&self.cluster);
        cluster.require(is_address, format_args!("- '{shown}' is no address; write host:port"));
        problems.into_errors()
    }
}

deserialize_by_reading!(AddController);
