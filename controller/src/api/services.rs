//! Services, their instances and their slots.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State as Context;
use muster_common::id::{Generation, InstanceId, ServiceId};
use muster_common::instance::{InstanceInfo, InstanceState};
use muster_common::service::ServiceSummary;
use muster_common::slot::{ReplaceMode, SlotStatus};
use muster_common::spec::{LocalServiceSpec, masked};
use muster_common::time::Timestamp;
use serde::Serialize;

use super::access::Api;
use super::answer::{Answer, Data};
use super::error::ApiError;
use super::path::Named;
use super::query::{MAX_PAGE, Parameters, page};
use crate::state::{Instance, Service, State, view};

/// `GET /localservices`
pub(super) async fn list(
    Context(api): Context<Api>,
    query: Parameters,
) -> Answer<BTreeMap<String, ServiceSummary>> {
    let from = page(query.number("from", MAX_PAGE, 0)?);
    let size = page(query.number("size", MAX_PAGE, MAX_PAGE)?);
    let state = api.read(&query).await?;
    let services = state.services().skip(from).take(size);
    Ok(Data(
        services.map(|service| (service.id.to_string(), view::service_summary(&state, service))).collect(),
    ))
}

/// `GET /localservices/{id}`
pub(super) async fn one(
    Context(api): Context<Api>,
    Named(service): Named<String>,
    query: Parameters,
) -> Answer<ServiceSummary> {
    let state = api.read(&query).await?;
    let service = known(&state, &service)?;
    Ok(Data(view::service_summary(&state, service)))
}

/// `GET /localservices/{id}/spec`, masked.
pub(super) async fn spec(
    Context(api): Context<Api>,
    Named(service): Named<String>,
    query: Parameters,
) -> Answer<LocalServiceSpec> {
    let state = api.read(&query).await?;
    let service = known(&state, &service)?;
    Ok(Data(masked(service.spec())))
}

/// `GET /localservices/{id}/instances`: active ones; an unknown service has none. `from` and `size`, which page, are
/// additions to Drove's API.
pub(super) async fn instances(
    Context(api): Context<Api>,
    Named(service): Named<String>,
    query: Parameters,
) -> Answer<Vec<InstanceInfo>> {
    let wanted = query.each::<InstanceState>("state")?;
    let from = page(query.number("from", MAX_PAGE, 0)?);
    let size = page(query.number("size", MAX_PAGE, MAX_PAGE)?);
    let state = api.read(&query).await?;
    let Ok(service) = ServiceId::new(&service) else { return Ok(Data(Vec::new())) };
    Ok(Data(view::active_instances(&state, &service, &wanted, (from, size))))
}

/// `GET /localservices/{id}/instances/old`: all others; also of a service that is destroyed by now. The parameters
/// are additions to Drove's API: `state`, `executor` and `reason` may repeat, `since` is a time in ms, `from` and
/// `size` page.
pub(super) async fn old_instances(
    Context(api): Context<Api>,
    Named(service): Named<String>,
    query: Parameters,
) -> Answer<Vec<InstanceInfo>> {
    let filter = view::OldFilter {
        states: query.each("state")?,
        executors: query.all("executor").map(str::to_owned).collect(),
        reasons: query.each("reason")?,
        since: Timestamp(query.number("since", u64::MAX, 0)?),
    };
    let from = page(query.number("from", MAX_PAGE, 0)?);
    let size = page(query.number("size", MAX_PAGE, MAX_PAGE)?);
    let state = api.read(&query).await?;
    let Ok(service) = ServiceId::new(&service) else { return Ok(Data(Vec::new())) };
    Ok(Data(api.blocking(move || view::old_instances(&state, &service, &filter, (from, size))).await?))
}

/// `GET /localservices/{id}/instances/{instanceId}`: in any state.
pub(super) async fn instance(
    Context(api): Context<Api>,
    Named((service, instance)): Named<(String, String)>,
    query: Parameters,
) -> Answer<InstanceInfo> {
    let state = api.read(&query).await?;
    Ok(Data(view::instance_info(&state, known_instance(&state, &service, &instance)?)))
}

/// One slot of a service: what is asked of it, and what its executor says.
#[derive(Debug, Serialize)]
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

/// `GET /localservices/{id}/slots` (an addition to Drove's API).
pub(super) async fn slots(
    Context(api): Context<Api>,
    Named(service): Named<String>,
    query: Parameters,
) -> Answer<Vec<SlotInfo>> {
    let state = api.read(&query).await?;
    let service = known(&state, &service)?;
    let slots = state.slots_of(&service.id).map(|(id, slot)| SlotInfo {
        instances: state.live_instances_in(&id).map(|instance| instance.record.id.to_string()).collect(),
        executor_id: id.executor.to_string(),
        index: id.index,
        epoch: slot.epoch.0,
        generation: slot.generation.0,
        spec_generation: slot.spec.0,
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

/// The instance of that service that is named so, in any state.
pub(super) fn known_instance<'a>(
    state: &'a State,
    service: &str,
    instance: &str,
) -> Result<&'a Arc<Instance>, ApiError> {
    InstanceId::new(instance)
        .ok()
        .and_then(|id| state.instance(&id))
        .filter(|found| found.record.slot.service.as_str() == service)
        .ok_or_else(|| ApiError::NotFound(format!("No such local service instance {service}/{instance}")))
}

/// One spec that a service has or had.
#[derive(Debug, Serialize)]
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

/// `GET /localservices/{id}/generations` (an addition to Drove's API): the specs that it can be rolled back to, newest
/// first, masked.
pub(super) async fn generations(
    Context(api): Context<Api>,
    Named(service): Named<String>,
    query: Parameters,
) -> Answer<Vec<GenerationInfo>> {
    let state = api.read(&query).await?;
    let service = known(&state, &service)?;
    let specs = &service.specs;
    let generations = specs.iter().rev().map(|(generation, version)| GenerationInfo {
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
