//! Whether copying a log gets on. Pure: the time is told.

use std::time::Duration;

use tokio::time::Instant;

/// How long so many bytes may take before a copy is given up for too slow: far below what any disk that works does, and
/// far above what is left of most logs.
const SPAN: Duration = Duration::from_secs(30);
const SPAN_BYTES: u64 = 64 << 10;

/// Why a copy is cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// It has had its time.
    TooLong(Duration),
    /// It hardly moves.
    TooSlow {
        /// What would have been enough.
        bytes: u64,
        /// In this time.
        within: Duration,
    },
}

/// How one copy gets on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    deadline: Instant,
    limit: Duration,
    /// When what is counted now began.
    span_begun: Instant,
    span_bytes: u64,
}

impl Progress {
    /// A copy that has `limit` since `begun`, and of which the first byte is waited for from now on.
    pub(super) fn since(begun: Instant, limit: Duration, now: Instant) -> Self {
        Self { deadline: begun + limit, limit, span_begun: now, span_bytes: 0 }
    }

    /// The most that it has left.
    pub(super) fn left(&self, now: Instant) -> Duration {
        self.deadline.saturating_duration_since(now)
    }

    /// So many bytes more of the log are where they belong. Those that there is no room for are not.
    pub(super) fn advance(&mut self, bytes: u64, now: Instant) {
        self.span_bytes += bytes;
        if self.span_bytes >= SPAN_BYTES {
            (self.span_begun, self.span_bytes) = (now, 0);
        }
    }

    /// Whether it is to be cut short now.
    pub(super) fn cut(&self, now: Instant) -> Option<Cut> {
        if now >= self.deadline {
            Some(Cut::TooLong(self.limit))
        } else if now.duration_since(self.span_begun) >= SPAN {
            Some(Cut::TooSlow { bytes: SPAN_BYTES, within: SPAN })
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1 << 10;

    #[test]
    fn a_copy_goes_on_for_as_long_as_it_gets_on() {
        let long = Cut::TooLong(Duration::from_secs(900));
        let slow = Cut::TooSlow { bytes: 64 * KIB, within: Duration::from_secs(30) };
        // So much every so many seconds; when it is cut, and why.
        let table = [
            (1 << 20, 1, 900, long),
            (64 * KIB, 29, 899 / 29 * 29 + 29, long),
            (64 * KIB, 30, 30, slow),
            (3 * KIB, 1, 900, long),
            (2 * KIB, 1, 30, slow),
            (0, 1, 30, slow),
            (0, 29, 58, slow),
        ];
        for (bytes, every, after, why) in table {
            let begun = Instant::now();
            let mut progress = Progress::since(begun, Duration::from_secs(900), begun);
            let cut = (0..2000).step_by(usize::try_from(every).unwrap()).skip(1).find_map(|second| {
                let now = begun + Duration::from_secs(second);
                let cut = progress.cut(now).map(|cut| (second, cut));
                progress.advance(bytes, now);
                cut
            });
            assert_eq!(cut, Some((after, why)), "{bytes} bytes every {every} s");
        }
    }

    #[test]
    fn a_short_time_is_over_when_it_is_over_however_fast_it_goes() {
        let begun = Instant::now();
        let limit = Duration::from_secs(6);
        let mut progress = Progress::since(begun, limit, begun + limit / 2);
        progress.advance(1 << 30, begun + limit * 5 / 6);
        assert_eq!(progress.cut(begun + limit * 5 / 6), None);
        assert_eq!(progress.left(begun + limit * 5 / 6), limit / 6);
        assert_eq!(progress.cut(begun + limit), Some(Cut::TooLong(limit)));
        assert_eq!(progress.left(begun + limit * 2), Duration::ZERO);
    }
}
