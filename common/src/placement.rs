//! Why a service runs on an executor, or does not.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::executor::ExecutorState;
use crate::problem::{FieldError, Problems};
use crate::read::{Node, Read};
use crate::spec::{LocalServiceSpec, SpecLimits, validate};

/// The most that a service may have on one executor.
const MAX_PER_HOST: u32 = 256;

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlacementReason {
    /// What it is.
    pub code: Obstacle,
    /// In words.
    pub message: String,
}

/// What of a service belongs on one executor, and why not more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// The body of `POST /cluster/placement/simulate`, which drove-cli sends.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub struct SimulationRequest {
    /// What would run; with the policy that the request has beside it, if it has one.
    pub spec: LocalServiceSpec,
    /// How many of it on each executor.
    #[schemars(default = "default_instances")]
    pub num_instances: u32,
}

const fn default_instances() -> u32 {
    1
}

impl Read for SimulationRequest {
    fn read(node: &Node<'_>) -> Self {
        let request = node.object();
        let mut spec: LocalServiceSpec = request.required("spec", "- Specify what would run");
        if let Some(policy) = request.get("placementPolicy") {
            spec.placement_policy = Some(policy);
        }
        Self { spec, num_instances: request.count("numInstances").unwrap_or_else(default_instances) }
    }
}

impl SimulationRequest {
    /// Every problem of it.
    #[must_use]
    pub fn problems(&self, limits: &SpecLimits) -> Vec<FieldError> {
        let mut errors: Vec<FieldError> =
            validate(&self.spec, limits).into_iter().map(|error| error.inside("spec")).collect();
        let problems = Problems::default();
        let is_count = (1..=MAX_PER_HOST).contains(&self.num_instances);
        let place = problems.root();
        place.member("numInstances").require(is_count, format_args!("must be between 1 and {MAX_PER_HOST}"));
        errors.extend(problems.into_errors());
        errors
    }
}

/// Where instances of a spec would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SimulatedPlacement {
    /// How many there would have to be, on all executors that the spec is for.
    pub requested: u64,
    /// How many there is room for.
    pub placed: u64,
    /// One for each that is placed, where that was asked for.
    pub placements: Vec<PlacedInstance>,
    /// What keeps the others from their executors, a sentence for each.
    pub errors: Vec<String>,
}

/// Where one instance would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlacedInstance {
    /// The executor's id.
    pub executor_id: String,
    /// The node's host name.
    pub hostname: String,
    /// The port of the executor's own API.
    pub port: u16,
    /// Where the executor is.
    pub executor_state: ExecutorState,
}
