//! What a call answers when it works: 200, and the envelope around the data.

use axum::Json;
use axum::response::{IntoResponse, Response};
use muster_common::envelope::Envelope;
use serde::Serialize;

use super::error::ApiError;

/// The data of an answer.
#[derive(Debug)]
pub(super) struct Data<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Data<T> {
    fn into_response(self) -> Response {
        Json(Envelope::success(self.0)).into_response()
    }
}

/// Done, and there is nothing to say: an answer without data.
#[derive(Debug)]
pub(super) struct Done;

impl IntoResponse for Done {
    fn into_response(self) -> Response {
        Json(Envelope::<()>::done()).into_response()
    }
}

/// What every call answers.
pub(super) type Answer<T> = Result<Data<T>, ApiError>;
