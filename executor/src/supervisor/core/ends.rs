//! Instances that are over, in the order in which they ended.

use std::collections::BTreeSet;

use muster_common::id::InstanceId;
use muster_common::time::Timestamp;

use crate::machine::Instance;

/// What orders ends: their number, and of those that an earlier version wrote down without one, the time. None of it
/// changes any more.
type End = (u64, Timestamp, InstanceId);

fn end_of(instance: &Instance) -> End {
    (instance.ended, instance.record.updated, instance.id().clone())
}

/// Instances that are over, by how much is kept of them.
#[derive(Debug, Default, Clone)]
pub(super) struct Ends {
    last: u64,
    /// The newest, which keep everything.
    in_full: BTreeSet<End>,
    /// Those before them, which keep an outline.
    in_outline: BTreeSet<End>,
}

impl Ends {
    /// An instance has ended just now.
    pub(super) fn count(&mut self, instance: &mut Instance) {
        instance.ended = self.last + 1;
        self.insert(instance);
    }

    /// An instance that is over. How much is kept of it is seen when it is one too many.
    pub(super) fn insert(&mut self, instance: &Instance) {
        self.last = self.last.max(instance.ended);
        self.in_full.insert(end_of(instance));
    }

    /// It is forgotten.
    pub(super) fn remove(&mut self, instance: &Instance) {
        let end = end_of(instance);
        self.in_full.remove(&end);
        self.in_outline.remove(&end);
    }

    /// The oldest that keeps everything, if those are more than `most`; from now on it keeps an outline.
    pub(super) fn first_beyond_full(&mut self, most: usize) -> Option<InstanceId> {
        if self.in_full.len() <= most {
            return None;
        }
        let end = self.in_full.pop_first()?;
        let id = end.2.clone();
        self.in_outline.insert(end);
        Some(id)
    }

    /// The oldest that keeps an outline, if those and the newer ones are more than `most`.
    pub(super) fn first_beyond_outline(&mut self, most: usize) -> Option<InstanceId> {
        if self.in_full.len() + self.in_outline.len() <= most {
            return None;
        }
        self.in_outline.pop_first().map(|(_, _, id)| id)
    }
}
