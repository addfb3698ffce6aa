//! An HTTP/1.1 request, and its exchange on a connection that is there.

use std::error::Error;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use muster_common::spec::HttpVerb;
use tokio::io::{AsyncRead, AsyncWrite};

use super::CallError;

/// What is asked of a server.
pub struct Question<'a> {
    /// What the call names as its host, unless a header does.
    pub authority: String,
    /// Who asks.
    pub agent: &'static str,
    /// What.
    pub verb: HttpVerb,
    /// Where, with its query.
    pub path: &'a str,
    /// The body to send; none when empty.
    pub payload: &'a str,
}

impl Question<'_> {
    /// The request with these headers besides; of two of one name, the later counts.
    pub fn request<'h>(
        &self,
        headers: impl IntoIterator<Item = (&'h str, &'h str)>,
    ) -> Result<Request<Full<Bytes>>, CallError> {
        let method = match self.verb {
            HttpVerb::Get => Method::GET,
            HttpVerb::Post => Method::POST,
            HttpVerb::Put => Method::PUT,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(target(self.path)?)
            .header(header::HOST, &self.authority)
            .header(header::USER_AGENT, self.agent)
            .body(Full::new(Bytes::copy_from_slice(self.payload.as_bytes())))
            .map_err(|error| CallError::NoAnswer(format!("the request cannot be made: {error}")))?;
        for (name, value) in headers {
            let (name, value) = header_of(name, value)?;
            request.headers_mut().insert(name, value);
        }
        request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        Ok(request)
    }
}

/// Never quotes the query, which may be secret.
fn target(path: &str) -> Result<Uri, CallError> {
    let slash = if path.starts_with('/') { "" } else { "/" };
    let shown = path.split('?').next().unwrap_or_default();
    format!("{slash}{path}")
        .parse()
        .map_err(|error| CallError::NoAnswer(format!("'{shown}' is not a path: {error}")))
}

/// Never quotes the value, which may be secret.
fn header_of(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), CallError> {
    let bad = |what: &str| CallError::NoAnswer(format!("the header '{name}' cannot be sent: {what}"));
    let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("its name is not one"))?;
    let mut value =
        HeaderValue::from_bytes(value.as_bytes()).map_err(|_| bad("its value holds control characters"))?;
    // Values may be credentials; nothing that prints a request shows them then.
    value.set_sensitive(true);
    Ok((header, value))
}

/// Asks, and has the answer read while the connection is there.
pub async fn exchange<S, T, E, Reading>(
    stream: S,
    request: Request<Full<Bytes>>,
    read: impl FnOnce(Response<Incoming>) -> Reading,
) -> Result<T, E>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    E: From<CallError>,
    Reading: Future<Output = Result<T, E>>,
{
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    // Driven beside the call, not in a task: nothing goes on when the call is let go.
    let call = async { read(sender.send_request(request).await.map_err(|error| failed(&error))?).await };
    tokio::select! {
        answer = call => answer,
        ended = drive(connection) => Err(ended.into()),
    }
}

/// Resolves only when the connection breaks: one that ended in order leaves the last word to the call.
async fn drive<S>(connection: http1::Connection<TokioIo<S>, Full<Bytes>>) -> CallError
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    match connection.await {
        Ok(()) => std::future::pending().await,
        Err(error) => failed(&error),
    }
}

/// hyper's words for bytes that come before the question; it has no other name for them.
const SPOKE_FIRST: &str = "received unexpected message from connection";

fn failed(error: &hyper::Error) -> CallError {
    let mut causes = std::iter::successors(Some(error as &dyn Error), |&error| error.source());
    CallError::NoAnswer(if causes.any(|cause| cause.to_string() == SPOKE_FIRST) {
        "the call failed: the server speaks before it is asked, as no HTTP server does; is it the right port?"
            .to_owned()
    } else {
        format!("the call failed: {}", with_cause(error))
    })
}

/// What went wrong, and why.
pub(super) fn with_cause(error: &dyn Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn a_server_that_speaks_first_is_told_from_one_that_hangs_up() {
        let question =
            Question { authority: "a".to_owned(), agent: "t", verb: HttpVerb::Get, path: "/", payload: "" };
        for (first, expected) in [("SSH-2.0-OpenSSH_9.6\r\n", "speaks before it is asked"), ("", "closed")] {
            let (near, mut far) = tokio::io::duplex(1024);
            far.write_all(first.as_bytes()).await.unwrap();
            if first.is_empty() {
                drop(far);
            }
            let read = |_| std::future::ready(Ok::<_, CallError>(()));
            let error = exchange(near, question.request([]).unwrap(), read).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
