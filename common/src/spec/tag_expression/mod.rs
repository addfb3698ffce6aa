//! Which executors, said by an expression over their tags: `(ssd and zone=a) or not gpu`.
//!
//! `not` binds closest, then `and`, then `or`; the three may be written in capitals as well. A tag with brackets or quotes
//! in it, or called like one of them, is written in double quotes, a quote in it twice.

mod parse;
#[cfg(test)]
mod tests;

use std::fmt;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::read::{Node, Read};

pub use parse::InvalidTagExpression;

/// How many bytes an expression may have, written in full.
const MAX_BYTES: usize = 1024;
/// How many brackets and `not` may be around a tag, written in full.
const MAX_DEPTH: usize = 16;
/// What no tag outside of quotes may be, in any case.
const KEYWORDS: [&str; 3] = ["and", "or", "not"];

/// An expression over the tags of an executor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagExpression {
    /// It has this tag.
    Tag(String),
    /// This does not hold.
    Not(Box<TagExpression>),
    /// Each of these holds: two at least.
    All(Vec<TagExpression>),
    /// One of these holds: two at least.
    Any(Vec<TagExpression>),
}

/// A tag that makes an expression not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Culprit<'a> {
    /// It is not there.
    Lacks(&'a str),
    /// It is there.
    Has(&'a str),
}

impl fmt::Display for Culprit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lacks(tag) => write!(f, "it lacks the tag {tag}"),
            Self::Has(tag) => write!(f, "it has the tag {tag}"),
        }
    }
}

impl TagExpression {
    /// Whether an executor is meant.
    pub(super) fn holds(&self, has: &dyn Fn(&str) -> bool) -> bool {
        match self {
            Self::Tag(tag) => has(tag),
            Self::Not(inner) => !inner.holds(has),
            Self::All(parts) => parts.iter().all(|part| part.holds(has)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(has)),
        }
    }

    /// The tags, each once, for whose sake it does not hold; none: it does.
    pub(super) fn culprits(&self, has: &dyn Fn(&str) -> bool) -> Vec<Culprit<'_>> {
        let mut found = Vec::new();
        self.blame(true, has, &mut found);
        found
    }

    /// Adds what makes it come out otherwise than `wanted`.
    fn blame<'a>(&'a self, wanted: bool, has: &dyn Fn(&str) -> bool, found: &mut Vec<Culprit<'a>>) {
        if self.holds(has) == wanted {
            return;
        }
        match self {
            Self::Tag(tag) => {
                let culprit = if wanted { Culprit::Lacks(tag) } else { Culprit::Has(tag) };
                if !found.contains(&culprit) {
                    found.push(culprit);
                }
            }
            Self::Not(inner) => inner.blame(!wanted, has, found),
            Self::All(parts) | Self::Any(parts) => {
                for part in parts {
                    part.blame(wanted, has, found);
                }
            }
        }
    }

    /// A part of a larger one: what has parts itself is in brackets, whether it must be or not.
    fn write_part(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(_) | Self::Not(_) => write!(f, "{self}"),
            Self::All(_) | Self::Any(_) => write!(f, "({self})"),
        }
    }
}

/// Written in full; it reads back as the same.
impl fmt::Display for TagExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (between, parts) = match self {
            Self::Tag(tag) if must_be_quoted(tag) => return write!(f, "\"{}\"", tag.replace('"', "\"\"")),
            Self::Tag(tag) => return f.write_str(tag),
            Self::Not(inner) => {
                f.write_str("not ")?;
                return inner.write_part(f);
            }
            Self::All(parts) => (" and ", parts),
            Self::Any(parts) => (" or ", parts),
        };
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                f.write_str(between)?;
            }
            part.write_part(f)?;
        }
        Ok(())
    }
}

fn must_be_quoted(tag: &str) -> bool {
    tag.contains(['(', ')', '"']) || KEYWORDS.iter().any(|keyword| keyword.eq_ignore_ascii_case(tag))
}

impl Read for TagExpression {
    fn read(node: &Node<'_>) -> Self {
        node.parsed().unwrap_or_else(|| Self::Tag(String::new()))
    }
}

impl Serialize for TagExpression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for TagExpression {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TagExpression".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Tags with `and`, `or`, `not` and brackets. A tag with brackets or quotes in it is in double \
                            quotes, a quote in it twice.",
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_BYTES,
            "examples": ["(ssd and zone=a) or not gpu"],
        })
    }
}
