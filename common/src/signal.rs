//! Signals by name, as people write them. The numbers are Linux's, where they are the same on all machines that it is
//! built for (signal(7)).

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

const NAMES: [(&str, i32); 30] = [
    ("SIGHUP", 1),
    ("SIGINT", 2),
    ("SIGQUIT", 3),
    ("SIGILL", 4),
    ("SIGTRAP", 5),
    ("SIGABRT", 6),
    ("SIGBUS", 7),
    ("SIGFPE", 8),
    ("SIGKILL", 9),
    ("SIGUSR1", 10),
    ("SIGSEGV", 11),
    ("SIGUSR2", 12),
    ("SIGPIPE", 13),
    ("SIGALRM", 14),
    ("SIGTERM", 15),
    ("SIGCHLD", 17),
    ("SIGCONT", 18),
    ("SIGSTOP", 19),
    ("SIGTSTP", 20),
    ("SIGTTIN", 21),
    ("SIGTTOU", 22),
    ("SIGURG", 23),
    ("SIGXCPU", 24),
    ("SIGXFSZ", 25),
    ("SIGVTALRM", 26),
    ("SIGPROF", 27),
    ("SIGWINCH", 28),
    ("SIGIO", 29),
    ("SIGPWR", 30),
    ("SIGSYS", 31),
];

/// A signal, by its number. As text and as JSON it is its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signal(pub i32);

/// A text that names no signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no signal of that name")]
pub struct UnknownSignal;

impl Signal {
    /// What Ctrl-C sends.
    pub const INTERRUPT: Self = Self(2);
    /// What asks a process to end.
    pub const TERMINATE: Self = Self(15);
    /// What tells that the terminal is gone.
    pub const HANG_UP: Self = Self(1);
    /// What Ctrl-\ sends.
    pub const QUIT: Self = Self(3);
    /// The numbers that the kernel knows.
    pub const NUMBERS: RangeInclusive<i32> = 1..=64;
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&name(self.0))
    }
}

impl FromStr for Signal {
    type Err = UnknownSignal;

    fn from_str(text: &str) -> Result<Self, UnknownSignal> {
        let unnamed =
            || text.strip_prefix(UNNAMED)?.parse().ok().filter(|number| Self::NUMBERS.contains(number));
        number(text).or_else(unnamed).map(Self).ok_or(UnknownSignal)
    }
}

impl TryFrom<String> for Signal {
    type Error = UnknownSignal;

    fn try_from(text: String) -> Result<Self, UnknownSignal> {
        text.parse()
    }
}

impl From<Signal> for String {
    fn from(signal: Signal) -> Self {
        signal.to_string()
    }
}

impl JsonSchema for Signal {
    fn schema_name() -> Cow<'static, str> {
        "Signal".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string"})
    }
}

/// Before the number of a signal that has no name.
const UNNAMED: &str = "signal ";

/// What a signal is called; one without a name by its number.
#[must_use]
pub fn name(number: i32) -> String {
    let known = NAMES.iter().find(|(_, known)| *known == number);
    known.map_or_else(|| format!("{UNNAMED}{number}"), |(name, _)| (*name).to_owned())
}

/// Which signal is called so, with or without `SIG`.
#[must_use]
pub fn number(name: &str) -> Option<i32> {
    let bare = |name: &str| name.strip_prefix("SIG").unwrap_or(name).to_owned();
    let wanted = bare(&name.to_ascii_uppercase());
    NAMES.iter().find(|(known, _)| bare(known) == wanted).map(|(_, number)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_is_found_by_its_name_and_named_by_its_number() {
        for (known, signal) in NAMES {
            assert_eq!((name(signal).as_str(), number(known)), (known, Some(signal)));
        }
        assert_eq!(
            (number("int"), number("SIGINT"), number("SIGNONE"), number("")),
            (Some(2), Some(2), None, None)
        );
        assert_eq!(name(40), "signal 40");
        let named = [Signal::INTERRUPT, Signal::TERMINATE, Signal::HANG_UP, Signal::QUIT];
        assert_eq!(named.map(|signal| signal.to_string()), ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"]);
        for number in Signal::NUMBERS {
            assert_eq!(Signal(number).to_string().parse(), Ok(Signal(number)));
        }
        for text in ["", "signal", "signal 0", "signal 65", "signal -9", "SIGNONE"] {
            assert_eq!(text.parse::<Signal>(), Err(UnknownSignal), "{text:?}");
        }
    }
}
