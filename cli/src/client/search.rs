//! A name that is looked for among things of one or of several kinds: what fits it best. Pure.

use std::fmt;

use muster_common::exit::Exit;

use super::nearest::nearest;
use crate::error::CliError;

/// More matches than this are not listed one by one.
const MATCHES_SHOWN: usize = 8;

/// Why a name means nothing, or nobody knows what.
#[derive(Debug)]
pub(crate) enum ResolveError {
    /// Nothing of these kinds has it; of which kind the one is that was most likely meant.
    Missing { name: String, nouns: Vec<&'static str>, nearest: Option<(&'static str, String)> },
    /// Several have it: of which kind each is, and its id.
    Ambiguous { name: String, matches: Vec<(&'static str, String)> },
    /// It could not be looked for.
    Call(CliError),
}

impl From<CliError> for ResolveError {
    fn from(error: CliError) -> Self {
        Self::Call(error)
    }
}

impl From<ResolveError> for CliError {
    fn from(error: ResolveError) -> Self {
        let exit = match error {
            ResolveError::Call(error) => return error,
            ResolveError::Missing { .. } => Exit::NotFound,
            ResolveError::Ambiguous { .. } => Exit::Usage,
        };
        Self::new(exit, error.to_string())
    }
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(error) => error.fmt(f),
            Self::Missing { name, nearest: Some((noun, near)), .. } => {
                write!(f, "there is no {noun} '{name}'; did you mean '{near}'? See 'muster get {noun}s'")
            }
            Self::Missing { name, nouns, nearest: None } => {
                let first = nouns.first().copied().unwrap_or_default();
                write!(f, "there is no {} '{name}'; see 'muster get {first}s'", alternatives(nouns))
            }
            Self::Ambiguous { name, matches } => {
                let first = matches.first().map_or("", |(noun, _)| noun);
                let is_mixed = matches.iter().any(|(noun, _)| *noun != first);
                let (what, how) = if is_mixed {
                    ("thing", format!(", or its kind before it ('{first}/{name}')"))
                } else {
                    (first, String::new())
                };
                write!(f, "'{name}' could be any of {} {what}s; write more of the id{how}:", matches.len())?;
                for (noun, id) in matches.iter().take(MATCHES_SHOWN) {
                    let noun = if is_mixed { format!("{noun} ") } else { String::new() };
                    write!(f, "\n  {noun}{id}")?;
                }
                match matches.len().saturating_sub(MATCHES_SHOWN) {
                    0 => Ok(()),
                    more => write!(f, "\n  … and {more} more"),
                }
            }
        }
    }
}

/// `a, b or c`.
fn alternatives(nouns: &[&str]) -> String {
    match nouns {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [firsts @ .., last] => format!("{} or {last}", firsts.join(", ")),
    }
}

/// What may stand before a name where several kinds have it.
pub(super) fn kind_and_name(text: &str) -> (Option<&str>, &str) {
    match text.split_once('/') {
        Some((kind @ ("service" | "executor" | "instance" | "operation"), name)) => (Some(kind), name),
        Some(_) | None => (None, text),
    }
}

/// What people name.
pub(super) trait Named {
    const NOUN: &'static str;

    fn id(&self) -> &str;

    /// Another name that may serve when only one has it.
    fn other_name(&self) -> Option<&str> {
        None
    }

    /// What an id begins with that need not be written.
    const PREFIX: &'static str = "";
}

/// How well a name fits, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Id,
    OtherName,
    Prefix,
}

fn fit<T: Named>(text: &str, thing: &T) -> Option<Fit> {
    let begins = |id: &str| !text.is_empty() && id.starts_with(text);
    if thing.id() == text {
        Some(Fit::Id)
    } else if thing.other_name() == Some(text) {
        Some(Fit::OtherName)
    } else if begins(thing.id()) || thing.id().strip_prefix(T::PREFIX).is_some_and(begins) {
        Some(Fit::Prefix)
    } else {
        None
    }
}

/// A name that is looked for among things of one or of several kinds.
pub(super) struct Search<'a, T> {
    name: &'a str,
    /// The only kind that is meant, where that was said.
    kind: Option<&'a str>,
    found: Vec<Found<T>>,
    nouns: Vec<&'static str>,
    nearest: Option<(&'static str, String)>,
}

struct Found<T> {
    fit: Fit,
    noun: &'static str,
    id: String,
    thing: T,
}

impl<'a, T> Search<'a, T> {
    pub(super) fn new(name: &'a str) -> Self {
        Self::of_kind(None, name)
    }

    pub(super) fn of_kind(kind: Option<&'a str>, name: &'a str) -> Self {
        Self { name, kind, found: Vec::new(), nouns: Vec::new(), nearest: None }
    }

    /// Looks among all things of a kind, each of which is then a `T`.
    pub(super) fn among<N: Named>(mut self, all: Vec<N>, thing: impl Fn(N) -> T) -> Self {
        if self.kind.is_some_and(|only| only != N::NOUN) {
            return self;
        }
        if !self.nouns.contains(&N::NOUN) {
            self.nouns.push(N::NOUN);
        }
        if self.nearest.is_none() {
            let names = all.iter().flat_map(|one| [Some(one.id()), one.other_name()]).flatten();
            self.nearest = nearest(self.name, names).map(|near| (N::NOUN, near.to_owned()));
        }
        for one in all {
            if let Some(fit) = fit(self.name, &one) {
                let id = one.id().to_owned();
                self.found.push(Found { fit, noun: N::NOUN, id, thing: thing(one) });
            }
        }
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The one that fits best; several that fit equally well are an error that lists them, of whatever kind they are.
    pub(super) fn only(self) -> Result<T, ResolveError> {
        let name = self.name.to_owned();
        let Some(best) = self.found.iter().map(|found| found.fit).min() else {
            return Err(ResolveError::Missing { name, nouns: self.nouns, nearest: self.nearest });
        };
        let mut found: Vec<Found<T>> = self.found.into_iter().filter(|found| found.fit == best).collect();
        match (found.len(), found.pop()) {
            (1, Some(only)) => Ok(only.thing),
            (_, last) => {
                found.extend(last);
                let matches = found.into_iter().map(|found| (found.noun, found.id)).collect();
                Err(ResolveError::Ambiguous { name, matches })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Pet(&'static str, &'static str);

    impl Named for Pet {
        const NOUN: &'static str = "pet";
        const PREFIX: &'static str = "SI-";

        fn id(&self) -> &str {
            self.0
        }

        fn other_name(&self) -> Option<&str> {
            Some(self.1)
        }
    }

    struct Tool(&'static str);

    impl Named for Tool {
        const NOUN: &'static str = "executor";

        fn id(&self) -> &str {
            self.0
        }
    }

    fn picked(text: &str) -> Result<&'static str, CliError> {
        let all = vec![
            Pet("SI-aa1", "cat"),
            Pet("SI-aa2", "dog"),
            Pet("SI-b", "dog"),
            Pet("SI-aa", "c"),
            Pet("cattle-1", "cattle"),
        ];
        Ok(Search::new(text).among(all, |pet| pet.0).only()?)
    }

    #[test]
    fn a_unique_prefix_is_enough_and_an_ambiguous_one_lists_its_matches() {
        for (text, id) in [
            ("SI-b", "SI-b"),
            ("b", "SI-b"),
            ("SI-aa1", "SI-aa1"),
            ("SI-aa", "SI-aa"), // an exact id wins over prefixes
            ("cat", "SI-aa1"),  // and so does a name
            ("catt", "cattle-1"),
        ] {
            assert_eq!(picked(text).unwrap(), id, "{text}");
        }
        let ambiguous = picked("SI-a").unwrap_err();
        assert_eq!(ambiguous.exit, Exit::Usage);
        assert!(ambiguous.message.contains("SI-aa1") && ambiguous.message.contains("SI-aa2"));
        assert_eq!(picked("dog").unwrap_err().exit, Exit::Usage);
        for text in ["x", ""] {
            assert_eq!(picked(text).unwrap_err().exit, Exit::NotFound, "{text:?}");
        }
    }

    #[test]
    fn a_mistyped_name_is_told_the_nearest() {
        let error = picked("catle").unwrap_err();
        assert_eq!(error.message, "there is no pet 'catle'; did you mean 'cattle'? See 'muster get pets'");
    }
    fn of_two_kinds(text: &str) -> Result<&'static str, CliError> {
        let (kind, name) = kind_and_name(text);
        let pets = vec![Pet("hammer-1x-1", "hammer"), Pet("saw-1", "rack")];
        let tools = vec![Tool("hammer-1"), Tool("hammer-2"), Tool("saw-1"), Tool("plane")];
        Ok(Search::of_kind(kind, name).among(pets, |pet| pet.0).among(tools, |tool| tool.0).only()?)
    }

    #[test]
    fn the_best_fit_wins_whatever_its_kind_and_a_tie_lists_all_with_their_kinds() {
        for (text, id) in [("hammer-1", "hammer-1"), ("hammer", "hammer-1x-1"), ("hammer-1x", "hammer-1x-1")]
        {
            assert_eq!(of_two_kinds(text).unwrap(), id, "{text}");
        }
        let prefixes = of_two_kinds("ham").unwrap_err();
        assert_eq!(prefixes.exit, Exit::Usage);
        assert_eq!(
            prefixes.message,
            "'ham' could be any of 3 things; write more of the id, or its kind before it ('pet/ham'):\n  pet \
             hammer-1x-1\n  executor hammer-1\n  executor hammer-2"
        );
        assert_eq!(of_two_kinds("saw-1").unwrap_err().exit, Exit::Usage, "two ids that are the same");
        assert_eq!(of_two_kinds("executor/saw-1").unwrap(), "saw-1");
        assert_eq!(of_two_kinds("executor/rack").unwrap_err().exit, Exit::NotFound);
    }

    #[test]
    fn what_no_kind_has_names_all_kinds_or_the_one_that_has_something_like_it() {
        let missing = of_two_kinds("xyz").unwrap_err();
        assert_eq!(missing.message, "there is no pet or executor 'xyz'; see 'muster get pets'");
        let mistyped = of_two_kinds("plan").unwrap();
        assert_eq!(mistyped, "plane");
        assert_eq!(
            of_two_kinds("plnae").unwrap_err().message,
            "there is no executor 'plnae'; did you mean 'plane'? See 'muster get executors'"
        );
    }
}
