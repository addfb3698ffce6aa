//! Which entry of a log that somebody else keeps was copied last, and how it is found there again. Pure.
//!
//! The engine gives every entry a time. Times do not number entries: several may share one, two streams may come out of
//! order, and a clock may be set back. The order of the entries never changes, and the oldest go first. So a bookmark
//! is the latest time that was seen and a count of entries from there: those before the first entry of that time are
//! old, so many from it on too, and all that follow are new.

/// The last entry of a log that was copied; by default none was.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bookmark {
    /// The latest time of all entries copied, in nanoseconds since 1970.
    pub(super) latest: u64,
    /// How many were copied from the first one of that time on, it included. Zero: none ever.
    pub(super) entries: u64,
}

impl Bookmark {
    /// Whether nothing was ever copied.
    pub(crate) fn is_at_start(self) -> bool {
        self.entries == 0
    }

    /// One more entry is copied.
    pub(super) fn pass(&mut self, time: u64) {
        if self.entries == 0 || time > self.latest {
            *self = Self { latest: time, entries: 1 };
        } else {
            self.entries += 1;
        }
    }
}

/// What to do with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// It was copied before.
    Skip,
    /// It is new.
    Take,
    /// It is new, and between it and the last one copied some are missing: they are gone.
    TakeAfterGap,
    /// The bookmark is not among the entries that were asked for: more are needed.
    Widen,
}

/// Looks for a bookmark among entries as they come, from the oldest on.
#[derive(Debug)]
pub(crate) struct Seek {
    bookmark: Bookmark,
    /// Whether these are all entries that there are, or only the last ones.
    is_whole: bool,
    at: At,
}

#[derive(Debug)]
enum At {
    Beginning,
    Before,
    Behind { left: u64 },
}

impl Seek {
    pub(crate) fn new(bookmark: Bookmark, is_whole: bool) -> Self {
        Self { bookmark, is_whole, at: At::Beginning }
    }

    /// What to do with the next entry.
    pub(crate) fn next(&mut self, time: u64) -> Step {
        let Bookmark { latest, entries } = self.bookmark;
        match self.at {
            At::Behind { left: 0 } => return Step::Take,
            At::Behind { ref mut left } => {
                *left -= 1;
                return Step::Skip;
            }
            At::Beginning if entries == 0 && self.is_whole => {
                self.at = At::Behind { left: 0 };
                return Step::Take;
            }
            // Where only the last ones were asked for, others of the same time may be before the first of them.
            At::Beginning if !self.is_whole && time >= latest => return Step::Widen,
            At::Beginning | At::Before => {}
        }
        if time < latest {
            self.at = At::Before;
            return Step::Skip;
        }
        if time == latest {
            self.at = At::Behind { left: entries - 1 };
            return Step::Skip;
        }
        if self.is_whole {
            self.at = At::Behind { left: 0 };
            return Step::TakeAfterGap;
        }
        Step::Widen
    }

    /// After the last entry: whether the bookmark was not among them, and may be among more.
    pub(crate) fn is_in_vain(&self) -> bool {
        !self.is_whole && !matches!(self.at, At::Behind { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The times of a log's entries in their order; each is its own text.
    const LOG: [u64; 10] = [3, 5, 5, 5, 4, 6, 6, 2, 2, 7];

    /// What is taken of the last `width` of these entries. None: more are needed.
    fn taken(log: &[u64], bookmark: Bookmark, width: usize) -> Option<(usize, bool)> {
        let mut seek = Seek::new(bookmark, width >= log.len());
        let (mut taken, mut gap) = (0, false);
        for &time in &log[log.len().saturating_sub(width)..] {
            match seek.next(time) {
                Step::Skip => assert_eq!(taken, 0, "nothing is left out behind the first that is new"),
                Step::Take => taken += 1,
                Step::TakeAfterGap => (taken, gap) = (taken + 1, true),
                Step::Widen => return None,
            }
        }
        (!seek.is_in_vain()).then_some((taken, gap))
    }

    fn after(log: &[u64]) -> Bookmark {
        let mut bookmark = Bookmark::default();
        for &time in log {
            bookmark.pass(time);
        }
        bookmark
    }

    #[test]
    fn what_follows_a_bookmark_is_taken_once_however_much_is_asked_for() {
        for copied in 0..=LOG.len() {
            let bookmark = after(&LOG[..copied]);
            for width in 0..=LOG.len() + 1 {
                let new = taken(&LOG, bookmark, width);
                assert!(
                    new.is_none_or(|new| new == (LOG.len() - copied, false)),
                    "{copied} {width}: {new:?}"
                );
            }
            assert!(taken(&LOG, bookmark, LOG.len()).is_some(), "all there are is always enough");
        }
        assert!(taken(&LOG, after(&LOG), 1).is_none(), "another may share its time");
        assert!(taken(&LOG, after(&LOG), 2).is_some());
    }

    #[test]
    fn entries_that_went_before_they_were_copied_are_a_gap() {
        let bookmark = after(&LOG[..2]);
        assert_eq!(taken(&LOG[5..], bookmark, 10), Some((5, true)));
        assert_eq!(taken(&[], bookmark, 10), Some((0, false)));
        // The one with the latest time is gone, those after it are still there.
        assert_eq!(taken(&LOG[4..], after(&LOG[..5]), 10), Some((5, true)));
    }
}
