//! The ids in a call's path. Whether they can be ids at all is for the call to judge: what cannot be
//! one is simply not there.

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::error::ApiError;

/// What the path names: one text, or a tuple of them.
#[derive(Debug)]
pub(super) struct Named<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let named = Path::from_request_parts(parts, state).await;
        let problem =
            "the path cannot be decoded: write ids in UTF-8, with %XX for what is no letter or digit";
        named.map(|Path(ids)| Self(ids)).map_err(|_| ApiError::Validation(vec![problem.to_owned()]))
    }
}
