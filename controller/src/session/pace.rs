//! When each executor is let in. After the loss of a leader all executors come at once. The next leader lets them in one by
//! one, and tells each of the others when its turn is. Pure: time is passed in.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_common::id::ExecutorId;
use tokio::time::Instant;

/// Between two turns: a thousand sessions a second.
const INTERVAL: Duration = Duration::from_millis(1);
/// How many may come at once after a quiet time.
const BURST: u32 = 256;
/// How many registrations may be on their way to the log. Beyond that the log is slower than the line.
const MAX_UNDER_WAY: usize = 512;
/// When to ask again, then.
const LOG_IS_SLOW: Duration = Duration::from_millis(500);
/// Who does not come for so long after his turn has lost it.
const KEPT_FOR: Duration = Duration::from_secs(30);

/// What somebody who wants to be let in is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Come in.
    Now,
    /// Ask again after this time.
    Later(Duration),
}

/// The line in front of the leader.
#[derive(Debug)]
pub(super) struct Pace {
    /// The next turn that nobody has.
    free: Instant,
    /// Whose turn is when, of those who were told to ask again.
    line: BTreeMap<ExecutorId, Instant>,
    /// The longest that anybody is told to wait: who is not heard meanwhile must not be missed.
    longest: Duration,
}

impl Pace {
    /// Nobody waits. Whoever does is told to ask again after `longest` at most, and keeps his place.
    pub(super) fn begin(now: Instant, longest: Duration) -> Self {
        Self { free: after_quiet(now), line: BTreeMap::new(), longest }
    }

    /// Whether it is `executor`'s turn while so many registrations are `under_way`.
    pub(super) fn turn(&mut self, executor: &ExecutorId, under_way: usize, now: Instant) -> Turn {
        let turn = self.line.get(executor).copied().unwrap_or_else(|| self.last_place(now));
        let wait = match turn.saturating_duration_since(now) {
            Duration::ZERO if under_way >= MAX_UNDER_WAY => LOG_IS_SLOW,
            wait => wait,
        };
        if wait.is_zero() {
            self.line.remove(executor);
            return Turn::Now;
        }
        self.line.insert(executor.clone(), turn);
        Turn::Later(wait.min(self.longest))
    }

    /// Forgets those who did not come although it was their turn.
    pub(super) fn tidy(&mut self, now: Instant) {
        self.line.retain(|_, turn| *turn + KEPT_FOR > now);
    }

    /// At the end of the line. Of a quiet time not more than a burst is saved up.
    fn last_place(&mut self, now: Instant) -> Instant {
        let turn = self.free.max(after_quiet(now));
        self.free = turn + INTERVAL;
        turn
    }
}

/// The turn of the first who comes after a quiet time.
fn after_quiet(now: Instant) -> Instant {
    now.checked_sub(INTERVAL * BURST).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const LONGEST: Duration = Duration::from_secs(5);

    fn executor(number: u32) -> ExecutorId {
        ExecutorId::new(format!("e{number}")).unwrap()
    }

    /// All come at once, and again when they were told to; when each was let in.
    fn let_in(pace: &mut Pace, begin: Instant, count: u32) -> Vec<Duration> {
        let mut asking: BTreeSet<(Instant, u32)> = (0..count).map(|number| (begin, number)).collect();
        let mut admitted = Vec::new();
        while let Some((now, number)) = asking.pop_first() {
            match pace.turn(&executor(number), 0, now) {
                Turn::Now => admitted.push(now - begin),
                Turn::Later(wait) => {
                    assert!(!wait.is_zero() && wait <= LONGEST, "{wait:?}");
                    asking.insert((now + wait, number));
                }
            }
        }
        admitted
    }

    #[test]
    fn everybody_is_let_in_a_thousand_a_second_after_the_first_burst() {
        let begin = Instant::now() + Duration::from_secs(60);
        let mut pace = Pace::begin(begin, LONGEST);
        let admitted = let_in(&mut pace, begin, 10_000);
        assert_eq!(admitted.len(), 10_000);
        assert_eq!(admitted.iter().filter(|at| at.is_zero()).count(), 257);
        assert_eq!(admitted.last(), Some(&(INTERVAL * (10_000 - 257))));
        for second in 1..9 {
            let within = |at: &&Duration| at.as_secs() == second;
            assert_eq!(admitted.iter().filter(within).count(), 1_000, "in second {second}");
        }
        assert!(pace.line.is_empty(), "nobody is remembered who is in");
    }

    #[test]
    fn who_comes_late_has_his_turn_at_once_and_who_never_comes_is_forgotten() {
        let begin = Instant::now() + Duration::from_secs(60);
        let mut pace = Pace::begin(begin, LONGEST);
        assert!((100..=100 + BURST).all(|number| pace.turn(&executor(number), 0, begin) == Turn::Now));
        assert_eq!(pace.turn(&executor(2), 0, begin), Turn::Later(INTERVAL));
        assert_eq!(pace.turn(&executor(3), 0, begin), Turn::Later(INTERVAL * 2));
        assert_eq!(pace.turn(&executor(3), 0, begin + INTERVAL), Turn::Later(INTERVAL), "he keeps his place");
        let late = begin + Duration::from_secs(1);
        assert_eq!(pace.turn(&executor(2), 0, late), Turn::Now);
        pace.tidy(late);
        assert!(pace.line.contains_key(&executor(3)));
        pace.tidy(begin + INTERVAL * 2 + KEPT_FOR);
        assert!(pace.line.is_empty());
    }

    #[test]
    fn while_the_log_is_slow_nobody_is_let_in() {
        let now = Instant::now() + Duration::from_secs(60);
        let mut pace = Pace::begin(now, LONGEST);
        assert_eq!(pace.turn(&executor(1), MAX_UNDER_WAY, now), Turn::Later(LOG_IS_SLOW));
        assert_eq!(pace.turn(&executor(1), MAX_UNDER_WAY - 1, now + LOG_IS_SLOW), Turn::Now);
    }
}
