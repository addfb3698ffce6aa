//! Instances: those of a service, and those of all.

use std::sync::Arc;

use axum::extract::State as Context;
use muster_common::id::{InstanceId, ServiceId};
use muster_common::instance::InstanceInfo;
use muster_common::time::Timestamp;
use muster_common::user::Verb;

use super::access::Api;
use super::answer::{Answer, Data, List, Listed};
use super::error::ApiError;
use super::parameter::{DETAIL, EXECUTOR, ID_PREFIX, LABEL, OLD, REASON, SERVICE, SINCE, STATE};
use super::path::Named;
use super::query::{MAX_PAGE, Parameters};
use crate::state::view::{self, Detail, InstanceFilter};
use crate::state::{Instance, State};
use crate::users::User;

/// `GET /localservices/{id}/instances`: active ones; an unknown service has none. Additions to Drove's API: `executor` may
/// repeat, `from` and `size` page, and with `detail=true` each is shown whole.
pub(super) async fn of_service(
    Context(api): Context<Api>,
    user: User,
    Named(service): Named<String>,
    query: Parameters,
) -> List<InstanceInfo> {
    let (filter, detail) = (filter(&query)?, detail(&query)?);
    let range = query.range(MAX_PAGE, MAX_PAGE)?;
    let state = api.read(&query).await?;
    let Ok(service) = ServiceId::new(&service) else { return Ok(none()) };
    let list = move || view::active_instances(&state, &service, &filter, range, detail);
    Ok(for_user(&user, api.blocking(list).await?.into()))
}

/// `GET /localservices/{id}/instances/old`: all others; also of a service that is destroyed by now. The parameters
/// are additions to Drove's API: `state`, `executor` and `reason` may repeat, `since` is a time in ms, `from` and
/// `size` page.
pub(super) async fn old(
    Context(api): Context<Api>,
    user: User,
    Named(service): Named<String>,
    query: Parameters,
) -> List<InstanceInfo> {
    let filter = filter(&query)?;
    let range = query.range(MAX_PAGE, MAX_PAGE)?;
    let state = api.read(&query).await?;
    let Ok(service) = ServiceId::new(&service) else { return Ok(none()) };
    let list = move || view::old_instances(&state, &service, &filter, range);
    Ok(for_user(&user, api.blocking(list).await?.into()))
}

/// `GET /instances` (an addition to Drove's API): of all services, those that may still run, and with `old=true` those
/// that ended too. Beside the parameters of the others: `service` and `label` (`key` or `key=value`, of its service's
/// tags) may repeat, `idPrefix` is the beginning of ids, with or without `SI-`.
pub(super) async fn all(Context(api): Context<Api>, user: User, query: Parameters) -> List<InstanceInfo> {
    let (filter, detail) = (filter(&query)?, detail(&query)?);
    let (ended, range) = (query.flag(&OLD)?, query.range(MAX_PAGE, MAX_PAGE)?);
    let state = api.read(&query).await?;
    let list = move || view::all_instances(&state, &filter, ended, range, detail);
    Ok(for_user(&user, api.blocking(list).await?.into()))
}

/// `GET /localservices/{id}/instances/{instanceId}`: in any state, with everything that is known of it.
pub(super) async fn one(
    Context(api): Context<Api>,
    user: User,
    Named((service, instance)): Named<(String, String)>,
    query: Parameters,
) -> Answer<InstanceInfo> {
    let state = api.read(&query).await?;
    let mut info = view::instance_info(&state, known_instance(&state, &service, &instance)?);
    hide_logs(&user, &mut info);
    Ok(Data(info))
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

fn filter(query: &Parameters) -> Result<InstanceFilter, ApiError> {
    let label = |text: &str| match text.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (text.to_owned(), None),
    };
    Ok(InstanceFilter {
        services: query.texts(&SERVICE),
        executors: query.texts(&EXECUTOR),
        states: query.each(&STATE)?,
        reasons: query.each(&REASON)?,
        since: Timestamp(query.number(&SINCE, u64::MAX, 0)?),
        id_prefix: query.text(&ID_PREFIX)?,
        labels: query.all(&LABEL).map(label).collect(),
    })
}

fn detail(query: &Parameters) -> Result<Detail, ApiError> {
    Ok(if query.flag(&DETAIL)? { Detail::Whole } else { Detail::Brief })
}

const fn none() -> Listed<Vec<InstanceInfo>> {
    Listed { data: Vec::new(), total: 0 }
}

fn for_user(user: &User, mut list: Listed<Vec<InstanceInfo>>) -> Listed<Vec<InstanceInfo>> {
    list.data.iter_mut().for_each(|info| hide_logs(user, info));
    list
}

/// What workloads wrote is for those who may read logs.
fn hide_logs(user: &User, info: &mut InstanceInfo) {
    if let Some(evidence) = info.evidence.as_mut().filter(|_| !user.role.may(Verb::ReadLogs)) {
        evidence.log_tail.clear();
    }
}
