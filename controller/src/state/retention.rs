//! How much of what is over is kept, and for how long what is away is waited for. Users say it in the controllers'
//! configuration; it is replicated, so that all controllers keep the same.

use std::time::Duration;

use super::State;

/// How much is kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Ended instances of each service.
    pub old_instances: u32,
    /// For how long they are kept, and finished operations too.
    pub records_for: Duration,
    /// Events.
    pub events: u32,
    /// For how long they are kept.
    pub events_for: Duration,
    /// After how long a silence executors are LOST: nothing on them is waited for any longer.
    pub lost_after: Duration,
    /// For how long executors that are LOST are expected back; none: for ever.
    pub lost_executors_for: Option<Duration>,
}

impl Default for Retention {
    /// Drove's (drove-wire.md §4.4); lost executors as long as records.
    fn default() -> Self {
        Self {
            old_instances: 100,
            records_for: Duration::from_secs(7 * 24 * 3600),
            events: 20_000,
            events_for: Duration::from_secs(3600),
            lost_after: Duration::from_secs(600),
            lost_executors_for: Some(Duration::from_secs(7 * 24 * 3600)),
        }
    }
}

impl State {
    /// How much of what is over is kept.
    #[must_use]
    pub const fn retention(&self) -> Retention {
        self.retention
    }

    pub(super) fn retain(&mut self, retention: Retention) -> Option<()> {
        if self.retention == retention {
            return None;
        }
        self.retention = retention;
        self.instances.trim_all(retention.old_instances);
        self.events.trim(retention.events);
        Some(())
    }
}
