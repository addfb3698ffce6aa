//! A file that comes from a server: one HTTP call before the start, made by this node.
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
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::call::{self, CallError, Question, Speak, Trust, with_cause};

/// Fetches the file, of at most `max_bytes`. Takes no longer than the call's `operationTimeout`.
pub(super) async fn fetch(call: &HttpCallSpec, max_bytes: usize) -> Result<Vec<u8>, String> {
    let server = Server::of(call);
    let limit = call.operation_timeout.as_duration();
    let late =
        |_| Err(CallError(format!("no whole answer within {limit:?}; raise operationTimeout if it is slow")));
    let fetched = timeout(limit, make(call, &server, max_bytes)).await.unwrap_or_else(late);
    fetched.map_err(|CallError(why)| format!("cannot fetch {}: {why}", server.shown(call)))
}

async fn make(call: &HttpCallSpec, server: &Server<'_>, max_bytes: usize) -> Result<Vec<u8>, CallError> {
    let question = Question {
        authority: server.authority(),
        agent: "muster-executor",
        verb: call.verb,
        path: &call.path,
        payload: call.payload.as_deref().unwrap_or_default(),
    };
    let authorization = authorization(call);
    let authorization = authorization.as_deref().map(|value| (header::AUTHORIZATION.as_str(), value));
    let headers = call.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let request = question.request(headers.chain(authorization))?;
    let read = |response| judged(call, response, max_bytes);

    let limit = call.connection_timeout.as_duration();
    match call.protocol {
        Protocol::Http => call::exchange(in_time(limit, server.connect()).await?, request, read).await,
        Protocol::Https => {
            let trust = if call.insecure { Trust::Anybody } else { Trust::Node };
            let handshake =
                async { call::handshake(server.connect().await?, server.host, trust, Speak::Http1).await };
            call::exchange(in_time(limit, handshake).await?, request, read).await
        }
    }
}

async fn in_time<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    let late = |_| Err(CallError(format!("no connection within {limit:?} (connectionTimeout)")));
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
) -> Result<Vec<u8>, CallError> {
    let status = response.status();
    if !call.success_codes.contains(&status.as_u16()) {
        let hint =
            if status.is_redirection() { "; redirects are not followed, name the file itself" } else { "" };
        return Err(CallError(format!(
            "the server answered status {status}, which is none of successCodes {:?}{hint}",
            call.success_codes
        )));
    }
    let too_large = || CallError(format!("the answer is larger than {max_bytes} bytes"));
    let mut body = response.into_body();
    // What the server announces need not be read.
    if body.size_hint().lower() > max_bytes as u64 {
        return Err(too_large());
    }
    let mut content = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| CallError(format!("the answer broke off: {}", with_cause(&error))))?;
        let Some(data) = frame.data_ref() else { continue };
        if content.len() + data.len() > max_bytes {
            return Err(too_large());
        }
        content.extend_from_slice(data);
    }
    Ok(content)
}

/// Who is called.
struct Server<'a> {
    protocol: Protocol,
    /// Without brackets.
    host: &'a str,
    port: u16,
}

impl<'a> Server<'a> {
    fn of(call: &'a HttpCallSpec) -> Self {
        let host = call.hostname.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let port = if call.port == 0 { default_port(call.protocol) } else { call.port };
        Self { protocol: call.protocol, host: host.unwrap_or(&call.hostname), port }
    }

    async fn connect(&self) -> Result<TcpStream, CallError> {
        TcpStream::connect((self.host, self.port))
            .await
            .map_err(|error| CallError(format!("no connection: {error}")))
    }

    /// As it is named in the request: its port only where it is not the usual one.
    fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.to_owned() };
        if self.port == default_port(self.protocol) { host } else { format!("{host}:{}", self.port) }
    }

    /// The address without its query.
    fn shown(&self, call: &HttpCallSpec) -> String {
        let scheme = self.protocol.to_string().to_lowercase();
        let path = call.path.split('?').next().unwrap_or_default();
        format!("{scheme}://{}{path}", self.authority())
    }
}

fn default_port(protocol: Protocol) -> u16 {
    match protocol {
        Protocol::Http => 80,
        Protocol::Https => 443,
    }
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
    fn a_server_is_named_without_the_query_and_with_a_port_where_it_is_not_the_usual_one() {
        for (more, shown) in [
            (json!({"path": "/a?token=hush"}), "http://files.example.org/a"),
            (json!({"port": 8080}), "http://files.example.org:8080/"),
            (json!({"protocol": "HTTPS", "port": 443}), "https://files.example.org/"),
            (json!({"hostname": "[::1]", "port": 81}), "http://[::1]:81/"),
            (json!({"hostname": "::1"}), "http://[::1]/"),
        ] {
            let call = call(&more);
            assert_eq!(Server::of(&call).shown(&call), shown);
        }
        let bare = call(&json!({"hostname": "[::1]", "protocol": "HTTPS"}));
        assert_eq!((Server::of(&bare).host, Server::of(&bare).port), ("::1", 443));
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
