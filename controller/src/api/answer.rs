//! What a call answers when it works: 200, and the envelope around the data.

use axum::Json;
use axum::response::{IntoResponse, Response};
use muster_common::envelope::Envelope;
use muster_common::rest::TOTAL_COUNT;
use serde::Serialize;

use super::error::ApiError;
use crate::state::view::Page;

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

/// A page of a list; a header says how long the list is.
#[derive(Debug)]
pub(super) struct Listed<T> {
    /// The page.
    pub(super) data: T,
    /// The whole list's length.
    pub(super) total: usize,
}

impl<T: Serialize> IntoResponse for Listed<T> {
    fn into_response(self) -> Response {
        ([(TOTAL_COUNT, self.total.to_string())], Data(self.data)).into_response()
    }
}

impl<T> From<Page<T>> for Listed<Vec<T>> {
    fn from(page: Page<T>) -> Self {
        Self { data: page.items, total: page.total }
    }
}

/// What every call answers that lists something.
pub(super) type List<T> = Result<Listed<Vec<T>>, ApiError>;
