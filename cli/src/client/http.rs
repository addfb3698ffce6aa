//! The REST API as typed calls.

use std::fmt::Display;
use std::time::Duration;

use muster_common::envelope::{Envelope, Status, ValidationErrors};
use muster_common::exit::Exit;
use muster_common::operation::{Operation, OperationRequest};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::StatusCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::CliError;

/// A controller waits for its leader, a leader for its majority; after that it is not slow but gone.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Something large may take this long as a whole.
const STREAM_TIMEOUT: Duration = Duration::from_secs(3600);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Errors of a connection that is being set up are worth another try; a controller may be restarting.
const CONNECT_ATTEMPTS: u32 = 3;
const CONNECT_PAUSE: Duration = Duration::from_millis(200);

/// One controller's REST API.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    server: String,
}

/// What an accepted operation answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Accepted {
    /// The service it is about.
    pub(crate) service_id: String,
    /// The operation's id.
    pub(crate) operation_id: String,
}

impl Client {
    pub(crate) fn new(server: String) -> Result<Self, CliError> {
        let http = reqwest::Client::builder()
            .timeout(CALL_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .no_proxy()
            .build()
            .map_err(|error| CliError::failure(format!("cannot make an HTTP client: {error}")))?;
        Ok(Self { http, server })
    }

    /// `GET /apis/v1/<path>`.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        let request = || self.http.get(self.url(path));
        read(path, self.send(request).await?).await
    }

    /// `POST /apis/v1/<path>`.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, CliError> {
        let request = || self.http.post(self.url(path)).json(body);
        read(path, self.send(request).await?).await
    }

    /// `DELETE /apis/v1/<path>`.
    pub(crate) async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        let request = || self.http.delete(self.url(path));
        read(path, self.send(request).await?).await
    }

    /// `GET /apis/v1/<path>` of something large, piece by piece; nothing limits it but silence.
    pub(crate) async fn stream(
        &self,
        path: &str,
        mut piece: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<(), CliError> {
        let request = || self.http.get(self.url(path)).timeout(STREAM_TIMEOUT);
        let mut answer = self.send(request).await?;
        if !answer.status().is_success() {
            return read::<Value>(path, answer).await.map(drop);
        }
        let broken = |cause: String| CliError::failure(format!("the answer to {path} broke off: {cause}"));
        loop {
            let next = tokio::time::timeout(CALL_TIMEOUT, answer.chunk()).await;
            let next = next.map_err(|_| broken(format!("silence for {} s", CALL_TIMEOUT.as_secs())))?;
            let Some(bytes) = next.map_err(|error| broken(root_cause(&error)))? else { return Ok(()) };
            piece(&bytes).map_err(|error| CliError::failure(format!("cannot write: {error}")))?;
        }
    }

    /// Submits an operation.
    pub(crate) async fn operate(&self, operation: &OperationRequest) -> Result<Accepted, CliError> {
        let path = "localservices/operations";
        let request = || self.http.post(self.url(path)).json(operation);
        read(path, self.send(request).await?).await
    }

    /// How far an operation is.
    pub(crate) async fn operation(&self, id: &str) -> Result<Operation, CliError> {
        self.get(&format!("localservices/operations/{}", segment(id))).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}/apis/v1/{path}", self.server)
    }

    /// Sends; only a connection that could not be opened is tried again, so nothing is done twice.
    async fn send(
        &self,
        request: impl Fn() -> reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, CliError> {
        let mut attempt = 1;
        loop {
            match request().send().await {
                Ok(answer) => return Ok(answer),
                Err(error) if error.is_connect() && attempt < CONNECT_ATTEMPTS => {
                    attempt += 1;
                    tokio::time::sleep(CONNECT_PAUSE).await;
                }
                Err(error) => return Err(self.unreachable(&error)),
            }
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> CliError {
        if error.is_timeout() {
            return CliError::new(
                Exit::Timeout,
                format!(
                    "{} did not answer within {}s; try another controller",
                    self.server,
                    CALL_TIMEOUT.as_secs()
                ),
            );
        }
        CliError::failure(format!(
            "cannot reach a controller at {}: {}; is it running? Name another one with --server, or start a \
             cluster on this machine with 'muster dev'",
            self.server,
            root_cause(error)
        ))
    }
}

/// A name as one segment of a path, whatever is in it.
pub(crate) fn segment(name: &str) -> impl Display {
    /// What stands for itself in a path (RFC 3986, §2.3) stays readable.
    const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(name, ESCAPED)
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

async fn read<T: DeserializeOwned>(path: &str, answer: reqwest::Response) -> Result<T, CliError> {
    let status = answer.status();
    let bytes = answer.bytes().await.map_err(|error| {
        CliError::failure(format!("the answer to {path} broke off: {}", root_cause(&error)))
    })?;
    let envelope: Envelope<Value> = serde_json::from_slice(&bytes).map_err(|_| {
        let exit = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::Auth,
            StatusCode::NOT_FOUND => Exit::NotFound,
            _ => Exit::Failure,
        };
        let text: String = String::from_utf8_lossy(&bytes).chars().take(200).collect();
        CliError::new(exit, format!("{path} answered {status}: {}", text.trim()))
    })?;
    if envelope.status == Status::Failed || !status.is_success() {
        return Err(refusal(status, envelope));
    }
    serde_json::from_value(envelope.data.unwrap_or(Value::Null)).map_err(|error| {
        CliError::failure(format!(
            "cannot understand the answer to {path}: {error}; are both ends of one version?"
        ))
    })
}

/// A refusal's sentence and exit code. Drove's API answers unknown ids with 200 (drove-wire.md §1.1).
fn refusal(status: StatusCode, envelope: Envelope<Value>) -> CliError {
    let bad: Option<ValidationErrors> = envelope.data.and_then(|data| serde_json::from_value(data).ok());
    let exit = match status {
        StatusCode::OK | StatusCode::NOT_FOUND => Exit::NotFound,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::Auth,
        StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => Exit::Conflict,
        StatusCode::BAD_REQUEST => bad.as_ref().map_or(Exit::Validation, |bad| bad.kind.exit()),
        StatusCode::GATEWAY_TIMEOUT => Exit::Timeout,
        _ => Exit::Failure,
    };
    let details = bad.map(|bad| bad.validation_errors).unwrap_or_default();
    match details.as_slice() {
        [] => CliError::new(exit, envelope.message),
        [only] => CliError::new(exit, only.clone()),
        many => {
            let list: String = many.iter().map(|detail| format!("\n  - {detail}")).collect();
            CliError::new(exit, format!("{}:{list}", envelope.message))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn refusals_have_the_exit_code_of_their_kind() {
        let refused = |status: StatusCode, errors: &[&str], kind: &str| {
            let data = json!({"validationErrors": errors, "kind": kind});
            refusal(status, Envelope::failed("Command validation failure", Some(data)))
        };
        for (kind, exit) in
            [("INVALID", Exit::Validation), ("NOT_FOUND", Exit::NotFound), ("CONFLICT", Exit::Conflict)]
        {
            let error = refused(StatusCode::BAD_REQUEST, &["no"], kind);
            assert_eq!((error.exit, error.message.as_str()), (exit, "no"));
        }
        assert_eq!(refusal(StatusCode::OK, Envelope::failed("Not found", None)).exit, Exit::NotFound);
        let several = refused(StatusCode::BAD_REQUEST, &["one", "two"], "INVALID");
        assert_eq!(several.message, "Command validation failure:\n  - one\n  - two");
    }

    #[test]
    fn a_name_stays_one_segment_of_the_path() {
        assert_eq!(segment("example-1").to_string(), "example-1");
        assert_eq!(segment("a/../b?c").to_string(), "a%2F..%2Fb%3Fc");
    }
}
