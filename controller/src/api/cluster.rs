//! The cluster, its controllers and its executors.

use axum::extract::State as Context;
use muster_common::cluster::ClusterSummary;
use muster_common::executor::{ExecutorNodeData, ExecutorSummary};
use muster_common::id::ExecutorId;

use super::access::Api;
use super::answer::{Answer, Data};
use super::error::ApiError;
use super::path::Named;
use super::query::Parameters;
use crate::state::view;

/// `GET /ping`: every controller answers, leader or not.
pub(super) async fn ping() -> Data<&'static str> {
    Data("pong")
}

/// `GET /cluster`
pub(super) async fn summary(Context(api): Context<Api>, query: Parameters) -> Answer<ClusterSummary> {
    let state = api.read(&query).await?;
    let status = api.raft();
    let leader = status.leader.as_ref().map(|leader| leader.api_addr.as_str());
    Ok(Data(view::cluster_summary(&state, leader)))
}

/// `GET /cluster/executors`
pub(super) async fn executors(Context(api): Context<Api>, query: Parameters) -> Answer<Vec<ExecutorSummary>> {
    let state = api.read(&query).await?;
    Ok(Data(state.executors().map(|executor| view::executor_summary(&state, executor)).collect()))
}

/// `GET /cluster/executors/{id}`
pub(super) async fn executor(
    Context(api): Context<Api>,
    Named(executor): Named<String>,
    query: Parameters,
) -> Answer<ExecutorNodeData> {
    let state = api.read(&query).await?;
    ExecutorId::new(&executor)
        .ok()
        .and_then(|id| state.executor(&id))
        .map(|found| Data(view::executor_node_data(&state, found)))
        .ok_or_else(|| ApiError::NotFound(format!("No executor found with id: {executor}")))
}

/// `GET /endpoints`: Drove's list of exposed applications, of which there are none here.
pub(super) async fn endpoints() -> Data<[(); 0]> {
    Data([])
}
