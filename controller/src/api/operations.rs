//! What users ask for, and how far it is.

use std::cmp::Reverse;
use std::sync::Arc;

use axum::extract::State as Context;
use muster_common::id::{OperationId, ServiceId};
use muster_common::operation::{Accepted, Operation, OperationState, OperationSummary, Steer};
use schemars::JsonSchema;
use serde::Serialize;

use super::access::Api;
use super::answer::{Answer, Data, Done, List};
use super::body::Body;
use super::error::ApiError;
use super::etag::IfMatch;
use super::idempotency::IdempotencyKey;
use super::parameter::{OPERATION_STATE, SERVICE};
use super::path::Named;
use super::query::Parameters;
use super::services::known;
use crate::state::view::Page;
use crate::state::{Refusal, State, Steered, view};
use crate::users::User;

/// How many operations one answer holds at most.
const MAX_OPERATIONS: u64 = 100;
/// The same when the caller does not say.
const DEFAULT_OPERATIONS: u64 = 50;

/// `POST /localservices/operations`: accepted means committed; it goes on by itself. With `If-Match` only if its service
/// is still of that generation.
pub(super) async fn submit(
    Context(api): Context<Api>,
    user: User,
    key: Option<IdempotencyKey>,
    expected: IfMatch,
    Body(body): Body,
) -> Answer<Accepted> {
    let request = api.operation_in(&body)?;
    let submitted = api.submit(&user, request, key.as_ref(), expected.generation()).await?;
    Ok(Data(Accepted { service_id: submitted.service, operation_id: submitted.operation }))
}

/// `POST /localservices/operations/{serviceId}/cancel`, as Drove has it: whatever can be cancelled of a service is.
/// An operation's id serves too. Drove's clients expect an answer without data.
pub(super) async fn cancel(
    Context(api): Context<Api>,
    user: User,
    Named(named): Named<String>,
) -> Result<Done, ApiError> {
    let unknown = || ApiError::Refused(Refusal::UnknownOperation(named.chars().take(255).collect()));
    let operation = OperationId::new(&named).map_err(|_| unknown())?;
    let state = api.read(&Parameters::default()).await?;
    let operation = if state.operation(&operation).is_some() {
        operation
    } else {
        // Resolved here: one that is proposed again must not find another operation.
        let service = Steered::Service(ServiceId::new(&named).map_err(|_| unknown())?);
        state.steered(&service).map_err(ApiError::CannotCancel)?.id.clone()
    };
    api.steer(&user, operation, Steer::Cancel).await.map(|_| Done).map_err(|error| match error {
        ApiError::Refused(
            refusal @ (Refusal::NothingToCancel | Refusal::CannotSteer(..) | Refusal::OperationOver(..)),
        ) => ApiError::CannotCancel(refusal),
        other => other,
    })
}

/// `POST /localservices/operations/{operationId}/pause` (an addition to Drove's API).
pub(super) async fn pause(api: Context<Api>, user: User, operation: Named<String>) -> Answer<Accepted> {
    steer(api, user, operation, Steer::Pause).await
}

/// `POST /localservices/operations/{operationId}/resume` (an addition to Drove's API).
pub(super) async fn resume(api: Context<Api>, user: User, operation: Named<String>) -> Answer<Accepted> {
    steer(api, user, operation, Steer::Resume).await
}

/// `POST /localservices/operations/{operationId}/promote` (an addition to Drove's API).
pub(super) async fn promote(api: Context<Api>, user: User, operation: Named<String>) -> Answer<Accepted> {
    steer(api, user, operation, Steer::Promote).await
}

async fn steer(
    Context(api): Context<Api>,
    user: User,
    Named(operation): Named<String>,
    steer: Steer,
) -> Answer<Accepted> {
    let unknown = |_| ApiError::Refused(Refusal::UnknownOperation(operation.chars().take(255).collect()));
    let id = OperationId::new(&operation).map_err(unknown)?;
    let steered = api.steer(&user, id, steer).await?;
    Ok(Data(Accepted { service_id: steered.service, operation_id: steered.operation }))
}

/// `GET /localservices/operations?state=&service=&from=&size=` (an addition to Drove's API): those at work, then
/// finished ones, newest first. Of their slots they tell how many are where, and name some that failed or are away.
pub(super) async fn list(Context(api): Context<Api>, query: Parameters) -> List<OperationSummary> {
    let states = query.each::<OperationState>(&OPERATION_STATE)?;
    let services = query.texts(&SERVICE);
    let range = query.range(MAX_OPERATIONS, DEFAULT_OPERATIONS)?;
    let show = move |state: &State| {
        let is_of =
            |operation: &Operation| services.iter().any(|service| service == operation.service.as_str());
        let mut operations: Vec<_> = state
            .operations()
            .filter(|operation| states.is_empty() || states.contains(&operation.state))
            .filter(|operation| services.is_empty() || is_of(operation))
            .collect();
        operations.sort_by_key(|operation| {
            (operation.state.is_final(), Reverse((operation.created, &operation.id)))
        });
        let show = |operation: &Arc<Operation>| view::operation_summary(state, operation);
        Ok(Page::of(operations.into_iter(), range, show))
    };
    Ok(api.show(&query, show).await?.into())
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Valid {
    valid: bool,
}

/// `POST /localservices/validate/spec`. Whether it could be created is asked, so that a cluster that is closed for
/// operations says so (docs/drove-api.md §1.1).
pub(super) async fn validate_spec(Context(api): Context<Api>, Body(body): Body) -> Answer<Valid> {
    api.spec_in(&body)?;
    if api.read(&Parameters::default()).await?.is_in_maintenance() {
        return Err(ApiError::Refused(Refusal::Maintenance));
    }
    Ok(Data(Valid { valid: true }))
}

/// `GET /localservices/operations/{operationId}` (an addition to Drove's API): with all its slots.
pub(super) async fn one(
    Context(api): Context<Api>,
    Named(operation): Named<String>,
    query: Parameters,
) -> Answer<Operation> {
    let show = move |state: &State| {
        OperationId::new(&operation)
            .ok()
            .and_then(|id| view::operation(state, &id))
            .ok_or_else(|| ApiError::NotFound(format!("No operation found with id: {operation}")))
    };
    Ok(Data(api.show(&query, show).await?))
}

/// `GET /localservices/{id}/operations?from=&size=` (an addition to Drove's API): those at work, then finished ones,
/// newest first, as in the list of all. Those of a service that is destroyed are told as long as they are kept.
pub(super) async fn of_service(
    Context(api): Context<Api>,
    Named(service): Named<String>,
    query: Parameters,
) -> List<OperationSummary> {
    let range = query.range(MAX_OPERATIONS, DEFAULT_OPERATIONS)?;
    let show = move |state: &State| {
        let id = match ServiceId::new(&service) {
            Ok(id) if state.operations_of(&id).next().is_some() => id,
            Ok(_) | Err(_) => known(state, &service)?.id.clone(),
        };
        let show = |operation: &Arc<Operation>| view::operation_summary(state, operation);
        Ok(Page::of(state.operations_of(&id), range, show))
    };
    Ok(api.show(&query, show).await?.into())
}
