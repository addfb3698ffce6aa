//! Numbers for a page that shows a cluster at a glance, in the shape of Drove's (`GET /cluster/dashboard`).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cluster::ClusterSummary;
use crate::executor::ExecutorState;
use crate::service::{ActivationState, ServiceState, ServiceSummary};
use crate::time::Timestamp;

/// `GET /cluster/dashboard`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DashboardData {
    /// As `GET /cluster` has it.
    pub cluster_summary: ClusterSummary,
    /// Applications, of which there are none here.
    pub app_stats: AppStats,
    /// Tasks, of which there are none here.
    pub task_stats: TaskStats,
    /// Services.
    pub service_stats: ServiceStats,
    /// Executors.
    pub executor_stats: ExecutorStats,
    /// When this was counted.
    pub generated_at: Timestamp,
}

/// Always empty: applications are not what Muster runs.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppStats {
    /// Always `{}`.
    pub app_count_by_state: BTreeMap<String, u64>,
    /// Always empty.
    pub top_apps: Vec<serde_json::Value>,
    /// Always 0.
    pub total_healthy_instances: u64,
}

/// Always empty: tasks are not what Muster runs.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskStats {
    /// Always `{}`.
    pub task_count_by_state: BTreeMap<String, u64>,
    /// Always empty.
    pub top_tasks: Vec<serde_json::Value>,
}

/// All services.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStats {
    /// Every state is there, also with 0.
    pub service_count_by_state: BTreeMap<ServiceState, u64>,
    /// Every one is there, also with 0.
    pub service_count_by_activation_state: BTreeMap<ActivationState, u64>,
    /// Those whose instances ask for the largest part of the cluster's cores or memory.
    pub top_services: Vec<ServiceSummary>,
    /// Of all services.
    pub total_healthy_instances: u64,
}

/// All executors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecutorStats {
    /// Every state is there, also with 0.
    pub executor_count_by_state: BTreeMap<ExecutorState, u64>,
    /// How full they are.
    pub utilization: UtilizationStats,
}

/// How full executors are. Each counts by what it has least of: the larger of its used parts of cores and of memory,
/// between 0 and 1.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UtilizationStats {
    /// The mean.
    pub average_utilization: f64,
    /// The fullest.
    pub highest_utilization: f64,
    /// The emptiest.
    pub lowest_utilization: f64,
    /// How far they are from the mean, in parts of it: 0 when all are as full as each other.
    pub balance_score: f64,
}
