//! What is wrong with a document, and where: collected, so that a user is told everything at once.

use std::cell::RefCell;
use std::fmt;

/// How many problems of one document are named. A document of a megabyte can have a hundred thousand.
pub const MAX_PROBLEMS: usize = 200;

/// One problem: where it is and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Such as `spec.exposedPorts[0].port`; empty for the document as a whole.
    pub path: String,
    /// What is wrong and what would be right. Drove's own sentences begin with a dash.
    pub message: String,
    /// Whether the message is a whole sentence of Drove's, which it tells without a path.
    pub is_sentence: bool,
}

impl FieldError {
    /// The same problem of a document that is itself the member `name` of a larger one.
    #[must_use]
    pub fn inside(mut self, name: &str) -> Self {
        let join = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{name}{join}{}", self.path);
        self
    }
}

/// `<path> <message>`, or a sentence alone, as Drove writes it.
impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            _ if self.is_sentence => f.write_str(&self.message),
            "" => f.write_str(self.message.trim_start_matches("- ")),
            path => write!(f, "{path} {}", self.message),
        }
    }
}

/// A problem, with the path of the value that cannot be relied on for its sake.
#[derive(Debug)]
struct Noted {
    error: FieldError,
    spoilt: String,
}

/// Whether the value at `part` is the one at `whole`, or inside of it.
fn is_part(part: &str, whole: &str) -> bool {
    part.strip_prefix(whole)
        .is_some_and(|rest| whole.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
}

impl Noted {
    /// Whether nothing is to be said about the value at `path`: what it is to be depends on another that is wrong.
    fn silences(&self, path: &str) -> bool {
        self.spoilt != self.error.path && is_part(path, &self.spoilt)
    }

    /// Whether `other` is about a part of what is spoilt, or about something that it is a part of.
    fn spoils(&self, other: &FieldError) -> bool {
        is_part(&self.spoilt, &other.path) || is_part(&other.path, &self.spoilt)
    }
}

/// A member that was sent under another name than the one that the rules know it by: its path as they say it, and as it
/// was sent.
#[derive(Debug)]
struct Alias {
    path: String,
    sent: String,
}

/// The problems found so far.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    noted: RefCell<Vec<Noted>>,
    aliases: RefCell<Vec<Alias>>,
}

impl Problems {
    pub(crate) fn is_empty(&self) -> bool {
        self.noted.borrow().is_empty()
    }

    pub(crate) fn into_errors(self) -> Vec<FieldError> {
        self.noted.into_inner().into_iter().map(|noted| noted.error).collect()
    }

    /// What the rules say of the document that these were found in, with each path as it was sent.
    pub(crate) fn as_sent(&self, mut errors: Vec<FieldError>) -> Vec<FieldError> {
        for alias in &*self.aliases.borrow() {
            for error in errors.iter_mut().filter(|error| is_part(&error.path, &alias.path)) {
                error.path.replace_range(..alias.path.len(), &alias.sent);
            }
        }
        errors
    }

    /// The root of the document that they are about.
    pub(crate) fn root(&self) -> Place<'_> {
        Place { problems: self, step: Step::Root }
    }
}

/// What is `malformed`, and of the `invalid` all that is about something else: what could not be read is
/// not judged.
pub(crate) fn merge(malformed: Problems, invalid: Vec<FieldError>) -> Vec<FieldError> {
    let malformed = malformed.noted.into_inner();
    let independent: Vec<_> =
        invalid.into_iter().filter(|error| !malformed.iter().any(|noted| noted.spoils(error))).collect();
    malformed.into_iter().map(|noted| noted.error).chain(independent).take(MAX_PROBLEMS).collect()
}

/// A place in a document, where a problem can be noted.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    problems: &'a Problems,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Member(&'a Place<'a>, &'a str),
    Element(&'a Place<'a>, usize),
    Entry(&'a Place<'a>, &'a str),
}

impl<'a> Place<'a> {
    /// A member of an object.
    pub(crate) fn member(&'a self, name: &'a str) -> Self {
        Self { problems: self.problems, step: Step::Member(self, name) }
    }

    /// An element of a list.
    pub(crate) fn element(&'a self, index: usize) -> Self {
        Self { problems: self.problems, step: Step::Element(self, index) }
    }

    /// The entry of a map whose keys are the user's.
    pub(crate) fn entry(&'a self, key: &'a str) -> Self {
        Self { problems: self.problems, step: Step::Entry(self, key) }
    }

    /// Notes a problem here.
    pub(crate) fn refuse(&self, message: impl fmt::Display) {
        self.refuse_spoiling(self, message);
    }

    /// Notes a problem here in Drove's words, of which programs may know each (docs/drove-api.md §3.3).
    pub(crate) fn refuse_with_sentence(&self, sentence: impl fmt::Display) {
        self.note(self, &sentence, true);
    }

    /// The same unless `holds`.
    pub(crate) fn require_or_sentence(&self, holds: bool, sentence: impl fmt::Display) {
        if !holds {
            self.refuse_with_sentence(sentence);
        }
    }

    /// Notes a problem here for whose sake nothing in `spoilt` can be judged.
    pub(crate) fn refuse_spoiling(&self, spoilt: &Place<'_>, message: impl fmt::Display) {
        self.note(spoilt, &message, false);
    }

    fn note(&self, spoilt: &Place<'_>, message: &dyn fmt::Display, is_sentence: bool) {
        let mut problems = self.problems.noted.borrow_mut();
        if problems.len() >= MAX_PROBLEMS {
            return;
        }
        let path = self.to_string();
        if !problems.iter().any(|noted| noted.silences(&path)) {
            let error = FieldError { path, message: message.to_string(), is_sentence };
            problems.push(Noted { error, spoilt: spoilt.to_string() });
        }
    }

    /// Notes that the rules know what is here as what is at `neighbour`, where there is nothing.
    pub(crate) fn stands_for(&self, neighbour: &Place<'_>) {
        let alias = Alias { path: neighbour.to_string(), sent: self.to_string() };
        self.problems.aliases.borrow_mut().push(alias);
    }

    /// Notes a problem here unless `holds`; says whether it does.
    pub(crate) fn require(&self, holds: bool, message: impl fmt::Display) -> bool {
        if !holds {
            self.refuse(message);
        }
        holds
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step {
            Step::Root => Ok(()),
            Step::Member(Place { step: Step::Root, .. }, name) => f.write_str(name),
            Step::Member(parent, name) => write!(f, "{parent}.{name}"),
            Step::Element(parent, index) => write!(f, "{parent}[{index}]"),
            Step::Entry(parent, key) => write!(f, "{parent}[{}]", Quoted(key)),
        }
    }
}

/// A text that is none of an enum's names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not one of [{}]", expected.join(", "))]
pub struct UnknownName {
    text: String,
    expected: &'static [&'static str],
}

impl UnknownName {
    pub(crate) fn new(text: &str, expected: &'static [&'static str]) -> Self {
        Self { text: Quoted(text).to_string(), expected }
    }
}

/// A user's text inside a sentence: printable, and not longer than a line can bear.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// As long as the longest name that anything here may have is likely to be.
        const MAX_CHARS: usize = 64;
        f.write_str(&printable(self.0, MAX_CHARS))
    }
}

/// The beginning of a text that may hold what a user sent, for people to read: at most `max_chars` of it, and of what
/// cannot be seen its code.
#[must_use]
pub fn printable(text: &str, max_chars: usize) -> String {
    let mut shown = String::new();
    for character in text.chars().take(max_chars) {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    if text.chars().nth(max_chars).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_says_its_path() {
        let problems = Problems::default();
        let root = problems.root();
        let spec = root.member("spec");
        spec.member("exposedPorts").element(2).member("port").refuse("- is taken");
        spec.member("env").entry("A\nB").refuse("- is odd");
        root.element(0).refuse("- is no list");
        root.refuse("- is empty");
        let said: Vec<_> = problems.into_errors().iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "spec.exposedPorts[2].port - is taken",
                "spec.env[A\\nB] - is odd",
                "[0] - is no list",
                "is empty"
            ]
        );
    }

    #[test]
    fn what_could_not_be_read_is_not_judged() {
        let problems = Problems::default();
        let root = problems.root();
        let spec = root.member("spec");
        let readiness = spec.member("readiness");
        let mode = readiness.member("mode");
        mode.member("type").refuse_spoiling(&mode, "- is odd");
        spec.member("resources").element(1).refuse("- is odd");
        let errors = |paths: &[&str]| -> Vec<FieldError> {
            paths
                .iter()
                .map(|path| FieldError {
                    path: (*path).to_owned(),
                    message: String::new(),
                    is_sentence: false,
                })
                .collect()
        };
        let merged = merge(
            problems,
            errors(&[
                "spec.readiness.mode.command",
                "spec.resources",
                "spec.readiness.modest",
                "spec.resources[10]",
            ]),
        );
        let paths: Vec<_> = merged.iter().map(|error| error.path.as_str()).collect();
        assert_eq!(
            paths,
            ["spec.readiness.mode.type", "spec.resources[1]", "spec.readiness.modest", "spec.resources[10]"]
        );
    }
}
