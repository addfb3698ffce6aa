//! Where a reader of events was: `from=<revision>` when it saw all of a revision, `<revision>.<n>` when it saw the
//! events of that revision up to the n-th (counted from 0).

use std::str::FromStr;

use muster_common::id::Revision;

use crate::state::EventPosition;

/// The last event that a reader saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Resume(pub(super) EventPosition);

/// A text that is no such place.
#[derive(Debug, thiserror::Error)]
#[error("must be a revision, or what an event's id says")]
pub(super) struct NoPlace;

impl FromStr for Resume {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let (revision, n) = match text.split_once('.') {
            Some((revision, n)) => (revision, n.parse().map_err(|_| NoPlace)?),
            None => (text, u32::MAX),
        };
        Ok(Self((Revision(revision.parse().map_err(|_| NoPlace)?), n)))
    }
}

/// As [`Resume`] reads it.
pub(super) fn id((revision, n): EventPosition) -> String {
    if n == u32::MAX { revision.to_string() } else { format!("{revision}.{n}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_written() {
        for (text, place) in
            [("0", (Revision(0), u32::MAX)), ("7", (Revision(7), u32::MAX)), ("7.0", (Revision(7), 0))]
        {
            assert_eq!(text.parse::<Resume>().unwrap(), Resume(place));
            assert_eq!(id(place), text);
        }
        for text in ["", "x", "7.", ".1", "7.x", "-1"] {
            assert!(text.parse::<Resume>().is_err(), "{text:?}");
        }
    }
}
