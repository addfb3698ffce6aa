//! What users ask for, and how far it is.

use axum::extract::State as Context;
use muster_common::id::OperationId;
use muster_common::operation::Operation;
use serde::Serialize;

use super::access::Api;
use super::answer::{Answer, Data};
use super::body::Body;
use super::error::ApiError;
use super::path::Named;
use super::query::Parameters;
use super::services::known;
use crate::state::{Reply, view};

/// The answer to an accepted request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Accepted {
    service_id: String,
    /// An addition to Drove's answer: how to ask for the progress.
    operation_id: String,
}

/// `POST /localservices/operations`: accepted means committed; it goes on by itself.
pub(super) async fn submit(Context(api): Context<Api>, Body(body): Body) -> Answer<Accepted> {
    let request = api.operation_in(&body)?;
    match api.submit(request).await? {
        Reply::Accepted { operation, service } => {
            Ok(Data(Accepted { service_id: service.to_string(), operation_id: operation.to_string() }))
        }
        Reply::Refused(refusal) => Err(ApiError::Refused(refusal)),
        other => Err(ApiError::Internal(format!("an operation was answered with {other:?}"))),
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Valid {
    valid: bool,
}

/// `POST /localservices/validate/spec`
pub(super) async fn validate_spec(Context(api): Context<Api>, Body(body): Body) -> Answer<Valid> {
    api.spec_in(&body)?;
    Ok(Data(Valid { valid: true }))
}

/// `GET /localservices/operations/{operationId}` (an addition to Drove's API).
pub(super) async fn one(
    Context(api): Context<Api>,
    Named(operation): Named<String>,
    query: Parameters,
) -> Answer<Operation> {
    let state = api.read(&query).await?;
    OperationId::new(&operation)
        .ok()
        .and_then(|id| view::operation(&state, &id))
        .map(Data)
        .ok_or_else(|| ApiError::NotFound(format!("No operation found with id: {operation}")))
}

/// `GET /localservices/{id}/operations` (an addition to Drove's API): those at work, then finished
/// ones, newest first.
pub(super) async fn of_service(
    Context(api): Context<Api>,
    Named(service): Named<String>,
    query: Parameters,
) -> Answer<Vec<Operation>> {
    let state = api.read(&query).await?;
    let service = known(&state, &service)?;
    let operations = state.operations_of(&service.id);
    Ok(Data(operations.filter_map(|operation| view::operation(&state, &operation.id)).collect()))
}
