//! One HTTP or HTTPS call to a port of a workload: a connection of its own, no redirects followed, the
//! first KiB of the answer kept.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use muster_common::spec::{Headers, HttpVerb};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::target::Target;
use super::tls::{self, Speak, Trust};
use super::{ANSWER_MAX, ProbeError};

/// A call, ready to be made.
pub(super) struct Call<'a> {
    /// Whom.
    pub(super) target: Target,
    /// Absent for plain HTTP.
    pub(super) tls: Option<Trust>,
    /// What.
    pub(super) verb: HttpVerb,
    /// Where.
    pub(super) path: &'a str,
    /// The body to send; none when empty.
    pub(super) payload: &'a str,
    /// The spec's own headers.
    pub(super) headers: &'a Headers,
    /// How long the connection may take, TLS included.
    pub(super) connection_timeout: Duration,
}

/// What came back.
pub(super) struct Answer {
    /// Its status.
    pub(super) status: u16,
    /// The first bytes of its body.
    pub(super) body: String,
}

impl Call<'_> {
    /// Makes the call. The caller bounds the whole of it.
    pub(super) async fn make(&self) -> Result<Answer, ProbeError> {
        let request = self.request()?;
        match self.tls {
            None => exchange(self.in_time(self.target.connect()).await?, request).await,
            Some(trust) => {
                let handshake =
                    async { tls::handshake(self.target.connect().await?, trust, Speak::Http1).await };
                exchange(self.in_time(handshake).await?, request).await
            }
        }
    }

    fn request(&self) -> Result<Request<Full<Bytes>>, ProbeError> {
        let slash = if self.path.starts_with('/') { "" } else { "/" };
        let target: Uri = format!("{slash}{}", self.path)
            .parse()
            .map_err(|error| ProbeError(format!("'{}' is not a path: {error}", self.path)))?;
        let method = match self.verb {
            HttpVerb::Get => Method::GET,
            HttpVerb::Post => Method::POST,
            HttpVerb::Put => Method::PUT,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(header::HOST, self.target.authority())
            .header(header::USER_AGENT, "muster-probe")
            .body(Full::new(Bytes::copy_from_slice(self.payload.as_bytes())))
            .map_err(|error| ProbeError(format!("the request cannot be made: {error}")))?;
        for (name, value) in self.headers {
            let (name, value) = header_of(name, value)?;
            request.headers_mut().insert(name, value);
        }
        request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        Ok(request)
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, ProbeError>>) -> Result<T, ProbeError> {
        timeout(self.connection_timeout, work).await.unwrap_or_else(|_| {
            Err(ProbeError(format!(
                "no connection to {} within {:?}",
                self.target.address(),
                self.connection_timeout
            )))
        })
    }
}

/// Never quotes the value, which may be secret.
fn header_of(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), ProbeError> {
    let bad = |what: &str| ProbeError(format!("the header '{name}' cannot be sent: {what}"));
    let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("its name is not one"))?;
    let mut value =
        HeaderValue::from_bytes(value.as_bytes()).map_err(|_| bad("its value holds control characters"))?;
    // Values may be credentials; nothing that prints a request shows them then.
    value.set_sensitive(true);
    Ok((header, value))
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Answer, ProbeError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let failed = |error: hyper::Error| ProbeError(format!("the call failed: {}", with_cause(&error)));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    // Driven beside the call, not in a task: nothing goes on when the call is let go.
    let call = async {
        let response = sender.send_request(request).await.map_err(failed)?;
        let status = response.status().as_u16();
        Ok(Answer { status, body: first_bytes(response.into_body()).await })
    };
    tokio::select! {
        answer = call => answer,
        ended = drive(connection) => Err(ended),
    }
}

/// Resolves only when the connection breaks: one that ended in order leaves the last word to the call.
async fn drive<S>(connection: http1::Connection<TokioIo<S>, Full<Bytes>>) -> ProbeError
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    match connection.await {
        Ok(()) => std::future::pending().await,
        Err(error) => ProbeError(format!("the call failed: {}", with_cause(&error))),
    }
}

/// A body that breaks off still shows what had come.
async fn first_bytes(mut body: Incoming) -> String {
    let mut kept = Vec::new();
    while kept.len() < ANSWER_MAX
        && let Some(Ok(frame)) = body.frame().await
    {
        if let Some(data) = frame.data_ref() {
            kept.extend_from_slice(&data[..data.len().min(ANSWER_MAX - kept.len())]);
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

fn with_cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}
