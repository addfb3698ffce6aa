//! Who is in contact: a pure judgement over the leader's own monotonic clock.
//!
//! It is told when an executor was heard, and says what should be recorded of it. It keeps no
//! verdicts: the caller compares with what is recorded and proposes the difference, so a proposal
//! that got lost is simply found missing at the next look. It must not know sessions, streams or
//! proposals, and never sees a clock of another machine.
//!
//! Silence is counted in time spent listening. A leader that was stopped, starved or suspended heard
//! nobody, and that is nobody else's fault: what was said meanwhile is still waiting to be heard. Nor can be heard who
//! waits in a [`Rush`].

use std::collections::BTreeMap;
use std::time::Duration;

use muster_common::id::ExecutorId;
use muster_platform::channel::LOSS_NOTICED_WITHIN;
use tokio::time::Instant;

use super::rush::{Rush, Sign};

/// How long silence is tolerated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// After this much silence the instances of an executor are shown as UNKNOWN.
    pub unknown_after: Duration,
    /// After this much silence they are given up as LOST.
    pub lost_after: Duration,
}

/// What the leader may say of an executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was heard by this leader, and recently.
    Connected,
    /// Neither heard nor silent for long enough to say anything: what is recorded stays.
    Undecided,
    /// Silent for longer than `unknown_after`.
    Unreachable,
    /// Silent for longer than `lost_after`.
    Lost,
}

/// By then an executor has noticed that its leader is gone, and found the next one: two attempts to connect, and pauses.
const FIRST_WORD_WITHIN: Duration = LOSS_NOTICED_WITHIN.saturating_add(Duration::from_secs(4));

/// A fleet that comes back after the loss of its leader comes at least so fast: connections take time to be made, and a
/// leader lets everybody in one by one. How long a return may take at most follows from it.
const RETURNS_PER_SECOND: u32 = 100;
/// Who listens at least this often within `unknown_after` has listened all the time. The hub looks twice as often.
const LOOKS_PER_UNKNOWN_AFTER: u32 = 10;

/// The last time that each executor was heard, during one leadership.
#[derive(Debug)]
pub(crate) struct Liveness {
    limits: Limits,
    /// When it was last noted that this leader listens.
    noted: Instant,
    /// For how long it had listened then, since the leadership began.
    listened: Duration,
    /// After how much listening each executor was last heard. Who is not in here was not heard since
    /// the leadership began, and has his full grace from when the fleet had come back.
    heard: BTreeMap<ExecutorId, Duration>,
    /// After how much listening the last one was heard for the first time: until then the fleet comes back.
    returned: Duration,
    /// How many executors there were when it began.
    expected: usize,
    rush: Rush,
}

impl Liveness {
    /// Begins a leadership over so many executors: nobody was heard yet, and everybody has the full grace.
    pub(crate) fn begin(limits: Limits, executors: usize, now: Instant) -> Self {
        let (listened, returned) = (Duration::ZERO, Duration::ZERO);
        let (heard, rush) = (BTreeMap::new(), Rush::default());
        Self { limits, noted: now, listened, heard, returned, expected: executors, rush }
    }

    /// Notes that this leader is listening. To be said several times within `unknown_after`: of a longer
    /// gap only a part counts. `sign` says who had to wait since it was last noted.
    pub(crate) fn listen(&mut self, now: Instant, sign: Sign) {
        let elapsed = self.listened_at(now).saturating_sub(self.listened);
        let longest_return = longest_return(self.expected.max(self.heard.len()));
        self.listened += self.rush.counted(elapsed, sign, longest_return, now);
        self.noted = now;
    }

    /// Notes that `executor` said something.
    pub(crate) fn hear(&mut self, executor: &ExecutorId, now: Instant) {
        let at = self.listened_at(now);
        if let Some(last) = self.heard.get_mut(executor) {
            *last = (*last).max(at);
        } else {
            self.heard.insert(executor.clone(), at);
            self.returned = self.returned.max(at.min(longest_return(self.expected)));
        }
    }

    /// Of how many executors it remembers when they were heard.
    pub(crate) fn len(&self) -> usize {
        self.heard.len()
    }

    /// Forgets executors that are not known, so that this map is bounded by the state's. Who was heard just now may be
    /// known in a moment, also when his session ended before he was registered; he was heard all the same.
    pub(crate) fn retain(&mut self, known: impl Fn(&ExecutorId) -> bool) {
        let (listened, kept_for) = (self.listened, self.limits.unknown_after.max(FIRST_WORD_WITHIN));
        self.heard.retain(|executor, at| known(executor) || listened.saturating_sub(*at) < kept_for);
    }

    /// What should be recorded of each of `executors`, which are in the order of their ids.
    pub(crate) fn verdicts<'a>(
        &'a self,
        executors: impl Iterator<Item = &'a ExecutorId>,
        now: Instant,
    ) -> impl Iterator<Item = Verdict> {
        // Both in one order: each is passed once, and nobody is looked up.
        let mut heard = self.heard.iter().peekable();
        executors.map(move |executor| {
            while heard.next_if(|(other, _)| *other < executor).is_some() {}
            let heard = heard.next_if(|(other, _)| *other == executor).map(|(_, at)| *at);
            self.verdict(heard, now)
        })
    }

    /// What should be recorded of an executor that was last heard after so much listening.
    fn verdict(&self, heard: Option<Duration>, now: Instant) -> Verdict {
        let silence = self.listened_at(now).saturating_sub(heard.unwrap_or(self.returned));
        // Who was not heard yet may not know yet where to speak, however little silence is tolerated.
        let least = if heard.is_some() { Duration::ZERO } else { FIRST_WORD_WITHIN };
        if silence >= self.limits.lost_after.max(least) {
            Verdict::Lost
        } else if silence >= self.limits.unknown_after.max(least) {
            Verdict::Unreachable
        } else if heard.is_some() {
            Verdict::Connected
        } else {
            Verdict::Undecided
        }
    }

    fn listened_at(&self, now: Instant) -> Duration {
        let longest = self.limits.unknown_after / LOOKS_PER_UNKNOWN_AFTER;
        self.listened + now.saturating_duration_since(self.noted).min(longest)
    }
}

/// The longest that so many executors may take to come back.
fn longest_return(executors: usize) -> Duration {
    Duration::from_secs(1) * u32::try_from(executors).unwrap_or(u32::MAX) / RETURNS_PER_SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { unknown_after: Duration::from_secs(10), lost_after: Duration::from_secs(600) };

    fn executor(name: &str) -> ExecutorId {
        ExecutorId::new(name).unwrap()
    }

    /// Listens all the time.
    fn listen(liveness: &mut Liveness, from: Instant, to: Instant) {
        listen_in(liveness, from, to, false);
    }

    /// The same, in a rush or not.
    fn listen_in(liveness: &mut Liveness, from: Instant, to: Instant, is_rush: bool) {
        let mut now = from;
        while now < to {
            now = to.min(now + Duration::from_secs(1));
            liveness.listen(now, if is_rush { Sign::Crowd } else { Sign::Quiet });
        }
    }

    fn verdict(liveness: &Liveness, name: &str, now: Instant) -> Verdict {
        liveness.verdicts([executor(name)].iter(), now).next().unwrap()
    }

    #[test]
    fn silence_is_judged_from_the_last_word_or_from_the_leaderships_begin() {
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        // (heard at, judged at, verdict), times in ms after the leadership began
        let table: &[(Option<u64>, u64, Verdict)] = &[
            (None, 0, Verdict::Undecided),
            (None, 11_999, Verdict::Undecided),
            (None, 12_000, Verdict::Unreachable),
            (None, 599_999, Verdict::Unreachable),
            (None, 600_000, Verdict::Lost),
            (Some(0), 9_999, Verdict::Connected),
            (Some(0), 10_000, Verdict::Unreachable),
            (Some(9_000), 18_999, Verdict::Connected),
            (Some(9_000), 19_000, Verdict::Unreachable),
            (Some(9_000), 608_999, Verdict::Unreachable),
            (Some(9_000), 609_000, Verdict::Lost),
            (Some(700_000), 700_001, Verdict::Connected),
        ];
        for &(heard, judged, expected) in table {
            let mut liveness = Liveness::begin(LIMITS, 1, begin);
            if let Some(heard) = heard {
                listen(&mut liveness, at(0), at(heard));
                liveness.hear(&executor("e"), at(heard));
            }
            listen(&mut liveness, at(heard.unwrap_or(0)), at(judged));
            let verdict = verdict(&liveness, "e", at(judged));
            assert_eq!(verdict, expected, "heard {heard:?}, judged {judged}");
        }
    }

    #[test]
    fn a_word_speaks_only_for_the_one_who_said_it() {
        let begin = Instant::now();
        let mut liveness = Liveness::begin(LIMITS, 1, begin);
        let (heard, now) = (begin + Duration::from_secs(9), begin + Duration::from_secs(13));
        listen(&mut liveness, begin, heard);
        liveness.hear(&executor("a"), heard);
        listen(&mut liveness, heard, now);
        assert_eq!(verdict(&liveness, "a", now), Verdict::Connected);
        assert_eq!(verdict(&liveness, "b", now), Verdict::Unreachable);
    }

    #[test]
    fn who_tolerates_little_silence_waits_for_the_first_word_all_the_same() {
        let limits = Limits { unknown_after: Duration::from_secs(2), lost_after: Duration::from_secs(4) };
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        let mut liveness = Liveness::begin(limits, 1, begin);
        let listen = |liveness: &mut Liveness, from: u64, to: u64| {
            (from..=to).step_by(100).for_each(|ms| liveness.listen(at(ms), Sign::Quiet));
        };
        listen(&mut liveness, 0, 11_900);
        assert_eq!(verdict(&liveness, "a", at(11_900)), Verdict::Undecided);
        liveness.hear(&executor("a"), at(11_900));
        listen(&mut liveness, 11_900, 13_900);
        assert_eq!(verdict(&liveness, "a", at(13_900)), Verdict::Unreachable);
        assert_eq!(verdict(&liveness, "b", at(13_900)), Verdict::Lost);
    }

    #[test]
    fn words_that_arrive_out_of_order_do_not_shorten_the_grace() {
        let begin = Instant::now();
        let mut liveness = Liveness::begin(LIMITS, 1, begin);
        let (heard, now) = (begin + Duration::from_secs(9), begin + Duration::from_secs(15));
        listen(&mut liveness, begin, heard);
        liveness.hear(&executor("a"), heard);
        liveness.hear(&executor("a"), begin + Duration::from_secs(3));
        listen(&mut liveness, heard, now);
        assert_eq!(verdict(&liveness, "a", now), Verdict::Connected);
    }

    #[test]
    fn a_new_leadership_gives_everybody_the_full_grace_again() {
        let begin = Instant::now();
        let mut old = Liveness::begin(LIMITS, 1, begin);
        old.hear(&executor("a"), begin);
        let takeover = begin + Duration::from_secs(9);
        let mut new = Liveness::begin(LIMITS, 1, takeover);
        let later = takeover + Duration::from_millis(9_999);
        listen(&mut old, begin, later);
        listen(&mut new, takeover, later);
        assert_eq!(verdict(&old, "a", later), Verdict::Unreachable);
        assert_eq!(verdict(&new, "a", later), Verdict::Undecided);
    }

    #[test]
    fn nobody_is_missed_while_the_fleet_comes_back_nor_for_longer_than_it_may_take() {
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let mut liveness = Liveness::begin(LIMITS, 2_000, begin);
        listen(&mut liveness, begin, at(12));
        // The leader could hear this one only now; the next in line are not silent, they wait.
        liveness.hear(&executor("a"), at(12));
        listen(&mut liveness, at(12), at(23));
        assert_eq!(verdict(&liveness, "b", at(23)), Verdict::Undecided);
        listen(&mut liveness, at(23), at(24));
        assert_eq!(verdict(&liveness, "b", at(24)), Verdict::Unreachable);
        // Two thousand are back after 20 s at most: who comes later is new, or was away.
        liveness.hear(&executor("c"), at(24));
        listen(&mut liveness, at(24), at(31));
        assert_eq!(verdict(&liveness, "b", at(31)), Verdict::Undecided);
        listen(&mut liveness, at(31), at(32));
        liveness.hear(&executor("d"), at(32));
        assert_eq!(verdict(&liveness, "b", at(32)), Verdict::Unreachable);
    }

    #[test]
    fn a_leader_that_did_not_listen_blames_nobody() {
        let begin = Instant::now();
        let mut liveness = Liveness::begin(LIMITS, 1, begin);
        liveness.hear(&executor("a"), begin);
        // Stopped for an hour; what was said meanwhile is heard right after the first look.
        let resumed = begin + Duration::from_secs(3_600);
        liveness.listen(resumed, Sign::Quiet);
        assert_eq!(verdict(&liveness, "a", resumed), Verdict::Connected);
        liveness.hear(&executor("a"), resumed);
        let later = resumed + Duration::from_millis(9_999);
        listen(&mut liveness, resumed, later);
        assert_eq!(verdict(&liveness, "a", later), Verdict::Connected);
        let silent = later + Duration::from_millis(1);
        listen(&mut liveness, later, silent);
        assert_eq!(verdict(&liveness, "a", silent), Verdict::Unreachable);
    }

    #[test]
    fn who_cannot_come_in_a_rush_is_not_silent_and_who_is_dead_is_found_after_it() {
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let mut liveness = Liveness::begin(LIMITS, 0, begin);
        liveness.hear(&executor("a"), begin);
        listen_in(&mut liveness, begin, at(20), true);
        assert_eq!(verdict(&liveness, "a", at(20)), Verdict::Connected);
        // Nobody waits any more: who was turned away last has time to come, and then his grace.
        listen(&mut liveness, at(20), at(38));
        assert_eq!(verdict(&liveness, "a", at(38)), Verdict::Connected);
        listen(&mut liveness, at(38), at(39));
        assert_eq!(verdict(&liveness, "a", at(39)), Verdict::Unreachable);
        // Where it never ends, nobody is believed for ever.
        liveness.hear(&executor("a"), at(39));
        listen_in(&mut liveness, at(39), at(39 + 15), true);
        assert_eq!(verdict(&liveness, "a", at(39 + 15)), Verdict::Unreachable);
    }

    #[test]
    fn verdicts_come_in_the_order_of_the_executors_also_of_those_that_one_side_does_not_know() {
        let begin = Instant::now();
        let mut liveness = Liveness::begin(LIMITS, 0, begin);
        for name in ["a", "c", "d", "f"] {
            liveness.hear(&executor(name), begin);
        }
        let asked = ["b", "c", "e", "f", "g"].map(executor);
        let (here, unknown) = (Verdict::Connected, Verdict::Undecided);
        let verdicts: Vec<_> = liveness.verdicts(asked.iter(), begin).collect();
        assert_eq!(verdicts, [unknown, here, unknown, here, unknown]);
    }

    #[test]
    fn who_is_no_longer_known_is_forgotten_but_not_who_was_heard_just_now() {
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let mut liveness = Liveness::begin(LIMITS, 1, begin);
        liveness.hear(&executor("a"), begin);
        liveness.hear(&executor("b"), begin);
        listen(&mut liveness, begin, at(20));
        liveness.hear(&executor("c"), at(20));
        liveness.retain(|executor| executor.as_str() == "b");
        assert_eq!(liveness.len(), 2);
        // Its session ended before it was registered; now it is.
        assert_eq!(verdict(&liveness, "c", at(20)), Verdict::Connected);
        listen(&mut liveness, at(20), at(32));
        liveness.retain(|executor| executor.as_str() == "b");
        assert_eq!(liveness.len(), 1);
        assert_eq!(verdict(&liveness, "b", at(32)), Verdict::Unreachable);
    }
}
