//! Entries of a log that somebody else keeps, on their way into a copy of it. Pure.

use super::bookmark::Bookmark;

/// How far apart in time entries may be that are indexed as one; as exact as an index is.
const SPAN_NANOS: u64 = 10_000_000_000;

/// Entries on their way into a copy.
#[derive(Debug)]
pub(crate) struct Entries {
    bytes: Vec<u8>,
    /// Where in `bytes` what was written at which time begins.
    times: Vec<(usize, u64)>,
    bookmark: Bookmark,
    is_after_gap: bool,
}

impl Entries {
    /// None yet. They will follow those up to `bookmark`.
    pub(crate) fn after(bookmark: Bookmark) -> Self {
        Self { bytes: Vec::new(), times: Vec::new(), bookmark, is_after_gap: false }
    }

    pub(crate) fn push(&mut self, time: u64, text: &[u8]) {
        if self.times.last().is_none_or(|(_, last)| time.abs_diff(*last) >= SPAN_NANOS) {
            self.times.push((self.bytes.len(), time));
        }
        self.bytes.extend_from_slice(text);
        self.bookmark.pass(time);
    }

    /// Some are missing before the first. From here on the times begin anew: they may be earlier than those before.
    pub(crate) fn follow_gap(&mut self) {
        self.is_after_gap = true;
        self.bookmark = Bookmark::default();
    }

    pub(super) fn is_after_gap(&self) -> bool {
        self.is_after_gap
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn bookmark(&self) -> Bookmark {
        self.bookmark
    }

    /// What was written, and when.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let ends = self.times.iter().skip(1).map(|(begin, _)| *begin).chain([self.bytes.len()]);
        self.times.iter().zip(ends).map(|((begin, time), end)| (*time, &self.bytes[*begin..end]))
    }
}
