//! Where a caller goes on who reads a stream and comes again.

use std::fmt::Display;
use std::str::FromStr;

use http::HeaderMap;
use muster_common::rest::LAST_EVENT_ID;

use super::error::ApiError;
use super::parameter::Parameter;
use super::query::Parameters;

/// The id of the last message that a caller saw: in the header that clients of server-sent events send by themselves, or
/// in `parameter`.
pub(super) fn resumed<T>(
    headers: &HeaderMap,
    query: &Parameters,
    parameter: &Parameter,
) -> Result<Option<T>, ApiError>
where
    T: FromStr<Err: Display>,
{
    let Some(header) = headers.get(LAST_EVENT_ID) else { return query.parsed(parameter) };
    let problem =
        || ApiError::Validation(vec![format!("the header {LAST_EVENT_ID} is not the id of a message")]);
    let place = header.to_str().ok().and_then(|text| text.parse().ok());
    place.map(Some).ok_or_else(problem)
}
