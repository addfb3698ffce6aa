//! `ETag`, `If-None-Match` and `If-Match`: what a caller knows of a service. The tag is the service's generation, so it
//! stands for what users want of it; how far that is, such as how many instances are healthy, it does not tell. Answers
//! with a tag are not to be stored by caches, which could not know that.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, Request};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use http::header::{CACHE_CONTROL, ETAG, IF_MATCH, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderMap, HeaderName, StatusCode};
use muster_common::id::Generation;
use serde::Serialize;

use super::answer::Data;
use super::error::ApiError;

/// The generation that a change is meant for, if the caller says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IfMatch(Option<Generation>);

impl IfMatch {
    pub(super) const fn generation(self) -> Option<Generation> {
        self.0
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    /// `*` asks for nothing: what is changed must be there anyway.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let problem = "header If-Match must be one tag as ETag gave it, such as \"7\", or *";
        match tags(&parts.headers, IF_MATCH).as_deref() {
            Some([]) => Ok(Self(None)),
            Some([tag]) if tag == "*" => Ok(Self(None)),
            Some([tag]) if generation(tag).is_some() => Ok(Self(generation(tag))),
            Some(_) | None => Err(ApiError::Validation(vec![problem.to_owned()])),
        }
    }
}

/// Refuses calls with `If-Match` that do not look at it: who sends it counts on that.
pub(super) fn without_if_match<S: Clone + Send + Sync + 'static>(
    methods: MethodRouter<S>,
) -> MethodRouter<S> {
    let problem = "header If-Match is for the calls that submit operations; this one would do what it does whatever was \
                   changed meanwhile: leave it out";
    methods.route_layer(from_fn(move |request: Request, next: Next| async move {
        if request.headers().contains_key(IF_MATCH) {
            return ApiError::Validation(vec![problem.to_owned()]).into_response();
        }
        next.run(request).await
    }))
}

/// The generations that a caller has already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IfNoneMatch(Vec<Generation>);

impl<S: Send + Sync> FromRequestParts<S> for IfNoneMatch {
    type Rejection = Infallible;

    /// What cannot be read is no tag that was ever given.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let tags = tags(&parts.headers, IF_NONE_MATCH).unwrap_or_default();
        Ok(Self(tags.iter().filter_map(|tag| generation(tag)).collect()))
    }
}

impl IfNoneMatch {
    /// What a caller is answered who asks for something of this generation.
    pub(super) fn answer<T>(&self, generation: Generation, data: impl FnOnce() -> T) -> Tagged<T> {
        let data = (!self.0.contains(&generation)).then(data);
        Tagged { generation, data }
    }
}

/// An answer with its tag; without data the caller has it already.
#[derive(Debug)]
pub(super) struct Tagged<T> {
    generation: Generation,
    data: Option<T>,
}

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let headers = [(ETAG, format!("\"{}\"", self.generation)), (CACHE_CONTROL, "no-store".to_owned())];
        match self.data {
            Some(data) => (headers, Data(data)).into_response(),
            None => (StatusCode::NOT_MODIFIED, headers).into_response(),
        }
    }
}

/// All tags of a header, which may repeat; none: they are no text.
fn tags(headers: &HeaderMap, name: HeaderName) -> Option<Vec<String>> {
    let mut tags = Vec::new();
    for value in headers.get_all(name) {
        tags.extend(value.to_str().ok()?.split(',').map(|tag| tag.trim().to_owned()));
    }
    Some(tags)
}

fn generation(tag: &str) -> Option<Generation> {
    let digits = tag.strip_prefix("W/").unwrap_or(tag).strip_prefix('"')?.strip_suffix('"')?;
    digits.parse().ok().map(Generation)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    async fn if_match(values: &[&str]) -> Result<Option<u64>, ApiError> {
        let mut request = Request::new(());
        for value in values {
            request.headers_mut().append(IF_MATCH, value.parse().unwrap());
        }
        let (mut parts, ()) = request.into_parts();
        let read = IfMatch::from_request_parts(&mut parts, &()).await?;
        Ok(read.generation().map(|generation| generation.0))
    }

    #[tokio::test]
    async fn a_tag_is_read_as_it_was_given() {
        for (values, generation) in
            [(&[][..], None), (&["*"], None), (&["\"7\""], Some(7)), (&["W/\"7\""], Some(7))]
        {
            assert_eq!(if_match(values).await.unwrap(), generation, "{values:?}");
        }
        for values in [&["7"][..], &["\"x\""], &["\"7\", \"8\""], &["\"7\"", "\"8\""], &["\"-1\""], &[""]] {
            assert!(if_match(values).await.is_err(), "{values:?}");
        }
    }

    #[test]
    fn who_has_it_already_is_not_sent_it_again() {
        let known = IfNoneMatch(vec![Generation(3), Generation(7)]);
        assert_eq!(known.answer(Generation(7), || "data").data, None);
        assert_eq!(known.answer(Generation(8), || "data").data, Some("data"));
    }
}
