//! The logs of instances as files: one home for their names, rotation, compression, retention and reading.
//!
//! | module | noun |
//! |---|---|
//! | `files` | what is in an instance's log directory, and what it is called |
//! | `rotation` | when a log is rotated (pure) |
//! | `writer` | the writing end, in the shim |
//! | `copy` | the copy of a log that an engine keeps |
//! | `entries` | what is on its way into a copy (pure) |
//! | `anchor` | how far a copy goes, as is written down beside it (pure) |
//! | `bookmark` | which entry was copied last (pure) |
//! | `index` | which byte was written when |
//! | `reader` | the reading end: the last lines, since a time, following |
//! | `whole` | where each file lies in all that was ever written |
//! | `compress` | one rotated file made smaller |
//! | `sweep` | the task that compresses and forgets, in the executor |
//!
//! A log is a row of segments with growing numbers. The one that is written is `output.log`; when it is full it
//! becomes `output.log.<number>` and never changes again, save that it may become `output.log.<number>.gz`. A position
//! is a segment's number and an offset in what it holds uncompressed: it stays true whatever is renamed, compressed or
//! restarted meanwhile, so a reader neither loses nor repeats a byte. Only what retention removed is lost to it, and it
//! is told.

mod anchor;
mod bookmark;
mod compress;
mod copy;
mod entries;
mod files;
mod index;
mod reader;
mod rotation;
mod sweep;
mod whole;
mod writer;

pub(crate) use bookmark::{Bookmark, Seek, Sought, Step};
pub(crate) use copy::{LogCopy, NoRoom};
pub(crate) use entries::Entries;
pub(crate) use files::LogDir;
pub(crate) use reader::FOLLOW_INTERVAL;
pub use reader::{LogFollower, LogPiece, LogPosition, LogReader};
pub(crate) use rotation::Rotation;
pub(crate) use sweep::{Retention, keep_swept};
pub use whole::{LogSegment, LogSegments};
pub(crate) use writer::OutputLog;
