//! A rush: more executors come than the leader can let in at once, as after the loss of the last leader. An executor that
//! has to wait cannot be heard, and that is not its fault. So this module says how much of a time that passed counts as
//! silence. It must not know who is silent. Pure; time is passed in.

use std::time::Duration;

use tokio::time::Instant;

/// How long a rush goes on after its last sign: who was turned away pauses, may ask two controllers on his way, and
/// is here again by then.
const AFTERMATH: Duration = Duration::from_secs(10);
/// However few executors there are, a rush is believed for so long.
const BELIEVED_FOR: Duration = Duration::from_secs(30);
/// Of the time without a rush, this part is given back to what later ones may take.
const RECOVERY: u32 = 10;

/// What was seen of a rush since the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    /// Nobody had to wait.
    Quiet,
    /// Much of what was said is still to be heard. That takes a moment, and has no aftermath.
    Backlog,
    /// Somebody was turned away, or told to wait.
    Crowd,
}

/// How much time rushes took.
#[derive(Debug, Default)]
pub(super) struct Rush {
    /// The last sign of one.
    last_sign: Option<Instant>,
    /// What was not counted so far, less what was given back.
    taken: Duration,
}

impl Rush {
    /// How much of the time `elapsed`, which ends `now` and in which `sign` was seen, counts as silence. `longest_return`
    /// says how long the whole fleet takes to come back at most.
    pub(super) fn counted(
        &mut self,
        elapsed: Duration,
        sign: Sign,
        longest_return: Duration,
        now: Instant,
    ) -> Duration {
        if sign == Sign::Crowd {
            self.last_sign = Some(now);
        }
        let is_near = |last: Instant| now.saturating_duration_since(last) < AFTERMATH;
        if sign == Sign::Backlog || self.last_sign.is_some_and(is_near) {
            let left = (BELIEVED_FOR + longest_return).saturating_sub(self.taken);
            let excused = elapsed.min(left);
            self.taken += excused;
            elapsed.saturating_sub(excused)
        } else {
            self.taken = self.taken.saturating_sub(elapsed / RECOVERY);
            elapsed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_millis(500);
    const RETURN: Duration = Duration::from_secs(20);

    /// What counts of `seconds`, looked at twice a second, with signs at those that `has_sign` says.
    fn counted(rush: &mut Rush, begin: Instant, seconds: u64, has_sign: impl Fn(u64) -> bool) -> Duration {
        let looks = (1..=seconds * 2).map(|look| LOOK * u32::try_from(look).unwrap());
        let sign = |at: Duration| if has_sign(at.as_secs()) { Sign::Crowd } else { Sign::Quiet };
        looks.map(|at| rush.counted(LOOK, sign(at), RETURN, begin + at)).sum()
    }

    #[test]
    fn without_a_rush_all_time_counts() {
        assert_eq!(counted(&mut Rush::default(), Instant::now(), 60, |_| false), Duration::from_secs(60));
    }

    #[test]
    fn a_rush_and_its_aftermath_do_not_count() {
        let begin = Instant::now();
        // Signs from second 5 to the end of second 9; ten more seconds after the last, at 9.5 s.
        let all = counted(&mut Rush::default(), begin, 30, |second| (5..10).contains(&second));
        assert_eq!(all + LOOK * 2 * 5 + AFTERMATH, Duration::from_secs(30) + LOOK);
    }

    #[test]
    fn a_backlog_has_no_aftermath() {
        let (mut rush, begin) = (Rush::default(), Instant::now());
        assert_eq!(rush.counted(LOOK, Sign::Backlog, RETURN, begin), Duration::ZERO);
        assert_eq!(rush.counted(LOOK, Sign::Quiet, RETURN, begin + LOOK), LOOK);
    }

    #[test]
    fn a_rush_without_an_end_is_believed_no_longer_than_the_fleet_takes() {
        let begin = Instant::now();
        let mut rush = Rush::default();
        let longest = (BELIEVED_FOR + RETURN).as_secs();
        assert_eq!(counted(&mut rush, begin, longest, |_| true), Duration::ZERO);
        let later = begin + BELIEVED_FOR + RETURN;
        assert_eq!(counted(&mut rush, later, 100, |_| true), Duration::from_secs(100));
        // A tenth of the quiet time is given back; the aftermath of the last sign is none.
        let quiet = later + Duration::from_secs(100);
        assert_eq!(counted(&mut rush, quiet, 109, |_| false), Duration::from_secs(109));
        let next = quiet + Duration::from_secs(109);
        let given_back = Duration::from_secs(60).abs_diff(counted(&mut rush, next, 60, |_| true));
        assert!((Duration::from_secs(9)..=Duration::from_secs(11)).contains(&given_back), "{given_back:?}");
    }

    #[test]
    fn signs_that_come_and_go_hide_a_dead_executor_for_a_bounded_time_only() {
        let mut rush = Rush::default();
        // A sign a quarter of a minute apart: two thirds of all time would be excused.
        let half_an_hour = counted(&mut rush, Instant::now(), 1_800, |second| second % 15 == 0);
        let excused = Duration::from_secs(1_800).abs_diff(half_an_hour);
        assert!(excused <= BELIEVED_FOR + RETURN + Duration::from_secs(1_800) / RECOVERY, "{excused:?}");
    }
}
