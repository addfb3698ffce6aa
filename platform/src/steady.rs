//! Wall-clock time that is never set, only hastened or slowed down.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use muster_common::time::Timestamp;
use tokio::time::Instant;

use crate::world::Clock;

/// By how much, at most, it is faster or slower than time goes: one part in so many.
const SLEW: u32 = 8;

/// The time by which deadlines are kept that must be written down. It begins with the wall clock's and follows that; but
/// when somebody sets the wall clock it takes its time, so that nothing is late all at once, and nothing waits for
/// hours that were had already.
pub struct SteadyClock {
    wall: Arc<dyn Clock>,
    shown: Mutex<Shown>,
}

/// What it showed last.
struct Shown {
    since_epoch: Duration,
    at: Instant,
}

impl SteadyClock {
    /// A clock that shows what `wall` shows now.
    #[must_use]
    pub fn following(wall: Arc<dyn Clock>) -> Self {
        let shown = Shown { since_epoch: since_epoch(&*wall), at: Instant::now() };
        Self { wall, shown: Mutex::new(shown) }
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Timestamp {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let went = now.saturating_duration_since(shown.at);
        let (slowest, fastest) = (went.saturating_sub(went / SLEW), went + went / SLEW);
        let wall = since_epoch(&*self.wall);
        shown.since_epoch = wall.clamp(shown.since_epoch + slowest, shown.since_epoch + fastest);
        shown.at = now;
        Timestamp(u64::try_from(shown.since_epoch.as_millis()).unwrap_or(u64::MAX))
    }
}

fn since_epoch(clock: &dyn Clock) -> Duration {
    Duration::from_millis(clock.now().as_ms())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio::time::advance;

    use super::*;

    #[derive(Default)]
    struct Wall(AtomicU64);

    impl Wall {
        async fn pass(&self, ms: u64) {
            advance(Duration::from_millis(ms)).await;
            self.0.fetch_add(ms, Ordering::Relaxed);
        }
    }

    impl Clock for Wall {
        fn now(&self) -> Timestamp {
            Timestamp(self.0.load(Ordering::Relaxed))
        }
    }

    /// What the clock shows after each of `steps` of `ms`.
    async fn show(wall: &Wall, clock: &SteadyClock, steps: u64, ms: u64) -> Vec<u64> {
        let mut shown = Vec::new();
        for _ in 0..steps {
            wall.pass(ms).await;
            shown.push(clock.now().as_ms());
        }
        shown
    }

    fn clock_at(ms: u64) -> (Arc<Wall>, SteadyClock) {
        let wall = Arc::new(Wall(AtomicU64::new(ms)));
        (Arc::clone(&wall), SteadyClock::following(wall))
    }

    #[tokio::test(start_paused = true)]
    async fn it_shows_what_a_wall_clock_shows_that_nobody_sets() {
        let (wall, clock) = clock_at(1_000);
        assert_eq!(show(&wall, &clock, 3, 1_000).await, [2_000, 3_000, 4_000]);
        assert_eq!(show(&wall, &clock, 2_000, 1).await.last(), Some(&6_000), "however often it is asked");
    }

    #[tokio::test(start_paused = true)]
    async fn it_follows_a_wall_clock_that_was_set_ahead_but_only_an_eighth_faster() {
        let (wall, clock) = clock_at(0);
        wall.0.fetch_add(10_000, Ordering::Relaxed);
        assert_eq!(show(&wall, &clock, 2, 8_000).await, [9_000, 18_000]);
        assert_eq!(show(&wall, &clock, 8_000, 8).await.last(), Some(&90_000), "it has caught up");
    }

    #[tokio::test(start_paused = true)]
    async fn it_waits_for_a_wall_clock_that_was_set_back_and_never_goes_back_itself() {
        let (wall, clock) = clock_at(100_000);
        wall.0.fetch_sub(10_000, Ordering::Relaxed);
        assert_eq!(show(&wall, &clock, 2, 8_000).await, [107_000, 114_000]);
        let shown = show(&wall, &clock, 8_000, 8).await;
        assert!(shown.is_sorted());
        assert_eq!(shown.last(), Some(&170_000), "the wall clock has caught up");
    }
}
