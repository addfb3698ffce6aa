//! Where an event stands among all: `<revision>.<n>` as text, and `<revision>` for the end of all that it brought.

use std::fmt;
use std::str::FromStr;

use muster_common::id::Revision;

/// The number that stands for all events of a revision.
const ALL: u32 = u32::MAX;

/// Where an event stands: the revision that caused it, and which of that revision's it is, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventPosition {
    /// What caused it.
    pub revision: Revision,
    /// Which of its events it is.
    pub n: u32,
}

/// A text that is no such position.
#[derive(Debug, thiserror::Error)]
#[error("must be a revision, or what an event's id says")]
pub struct NoPosition;

impl EventPosition {
    /// That of one event.
    pub(crate) const fn new(revision: Revision, n: u32) -> Self {
        Self { revision, n }
    }

    /// Behind all that a revision brought.
    pub(crate) const fn end_of(revision: Revision) -> Self {
        Self { revision, n: ALL }
    }
}

impl fmt::Display for EventPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.n {
            ALL => write!(f, "{}", self.revision),
            n => write!(f, "{}.{n}", self.revision),
        }
    }
}

impl FromStr for EventPosition {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let (revision, n) = match text.split_once('.') {
            Some((revision, n)) => (revision, n.parse().map_err(|_| NoPosition)?),
            None => (text, ALL),
        };
        Ok(Self { revision: Revision(revision.parse().map_err(|_| NoPosition)?), n })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_is_written() {
        let seven = Revision(7);
        for (text, position) in [
            ("0", EventPosition::end_of(Revision(0))),
            ("7", EventPosition::end_of(seven)),
            ("7.0", EventPosition::new(seven, 0)),
        ] {
            assert_eq!(text.parse::<EventPosition>().unwrap(), position);
            assert_eq!(position.to_string(), text);
        }
        for text in ["", "x", "7.", ".1", "7.x", "-1"] {
            assert!(text.parse::<EventPosition>().is_err(), "{text:?}");
        }
        assert!(EventPosition::new(seven, 3) < EventPosition::end_of(seven));
        assert!(EventPosition::end_of(seven) < EventPosition::new(seven.next(), 0));
    }
}
