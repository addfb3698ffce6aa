//! The streams that have not registered yet. An executor needs one, and another one when it has given up the first. One that
//! opens more is at fault, and must not take the places of others.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use muster_common::id::ExecutorId;

/// How many of one executor there are at once.
const MAX_UNREGISTERED: usize = 4;

/// How many streams of which executors have not registered. Clones count together.
#[derive(Debug, Clone, Default)]
pub(super) struct Threshold(Arc<Mutex<BTreeMap<ExecutorId, usize>>>);

/// A stream that has not registered, for as long as this lives.
#[derive(Debug)]
pub(super) struct Unregistered {
    threshold: Threshold,
    executor: ExecutorId,
}

impl Threshold {
    /// Somebody opened a stream; none: it has too many of them.
    pub(super) fn enter(&self, executor: &ExecutorId) -> Option<Unregistered> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(executor.clone()).or_default();
        (*count < MAX_UNREGISTERED).then(|| {
            *count += 1;
            Unregistered { threshold: self.clone(), executor: executor.clone() }
        })
    }
}

impl Drop for Unregistered {
    fn drop(&mut self) {
        let mut counts = self.threshold.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = counts.entry(self.executor.clone()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_executor_has_its_own_few_places_and_leaves_nothing_behind() {
        let threshold = Threshold::default();
        let (one, other) = (ExecutorId::new("e1").unwrap(), ExecutorId::new("e2").unwrap());
        let mut waiting: Vec<_> = (0..MAX_UNREGISTERED).filter_map(|_| threshold.enter(&one)).collect();
        assert_eq!(waiting.len(), MAX_UNREGISTERED);
        assert!(threshold.enter(&one).is_none());
        assert!(threshold.enter(&other).is_some());
        waiting.pop();
        waiting.extend(threshold.enter(&one));
        assert_eq!(waiting.len(), MAX_UNREGISTERED, "who registered gives its place to the next");
        drop(waiting);
        assert!(threshold.0.lock().unwrap().is_empty());
    }
}
