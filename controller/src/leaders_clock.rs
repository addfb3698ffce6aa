//! The clock by which a leader keeps deadlines: it cannot be set from outside during a term.

use std::sync::{Arc, Mutex, PoisonError};

use muster_common::time::Timestamp;
use muster_platform::{Clock, SteadyClock};
use tokio::sync::watch;

use crate::raft::RaftStatus;

/// One clock for each term; everything that a leader does in that term goes by it. So setting the machine's clock makes no
/// deadline pass, even when the leader's peers did not answer it for a moment meanwhile.
pub(crate) struct LeadersClock {
    wall: Arc<dyn Clock>,
    status: watch::Receiver<RaftStatus>,
    of_term: Mutex<Option<(u64, SteadyClock)>>,
}

impl LeadersClock {
    pub(crate) fn new(wall: Arc<dyn Clock>, status: watch::Receiver<RaftStatus>) -> Self {
        Self { wall, status, of_term: Mutex::default() }
    }
}

impl Clock for LeadersClock {
    fn now(&self) -> Timestamp {
        let term = self.status.borrow().term;
        let mut of_term = self.of_term.lock().unwrap_or_else(PoisonError::into_inner);
        match of_term.take().filter(|(of, _)| *of == term) {
            Some(kept) => of_term.insert(kept),
            None => of_term.insert((term, SteadyClock::following(Arc::clone(&self.wall)))),
        }
        .1
        .now()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::raft::Role;

    struct Wall(AtomicU64);

    impl Clock for Wall {
        fn now(&self) -> Timestamp {
            Timestamp(self.0.load(Ordering::Relaxed))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_set_anew_by_a_term_and_by_nothing_else() {
        let wall = Arc::new(Wall(AtomicU64::new(1_000)));
        let first = RaftStatus {
            term: 1,
            role: Role::Leader,
            leader: None,
            is_ready_leader: false,
            members: Vec::new(),
            failed: None,
        };
        let (status, told) = watch::channel(first);
        let clock = LeadersClock::new(Arc::<Wall>::clone(&wall), told);
        assert_eq!(clock.now(), Timestamp(1_000));
        wall.0.store(3_600_000, Ordering::Relaxed);
        status.send_modify(|status| status.is_ready_leader = true);
        tokio::time::advance(Duration::from_secs(8)).await;
        assert_eq!(clock.now(), Timestamp(10_000));
        status.send_modify(|status| status.term = 2);
        assert_eq!(clock.now(), Timestamp(3_600_000));
    }
}
