//! Where a reader of a log was: `<segment>.<offset>`, which stays true whatever is rotated or started anew.

use std::fmt;
use std::str::FromStr;

use muster_proto::v1;

/// A place in one instance's log, as a message's id says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LogPlace(pub(super) v1::LogPlace);

/// A text that is no such place.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be what the id of a message said")]
pub(super) struct NoPlace;

impl fmt::Display for LogPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0.segment, self.0.offset)
    }
}

impl FromStr for LogPlace {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let (segment, offset) = text.split_once('.').ok_or(NoPlace)?;
        let number = |text: &str| text.parse().map_err(|_| NoPlace);
        Ok(Self(v1::LogPlace { segment: number(segment)?, offset: number(offset)? }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_written() {
        for text in ["0.0", "7.123456789012"] {
            assert_eq!(text.parse::<LogPlace>().unwrap().to_string(), text);
        }
        for text in ["", "7", "7.", ".7", "7.x", "7.8.9", "-1.0", "../../etc"] {
            assert!(text.parse::<LogPlace>().is_err(), "{text:?}");
        }
    }
}
