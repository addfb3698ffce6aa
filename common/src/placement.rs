//! Why a service runs on an executor, or does not.

use serde::{Deserialize, Serialize};

use crate::executor::ExecutorState;

wire_enum! {
    /// What keeps a service from an executor.
    pub enum Obstacle {
        /// The service is not switched on.
        NotActive = "NOT_ACTIVE",
        /// A test instance runs on one executor only, and that is another one.
        TestedElsewhere = "TESTED_ELSEWHERE",
        /// The executor's tags are not those that the spec asks for.
        Tags = "TAGS",
        /// It is BLACKLISTED, or is about to be.
        Blacklisted = "BLACKLISTED",
        /// It is being drained.
        Draining = "DRAINING",
        /// It was removed.
        Removed = "REMOVED",
        /// It is not heard: it goes on by itself, and learns of nothing new.
        NotHeard = "NOT_HEARD",
        /// Cores or memory are short, or a fixed host port is taken, by what is known here; its slots stay PENDING there.
        NoRoom = "NO_ROOM",
        /// The cluster is closed for maintenance.
        Maintenance = "MAINTENANCE",
    }
}

/// One obstacle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacementReason {
    /// What it is.
    pub code: Obstacle,
    /// In words.
    pub message: String,
}

/// What of a service belongs on one executor, and why not more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutorPlacement {
    /// The executor's id.
    pub executor_id: String,
    /// The node's host name.
    pub hostname: String,
    /// Where it is.
    pub state: ExecutorState,
    /// How many instances belong on it.
    pub wanted: u32,
    /// How many are on it that may still run.
    pub live: u32,
    /// What keeps them away; empty when nothing does.
    pub reasons: Vec<PlacementReason>,
}
