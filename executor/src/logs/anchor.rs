//! What `output.copied` says: up to which entry a copy goes, and where in the copy that is. Pure.

use super::bookmark::Bookmark;
use super::reader::LogPosition;

/// The length of `output.copied` in bytes: five numbers of twenty digits, each with a blank or a line end.
pub(super) const ANCHOR_BYTES: u64 = 105;

/// Which entry of the log stands where in the copy.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Anchor {
    pub(super) bookmark: Bookmark,
    pub(super) at: LogPosition,
    pub(super) lost_bytes: u64,
}

impl Anchor {
    pub(super) fn line(self) -> String {
        let Self { bookmark: Bookmark { latest, entries }, at, lost_bytes } = self;
        format!("{latest:020} {entries:020} {:020} {:020} {lost_bytes:020}\n", at.segment, at.offset)
    }

    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut numbers = line.trim_end().split(' ').map(str::parse);
        let mut next = || numbers.next()?.ok();
        let bookmark = Bookmark { latest: next()?, entries: next()? };
        let at = LogPosition { segment: next()?, offset: next()? };
        Some(Self { bookmark, at, lost_bytes: next()? })
    }
}
