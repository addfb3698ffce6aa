//! The cluster and its controllers.

use axum::extract::State as Context;
use muster_common::cluster::{ClusterState, ClusterStateData, ClusterSummary};
use muster_common::dashboard::DashboardData;

use super::access::Api;
use super::answer::{Answer, Data};
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
    let leader = status.leader.map(|leader| leader.api_addr);
    Ok(Data(api.blocking(move || view::cluster_summary(&state, leader.as_deref())).await?))
}

/// `GET /cluster/dashboard`
pub(super) async fn dashboard(Context(api): Context<Api>, query: Parameters) -> Answer<DashboardData> {
    let state = api.read(&query).await?;
    let (leader, now) = (api.raft().leader.map(|leader| leader.api_addr), api.now());
    Ok(Data(api.blocking(move || view::dashboard(&state, leader.as_deref(), now)).await?))
}

/// `POST /cluster/maintenance/set`: in force at once, and for as long as nobody unsets it.
pub(super) async fn set_maintenance(Context(api): Context<Api>) -> Answer<ClusterStateData> {
    Ok(Data(api.set_cluster_state(ClusterState::Maintenance).await?))
}

/// `POST /cluster/maintenance/unset`: over at once.
pub(super) async fn unset_maintenance(Context(api): Context<Api>) -> Answer<ClusterStateData> {
    Ok(Data(api.set_cluster_state(ClusterState::Normal).await?))
}

/// `GET /endpoints`: Drove's list of exposed applications, of which there are none here.
pub(super) async fn endpoints() -> Data<[(); 0]> {
    Data([])
}
