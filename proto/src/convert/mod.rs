//! Between the domain's types and the messages that carry them, both ways.
//!
//! Writing never fails: texts and lists are cut to the domain's limits, so that no reader has to refuse what
//! one of our own programs wrote. Reading trusts nobody: what is missing, unknown or beyond its limit is
//! refused with the name of the message and of the field.

mod evidence;
mod exec;
mod executor;
#[cfg(test)]
mod fuzz;
mod instance;
mod resource;
mod slot;
#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::str::FromStr;

/// A message that cannot be a value of the domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}.{field}: {problem}")]
pub struct Malformed {
    /// The message's name in the .proto file.
    pub message: &'static str,
    /// The field's name in the .proto file.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

/// Reads the fields of one message, and names it in every refusal.
#[derive(Debug, Clone, Copy)]
pub struct Fields(pub &'static str);

impl Fields {
    /// A refusal of one field.
    pub fn refuse(self, field: &'static str, problem: impl Display) -> Malformed {
        Malformed { message: self.0, field, problem: problem.to_string() }
    }

    /// A message inside, which must be there.
    pub fn required<T>(self, field: &'static str, value: Option<T>) -> Result<T, Malformed> {
        value.ok_or_else(|| self.refuse(field, "is missing"))
    }

    /// An id or an enum by its wire name.
    pub fn parse<T: FromStr<Err: Display>>(self, field: &'static str, text: &str) -> Result<T, Malformed> {
        text.parse().map_err(|problem| self.refuse(field, problem))
    }

    /// The same, where an empty text means none.
    pub fn parse_optional<T: FromStr<Err: Display>>(
        self,
        field: &'static str,
        text: &str,
    ) -> Result<Option<T>, Malformed> {
        if text.is_empty() { Ok(None) } else { self.parse(field, text).map(Some) }
    }

    /// A number that the wire has no narrower type for.
    pub fn port(self, field: &'static str, number: u32) -> Result<u16, Malformed> {
        u16::try_from(number).map_err(|_| self.refuse(field, format_args!("{number} is not a port")))
    }

    /// A text of at most `max_bytes`.
    pub fn text(self, field: &'static str, text: String, max_bytes: usize) -> Result<String, Malformed> {
        if text.len() <= max_bytes {
            Ok(text)
        } else {
            Err(self.refuse(field, format_args!("{} bytes are more than {max_bytes}", text.len())))
        }
    }

    /// A list of at most `max` messages, each converted.
    pub fn list<M, T, C>(self, field: &'static str, items: Vec<M>, max: usize) -> Result<C, Malformed>
    where
        T: TryFrom<M, Error = Malformed>,
        C: FromIterator<T>,
    {
        self.at_most(field, items.len(), max)?;
        items.into_iter().map(T::try_from).collect()
    }

    /// A list that has at most `max` entries.
    pub fn at_most(self, field: &'static str, count: usize, max: usize) -> Result<(), Malformed> {
        if count <= max {
            Ok(())
        } else {
            Err(self.refuse(field, format_args!("{count} entries are more than {max}")))
        }
    }
}
