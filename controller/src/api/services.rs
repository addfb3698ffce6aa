//! Services, their specs and their slots.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State as Context;
use muster_common::generation::SpecGeneration;
use muster_common::id::{Generation, ServiceId, SlotId};
use muster_common::service::ServiceSummary;
use muster_common::slot::SlotInfo;
use muster_common::spec::{LocalServiceSpec, masked};

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
            instances: state.live_instances_in(&id).map(|instance| instance.record.id.clone()).collect(),
            executor_id: id.executor,
            index: id.index,
            epoch: slot.epoch,
            generation: slot.generation,
            spec_generation: slot.spec,
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

/// `GET /localservices/{id}/generations?from=&size=` (an addition to Drove's API): the specs that it can be rolled back
/// to, newest first, masked.
pub(super) async fn generations(
    Context(api): Context<Api>,
    Named(service): Named<String>,
    query: Parameters,
) -> List<SpecGeneration> {
    let range = query.range(MAX_PAGE, MAX_PAGE)?;
    let show = move |state: &State| {
        let service = known(state, &service)?;
        let specs = &service.specs;
        let info = |(generation, version): (Generation, &Arc<SpecVersion>)| SpecGeneration {
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
