//! A call's query, read leniently about what it does not know and strictly about what it does.

use std::ops::RangeInclusive;

use axum::extract::{FromRequestParts, Query};
use http::request::Parts;

use super::error::ApiError;
use crate::state::view::Range;

/// More parameters than a call has a use for that names nothing one by one.
pub(super) const MAX_PARAMETERS: usize = 64;

/// The largest number that a paging parameter takes (drove-wire.md §1.3).
pub(super) const MAX_PAGE: u64 = 2_147_483_646;

/// The parameters of a query, in their order; a name may repeat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parameters(Vec<(String, String)>);

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
            Ok(Query(pairs)) if pairs.len() <= MOST => return Ok(Self(Parameters(pairs))),
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
    /// The one value of `name`. Of several different ones nobody knows which is meant.
    fn one<'a>(&'a self, name: &'a str) -> Result<Option<&'a str>, ApiError> {
        let mut values = self.all(name);
        let first = values.next();
        if values.any(|other| Some(other) != first) {
            let problem = format!("query param {name} has several values; give it once");
            return Err(ApiError::Validation(vec![problem]));
        }
        Ok(first)
    }

    /// Where a page begins and how many elements it has, `size` of them unless the caller says.
    pub(super) fn range(&self, most: u64, size: u64) -> Result<Range, ApiError> {
        Ok((page(self.number("from", MAX_PAGE, 0)?), page(self.number("size", most, size)?)))
    }

    /// Every value of `name`.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether it is given at all.
    pub(super) fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// A number in `0..=most`, or `default` when it is not given.
    pub(super) fn number(&self, name: &str, most: u64, default: u64) -> Result<u64, ApiError> {
        Ok(self.within(name, 0..=most)?.unwrap_or(default))
    }

    /// A whole number within bounds, if it is given.
    pub(super) fn within<T>(&self, name: &str, bounds: RangeInclusive<T>) -> Result<Option<T>, ApiError>
    where
        T: Copy + Into<i128> + TryFrom<i128>,
    {
        let Some(text) = self.one(name)? else { return Ok(None) };
        let (least, most): (i128, i128) = ((*bounds.start()).into(), (*bounds.end()).into());
        let problem = match text.parse::<i128>() {
            Ok(number) if number < least => format!("must be greater than or equal to {least}"),
            Ok(number) if number > most => format!("must be less than or equal to {most}"),
            number => match number.ok().and_then(|number| T::try_from(number).ok()) {
                Some(number) => return Ok(Some(number)),
                None => "must be a whole number".to_owned(),
            },
        };
        Err(ApiError::Validation(vec![format!("query param {name} {problem}")]))
    }

    /// Whether `name` is set: `?stale`, `?stale=true` and `?stale=1` set it.
    pub(super) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.one(name)? {
            None | Some("false" | "0") => Ok(false),
            Some("" | "true" | "1") => Ok(true),
            Some(_) => {
                Err(ApiError::Validation(vec![format!("query param {name} must be either true or false")]))
            }
        }
    }

    /// The value of `name`, if it is given.
    pub(super) fn parsed<T>(&self, name: &str) -> Result<Option<T>, ApiError>
    where
        T: std::str::FromStr<Err: std::fmt::Display>,
    {
        let problem = |error: T::Err| ApiError::Validation(vec![format!("query param {name} {error}")]);
        self.one(name)?.map(|text| text.parse().map_err(problem)).transpose()
    }

    /// The text of `name`; empty when it is not given.
    pub(super) fn text(&self, name: &str) -> Result<String, ApiError> {
        Ok(self.one(name)?.unwrap_or_default().to_owned())
    }

    /// Every value of `name`, each parsed; all that cannot be are named at once.
    pub(super) fn each<T>(&self, name: &str) -> Result<Vec<T>, ApiError>
    where
        T: std::str::FromStr<Err: std::fmt::Display>,
    {
        let mut values = Vec::new();
        let mut errors = Vec::new();
        for text in self.all(name) {
            match text.parse() {
                Ok(value) => values.push(value),
                Err(error) => errors.push(format!("query param {name}: {error}")),
            }
        }
        if errors.is_empty() { Ok(values) } else { Err(ApiError::Validation(errors)) }
    }
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

    fn query(pairs: &[(&str, &str)]) -> Parameters {
        Parameters(pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect())
    }

    fn refusal<T: std::fmt::Debug>(result: Result<T, ApiError>) -> String {
        match result.unwrap_err() {
            ApiError::Validation(errors) => errors.join("; "),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn numbers_are_bounded_and_the_refusal_names_the_parameter() {
        assert_eq!(query(&[]).number("from", MAX_PAGE, 7).unwrap(), 7);
        let count = |text| query(&[("count", text)]).within("count", 1..=256_u32);
        assert_eq!(
            (query(&[]).within("count", 1..=256_u32).unwrap(), count("256").unwrap()),
            (None, Some(256))
        );
        assert_eq!(refusal(count("0")), "query param count must be greater than or equal to 1");
        assert_eq!(refusal(count("257")), "query param count must be less than or equal to 256");
        assert_eq!(query(&[("offset", "-1")]).within("offset", i64::MIN..=i64::MAX).unwrap(), Some(-1));
        assert_eq!(query(&[("from", "3"), ("from", "3")]).number("from", MAX_PAGE, 0).unwrap(), 3);
        assert_eq!(
            refusal(query(&[("from", "3"), ("from", "4")]).number("from", MAX_PAGE, 0)),
            "query param from has several values; give it once"
        );
        for (text, problem) in [
            ("-1", "query param from must be greater than or equal to 0"),
            ("2147483647", "query param from must be less than or equal to 2147483646"),
            ("99999999999999999999999", "query param from must be less than or equal to 2147483646"),
            ("x", "query param from must be a whole number"),
            ("", "query param from must be a whole number"),
        ] {
            assert_eq!(refusal(query(&[("from", text)]).number("from", MAX_PAGE, 0)), problem, "{text:?}");
        }
    }

    #[test]
    fn each_call_has_its_bound_of_parameters_and_says_it() {
        fn read<const MOST: usize>(count: usize) -> Result<usize, ApiError> {
            let query = vec!["id=e"; count].join("&");
            let (mut parts, ()) = http::Request::get(format!("/x?{query}")).body(()).unwrap().into_parts();
            let read = AtMost::<MOST>::from_request_parts(&mut parts, &()).now_or_never();
            read.expect("nothing is waited for").map(|AtMost(query)| query.all("id").count())
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
            assert_eq!(query(pairs).flag("stale").unwrap(), set, "{pairs:?}");
        }
        assert_eq!(
            refusal(query(&[("stale", "maybe")]).flag("stale")),
            "query param stale must be either true or false"
        );
    }

    #[test]
    fn repeated_values_are_all_read_in_any_case_and_all_problems_are_named() {
        let states = query(&[("state", "healthy"), ("state", "READY")]).each::<InstanceState>("state");
        assert_eq!(states.unwrap(), [InstanceState::Healthy, InstanceState::Ready]);
        let problems = refusal(query(&[("state", "a"), ("state", "b")]).each::<InstanceState>("state"));
        assert!(problems.contains("'a'") && problems.contains("'b'"), "{problems}");
    }
}
