//! Reading what users send: every problem is named with its path, not only the first one.
//!
//! Lenient where Drove's wire is (docs/drove-api.md §2): unknown members are ignored, enums and types are read
//! in any case, a null member counts as absent, plain numbers and truth values may stand for texts. What
//! cannot be read leaves a stand-in behind, so that the rest of the document can still be read and judged;
//! a document with such a problem is never handed on.

mod scalar;

use std::fmt::Display;
use std::str::FromStr;

use serde_json::Value;

use crate::problem::{FieldError, Place, Problems, Quoted, merge};

/// Something that users send.
pub trait Read: Sized {
    /// Takes the value at `node`, or names what is wrong with it and gives any stand-in.
    fn read(node: &Node<'_>) -> Self;
}

/// A document that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", self.message(), list(self.errors()))]
pub enum Refused {
    /// It is no JSON, or some of its members are of the wrong kind. Holds whatever else is wrong, too.
    Malformed(Vec<FieldError>),
    /// It can be read, and breaks rules.
    Invalid(Vec<FieldError>),
}

impl Refused {
    /// The envelope's message (docs/drove-api.md §1.1).
    #[must_use]
    pub const fn message(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "JSON validation failure",
            Self::Invalid(_) => "Command validation failure",
        }
    }

    /// Everything that is wrong; never empty.
    #[must_use]
    pub fn errors(&self) -> &[FieldError] {
        match self {
            Self::Malformed(errors) | Self::Invalid(errors) => errors,
        }
    }
}

/// Reads a JSON text and checks the result against `rules`.
pub fn accept<T: Read>(json: &[u8], rules: impl FnOnce(&T) -> Vec<FieldError>) -> Result<T, Refused> {
    let no_json = |message: String| {
        Refused::Malformed(vec![FieldError { path: String::new(), message, is_sentence: false }])
    };
    if json.is_empty() {
        return Err(no_json("the body is empty; a JSON object is expected".to_owned()));
    }
    let value = serde_json::from_slice(json).map_err(|error| no_json(error.to_string()))?;
    accept_value(&value, rules)
}

/// Reads a document, such as one that was written in YAML, and checks the result against `rules`.
pub fn accept_value<T: Read>(value: &Value, rules: impl FnOnce(&T) -> Vec<FieldError>) -> Result<T, Refused> {
    let (read, malformed) = draft::<T>(value);
    let invalid = malformed.as_sent(rules(&read));
    match (malformed.is_empty(), invalid.is_empty()) {
        (true, true) => Ok(read),
        (true, false) => Err(Refused::Invalid(invalid)),
        (false, _) => Err(Refused::Malformed(merge(malformed, invalid))),
    }
}

fn draft<T: Read>(value: &Value) -> (T, Problems) {
    let problems = Problems::default();
    let read = T::read(&Node { value, place: problems.root() });
    (read, problems)
}

fn list<'a>(errors: impl IntoIterator<Item = &'a FieldError>) -> String {
    errors.into_iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What every `Deserialize` of a type that can be [`Read`] does.
pub(crate) fn deserialize<'de, T: Read, D: serde::Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let value = <Value as serde::Deserialize>::deserialize(deserializer)?;
    match draft(&value) {
        (read, problems) if problems.is_empty() => Ok(read),
        (_, problems) => Err(serde::de::Error::custom(list(&problems.into_errors()))),
    }
}

/// Gives types that can be [`Read`] to serde.
macro_rules! deserialize_by_reading {
    ($($name:ident),+ $(,)?) => { $(
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::read::deserialize(deserializer)
            }
        }
    )+ };
}

/// A value in a document, with its place.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    value: &'a Value,
    place: Place<'a>,
}

impl<'a> Node<'a> {
    /// Notes what is wrong with this value.
    pub(crate) fn refuse(&self, message: impl Display) {
        self.place.refuse(message);
    }

    /// Its members. A value that is no object is named, and has none.
    pub fn object(&'a self) -> Object<'a> {
        if !self.value.is_object() {
            self.refuse(format_args!("- must be an object, not {}", kind(self.value)));
        }
        Object(self)
    }
}

/// The members of an object.
pub struct Object<'a>(&'a Node<'a>);

impl Object<'_> {
    /// Names each member that is none of these: of what is to be done at once, nothing is to be overlooked.
    pub fn only(&self, names: &[&str]) {
        for name in self.0.value.as_object().into_iter().flat_map(serde_json::Map::keys) {
            let shown = Quoted(name).to_string();
            let place = self.0.place.member(&shown);
            place.require(
                names.contains(&name.as_str()),
                format_args!("- There is only [{}]", names.join(", ")),
            );
        }
    }

    /// A member; `None` when it is absent or null.
    pub fn get<T: Read>(&self, name: &str) -> Option<T> {
        let value = self.0.value.get(name).filter(|value| !value.is_null())?;
        Some(T::read(&Node { value, place: self.0.place.member(name) }))
    }

    /// A member that some clients call by another name. The rules know it by `name`.
    pub(crate) fn get_or_alias<T: Read>(&self, name: &str, alias: &str) -> Option<T> {
        self.get(name).or_else(|| {
            let place = &self.0.place;
            let read = self.get(alias)?;
            place.member(alias).stands_for(&place.member(name));
            Some(read)
        })
    }

    /// A member whose absence means the type's default, which the rules may then refuse.
    pub fn get_or_default<T: Read + Default>(&self, name: &str) -> T {
        self.get(name).unwrap_or_default()
    }

    /// A member without which the rest cannot be understood; its absence is named with `message`.
    pub fn required<T: Read>(&self, name: &str, message: &str) -> T {
        self.get(name).unwrap_or_else(|| {
            self.0.place.member(name).refuse(message);
            stand_in()
        })
    }

    /// The member `type`, by which one tells what the others mean; `None` when it is absent. While it cannot
    /// be read, nothing in this object can be judged.
    pub(crate) fn tag<T: Read + FromStr<Err: Display>>(&self) -> Option<T> {
        let value = self.0.value.get("type").filter(|value| !value.is_null())?;
        let tag = value.as_str().ok_or_else(|| format!("must be a text, not {}", kind(value)));
        let tag = tag.and_then(|text| text.parse().map_err(|problem: T::Err| problem.to_string()));
        Some(tag.unwrap_or_else(|problem| self.bad_tag(&format!("- {problem}"))))
    }

    /// The same where it must be there; its absence is named with `message`.
    pub(crate) fn required_tag<T: Read + FromStr<Err: Display>>(&self, message: &str) -> T {
        self.tag().unwrap_or_else(|| self.bad_tag(message))
    }

    fn bad_tag<T: Read>(&self, message: &str) -> T {
        self.0.place.member("type").refuse_spoiling(&self.0.place, message);
        stand_in()
    }

    /// A count that the rules bound: what no `u32` can hold becomes the nearest that can.
    pub(crate) fn count(&self, name: &str) -> Option<u32> {
        let count: i64 = self.get(name)?;
        Some(u32::try_from(count.max(0)).unwrap_or(u32::MAX))
    }

    /// What is beside the tag of a flattened part: the same members again.
    pub(crate) fn flattened<T: Read>(&self) -> T {
        T::read(self.0)
    }
}

/// Some `T`, to go on with after a problem was noted.
fn stand_in<T: Read>() -> T {
    draft(&Value::Null).0
}

/// What a value is, in words.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
