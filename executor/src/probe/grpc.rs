//! One `grpc.health.v1.Health/Check` on a port of a workload, over HTTP/2 with or without TLS.
//!
//! Like an HTTP check it has a connection of its own, which shows that the workload still takes new ones;
//! nothing is pooled and nothing goes on when the call is let go. That is also why it speaks HTTP/2 itself:
//! a channel brings a task, a queue and reconnecting, for one question.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::{Builder, Connection, SendRequest};
use h2::{Reason, RecvStream};
use http::{Request, header};
use muster_platform::call::{self, Speak, Trust};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::{Code, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::target::Target;
use super::{ANSWER_MAX, CALLED_NAME, ProbeError};

/// The method that is called.
const METHOD: &str = "/grpc.health.v1.Health/Check";
/// What stands before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;
/// The largest answer that is read; a real one has two bytes.
const MESSAGE_MAX: usize = 1024;
/// The largest headers and trailers that are taken, in bytes; they hold the server's own words.
const HEADERS_MAX: u32 = 16 * 1024;

/// A call, ready to be made.
pub(super) struct HealthCall<'a> {
    /// The address and port that are called.
    pub(super) target: Target,
    /// Absent for plain HTTP/2.
    pub(super) tls: Option<Trust>,
    /// Whose health; empty for the server's as a whole.
    pub(super) service: &'a str,
    /// What the server is told of how long it has. The caller bounds the whole call by the same.
    pub(super) limit: Duration,
}

/// What came back.
pub(super) struct Health {
    /// Whether it serves.
    pub(super) is_serving: bool,
    /// The call's gRPC status.
    pub(super) code: i32,
    /// The health's name, or the server's own words when there is none.
    pub(super) answer: String,
}

impl HealthCall<'_> {
    /// Makes the call. The caller bounds the whole of it.
    pub(super) async fn make(&self) -> Result<Health, ProbeError> {
        let stream = self.target.connect().await?;
        match self.tls {
            None => self.exchange(stream).await,
            Some(trust) => {
                self.exchange(call::handshake(stream, CALLED_NAME, trust, Speak::Http2).await?).await
            }
        }
    }

    async fn exchange<S>(&self, stream: S) -> Result<Health, ProbeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut http2 = Builder::new();
        http2.enable_push(false).max_header_list_size(HEADERS_MAX);
        let (sender, connection) = http2.handshake(stream).await.map_err(|error| failed(&error))?;
        // Driven beside the call, not in a task: nothing goes on when the call is let go.
        tokio::select! {
            answer = self.call(sender) => answer,
            ended = drive(connection) => Err(ended),
        }
    }

    async fn call(&self, sender: SendRequest<Bytes>) -> Result<Health, ProbeError> {
        let request = self.request()?;
        let mut sender = sender.ready().await.map_err(|error| failed(&error))?;
        let (response, mut body) = sender.send_request(request, false).map_err(|error| failed(&error))?;
        let question = HealthCheckRequest { service: self.service.to_owned() };
        body.send_data(framed(&question), true).map_err(|error| failed(&error))?;
        let (head, body) = response.await.map_err(|error| failed(&error))?.into_parts();
        if head.status != http::StatusCode::OK {
            return Err(ProbeError::NoAnswer(format!(
                "this is no gRPC server: it answers HTTP status {}",
                head.status
            )));
        }
        // A refusal may come in the headers alone.
        if let Some(status) = Status::from_header_map(&head.headers) {
            return Ok(refusal(&status));
        }
        read_answer(body).await
    }

    fn request(&self) -> Result<Request<()>, ProbeError> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        Request::post(format!("{scheme}://{}{METHOD}", self.target.authority()))
            .header(header::TE, "trailers")
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::USER_AGENT, "muster-probe")
            .header("grpc-timeout", timeout_text(self.limit))
            .body(())
            .map_err(|error| ProbeError::NoAnswer(format!("the request cannot be made: {error}")))
    }
}

/// At most eight digits and a unit; `m` is for milliseconds.
fn timeout_text(limit: Duration) -> String {
    format!("{}m", limit.as_millis().clamp(1, 99_999_999))
}

fn framed(question: &HealthCheckRequest) -> Bytes {
    let length = question.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + length);
    frame.put_u8(0);
    // The spec's limit on the name keeps it far below.
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    frame.extend_from_slice(&question.encode_to_vec());
    frame.freeze()
}

async fn read_answer(mut body: RecvStream) -> Result<Health, ProbeError> {
    let mut frame = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(|error| failed(&error))?;
        if frame.len() + data.len() > PREFIX_BYTES + MESSAGE_MAX {
            return Err(ProbeError::NoAnswer(format!("the answer is longer than {MESSAGE_MAX} bytes")));
        }
        // It fits into the first window: there is no capacity to give back.
        frame.extend_from_slice(&data);
    }
    let trailers = body.trailers().await.map_err(|error| failed(&error))?;
    match trailers.as_ref().and_then(Status::from_header_map) {
        Some(status) if status.code() != Code::Ok => Ok(refusal(&status)),
        Some(_) => health_in(&frame),
        None => Err(ProbeError::NoAnswer("the answer broke off before its status".to_owned())),
    }
}

fn health_in(frame: &[u8]) -> Result<Health, ProbeError> {
    let odd = |what: &str| ProbeError::NoAnswer(format!("the answer cannot be read: {what}"));
    let (prefix, message) =
        frame.split_first_chunk::<PREFIX_BYTES>().ok_or_else(|| odd("it has no message"))?;
    let [compressed, length @ ..] = *prefix;
    if compressed != 0 {
        return Err(odd("it is compressed, which was not asked for"));
    }
    if usize::try_from(u32::from_be_bytes(length)).ok() != Some(message.len()) {
        return Err(odd("its length is wrong"));
    }
    let health = HealthCheckResponse::decode(message).map_err(|error| odd(&error.to_string()))?.status();
    Ok(Health {
        is_serving: health == ServingStatus::Serving,
        code: Code::Ok.into(),
        answer: health.as_str_name().to_owned(),
    })
}

/// An error status; what the server says with it is cut to what is kept of an answer.
fn refusal(status: &Status) -> Health {
    let words: String = status.message().chars().take(ANSWER_MAX / 4).collect();
    let answer = format!("{}: {words}", status.code().description());
    Health { is_serving: false, code: status.code().into(), answer }
}

/// Resolves only when the connection breaks: one that ended in order leaves the last word to the call.
async fn drive<S: AsyncRead + AsyncWrite + Unpin>(connection: Connection<S, Bytes>) -> ProbeError {
    match connection.await {
        Ok(()) => std::future::pending().await,
        Err(error) => failed(&error),
    }
}

fn failed(error: &h2::Error) -> ProbeError {
    let hint = match error.reason() {
        Some(Reason::HTTP_1_1_REQUIRED | Reason::PROTOCOL_ERROR | Reason::FRAME_SIZE_ERROR) => {
            "; is this a port that speaks gRPC?"
        }
        _ => "",
    };
    ProbeError::NoAnswer(format!("the call failed: {error}{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_and_plain_answer_counts() {
        let serving = health_in(&[0, 0, 0, 0, 2, 8, 1]).map(|health| (health.is_serving, health.answer));
        assert_eq!(serving.ok(), Some((true, "SERVING".to_owned())));
        // The default value is not sent at all.
        let unknown = health_in(&[0, 0, 0, 0, 0]).map(|health| (health.is_serving, health.answer));
        assert_eq!(unknown.ok(), Some((false, "UNKNOWN".to_owned())));
        for (frame, why) in [
            (&[][..], "no message"),
            (&[0, 0, 0][..], "no message"),
            (&[1, 0, 0, 0, 2, 8, 1][..], "compressed"),
            (&[0, 0, 0, 0, 3, 8, 1][..], "length"),
            (&[0, 0, 0, 0, 2, 8, 255][..], "varint"),
        ] {
            let Err(ProbeError::NoAnswer(error)) = health_in(frame) else { panic!("{why}: it counts") };
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn the_server_is_told_how_long_it_has() {
        assert_eq!(timeout_text(Duration::from_secs(3600)), "3600000m");
        assert_eq!(timeout_text(Duration::from_micros(1)), "1m");
        assert_eq!(timeout_text(Duration::MAX), "99999999m");
    }
}
