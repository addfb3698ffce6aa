//! Where a service belongs, and why not elsewhere.

use axum::extract::State as Context;
use muster_common::placement::{ExecutorPlacement, SimulatedPlacement};

use super::access::Api;
use super::answer::{Answer, Data, List};
use super::body::Body;
use super::parameter::{DETAIL_PLACES, INSTANCES_PER_HOST};
use super::path::Named;
use super::query::{MAX_PAGE, Parameters};
use super::services::known;
use crate::state::{State, view};

/// The most that a service may have on one executor.
const MAX_PER_HOST: u32 = 256;

/// `GET /localservices/{id}/placement?from=&size=` (an addition to Drove's API).
pub(super) async fn of_service(
    Context(api): Context<Api>,
    Named(service): Named<String>,
    query: Parameters,
) -> List<ExecutorPlacement> {
    let range = query.range(MAX_PAGE, MAX_PAGE)?;
    let show = move |state: &State| Ok(view::placement(state, known(state, &service)?, range));
    Ok(api.show(&query, show).await?.into())
}

/// `POST /localservices/placement?instancesPerHost=1&from=&size=` (an addition to Drove's API): the same for a spec of which there
/// is no service yet. Nothing is changed.
pub(super) async fn of_spec(
    Context(api): Context<Api>,
    query: Parameters,
    Body(body): Body,
) -> List<ExecutorPlacement> {
    let range = query.range(MAX_PAGE, MAX_PAGE)?;
    let spec = api.spec_in(&body)?;
    let count = query.within(&INSTANCES_PER_HOST, 1..=MAX_PER_HOST)?.unwrap_or(1);
    let show = move |state: &State| Ok(view::placement_of_spec(state, &spec, count, range));
    Ok(api.show(&query, show).await?.into())
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
    let simulate = move |state: &State| {
        Ok(view::simulated_placement(state, &request.spec, request.num_instances, detail))
    };
    Ok(Data(api.show(&query, simulate).await?))
}
