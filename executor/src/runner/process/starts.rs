//! The starts under way. Whoever asked for one may have let it go; it goes on, and until it is over nobody can
//! say what there is of its instance.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use muster_common::id::InstanceId;

/// The instances that are being started. Locked for moments only, never across a wait.
#[derive(Default, Clone)]
pub(super) struct Starts(Arc<Mutex<BTreeSet<InstanceId>>>);

/// One start; it is over when this is dropped.
pub(super) struct Starting {
    starts: Starts,
    instance: InstanceId,
}

impl Starts {
    pub(super) fn begin(&self, instance: &InstanceId) -> Starting {
        self.change(|starts| starts.insert(instance.clone()));
        Starting { starts: self.clone(), instance: instance.clone() }
    }

    pub(super) fn is_under_way(&self, instance: &InstanceId) -> bool {
        self.change(|starts| starts.contains(instance))
    }

    fn change(&self, change: impl FnOnce(&mut BTreeSet<InstanceId>) -> bool) -> bool {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.starts.change(|starts| starts.remove(&self.instance));
    }
}
