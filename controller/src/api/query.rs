//! A call's query, read leniently about what it does not know and strictly about what it does.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Query};
use http::request::Parts;

use super::error::ApiError;
use super::parameter::{FROM, Parameter, SIZE};
use crate::state::view::Range;

/// More parameters than a call has a use for that names nothing one by one.
pub(super) const MAX_PARAMETERS: usize = 64;

/// The largest number that a paging parameter takes (docs/drove-api.md §1.3).
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
        AtMost::<MAX_PARAMETERS>::from_request_parts(parts, state).await.map(|AtMost(parameters)| parameters)
    }
}

/// The same of a call that takes so many, since it names many things one by one.
pub(super) struct AtMost<const MOST: usize>(pub(super) Parameters);

impl<S: Send + Sync, const MOST: usize> FromRequestParts<S> for AtMost<MOST> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let problem = match Query::<Vec<(String, String)>>::from_request_parts(parts, state).await {
            Ok(Query(pairs)) if pairs.len() <= MOST => {
                return Ok(Self(Parameters { pairs, listed: parts.extensions.get().copied() }));
            }
            Ok(Query(pairs)) => format!(
                "the query has {} parameters, and this call takes {MOST} at most: leave out what it does not need, or ask \
                 in several calls",
                pairs.len()
            ),
            Err(_) => "the query cannot be decoded: write it as name=value&name=value, in UTF-8, with %XX for what is \
                       no letter or digit"
                .to_owned(),
        };
        Err(ApiError::Validation(vec![problem]))
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
        Ok(self.within(parameter, 0..=most)?.unwrap_or(default))
    }

    /// A whole number within bounds, if it is given.
    pub(super) fn within<T>(
        &self,
        parameter: &Parameter,
        bounds: RangeInclusive<T>,
    ) -> Result<Option<T>, ApiError>
    where
        T: Copy + Into<i128> + TryFrom<i128>,
    {
        let Some(text) = self.one(parameter)? else { return Ok(None) };
        let (least, most): (i128, i128) = ((*bounds.start()).into(), (*bounds.end()).into());
        let problem = match text.parse::<i128>() {
            Ok(number) if number < least => format!(" must be greater than or equal to {least}"),
            Ok(number) if number > most => format!(" must be less than or equal to {most}"),
            number => match number.ok().and_then(|number| T::try_from(number).ok()) {
                Some(number) => return Ok(Some(number)),
                None => " must be a whole number".to_owned(),
            },
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
    use futures::FutureExt as _;
    use muster_common::instance::InstanceState;

    use super::*;
    use crate::api::parameter::{EXECUTORS, INSTANCES_PER_HOST, OFFSET, STALE, STATE};

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
        let count = |text| query(&[("instancesPerHost", text)]).within(&INSTANCES_PER_HOST, 1..=256_u32);
        assert_eq!(
            (query(&[]).within(&INSTANCES_PER_HOST, 1..=256_u32).unwrap(), count("256").unwrap()),
            (None, Some(256))
        );
        assert_eq!(refusal(count("0")), "query param instancesPerHost must be greater than or equal to 1");
        assert_eq!(refusal(count("257")), "query param instancesPerHost must be less than or equal to 256");
        assert_eq!(query(&[("offset", "-1")]).within(&OFFSET, i64::MIN..=i64::MAX).unwrap(), Some(-1));
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
    fn each_call_has_its_bound_of_parameters_and_says_it() {
        fn read<const MOST: usize>(count: usize) -> Result<usize, ApiError> {
            let query = vec!["id=e"; count].join("&");
            let (mut parts, ()) = http::Request::get(format!("/x?{query}")).body(()).unwrap().into_parts();
            let read = AtMost::<MOST>::from_request_parts(&mut parts, &()).now_or_never();
            read.expect("nothing is waited for").map(|AtMost(query)| query.all(&EXECUTORS).count())
        }
        assert_eq!(read::<64>(64).unwrap(), 64);
        assert_eq!(read::<300>(300).unwrap(), 300);
        let refused = refusal(read::<300>(301));
        assert!(
            refused.starts_with("the query has 301 parameters, and this call takes 300 at most: "),
            "{refused}"
        );
        assert!(refused.ends_with("in several calls"), "{refused}");
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
