//! Where a service belongs, and why not elsewhere.

use axum::extract::State as Context;
use muster_common::placement::{ExecutorPlacement, SimulatedPlacement};

use super::access::Api;
use super::answer::{Answer, Data};
use super::body::Body;
use super::error::ApiError;
use super::parameter::{DETAIL_PLACES, INSTANCES_PER_HOST};
use super::path::Named;
use super::query::Parameters;
use super::services::known;
use crate::state::view;

/// The most that a service may have on one executor.
const MAX_PER_HOST: u64 = 256;

/// `GET /localservices/{id}/placement` (an addition to Drove's API).
pub(super) async fn of_service(
    Context(api): Context<Api>,
    Named(service): Named<String>,
    query: Parameters,
) -> Answer<Vec<ExecutorPlacement>> {
    let state = api.read(&query).await?;
    let service = known(&state, &service)?;
    Ok(Data(view::placement(&state, service)))
}

/// `POST /localservices/placement?instancesPerHost=1` (an addition to Drove's API): the same for a spec of which there
/// is no service yet. Nothing is changed.
pub(super) async fn of_spec(
    Context(api): Context<Api>,
    query: Parameters,
    Body(body): Body,
) -> Answer<Vec<ExecutorPlacement>> {
    let spec = api.spec_in(&body)?;
    let count = query.number(&INSTANCES_PER_HOST, MAX_PER_HOST, 1)?;
    let count = u32::try_from(count).map_err(|error| ApiError::Internal(error.to_string()))?;
    let state = api.read(&query).await?;
    Ok(Data(view::placement_of_spec(&state, &spec, count)))
}

/// `POST /cluster/placement/simulate?detail=`, which drove-cli has a command for: how many instances there would be with
/// `numInstances` on each executor that the spec is for, and what keeps the others away. Nothing is changed.
pub(super) async fn simulate(
    Context(api): Context<Api>,
    query: Parameters,
    Body(body): Body,
) -> Answer<SimulatedPlacement> {
    let detail = query.flag(&DETAIL_PLACES)?;
    let request = api.simulation_in(&body)?;
    let state = api.read(&query).await?;
    let simulate = move || view::simulated_placement(&state, &request.spec, request.num_instances, detail);
    Ok(Data(api.blocking(simulate).await?))
}
