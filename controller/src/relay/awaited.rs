//! The executors that are expected to dial. The name of a relay is drawn at random for each one. Only the executor that
//! is told it knows it, and it is good once, for that executor alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use muster_common::id::ExecutorId;
use muster_proto::v1;
use tokio::sync::{mpsc, oneshot};
use tonic::{Status, Streaming};

/// The way down to the executor that dialled.
pub(super) type DownSender = mpsc::Sender<Result<v1::RelayDown, Status>>;

/// An executor dialled.
pub(super) struct Arrival {
    pub(super) up: Streaming<v1::RelayUp>,
    pub(super) down: DownSender,
}

/// All executors that are expected. Clones share them. The lock is held for moments only, never across a wait.
pub(super) struct Awaited<T = Arrival>(Arc<Mutex<BTreeMap<String, Expected<T>>>>);

struct Expected<T> {
    executor: ExecutorId,
    tell: oneshot::Sender<T>,
}

impl<T> Clone for Awaited<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Awaited<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Awaited<T> {
    /// Expects `executor` to name `relay`, for as long as the first of what it returns lives.
    pub(super) fn expect(&self, relay: String, executor: ExecutorId) -> (Awaiting<T>, oneshot::Receiver<T>) {
        let (tell, arrival) = oneshot::channel();
        self.change(|all| all.insert(relay.clone(), Expected { executor, tell }));
        (Awaiting { all: self.clone(), relay }, arrival)
    }

    /// Takes out who waits for `executor` to dial and name `relay`; `None` where nobody does. Good once.
    pub(super) fn claim(&self, relay: &str, executor: &ExecutorId) -> Option<oneshot::Sender<T>> {
        self.change(|all| {
            // Who names another's relay does not spoil it.
            all.get(relay).filter(|expected| expected.executor == *executor)?;
            all.remove(relay).map(|expected| expected.tell)
        })
    }

    fn change<R>(&self, change: impl FnOnce(&mut BTreeMap<String, Expected<T>>) -> R) -> R {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An executor is expected for as long as this lives.
pub(super) struct Awaiting<T> {
    all: Awaited<T>,
    relay: String,
}

impl<T> Drop for Awaiting<T> {
    fn drop(&mut self) {
        self.all.change(|all| all.remove(&self.relay));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_good_once_for_who_is_expected_and_for_as_long_as_he_is() {
        let awaited = Awaited::<()>::default();
        let (one, other) = (ExecutorId::new("e1").unwrap(), ExecutorId::new("e2").unwrap());
        let (_awaiting, mut arrival) = awaited.expect("r1".to_owned(), one.clone());
        assert!(awaited.claim("r1", &other).is_none());
        assert!(awaited.claim("r2", &one).is_none());
        awaited.claim("r1", &one).unwrap().send(()).unwrap();
        assert!(arrival.try_recv().is_ok());
        assert!(awaited.claim("r1", &one).is_none());
        let (awaiting, _arrival) = awaited.expect("r3".to_owned(), one.clone());
        drop(awaiting);
        assert!(awaited.claim("r3", &one).is_none());
    }
}
