//! Answers on their way. A list is in memory as a whole until its reader has taken it, and readers take their time; so
//! those that are large share a budget, which an answer gives back when its last byte has been sent.

use std::sync::Arc;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;

/// The most that all large answers may take that are on their way: four lists of 100,000 instances.
const SENDING_BYTES: usize = 256 * 1024 * 1024;
/// What is no more than this is not counted: a connection has such buffers anyway.
const SMALL_BYTES: u64 = 64 * 1024;

/// Room for large answers.
#[derive(Clone)]
pub(super) struct Sending(Arc<Semaphore>);

impl Default for Sending {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(SENDING_BYTES)))
    }
}

impl Sending {
    /// Makes a call, and finds room for its answer.
    pub(super) async fn answer(&self, request: Request, next: Next) -> Response {
        let only_looks = request.method().is_safe();
        self.hold(next.run(request).await, only_looks).await
    }

    /// Finds room for an answer. Only who looks is refused for want of room: of what was done, its caller must hear.
    async fn hold(&self, response: Response, only_looks: bool) -> Response {
        // What has no size known before is a stream, of which a piece is in memory at a time.
        let Some(bytes) = response.body().size_hint().exact().filter(|bytes| *bytes > SMALL_BYTES) else {
            return response;
        };
        let Some(room) = self.room(bytes) else {
            let sentence = "This controller is sending too many large answers; retry in a moment, or ask for a page \
                            ('from' and 'size')";
            let refused = ApiError::Unavailable(sentence.to_owned());
            return if only_looks { refused.into_response() } else { response };
        };
        let (head, body) = response.into_parts();
        match body.collect().await {
            Ok(whole) => {
                let charged = Charged { bytes: whole.to_bytes(), _room: room };
                Response::from_parts(head, Body::from(Bytes::from_owner(charged)))
            }
            Err(error) => ApiError::Internal(error.to_string()).into_response(),
        }
    }

    /// Room for so many bytes; one answer that is larger than all may be has to be alone.
    fn room(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(SENDING_BYTES);
        Arc::clone(&self.0).try_acquire_many_owned(u32::try_from(bytes).ok()?).ok()
    }
}

/// Bytes that hold their room for as long as they are in memory: a connection takes them from their body long before it
/// has sent them.
struct Charged {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use http::header::RETRY_AFTER;

    use super::*;

    const LARGE: usize = SENDING_BYTES / 4;

    async fn answered(sending: &Sending, bytes: usize, only_looks: bool) -> Response {
        sending.hold(vec![0; bytes].into_response(), only_looks).await
    }

    #[tokio::test]
    async fn large_answers_that_nobody_takes_leave_room_for_small_ones() {
        let sending = Sending::default();
        let mut held = Vec::new();
        for _ in 0..SENDING_BYTES / LARGE {
            let response = answered(&sending, LARGE, true).await;
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.body().size_hint().exact(), Some(LARGE as u64), "its length can be told");
            held.push(response);
        }
        let refused = answered(&sending, LARGE, true).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(refused.headers().contains_key(RETRY_AFTER));
        assert_eq!(answered(&sending, 1_000, true).await.status(), StatusCode::OK);
        assert_eq!(answered(&sending, LARGE, false).await.status(), StatusCode::OK, "something was done");

        // Taken from the body, and not sent yet.
        let taken = held.pop().unwrap().into_body().collect().await.unwrap().to_bytes();
        assert_eq!(answered(&sending, LARGE, true).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        drop(taken);
        assert_eq!(answered(&sending, LARGE, true).await.status(), StatusCode::OK);

        drop(held);
        assert_eq!(sending.0.available_permits(), SENDING_BYTES);
        assert_eq!(answered(&sending, SENDING_BYTES + 1, true).await.status(), StatusCode::OK);
    }
}
