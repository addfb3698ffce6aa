//! What is under way: starts of processes. Whoever asked for one may have let it go; it goes on, and until it is over
//! nobody can say what comes of it, nor begin another beside it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Whatever is under way, by its name. Locked for moments only, never across a wait.
pub(super) struct UnderWay<K>(Arc<Mutex<BTreeSet<K>>>);

/// One of them; it is over when this is dropped.
pub(super) struct Ongoing<K: Ord> {
    all: UnderWay<K>,
    name: K,
}

impl<K> Default for UnderWay<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Ord + Clone> UnderWay<K> {
    /// Begins it, unless it is under way already.
    pub(super) fn begin(&self, name: &K) -> Option<Ongoing<K>> {
        let is_first = self.change(|all| all.insert(name.clone()));
        is_first.then(|| Ongoing { all: Self(Arc::clone(&self.0)), name: name.clone() })
    }

    pub(super) fn contains(&self, name: &K) -> bool {
        self.change(|all| all.contains(name))
    }
}

impl<K: Ord> UnderWay<K> {
    fn change(&self, change: impl FnOnce(&mut BTreeSet<K>) -> bool) -> bool {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<K: Ord> Drop for Ongoing<K> {
    fn drop(&mut self) {
        self.all.change(|all| all.remove(&self.name));
    }
}
