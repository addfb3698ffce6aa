//! A file that comes from a server: one HTTP call.
//!
//! No redirects are followed: credentials would go along. Errors name the server, the path and the status; never the
//! query, the headers or what was answered, which may all be secret.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use muster_common::spec::{HttpCallSpec, Protocol};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::http::with_cause;
use super::{CallError, Question, Reach, Speak, Trust, exchange, handshake};

/// Why a file was not fetched, in words for a person.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There was no connection, or no whole answer: it may be there for another machine, or later.
    #[error("{0}")]
    Unreached(String),
    /// The server answered with something else, or may not be asked.
    #[error("{0}")]
    Refused(String),
}

impl FetchError {
    fn map(self, reword: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Unreached(why) => Self::Unreached(reword(why)),
            Self::Refused(why) => Self::Refused(reword(why)),
        }
    }
}

impl From<CallError> for FetchError {
    fn from(error: CallError) -> Self {
        Self::Unreached(error.to_string())
    }
}

/// Fetches the file, of at most `max_bytes`, in the name of `agent`. Takes no longer than the call's
/// `operationTimeout`.
pub async fn fetch(
    call: &HttpCallSpec,
    agent: &'static str,
    reach: Reach,
    max_bytes: usize,
) -> Result<Vec<u8>, FetchError> {
    let limit = call.operation_timeout.as_duration();
    let late = |_| {
        let why = format!("no whole answer within {limit:?}; raise operationTimeout if it is slow");
        Err(FetchError::Unreached(why))
    };
    let fetched = timeout(limit, make(call, agent, reach, max_bytes)).await.unwrap_or_else(late);
    fetched.map_err(|error| error.map(|why| format!("cannot fetch {}: {why}", call.shown_url())))
}

async fn make(
    call: &HttpCallSpec,
    agent: &'static str,
    reach: Reach,
    max_bytes: usize,
) -> Result<Vec<u8>, FetchError> {
    let question = Question {
        authority: call.authority(),
        agent,
        verb: call.verb,
        path: &call.path,
        payload: call.payload.as_deref().unwrap_or_default(),
    };
    let authorization = authorization(call);
    let authorization = authorization.as_deref().map(|value| (header::AUTHORIZATION.as_str(), value));
    let headers = call.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let request = question.request(headers.chain(authorization));
    let request = request.map_err(|error| FetchError::Refused(error.to_string()))?;
    let read = |response| judged(call, response, max_bytes);

    let limit = call.connection_timeout.as_duration();
    match call.protocol {
        Protocol::Http => exchange(in_time(limit, connect(call, reach)).await?, request, read).await,
        Protocol::Https => {
            let trust = if call.insecure { Trust::Anybody } else { Trust::Machine };
            let secured = async {
                let stream = connect(call, reach).await?;
                Ok(handshake(stream, call.host(), trust, Speak::Http1).await?)
            };
            exchange(in_time(limit, secured).await?, request, read).await
        }
    }
}

/// The addresses are judged that are connected to: a name may lead elsewhere the next time it is asked for.
async fn connect(call: &HttpCallSpec, reach: Reach) -> Result<TcpStream, FetchError> {
    let unreached = |error: std::io::Error| FetchError::Unreached(format!("no connection: {error}"));
    let found: Vec<_> = lookup_host((call.host(), call.effective_port())).await.map_err(unreached)?.collect();
    let admitted: Vec<_> = found.iter().copied().filter(|at| reach.admits(at.ip())).collect();
    if let (Some(refused), true) = (found.first(), admitted.is_empty()) {
        let why = format!("it leads to {}, where nothing may be fetched from", refused.ip());
        return Err(FetchError::Refused(why));
    }
    TcpStream::connect(admitted.as_slice()).await.map_err(unreached)
}

async fn in_time<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, FetchError>>,
) -> Result<T, FetchError> {
    let late = |_| Err(FetchError::Unreached(format!("no connection within {limit:?} (connectionTimeout)")));
    timeout(limit, work).await.unwrap_or_else(late)
}

/// What is shown to the server: the header that was written out, else name and password.
fn authorization(call: &HttpCallSpec) -> Option<String> {
    if let Some(header) = call.auth_header.as_ref().filter(|header| !header.is_empty()) {
        return Some(header.clone());
    }
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    let (name, password) = (part(&call.username), part(&call.password));
    let is_known = !name.is_empty() || !password.is_empty();
    is_known.then(|| format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))))
}

/// The content, when the status is one of success and the answer is whole.
async fn judged(
    call: &HttpCallSpec,
    response: http::Response<Incoming>,
    max_bytes: usize,
) -> Result<Vec<u8>, FetchError> {
    let status = response.status();
    if !call.success_codes.contains(&status.as_u16()) {
        let hint =
            if status.is_redirection() { "; redirects are not followed, name the file itself" } else { "" };
        return Err(FetchError::Refused(format!(
            "the server answered status {status}, which is none of successCodes {:?}{hint}",
            call.success_codes
        )));
    }
    let too_large = || FetchError::Refused(format!("the answer is larger than {max_bytes} bytes"));
    let mut body = response.into_body();
    // What the server announces need not be read.
    if body.size_hint().lower() > max_bytes as u64 {
        return Err(too_large());
    }
    let mut content = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            FetchError::Unreached(format!("the answer broke off: {}", with_cause(&error)))
        })?;
        let Some(data) = frame.data_ref() else { continue };
        if content.len() + data.len() > max_bytes {
            return Err(too_large());
        }
        content.extend_from_slice(data);
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(more: &serde_json::Value) -> HttpCallSpec {
        let mut call = json!({"hostname": "files.example.org"});
        call.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(call).unwrap()
    }

    #[test]
    fn a_header_that_is_written_out_goes_before_name_and_password() {
        assert_eq!(authorization(&call(&json!({}))), None);
        assert_eq!(authorization(&call(&json!({"username": "", "authHeader": ""}))), None);
        let pair = json!({"username": "me", "password": "hush"});
        assert_eq!(authorization(&call(&pair)).as_deref(), Some("Basic bWU6aHVzaA=="));
        let both = json!({"username": "me", "password": "hush", "authHeader": "Bearer abc"});
        assert_eq!(authorization(&call(&both)).as_deref(), Some("Bearer abc"));
    }
}
