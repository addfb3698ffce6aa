//! The cluster and its controllers.

use axum::extract::State as Context;
use muster_common::cluster::{ClusterState, ClusterStateData, ClusterSummary};
use serde::Serialize;

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
    let leader = status.leader.as_ref().map(|leader| leader.api_addr.as_str());
    Ok(Data(view::cluster_summary(&state, leader)))
}

/// `POST /cluster/maintenance/set`: in force at once, and for as long as nobody unsets it.
pub(super) async fn set_maintenance(Context(api): Context<Api>) -> Answer<ClusterStateData> {
    Ok(Data(api.set_cluster_state(ClusterState::Maintenance).await?))
}

/// `POST /cluster/maintenance/unset`: over at once.
pub(super) async fn unset_maintenance(Context(api): Context<Api>) -> Answer<ClusterStateData> {
    Ok(Data(api.set_cluster_state(ClusterState::Normal).await?))
}

/// One controller, as the one that answers sees it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ControllerInfo {
    id: u64,
    api: String,
    cluster: String,
    leader: bool,
    /// The revision that it has applied; only known of the one that answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    applied_revision: Option<u64>,
    /// Raft's term; only known of the one that answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    term: Option<u64>,
}

/// `GET /cluster/controllers` (an addition to Drove's API). Answers without asking anybody, so that it
/// also works while there is no leader.
pub(super) async fn controllers(Context(api): Context<Api>) -> Data<Vec<ControllerInfo>> {
    let status = api.raft();
    let leader = status.leader.as_ref().map(|leader| leader.id);
    let controllers = status.members.iter().map(|member| {
        let answers = member.id == api.id();
        ControllerInfo {
            id: member.id.0,
            api: member.api_addr.clone(),
            cluster: member.cluster_addr.clone(),
            leader: leader == Some(member.id),
            applied_revision: answers.then_some(status.applied.0),
            term: answers.then_some(status.term),
        }
    });
    Data(controllers.collect())
}

/// `GET /endpoints`: Drove's list of exposed applications, of which there are none here.
pub(super) async fn endpoints() -> Data<[(); 0]> {
    Data([])
}
