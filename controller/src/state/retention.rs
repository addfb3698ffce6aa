//! How much history is kept, and after how long an executor that is away is lost and removed. Both are set in the
//! controllers' configuration. The leader's settings are replicated, so that all controllers keep the same.

use std::time::Duration;

use muster_common::id::InstanceId;

use super::{Instance, State};

/// How much is kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Ended instances of each service.
    pub old_instances: u32,
    /// Ended instances of all services together.
    pub old_instances_in_all: u32,
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
    /// Drove's (docs/drove-api.md §4.4), with full records of a hundred services; lost executors as long as records.
    fn default() -> Self {
        Self {
            old_instances: 100,
            old_instances_in_all: 10_000,
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
        self.trim_old_instances();
        self.events.trim(retention.events);
        Some(())
    }

    /// Keeps no more ended instances than all services together may have: the oldest go first, but none that an
    /// operation at work names, since users are still to be shown what becomes of that.
    pub(super) fn trim_old_instances(&mut self) {
        let most = usize::try_from(self.retention.old_instances_in_all).unwrap_or(usize::MAX);
        let excess = self.instances.old_count().saturating_sub(most);
        if excess == 0 {
            return;
        }
        let due = self.instances.oldest_first().filter(|instance| !self.is_named(instance)).take(excess);
        let due: Vec<InstanceId> = due.map(|instance| instance.record.id.clone()).collect();
        for id in &due {
            self.instances.remove(id);
        }
    }

    fn is_named(&self, instance: &Instance) -> bool {
        let (id, slot) = (&instance.record.id, &instance.record.slot);
        self.operations.running_of(&slot.service).any(|operation| {
            let place = operation.slots.binary_search_by(|progress| progress.slot.cmp(slot));
            let progress = place.ok().and_then(|place| operation.slots.get(place));
            operation.instance_ids.contains(id)
                || progress.is_some_and(|progress| progress.old_instance.as_ref() == Some(id))
        })
    }
}
