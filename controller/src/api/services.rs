//! Services, their specs and their slots.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State as Context;
use muster_common::generation::SpecGeneration;
use muster_common::id::ServiceId;
use muster_common::service::ServiceSummary;
use muster_common::slot::SlotInfo;
use muster_common::spec::{LocalServiceSpec, masked};

use super::access::Api;
use super::answer::{Answer, Data, Listed};
use super::error::ApiError;
use super::etag::{IfNoneMatch, Tagged};
use super::path::Named;
use super::query::{MAX_PAGE, Parameters};
use crate::state::view::Page;
use crate::state::{Service, State, view};

/// `GET /localservices`
pub(super) async fn list(
    Context(api): Context<Api>,
    query: Parameters,
) -> Result<Listed<BTreeMap<String, ServiceSummary>>, ApiError> {
    let range = query.range(MAX_PAGE, MAX_PAGE)?;
    let state = api.read(&query).await?;
    let page =
        Page::of(state.services(), range, |service: &Arc<Service>| view::service_summary(&state, service));
    let data = page.items.into_iter().map(|summary| (summary.id.clone(), summary)).collect();
    Ok(Listed { data, total: page.total })
}

/// `GET /localservices/{id}`
pub(super) async fn one(
    Context(api): Context<Api>,
    Named(service): Named<String>,
    known_to_caller: IfNoneMatch,
    query: Parameters,
) -> Result<Tagged<ServiceSummary>, ApiError> {
    let state = api.read(&query).await?;
    let service = known(&state, &service)?;
    Ok(known_to_caller.answer(service.generation, || view::service_summary(&state, service)))
}

/// `GET /localservices/{id}/spec`, masked.
pub(super) async fn spec(
    Context(api): Context<Api>,
    Named(service): Named<String>,
    known_to_caller: IfNoneMatch,
    query: Parameters,
) -> Result<Tagged<LocalServiceSpec>, ApiError> {
    let state = api.read(&query).await?;
    let service = known(&state, &service)?;
    Ok(known_to_caller.answer(service.generation, || masked(service.spec())))
}

/// `GET /localservices/{id}/slots` (an addition to Drove's API).
pub(super) async fn slots(
    Context(api): Context<Api>,
    Named(service): Named<String>,
    query: Parameters,
) -> Answer<Vec<SlotInfo>> {
    let state = api.read(&query).await?;
    let service = known(&state, &service)?;
    let slots = state.slots_of(&service.id).map(|(id, slot)| SlotInfo {
        instances: state.live_instances_in(&id).map(|instance| instance.record.id.clone()).collect(),
        executor_id: id.executor.clone(),
        index: id.index,
        epoch: slot.epoch,
        generation: slot.generation,
        spec_generation: slot.spec,
        mode: slot.mode,
        status: slot.current_status().cloned(),
    });
    Ok(Data(slots.collect()))
}

/// The service that is named so.
pub(super) fn known<'a>(state: &'a State, service: &str) -> Result<&'a Arc<Service>, ApiError> {
    ServiceId::new(service)
        .ok()
        .and_then(|id| state.service(&id))
        .ok_or_else(|| ApiError::NotFound(format!("Local service {service} not found")))
}

/// `GET /localservices/{id}/generations` (an addition to Drove's API): the specs that it can be rolled back to, newest
/// first, masked.
pub(super) async fn generations(
    Context(api): Context<Api>,
    Named(service): Named<String>,
    query: Parameters,
) -> Answer<Vec<SpecGeneration>> {
    let state = api.read(&query).await?;
    let service = known(&state, &service)?;
    let specs = &service.specs;
    let generations = specs.iter().rev().map(|(generation, version)| SpecGeneration {
        generation,
        created: version.at,
        by: version.by.clone(),
        restores: version.restores,
        wanted: generation == specs.wanted(),
        stable: generation == specs.stable(),
        slots: state.slots_of(&service.id).filter(|(_, slot)| slot.spec == generation).count(),
        spec: masked(&version.spec),
    });
    Ok(Data(generations.collect()))
}
