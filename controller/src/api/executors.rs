//! The executors, and what users want of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State as Context;
use muster_common::executor::{
    BlacklistOperationResponse, DrainRequest, ExecutorNodeData, ExecutorState, ExecutorSummary, TagsRequest,
};
use muster_common::id::ExecutorId;
use muster_common::read::accept;

use super::access::Api;
use super::answer::{Answer, Data, List};
use super::body::Body;
use super::error::ApiError;
use super::parameter::EXECUTORS;
use super::path::Named;
use super::query::{AtMost, MAX_PAGE, Parameters};
use crate::state::view::Page;
use crate::state::{Executor, Refusal, Wish, view};
use crate::users::User;

/// How many executors a call may name: those of the largest fleet, as far as a head has room for them.
const MAX_NAMED: usize = 10_000;

/// `GET /cluster/executors`. `from` and `size`, which page, are additions to Drove's API.
pub(super) async fn list(Context(api): Context<Api>, query: Parameters) -> List<ExecutorSummary> {
    let range = query.range(MAX_PAGE, MAX_PAGE)?;
    let state = api.read(&query).await?;
    let summaries = move || {
        let show = |executor: &Arc<Executor>| view::executor_summary(&state, executor);
        Page::of(state.executors(), range, show)
    };
    Ok(api.blocking(summaries).await?.into())
}

/// `GET /cluster/executors/{id}`: as Drove has it, one that was removed is in the list alone.
pub(super) async fn one(
    Context(api): Context<Api>,
    Named(executor): Named<String>,
    query: Parameters,
) -> Answer<ExecutorNodeData> {
    let state = api.read(&query).await?;
    ExecutorId::new(&executor)
        .ok()
        .and_then(|id| state.executor(&id))
        .filter(|found| found.duty != ExecutorState::Removed)
        .map(|found| Data(view::executor_node_data(&state, found)))
        .ok_or_else(|| unknown(&executor))
}

/// `POST /cluster/executors/blacklist?id=…`
pub(super) async fn blacklist(
    Context(api): Context<Api>,
    user: User,
    AtMost(query): AtMost<MAX_NAMED>,
) -> Answer<BlacklistOperationResponse> {
    change_all(&api, &user, Wish::Blacklist, &named_in(&query)?).await
}

/// `POST /cluster/executors/{id}/blacklist`
pub(super) async fn blacklist_one(
    Context(api): Context<Api>,
    user: User,
    Named(executor): Named<String>,
) -> Answer<BlacklistOperationResponse> {
    change_all(&api, &user, Wish::Blacklist, &[executor]).await
}

/// `POST /cluster/executors/unblacklist?id=…`
pub(super) async fn unblacklist(
    Context(api): Context<Api>,
    user: User,
    AtMost(query): AtMost<MAX_NAMED>,
) -> Answer<BlacklistOperationResponse> {
    change_all(&api, &user, Wish::Unblacklist, &named_in(&query)?).await
}

/// `POST /cluster/executors/{id}/unblacklist`
pub(super) async fn unblacklist_one(
    Context(api): Context<Api>,
    user: User,
    Named(executor): Named<String>,
) -> Answer<BlacklistOperationResponse> {
    change_all(&api, &user, Wish::Unblacklist, &[executor]).await
}

/// `POST /cluster/executors/{id}/drain` (an addition to Drove's API): a blacklisting with a deadline. The body is
/// `{"timeout": "15 minutes"}` or empty.
pub(super) async fn drain(
    Context(api): Context<Api>,
    user: User,
    Named(executor): Named<String>,
    Body(body): Body,
) -> Answer<ExecutorSummary> {
    let request =
        if body.is_empty() { DrainRequest::default() } else { accept(&body, DrainRequest::problems)? };
    change_one(&api, &user, Wish::Drain { within: request.timeout.as_duration() }, &executor).await
}

/// `POST /cluster/executors/{id}/remove` (an addition to Drove's API): of one that is not heard. It is
/// shown as REMOVED for two days, and is a newcomer if it registers.
pub(super) async fn remove(
    Context(api): Context<Api>,
    user: User,
    Named(executor): Named<String>,
) -> Answer<ExecutorSummary> {
    change_one(&api, &user, Wish::Remove, &executor).await
}

/// `POST /cluster/executors/{id}/tags` (an addition to Drove's API): the body says what becomes of the tags that users
/// give it, beside those that it brings; they stay when it registers anew.
pub(super) async fn tag(
    Context(api): Context<Api>,
    Named(executor): Named<String>,
    Body(body): Body,
) -> Answer<ExecutorSummary> {
    let request = accept(&body, TagsRequest::problems)?;
    let id = ExecutorId::new(&executor).map_err(|_| unknown(&executor))?;
    api.tag_executor(id.clone(), request).await?;
    summary(&api, &id).await
}

/// What can be no executor's id is no executor.
async fn change_all(
    api: &Api,
    user: &User,
    wish: Wish,
    executors: &[String],
) -> Answer<BlacklistOperationResponse> {
    let (ids, mut failed) =
        (executors.iter().filter_map(|id| ExecutorId::new(id).ok()).collect(), Vec::new());
    failed.extend(executors.iter().filter(|id| ExecutorId::new(*id).is_err()).cloned());
    let duties = api.change_duty(user, wish, ids).await?;
    let successful: Vec<String> = duties.changed.iter().map(ToString::to_string).collect();
    failed.extend(duties.refused.iter().map(|(id, _)| id.to_string()));
    let message = match (wish == Wish::Unblacklist, successful.is_empty(), failed.is_empty()) {
        (false, false, _) => "Blacklisting successful and app movement scheduled",
        (false, true, _) => "Blacklisting messages could not be sent to any of the executors.",
        (true, _, true) => "Unblacklisting successful for all executors",
        (true, _, false) => "Unblacklisting successful for some executors. Check logs for details.",
    };
    let message = message.to_owned();
    Ok(Data(BlacklistOperationResponse { successful, failed, approx_completion_time_ms: 0, message }))
}

async fn change_one(api: &Api, user: &User, wish: Wish, executor: &str) -> Answer<ExecutorSummary> {
    let id = ExecutorId::new(executor).map_err(|_| unknown(executor))?;
    let duties = api.change_duty(user, wish, vec![id.clone()]).await?;
    match duties.refused.into_iter().next() {
        Some((_, Refusal::UnknownExecutor(_))) => return Err(unknown(executor)),
        Some((_, refusal)) => return Err(ApiError::Refused(refusal)),
        None => {}
    }
    summary(api, &id).await
}

async fn summary(api: &Api, id: &ExecutorId) -> Answer<ExecutorSummary> {
    let state = api.read(&Parameters::default()).await?;
    let found = state.executor(id).ok_or_else(|| unknown(id.as_str()))?;
    Ok(Data(view::executor_summary(&state, found)))
}

/// Each executor that the query names, once.
fn named_in(query: &Parameters) -> Result<Vec<String>, ApiError> {
    let mut seen = BTreeSet::new();
    let named: Vec<String> = query.all(&EXECUTORS).filter(|id| seen.insert(*id)).map(str::to_owned).collect();
    if named.is_empty() {
        return Err(ApiError::Validation(vec!["query param id must not be empty".to_owned()]));
    }
    Ok(named)
}

pub(super) fn unknown(executor: &str) -> ApiError {
    ApiError::NotFound(format!("No executor found with id: {executor}"))
}
