//! One HTTP or HTTPS call to a port of a workload; the first KiB of the answer is kept.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use muster_common::spec::{Headers, HttpVerb};
use muster_platform::call::{self, CallError, Question, Speak, Trust};
use tokio::time::{Instant, timeout, timeout_at};

use super::target::Target;
use super::{ANSWER_MAX, CALLED_NAME, ProbeError};

/// A call, ready to be made.
pub(super) struct Call<'a> {
    /// The address and port that are called.
    pub(super) target: Target,
    /// Absent for plain HTTP.
    pub(super) tls: Option<Trust>,
    /// The method.
    pub(super) verb: HttpVerb,
    /// The path.
    pub(super) path: &'a str,
    /// The body to send; none when empty.
    pub(super) payload: &'a str,
    /// The spec's own headers.
    pub(super) headers: &'a Headers,
    /// How long the connection may take, TLS included.
    pub(super) connection_timeout: Duration,
    /// When a body that has not ended is read no further; the caller gives up the whole call no earlier.
    pub(super) deadline: Instant,
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
        let question = Question {
            authority: self.target.authority(),
            agent: "muster-probe",
            verb: self.verb,
            path: self.path,
            payload: self.payload,
        };
        let request = question.request(self.headers.iter().map(|(name, value)| (&**name, &**value)))?;
        let read = |response: http::Response<Incoming>| async move {
            let status = response.status().as_u16();
            Ok::<_, CallError>(Answer {
                status,
                body: first_bytes(response.into_body(), self.deadline).await,
            })
        };
        Ok(match self.tls {
            None => call::exchange(self.in_time(self.target.connect()).await?, request, read).await?,
            Some(trust) => {
                let handshake = async {
                    let stream = self.target.connect().await?;
                    Ok(call::handshake(stream, CALLED_NAME, trust, Speak::Http1).await?)
                };
                call::exchange(self.in_time(handshake).await?, request, read).await?
            }
        })
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, ProbeError>>) -> Result<T, ProbeError> {
        timeout(self.connection_timeout, work).await.unwrap_or_else(|_| {
            Err(ProbeError::NoAnswer(format!(
                "no connection to {} within {:?}",
                self.target.address(),
                self.connection_timeout
            )))
        })
    }
}

/// The status is the answer: a body that breaks off, or never ends, only shows what had come.
async fn first_bytes(mut body: Incoming, deadline: Instant) -> String {
    let mut kept = Vec::new();
    while kept.len() < ANSWER_MAX
        && let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await
    {
        if let Some(data) = frame.data_ref() {
            kept.extend_from_slice(&data[..data.len().min(ANSWER_MAX - kept.len())]);
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}
