//! Every way in which a call can go wrong, and the one place that turns it into an HTTP answer
//! (docs/drove-api.md §1.1). What people read here never holds internals: those go to the log.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use muster_common::envelope::{Envelope, OfKind, RefusalKind, ValidationErrors};
use muster_common::event::ResumeFrom;
use muster_common::id::Revision;
use muster_common::problem::printable;
use muster_common::read::Refused;
use serde::Serialize;

use crate::state::Refusal;

/// After how long a call that could not be served now is worth another try: an election takes about as long.
const RETRY_AFTER_SECONDS: &str = "1";

/// Why a call was not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ApiError {
    /// A rule forbids it; every broken rule is named, with the path of its field where it has one.
    #[error("Command validation failure")]
    Validation(Vec<String>),
    /// What is there now forbids it.
    #[error("Command validation failure")]
    Refused(Refusal),
    /// Nothing can be cancelled. Drove answers that without a list.
    #[error("{0}")]
    CannotCancel(Refusal),
    /// What the group of controllers is now forbids it.
    #[error("Command validation failure")]
    Conflict(String),
    /// The cluster is closed for such changes. Drove answers that with 200 and FAILED.
    #[error("{0}")]
    NotNow(Refusal),
    /// The body is not what this call takes; every member that cannot be read is named.
    #[error("JSON validation failure")]
    Json(Vec<String>),
    /// What was asked for is not there. Drove answers that with 200 and FAILED.
    #[error("{0}")]
    NotFound(String),
    /// Events that were asked for are forgotten, or never happened here.
    #[error("COMPACTED: not every event after that revision is kept; those after {resume_from} are")]
    Compacted {
        /// The earliest revision to go on from.
        resume_from: Revision,
    },
    /// Nobody knows who calls.
    #[error("Credentials are required to access this resource.")]
    Unauthenticated,
    /// The call does not come from where calls come from, or its user may not make it.
    #[error("{0}")]
    Forbidden(String),
    /// The body says that it is something else than JSON.
    #[error("The body must be JSON: send it with 'Content-Type: application/json'")]
    NotJson,
    /// The body is larger than any call takes.
    #[error("The request's body is larger than {limit} bytes; nothing was done")]
    TooLarge {
        /// The most that is taken, in bytes.
        limit: usize,
    },
    /// The cluster cannot answer right now; the text says what to do.
    #[error("{0}")]
    Unavailable(String),
    /// Nobody knows whether it was done: whoever asks again without a look may have it done twice.
    #[error("{0}")]
    Unconfirmed(String),
    /// Something that should not happen did. The text is for the log only.
    #[error("Unexpected Server error")]
    Internal(String),
}

impl From<serde_json::Error> for ApiError {
    /// What it quotes may be as long as the body.
    fn from(error: serde_json::Error) -> Self {
        /// Longer than any sentence that quotes a name of ours.
        const MAX_CHARS: usize = 500;
        Self::Json(vec![printable(&error.to_string(), MAX_CHARS)])
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let errors = refused.errors().iter().map(ToString::to_string).collect();
        match refused {
            Refused::Malformed(_) => Self::Json(errors),
            Refused::Invalid(_) => Self::Validation(errors),
        }
    }
}

#[derive(Serialize)]
struct Failure {
    failure: &'static str,
}

/// Stands for the data of an answer that has none.
#[derive(Serialize)]
enum Nothing {}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let message = self.to_string();
        match self {
            Self::Validation(errors) | Self::Json(errors) => bad(message, errors, RefusalKind::Invalid),
            Self::Refused(refusal) => {
                let is_another =
                    matches!(refusal, Refusal::GenerationMoved(..) | Refusal::NothingToMatch(..));
                let status =
                    if is_another { StatusCode::PRECONDITION_FAILED } else { StatusCode::BAD_REQUEST };
                let errors = std::iter::once(refusal.to_string()).chain(refusal.addition());
                refused(status, message, errors.collect(), refusal.kind())
            }
            Self::CannotCancel(_) => failed(StatusCode::BAD_REQUEST, message, None::<Nothing>),
            Self::Conflict(why) => bad(message, vec![why], RefusalKind::Conflict),
            Self::NotFound(_) | Self::NotNow(_) => failed(StatusCode::OK, message, None::<Nothing>),
            Self::Compacted { resume_from } => {
                failed(StatusCode::GONE, message, Some(ResumeFrom { resume_from }))
            }
            // As Drove's own: no envelope, and the one scheme that browsers and curl understand.
            Self::Unauthenticated => {
                let challenge = [(WWW_AUTHENTICATE, "Basic realm=\"realm\"")];
                (StatusCode::UNAUTHORIZED, challenge, message).into_response()
            }
            Self::Forbidden(_) => failed(StatusCode::FORBIDDEN, message, None::<Nothing>),
            Self::NotJson => failed(StatusCode::UNSUPPORTED_MEDIA_TYPE, message, None::<Nothing>),
            Self::TooLarge { .. } => failed(StatusCode::PAYLOAD_TOO_LARGE, message, None::<Nothing>),
            Self::Unavailable(_) => {
                let again = [(RETRY_AFTER, RETRY_AFTER_SECONDS)];
                (again, failed(StatusCode::SERVICE_UNAVAILABLE, message, None::<Nothing>)).into_response()
            }
            // No Retry-After: proxies and clients would take it for leave to repeat the call.
            Self::Unconfirmed(_) => {
                let data = OfKind { kind: RefusalKind::Unconfirmed };
                failed(StatusCode::SERVICE_UNAVAILABLE, message, Some(data))
            }
            Self::Internal(detail) => {
                tracing::error!(%detail, "a call failed for a reason that is not the caller's");
                let data = Failure { failure: "this controller's log has the details" };
                failed(StatusCode::INTERNAL_SERVER_ERROR, message, Some(data))
            }
        }
    }
}

fn bad(message: String, validation_errors: Vec<String>, kind: RefusalKind) -> Response {
    refused(StatusCode::BAD_REQUEST, message, validation_errors, kind)
}

fn refused(
    status: StatusCode,
    message: String,
    validation_errors: Vec<String>,
    kind: RefusalKind,
) -> Response {
    failed(status, message, Some(ValidationErrors { validation_errors, kind }))
}

fn failed<T: Serialize>(status: StatusCode, message: String, data: Option<T>) -> Response {
    (status, Json(Envelope::failed(message, data))).into_response()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use muster_common::id::{OperationId, ServiceId};
    use muster_common::operation::OperationKind;
    use muster_common::service::ServiceState;

    use super::*;

    async fn shown(error: ApiError) -> (u16, String) {
        let may_repeat = matches!(error, ApiError::Unavailable(_));
        let response = error.into_response();
        assert_eq!(response.headers().contains_key(RETRY_AFTER), may_repeat);
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn every_error_has_its_status_and_its_envelope() {
        let table = [
            (
                ApiError::Validation(vec!["spec.name - Service name is mandatory".into()]),
                400,
                r#"{"status":"FAILED","data":{"validationErrors":["spec.name - Service name is mandatory"],"kind":"INVALID"},"message":"Command validation failure"}"#,
            ),
            (
                ApiError::Refused(Refusal::UnknownService("x-1".into())),
                400,
                r#"{"status":"FAILED","data":{"validationErrors":["No state found for local service: x-1"],"kind":"NOT_FOUND"},"message":"Command validation failure"}"#,
            ),
            (
                ApiError::Refused(Refusal::NothingAllowed(
                    ServiceId::new("x-1").unwrap(),
                    ServiceState::ReplacingInstances,
                    Some((OperationKind::Restart, OperationId::new("OP-9").unwrap())),
                )),
                400,
                r#"{"status":"FAILED","data":{"validationErrors":["No operations allowed for x-1 as it is in REPLACING_INSTANCES state","RESTART OP-9 is at work on it"],"kind":"CONFLICT"},"message":"Command validation failure"}"#,
            ),
            (
                ApiError::Json(vec!["no".into()]),
                400,
                r#"{"status":"FAILED","data":{"validationErrors":["no"],"kind":"INVALID"},"message":"JSON validation failure"}"#,
            ),
            (
                ApiError::Conflict("two of three are down".into()),
                400,
                r#"{"status":"FAILED","data":{"validationErrors":["two of three are down"],"kind":"CONFLICT"},"message":"Command validation failure"}"#,
            ),
            (
                ApiError::NotFound("Local service X not found".into()),
                200,
                r#"{"status":"FAILED","message":"Local service X not found"}"#,
            ),
            (
                ApiError::TooLarge { limit: 5 },
                413,
                r#"{"status":"FAILED","message":"The request's body is larger than 5 bytes; nothing was done"}"#,
            ),
            (
                ApiError::Unavailable("There is no leader; retry".into()),
                503,
                r#"{"status":"FAILED","message":"There is no leader; retry"}"#,
            ),
            (
                ApiError::Unconfirmed("look first".into()),
                503,
                r#"{"status":"FAILED","data":{"kind":"UNCONFIRMED"},"message":"look first"}"#,
            ),
            (
                ApiError::Internal("/var/lib/secret: permission denied".into()),
                500,
                r#"{"status":"FAILED","data":{"failure":"this controller's log has the details"},"message":"Unexpected Server error"}"#,
            ),
        ];
        for (error, status, body) in table {
            assert_eq!(shown(error).await, (status, body.to_owned()));
        }
    }
}
