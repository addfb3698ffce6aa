//! A call's query, read leniently about what it does not know and strictly about what it does.

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Query};
use http::request::Parts;

use super::error::ApiError;
use super::parameter::{FROM, Parameter, SIZE};
use crate::state::view::Range;

/// More parameters than any call has a use for.
const MAX_PARAMETERS: usize = 64;

/// The largest number that a paging parameter takes (drove-wire.md §1.3).
pub(super) const MAX_PAGE: u64 = 2_147_483_646;

/// What may be given to a call, as its description lists it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listed(pub(super) &'static [Parameter]);

/// The parameters of a query, in their order; a name may repeat.
#[derive(Debug, Clone, Default)]
pub(super) struct Parameters {
    pairs: Vec<(String, String)>,
    /// None where it is no call that is read.
    listed: Option<Listed>,
}

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(pairs) = Query::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::Validation(vec!["the query cannot be decoded".to_owned()]))?;
        if pairs.len() > MAX_PARAMETERS {
            let error = format!("the query has more than {MAX_PARAMETERS} parameters");
            return Err(ApiError::Validation(vec![error]));
        }
        Ok(Self { pairs, listed: parts.extensions.get().copied() })
    }
}

impl Parameters {
    /// The one value of a parameter. Of several different ones nobody knows which is meant.
    fn one(&self, parameter: &Parameter) -> Result<Option<&str>, ApiError> {
        let mut values = self.all(parameter);
        let first = values.next();
        if values.any(|other| Some(other) != first) {
            return Err(refused(parameter, " has several values; give it once"));
        }
        Ok(first)
    }

    /// Where a page begins and how many elements it has, `size` of them unless the caller says.
    pub(super) fn range(&self, most: u64, size: u64) -> Result<Range, ApiError> {
        Ok((page(self.number(&FROM, MAX_PAGE, 0)?), page(self.number(&SIZE, most, size)?)))
    }

    /// Every value of a parameter.
    pub(super) fn all(&self, parameter: &Parameter) -> impl Iterator<Item = &str> {
        debug_assert!(
            self.listed.is_none_or(|Listed(listed)| listed.iter().any(|one| one.is(parameter))),
            "a call reads {parameter:?}, and its description does not list it",
        );
        let name = parameter.name;
        self.pairs.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether it is given at all.
    pub(super) fn has(&self, parameter: &Parameter) -> bool {
        self.all(parameter).next().is_some()
    }

    /// A number in `0..=most`, or `default` when it is not given.
    pub(super) fn number(&self, parameter: &Parameter, most: u64, default: u64) -> Result<u64, ApiError> {
        let Some(text) = self.one(parameter)? else { return Ok(default) };
        let problem = match text.parse::<i128>() {
            Ok(number) if number < 0 => " must be greater than or equal to 0".to_owned(),
            Ok(number) => match u64::try_from(number) {
                Ok(number) if number <= most => return Ok(number),
                _ => format!(" must be less than or equal to {most}"),
            },
            Err(_) => " must be a whole number".to_owned(),
        };
        Err(refused(parameter, problem))
    }

    /// Whether a flag is set: `?stale`, `?stale=true` and `?stale=1` set it.
    pub(super) fn flag(&self, parameter: &Parameter) -> Result<bool, ApiError> {
        match self.one(parameter)? {
            None | Some("false" | "0") => Ok(false),
            Some("" | "true" | "1") => Ok(true),
            Some(_) => Err(refused(parameter, " must be either true or false")),
        }
    }

    /// The value of a parameter, if it is given.
    pub(super) fn parsed<T>(&self, parameter: &Parameter) -> Result<Option<T>, ApiError>
    where
        T: FromStr<Err: Display>,
    {
        let problem = |error: T::Err| refused(parameter, format_args!(" {error}"));
        self.one(parameter)?.map(|text| text.parse().map_err(problem)).transpose()
    }

    /// The text of a parameter; empty when it is not given.
    pub(super) fn text(&self, parameter: &Parameter) -> Result<String, ApiError> {
        Ok(self.one(parameter)?.unwrap_or_default().to_owned())
    }

    /// Every value of a parameter, as it is.
    pub(super) fn texts(&self, parameter: &Parameter) -> Vec<String> {
        self.all(parameter).map(str::to_owned).collect()
    }

    /// Every value of a parameter, each parsed; all that cannot be are named at once.
    pub(super) fn each<T>(&self, parameter: &Parameter) -> Result<Vec<T>, ApiError>
    where
        T: FromStr<Err: Display>,
    {
        let mut values = Vec::new();
        let mut errors = Vec::new();
        for text in self.all(parameter) {
            match text.parse() {
                Ok(value) => values.push(value),
                Err(error) => errors.push(problem(parameter, format_args!(": {error}"))),
            }
        }
        if errors.is_empty() { Ok(values) } else { Err(ApiError::Validation(errors)) }
    }
}

fn problem(parameter: &Parameter, what: impl Display) -> String {
    format!("query param {}{what}", parameter.name)
}

fn refused(parameter: &Parameter, what: impl Display) -> ApiError {
    ApiError::Validation(vec![problem(parameter, what)])
}

/// A paging parameter as a count of elements.
fn page(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use muster_common::instance::InstanceState;

    use super::*;
    use crate::api::parameter::{STALE, STATE};

    fn query(pairs: &[(&str, &str)]) -> Parameters {
        let pairs = pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        Parameters { pairs, listed: None }
    }

    fn refusal<T: std::fmt::Debug>(result: Result<T, ApiError>) -> String {
        match result.unwrap_err() {
            ApiError::Validation(errors) => errors.join("; "),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn numbers_are_bounded_and_the_refusal_names_the_parameter() {
        assert_eq!(query(&[]).number(&FROM, MAX_PAGE, 7).unwrap(), 7);
        assert_eq!(query(&[("from", "3"), ("from", "3")]).number(&FROM, MAX_PAGE, 0).unwrap(), 3);
        assert_eq!(
            refusal(query(&[("from", "3"), ("from", "4")]).number(&FROM, MAX_PAGE, 0)),
            "query param from has several values; give it once"
        );
        for (text, problem) in [
            ("-1", "query param from must be greater than or equal to 0"),
            ("2147483647", "query param from must be less than or equal to 2147483646"),
            ("99999999999999999999999", "query param from must be less than or equal to 2147483646"),
            ("x", "query param from must be a whole number"),
            ("", "query param from must be a whole number"),
        ] {
            assert_eq!(refusal(query(&[("from", text)]).number(&FROM, MAX_PAGE, 0)), problem, "{text:?}");
        }
    }

    #[test]
    fn flags_are_set_by_their_name_alone() {
        for (pairs, set) in [
            (&[][..], false),
            (&[("stale", "")], true),
            (&[("stale", "true")], true),
            (&[("stale", "false")], false),
        ] {
            assert_eq!(query(pairs).flag(&STALE).unwrap(), set, "{pairs:?}");
        }
        assert_eq!(
            refusal(query(&[("stale", "maybe")]).flag(&STALE)),
            "query param stale must be either true or false"
        );
    }

    #[test]
    fn repeated_values_are_all_read_in_any_case_and_all_problems_are_named() {
        let states = query(&[("state", "healthy"), ("state", "READY")]).each::<InstanceState>(&STATE);
        assert_eq!(states.unwrap(), [InstanceState::Healthy, InstanceState::Ready]);
        let problems = refusal(query(&[("state", "a"), ("state", "b")]).each::<InstanceState>(&STATE));
        assert!(problems.contains("'a'") && problems.contains("'b'"), "{problems}");
    }

    #[test]
    #[should_panic(expected = "its description does not list it")]
    fn a_call_is_asked_for_nothing_that_its_description_does_not_list() {
        let query = Parameters { pairs: Vec::new(), listed: Some(Listed(&[FROM, SIZE])) };
        assert!(query.range(MAX_PAGE, MAX_PAGE).is_ok());
        assert!(query.flag(&STALE).is_ok());
    }
}
