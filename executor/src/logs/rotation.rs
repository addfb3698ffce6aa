//! When a log is rotated and how much of it is kept. Pure.

use muster_common::size::ByteSize;
use muster_common::spec::LoggingSpec;
use serde::{Deserialize, Serialize};

/// What a spec asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rotation {
    /// The size in bytes that no file exceeds, save for a note of what was lost.
    pub(crate) max_bytes: u64,
    /// Files kept, `output.log` included; at least one.
    pub(crate) max_files: u32,
    /// Whether rotated files are compressed.
    pub(crate) compress: bool,
}

/// For the copy of a container's log that the engine itself keeps in a way of its own.
const DEFAULT: Rotation = Rotation { max_bytes: 10 << 20, max_files: 3, compress: true };

impl Rotation {
    /// For the copy of a container's log: no more than the engine keeps, and something also of one that goes to a
    /// server.
    pub(crate) fn of_copy(logging: Option<&LoggingSpec>) -> Self {
        Self::of(logging).unwrap_or(DEFAULT)
    }

    /// What a spec asks for, or in words why it cannot be had.
    pub(crate) fn of(logging: Option<&LoggingSpec>) -> Result<Self, String> {
        match logging.cloned().unwrap_or_default() {
            LoggingSpec::Local { max_size, max_files, compress } => Ok(Self {
                max_bytes: max_size
                    .parse::<ByteSize>()
                    .map_err(|problem| problem.to_string())?
                    .as_bytes()
                    .max(1),
                max_files: max_files.max(1),
                compress,
            }),
            LoggingSpec::Rsyslog { .. } => {
                Err("RSYSLOG needs a container; a PROCESS executable logs to files (LOCAL)".to_owned())
            }
        }
    }

    /// Whether a full segment is still kept while `current` is written.
    pub(super) fn keeps(&self, segment: u64, current: u64) -> bool {
        segment.saturating_add(u64::from(self.max_files)) > current
    }
}
