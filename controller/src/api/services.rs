//! Services, their specs and their slots.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State as Context;
use muster_common::id::{Generation, ServiceId, SlotId};
use muster_common::service::ServiceSummary;
use muster_common::slot::{ReplaceMode, SlotStatus};
use muster_common::spec::{LocalServiceSpec, masked};
use muster_common::time::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::access::Api;
use super::answer::{List, Listed};
use super::error::ApiError;
use super::etag::{IfNoneMatch, Tagged};
use super::path::Named;
use super::query::{MAX_PAGE, Parameters};
use crate::state::view::Page;
use crate::state::{Service, Slot, SpecVersion, State, view};

/// `GET /localservices`
pub(super) async fn list(
    Context(api): Context<Api>,
    query: Parameters,
) -> Result<Listed<BTreeMap<String, ServiceSummary>>, ApiError> {
    let range = query.range(MAX_PAGE, MAX_PAGE)?;
    let page = api.show(&query, move |state| Ok(view::service_summaries(state, range))).await?;
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
    let show = move |state: &State| {
        let service = known(state, &service)?;
        Ok(known_to_caller.answer(service.generation, || view::service_summary(state, service)))
    };
    api.show(&query, show).await
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

/// One slot of a service: what is asked of it, and what its executor says.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SlotInfo {
    executor_id: String,
    index: u32,
    epoch: u64,
    generation: u64,
    /// The generation of the spec that it must run.
    spec_generation: u64,
    mode: ReplaceMode,
    /// Absent until its executor has spoken of the present epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<SlotStatus>,
    /// The instances in it that may still run.
    instances: Vec<String>,
}

/// `GET /localservices/{id}/slots?from=&size=` (an addition to Drove's API).
pub(super) async fn slots(
    Context(api): Context<Api>,
    Named(service): Named<String>,
    query: Parameters,
) -> List<SlotInfo> {
    let range = query.range(MAX_PAGE, MAX_PAGE)?;
    let show = move |state: &State| {
        let service = known(state, &service)?;
        let slot_info = |(id, slot): (SlotId, &Arc<Slot>)| SlotInfo {
            instances: state.live_instances_in(&id).map(|instance| instance.record.id.to_string()).collect(),
            executor_id: id.executor.to_string(),
            index: id.index,
            epoch: slot.epoch.0,
            generation: slot.generation.0,
            spec_generation: slot.spec.0,
            mode: slot.mode,
            status: slot.current_status().cloned(),
        };
        Ok(Page::of(state.slots_of(&service.id), range, slot_info))
    };
    Ok(api.show(&query, show).await?.into())
}

/// The service that is named so.
pub(super) fn known<'a>(state: &'a State, service: &str) -> Result<&'a Arc<Service>, ApiError> {
    ServiceId::new(service)
        .ok()
        .and_then(|id| state.service(&id))
        .ok_or_else(|| ApiError::NotFound(format!("Local service {service} not found")))
}

/// One spec that a service has or had.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct GenerationInfo {
    generation: Generation,
    created: Timestamp,
    #[serde(skip_serializing_if = "String::is_empty")]
    by: String,
    /// The generation whose spec this is again, when a rollback brought it.
    #[serde(skip_serializing_if = "Option::is_none")]
    restores: Option<Generation>,
    /// Whether users want it everywhere.
    wanted: bool,
    /// Whether new slots are given it, and a rollback brings it back.
    stable: bool,
    /// How many slots are asked to run it.
    slots: usize,
    spec: LocalServiceSpec,
}

/// `GET /localservices/{id}/generations?from=&size=` (an addition to Drove's API): the specs that it can be rolled back
/// to, newest first, masked.
pub(super) async fn generations(
    Context(api): Context<Api>,
    Named(service): Named<String>,
    query: Parameters,
) -> List<GenerationInfo> {
    let range = query.range(MAX_PAGE, MAX_PAGE)?;
    let show = move |state: &State| {
        let service = known(state, &service)?;
        let specs = &service.specs;
        let info = |(generation, version): (Generation, &Arc<SpecVersion>)| GenerationInfo {
            generation,
            created: version.at,
            by: version.by.clone(),
            restores: version.restores,
            wanted: generation == specs.wanted(),
            stable: generation == specs.stable(),
            slots: state.slots_of(&service.id).filter(|(_, slot)| slot.spec == generation).count(),
            spec: masked(&version.spec),
        };
        Ok(Page::of(specs.iter().rev(), range, info))
    };
    Ok(api.show(&query, show).await?.into())
}
