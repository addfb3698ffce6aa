//! A call's body: bounded before it is read, refused with the envelope when it is too large. All bodies that are
//! arriving share a budget, so that slow clients hold no more memory than that, however many they are.

use axum::body::{Bytes, HttpBody as _};
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use http::StatusCode;

use super::access::Api;
use super::error::ApiError;

/// The most that any call takes.
pub(super) const MAX_BODY_BYTES: usize = 1024 * 1024;
/// The most that all bodies may take that are arriving at once.
pub(crate) const ARRIVING_BYTES: usize = 64 * MAX_BODY_BYTES;

/// A whole body.
#[derive(Debug)]
pub(super) struct Body(pub(super) Bytes);

impl FromRequest<Api> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        let announced = request.body().size_hint().upper().and_then(|bytes| usize::try_from(bytes).ok());
        // One that is larger is refused as soon as it is; one that does not say its size may be as large as any.
        let size = announced.unwrap_or(MAX_BODY_BYTES).min(MAX_BODY_BYTES);
        let _place = api.arriving(size)?;
        Bytes::from_request(request, api).await.map(Self).map_err(|rejection| unread(&rejection))
    }
}

fn unread(rejection: &BytesRejection) -> ApiError {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::TooLarge { limit: MAX_BODY_BYTES },
        _ => ApiError::Json(vec!["the body ended before it was complete".to_owned()]),
    }
}
