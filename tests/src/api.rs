//! One controller's REST API, as a test calls it.

use std::time::Duration;

use muster_common::envelope::{Envelope, OfKind, RefusalKind, Status, ValidationErrors};
use reqwest::StatusCode;
use reqwest::blocking::{Client, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Longer than a controller lets any call of the API take, on a busy machine.
const CALL_TIMEOUT: Duration = Duration::from_secs(40);

/// A client for any controllers. It is on the network that it was made on.
#[must_use]
pub fn client() -> Client {
    with_timeout(CALL_TIMEOUT)
}

fn with_timeout(timeout: Duration) -> Client {
    Client::builder().timeout(timeout).no_proxy().build().expect("an HTTP client")
}

/// Why a call did not do what it was to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It was not carried out, and may be tried again.
    #[error("not now: {0}")]
    NotNow(String),
    /// Nobody knows whether it was carried out.
    #[error("unknown: {0}")]
    Unknown(String),
    /// What is there forbids it.
    #[error("refused: {0}")]
    Refused(String),
    /// What it is about is not there.
    #[error("not found: {0}")]
    NotFound(String),
    /// Something that no call should be answered with.
    #[error("wrong: {0}")]
    Wrong(String),
}

/// One controller's API.
#[derive(Debug, Clone)]
pub struct Api {
    http: Client,
    rest: String,
}

impl Api {
    /// The API at `rest` (`http://host:port`).
    #[must_use]
    pub fn new(http: Client, rest: &str) -> Self {
        Self { http, rest: rest.to_owned() }
    }

    /// The same for a client that gives up after `timeout`.
    #[must_use]
    pub fn impatient(&self, timeout: Duration) -> Self {
        Self { http: with_timeout(timeout), rest: self.rest.clone() }
    }

    /// The `data` of `GET /apis/v1/<path>`.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        data(self.http.get(format!("{}/apis/v1/{path}", self.rest)).send())
    }

    /// Submits an operation.
    pub fn operate(&self, operation: &Value) -> Result<Value, CallError> {
        data(self.http.post(self.operations()).json(operation).send())
    }

    /// Submits an operation that is the same one however often it comes under this key.
    pub fn operate_as(&self, key: &str, operation: &Value) -> Result<Value, CallError> {
        data(self.http.post(self.operations()).header("Idempotency-Key", key).json(operation).send())
    }

    /// Pauses, resumes, promotes or cancels an operation, as `verb` says.
    pub fn steer(&self, operation: &str, verb: &str) -> Result<Value, CallError> {
        data(self.http.post(format!("{}/{operation}/{verb}", self.operations())).send())
    }

    /// Asks for `count` instances of `service` on each executor.
    pub fn scale(&self, service: &str, count: u32) -> Result<Value, CallError> {
        self.operate(&scale(service, count))
    }

    fn operations(&self) -> String {
        format!("{}/apis/v1/localservices/operations", self.rest)
    }
}

/// The request for `count` instances of `service` on each executor.
#[must_use]
pub fn scale(service: &str, count: u32) -> Value {
    json!({"type": "UPDATE_INSTANCE_COUNT", "serviceId": service, "instancesPerHost": count})
}

fn data<T: DeserializeOwned>(answer: reqwest::Result<Response>) -> Result<T, CallError> {
    let answer = answer.map_err(|error| {
        let words = words(&error);
        if error.is_connect() { CallError::NotNow(words) } else { CallError::Unknown(words) }
    })?;
    let status = answer.status();
    let text = answer.text().map_err(|error| CallError::Unknown(words(&error)))?;
    let envelope: Envelope<Value> =
        serde_json::from_str(&text).map_err(|error| CallError::Wrong(format!("{status} {error}: {text}")))?;
    if envelope.status == Status::Success && status.is_success() {
        return serde_json::from_value(envelope.data.unwrap_or_default())
            .map_err(|error| CallError::Wrong(format!("{error}: {text}")));
    }
    Err(match status {
        StatusCode::OK => CallError::NotFound(envelope.message),
        StatusCode::BAD_REQUEST => CallError::Refused(refusal(envelope)),
        StatusCode::SERVICE_UNAVAILABLE if kind(&envelope) == Some(RefusalKind::Unconfirmed) => {
            CallError::Unknown(envelope.message)
        }
        StatusCode::SERVICE_UNAVAILABLE => CallError::NotNow(envelope.message),
        _ => CallError::Wrong(format!("{status}: {text}")),
    })
}

fn kind(envelope: &Envelope<Value>) -> Option<RefusalKind> {
    envelope.data.clone().and_then(|data| serde_json::from_value::<OfKind>(data).ok()).map(|data| data.kind)
}

fn refusal(envelope: Envelope<Value>) -> String {
    let errors = envelope.data.and_then(|data| serde_json::from_value::<ValidationErrors>(data).ok());
    errors.map_or(envelope.message, |errors| errors.validation_errors.join("; "))
}

/// An error down to its first cause.
fn words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        words = format!("{words}: {source}");
        cause = source.source();
    }
    words
}
