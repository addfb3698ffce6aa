//! Drove's durations: `5m`, `300 seconds`; written back in long form with the unit as given
//! (docs/drove-api.md §2).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::problem::Quoted;

/// The units that the wire knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Unit {
    Nanosecond,
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
}

impl Unit {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "ns" | "nanosecond" | "nanoseconds" => Self::Nanosecond,
            "us" | "microsecond" | "microseconds" => Self::Microsecond,
            "ms" | "millisecond" | "milliseconds" => Self::Millisecond,
            "s" | "second" | "seconds" => Self::Second,
            "m" | "min" | "mins" | "minute" | "minutes" => Self::Minute,
            "h" | "hour" | "hours" => Self::Hour,
            "d" | "day" | "days" => Self::Day,
            _ => return None,
        })
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Nanosecond => "nanosecond",
            Self::Microsecond => "microsecond",
            Self::Millisecond => "millisecond",
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    const fn nanos(self) -> u128 {
        match self {
            Self::Nanosecond => 1,
            Self::Microsecond => 1_000,
            Self::Millisecond => 1_000_000,
            Self::Second => 1_000_000_000,
            Self::Minute => 60 * 1_000_000_000,
            Self::Hour => 3_600 * 1_000_000_000,
            Self::Day => 86_400 * 1_000_000_000,
        }
    }
}

/// A length of time that remembers the unit it was given in. Equal are those of the same length.
#[derive(Debug, Clone, Copy)]
pub struct DroveDuration {
    count: u64,
    unit: Unit,
}

impl PartialEq for DroveDuration {
    fn eq(&self, other: &Self) -> bool {
        self.nanos() == other.nanos()
    }
}

impl Eq for DroveDuration {}

impl Hash for DroveDuration {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.nanos().hash(hasher);
    }
}

/// A text that is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a duration; write a whole number and a unit, such as '30s', '5 minutes' or '1h'")]
pub struct InvalidDuration(String);

impl DroveDuration {
    /// A duration in seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self { count: seconds, unit: Unit::Second }
    }

    /// A duration in milliseconds.
    #[must_use]
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self { count: milliseconds, unit: Unit::Millisecond }
    }

    const fn nanos(self) -> u128 {
        self.count as u128 * self.unit.nanos()
    }

    /// Whether it is no time at all.
    #[must_use]
    #[allow(clippy::trivially_copy_pass_by_ref)] // the signature that serde's `skip_serializing_if` calls
    pub const fn is_zero(&self) -> bool {
        self.count == 0
    }

    /// As the standard library's duration, capped at its largest.
    #[must_use]
    pub fn as_duration(self) -> Duration {
        let nanos = self.nanos();
        let seconds = u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX);
        let rest = u32::try_from(nanos % 1_000_000_000).unwrap_or(0);
        Duration::new(seconds, rest)
    }
}

/// No time at all.
impl Default for DroveDuration {
    fn default() -> Self {
        Self::from_secs(0)
    }
}

impl From<DroveDuration> for Duration {
    fn from(duration: DroveDuration) -> Self {
        duration.as_duration()
    }
}

impl fmt::Display for DroveDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.count == 1 { "" } else { "s" };
        write!(f, "{} {}{plural}", self.count, self.unit.name())
    }
}

impl FromStr for DroveDuration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        let invalid = || InvalidDuration(Quoted(text).to_string());
        let trimmed = text.trim();
        let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = trimmed.split_at(digits);
        let count = number.parse().map_err(|_| invalid())?;
        let unit = Unit::parse(unit.trim()).ok_or_else(invalid)?;
        Ok(Self { count, unit })
    }
}

impl Serialize for DroveDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for DroveDuration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DroveDuration".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A whole number and a unit; written back in long form.",
            "type": "string",
            "pattern": "^[0-9]+ *[a-z]+$",
            "examples": ["5 minutes", "30s"],
        })
    }
}

impl<'de> Deserialize<'de> for DroveDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_in_long_form_with_their_unit() {
        for (given, written) in [
            ("5m", "5 minutes"),
            ("1s", "1 second"),
            ("300 seconds", "300 seconds"),
            ("15mins", "15 minutes"),
            ("250ms", "250 milliseconds"),
            ("1d", "1 day"),
        ] {
            assert_eq!(given.parse::<DroveDuration>().unwrap().to_string(), written);
        }
        for bad in ["", "5", "s", "-1s", "1.5s", "5 fortnights"] {
            assert!(bad.parse::<DroveDuration>().is_err(), "{bad:?}");
        }
        assert_eq!("300s".parse::<DroveDuration>(), "5m".parse());
        assert_ne!("300s".parse::<DroveDuration>(), "5h".parse());
        assert_eq!("2h".parse::<DroveDuration>().unwrap().as_duration(), Duration::from_secs(7200));
    }
}
