//! Which controller to try next. Pure.

use std::time::Duration;

/// The pause before the first repetition; doubles up to [`LONGEST_PAUSE`] while nobody takes us.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// How many hints are followed without a pause: two controllers that name each other must not spin us.
const HINTS_IN_A_ROW: u32 = 3;

/// The controllers, and how the tries went so far.
#[derive(Debug)]
pub(super) struct Targets {
    controllers: Vec<String>,
    next: usize,
    hint: Option<String>,
    /// The last one that was named, while it may be asked again.
    named: Option<String>,
    hints: u32,
    pause: Duration,
}

impl Targets {
    pub(super) fn new(controllers: Vec<String>) -> Self {
        Self { controllers, next: 0, hint: None, named: None, hints: 0, pause: FIRST_PAUSE }
    }

    /// The controller to try now; `None` when none is configured.
    pub(super) fn next(&mut self) -> Option<String> {
        if let Some(hint) = self.hint.take() {
            return Some(hint);
        }
        let address = self.controllers.get(self.next)?.clone();
        self.next = (self.next + 1) % self.controllers.len();
        Some(address)
    }

    /// A controller took us: the next trouble begins with short pauses again.
    pub(super) fn welcomed(&mut self) {
        self.pause = FIRST_PAUSE;
        self.hints = 0;
    }

    /// A controller named the leader (or knows none): how long to pause before going on.
    pub(super) fn hinted(&mut self, leader: String) -> Duration {
        if leader.is_empty() {
            return self.failed();
        }
        self.hint = Some(leader.clone());
        self.named = Some(leader);
        self.hints += 1;
        if self.hints > HINTS_IN_A_ROW { self.failed() } else { Duration::ZERO }
    }

    /// A controller turned us away because it is too busy: how long to pause before going on. If it was named as the leader
    /// it is tried once more, since the others, which could name the leader, are as busy.
    pub(super) fn turned_away(&mut self) -> Duration {
        self.hint = self.named.take();
        self.failed()
    }

    /// A try failed: how long to pause before going on.
    pub(super) fn failed(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_turn_with_growing_pauses_and_hints_first() {
        let mut targets = Targets::new(vec!["a:1".to_owned(), "b:1".to_owned()]);
        let tried: Vec<_> = (0..3).map(|_| targets.next().unwrap()).collect();
        assert_eq!(tried, ["a:1", "b:1", "a:1"]);
        let pauses: Vec<_> = (0..7).map(|_| targets.failed().as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3000, 3000]);
        targets.welcomed();
        assert_eq!(targets.hinted("c:1".to_owned()), Duration::ZERO);
        assert_eq!(targets.next().unwrap(), "c:1");
        assert_eq!(targets.next().unwrap(), "b:1");
    }

    #[test]
    fn controllers_that_name_each_other_do_not_make_it_spin() {
        let mut targets = Targets::new(vec!["a:1".to_owned()]);
        let pauses: Vec<_> = (0..5).map(|_| targets.hinted("b:1".to_owned())).collect();
        assert!(pauses[..3].iter().all(Duration::is_zero));
        assert!(pauses[3..].iter().all(|pause| !pause.is_zero()));
    }

    #[test]
    fn the_leader_that_has_no_time_is_asked_once_more_and_then_the_others() {
        let mut targets = Targets::new(vec!["a:1".to_owned(), "b:1".to_owned()]);
        assert_eq!(targets.next().unwrap(), "a:1");
        targets.turned_away();
        assert_eq!(targets.next().unwrap(), "b:1", "nobody was named");
        for _ in 0..2 {
            targets.hinted("c:1".to_owned());
            assert_eq!(targets.next().unwrap(), "c:1");
            assert!(!targets.turned_away().is_zero());
            assert_eq!(targets.next().unwrap(), "c:1");
            targets.turned_away();
            assert_ne!(targets.next().unwrap(), "c:1");
        }
    }

    #[test]
    fn without_controllers_there_is_nobody_to_try() {
        assert_eq!(Targets::new(Vec::new()).next(), None);
    }
}
