//! The names of a log's files as users see them. What is written now is `output.log`, which never seems to be
//! rotated: its offsets count all that the instance ever wrote, so that whoever reads on from an offset
//! (drove-cli does) meets no rotation. What was rotated is there as `output.log-<number>` besides, compressed
//! or not.

use std::fmt;
use std::str::FromStr;

use muster_proto::v1;
use muster_proto::v1::read_log::From;

/// The name of everything.
const WHOLE: &str = "output.log";

/// One file. There are no others: a name can lead nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogFileName {
    /// All that is there of the output.
    Whole,
    /// What was rotated, by its number.
    Rotated(u64),
}

/// A text that names no file of a log.
#[derive(Debug, thiserror::Error)]
#[error("is no file of a log: there are output.log, and output.log-<number> for what was rotated")]
pub(super) struct NoFile;

impl fmt::Display for LogFileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str(WHOLE),
            Self::Rotated(number) => write!(f, "{WHOLE}-{number}"),
        }
    }
}

impl FromStr for LogFileName {
    type Err = NoFile;

    fn from_str(text: &str) -> Result<Self, NoFile> {
        let rest = text.strip_prefix(WHOLE).ok_or(NoFile)?;
        if rest.is_empty() {
            return Ok(Self::Whole);
        }
        let number = rest.strip_prefix('-').and_then(|number| number.parse().ok()).ok_or(NoFile)?;
        let name = Self::Rotated(number);
        // Not `output.log-007`, nor `output.log-+7`.
        if name.to_string() == text { Ok(name) } else { Err(NoFile) }
    }
}

impl LogFileName {
    /// What reads it from an offset on; whole characters, where it is read as text.
    pub(super) fn ask(self, instance: String, offset: u64, max_bytes: u64, as_text: bool) -> v1::ReadLog {
        let (from, within_segment) = match self {
            Self::Whole => (From::Offset(offset), false),
            Self::Rotated(segment) => (From::Place(v1::LogPlace { segment, offset }), true),
        };
        v1::ReadLog {
            instance,
            from: Some(from),
            follow: false,
            max_bytes,
            within_segment,
            whole_characters: as_text,
        }
    }
}

/// Every file with its length and time, `output.log` first.
pub(super) fn listed(files: &v1::LogFiles) -> Vec<(LogFileName, u64, u64)> {
    let whole = files.files.iter().filter(|file| file.is_current);
    let whole = whole.map(|file| (LogFileName::Whole, file.begin + file.bytes, file.modified_ms));
    let rotated = files.files.iter().filter(|file| !file.is_current);
    let rotated = rotated.map(|file| (LogFileName::Rotated(file.segment), file.bytes, file.modified_ms));
    whole.chain(rotated).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_names_a_file_of_a_log_or_nothing() {
        for (text, name) in [("output.log", LogFileName::Whole), ("output.log-7", LogFileName::Rotated(7))] {
            assert_eq!(text.parse::<LogFileName>().unwrap(), name);
            assert_eq!(name.to_string(), text);
        }
        for text in [
            "",
            "..",
            "../output.log",
            "output.log/..",
            "output.log-",
            "output.log-07",
            "output.log-+7",
            "output.log-7/../../x",
            "output.log.7",
            "output.state",
            "/etc/passwd",
            "output.log\0",
        ] {
            assert!(text.parse::<LogFileName>().is_err(), "{text:?}");
        }
    }
}
