//! Texts, numbers, lists and maps.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use serde_json::{Number, Value};

use super::{Node, Read, kind};
use crate::duration::DroveDuration;

impl Read for String {
    /// Whole numbers and truth values are taken as they are written. A broken number is not: `1.10` has
    /// become `1.1` before anybody could see it.
    fn read(node: &Node<'_>) -> Self {
        match node.value {
            Value::String(text) => text.clone(),
            Value::Bool(truth) => truth.to_string(),
            Value::Number(number) if !number.is_f64() => number.to_string(),
            Value::Number(number) => {
                node.refuse(format_args!("- must be a text; write \"{number}\" in quotes"));
                Self::new()
            }
            other => {
                node.refuse(format_args!("- must be a text, not {}", kind(other)));
                Self::new()
            }
        }
    }
}

impl Read for bool {
    fn read(node: &Node<'_>) -> Self {
        match node.value {
            Value::Bool(truth) => *truth,
            Value::String(text) if text.eq_ignore_ascii_case("true") => true,
            Value::String(text) if text.eq_ignore_ascii_case("false") => false,
            other => {
                node.refuse(format_args!("- must be true or false, not {}", kind(other)));
                false
            }
        }
    }
}

/// A whole number, also when it is written as a text or as `3.0`.
fn whole(value: &Value) -> Option<i128> {
    match value {
        Value::Number(number) => whole_number(number),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

#[allow(clippy::cast_possible_truncation)] // checked to be whole and far inside the range
fn whole_number(number: &Number) -> Option<i128> {
    /// Beyond it an `f64` does not hold every whole number.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let exact = || number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() <= EXACT);
    number
        .as_i64()
        .map(Into::into)
        .or_else(|| number.as_u64().map(Into::into))
        .or_else(|| exact().map(|float| float as i128))
}

macro_rules! read_whole_numbers {
    ($($name:ident),+) => { $(
        impl Read for $name {
            fn read(node: &Node<'_>) -> Self {
                let Some(number) = whole(node.value) else {
                    node.refuse("- must be a whole number");
                    return 0;
                };
                Self::try_from(number).unwrap_or_else(|_| {
                    node.refuse(format_args!("must be between {} and {}", Self::MIN, Self::MAX));
                    0
                })
            }
        }
    )+ };
}

read_whole_numbers!(u8, u16, u32, u64, i64);

impl Read for DroveDuration {
    fn read(node: &Node<'_>) -> Self {
        node.parsed().unwrap_or_default()
    }
}

impl<T: Read> Read for Vec<T> {
    /// An element that cannot be read leaves a stand-in: the others keep their indices.
    fn read(node: &Node<'_>) -> Self {
        let Value::Array(elements) = node.value else {
            node.refuse(format_args!("- must be a list, not {}", kind(node.value)));
            return Self::new();
        };
        let read = |(index, value)| T::read(&Node { value, place: node.place.element(index) });
        elements.iter().enumerate().map(read).collect()
    }
}

impl<K: FromStr<Err: Display> + Ord, T: Read> Read for BTreeMap<K, T> {
    fn read(node: &Node<'_>) -> Self {
        let Value::Object(members) = node.value else {
            node.refuse(format_args!("- must be an object, not {}", kind(node.value)));
            return Self::new();
        };
        let present = members.iter().filter(|(_, value)| !value.is_null());
        let read = |(key, value): (&String, _)| {
            let place = node.place.entry(key);
            let key = key.parse().map_err(|problem| place.refuse(format_args!("- {problem}"))).ok()?;
            Some((key, T::read(&Node { value, place })))
        };
        present.filter_map(read).collect()
    }
}

impl<T: Read> Read for Box<T> {
    fn read(node: &Node<'_>) -> Self {
        Self::new(T::read(node))
    }
}

impl Node<'_> {
    /// The value as a number, whole or not.
    pub(crate) fn number(&self) -> Option<f64> {
        let number = match self.value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        if number.is_none() {
            self.refuse(format_args!("- must be a number, not {}", kind(self.value)));
        }
        number
    }

    /// The value, when it is a text.
    pub(crate) fn as_text(&self) -> Option<&str> {
        self.value.as_str()
    }

    /// What the value's text says, when it is one and says something.
    pub(crate) fn parsed<T: FromStr<Err: Display>>(&self) -> Option<T> {
        let Some(text) = self.as_text() else {
            self.refuse(format_args!("- must be a text, not {}", kind(self.value)));
            return None;
        };
        text.parse().map_err(|problem| self.refuse(format_args!("- {problem}"))).ok()
    }
}
