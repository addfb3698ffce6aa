//! Looks at the node's disks for a service: for its program, its volumes, its files.
//!
//! A disk may hang, and then nothing ends a look at it. That costs the service alone: each look has a thread of its own,
//! so that no other work on disks (the journal's, say) ever waits behind it; one that hangs is the only one of its
//! service; and whoever asked is told in time.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use muster_common::id::ServiceId;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::{ProvisionError, StartError};

/// How long the disk may take to answer.
const LOOK_WAIT: Duration = Duration::from_secs(10);

/// Whose turn it is: one look at a time for each service. Locked for moments only, never across a wait.
#[derive(Default)]
pub(super) struct Looks(Mutex<BTreeMap<ServiceId, Arc<Semaphore>>>);

/// Nobody could look. The same may work later.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookError {
    /// The disk hangs.
    #[error("the disk has not said within {LOOK_WAIT:?} {question}; check the node's mounts")]
    Silent {
        /// What it was asked.
        question: String,
    },
    /// The node is short of what a look takes.
    #[error("it cannot be seen now {question}: {source}")]
    Unseen {
        /// What nobody was asked.
        question: String,
        /// Why not.
        source: io::Error,
    },
}

impl Looks {
    /// Looks for `service`, when its look before this one is over. `question` completes "the disk has not said".
    pub(super) async fn look<T: Send + 'static>(
        &self,
        service: &ServiceId,
        question: String,
        look: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, LookError> {
        let answered = async {
            let turn = self.turns(service).acquire_owned().await.map_err(io::Error::other)?;
            let (answer, answered) = oneshot::channel();
            std::thread::Builder::new().name("muster-look".to_owned()).spawn(move || {
                let seen = look();
                drop(turn);
                // Whoever asked may be gone.
                let _ = answer.send(seen);
            })?;
            answered.await.map_err(|_| io::Error::other("whoever looked broke down"))
        };
        match timeout(LOOK_WAIT, answered).await {
            Ok(answer) => answer.map_err(|source| LookError::Unseen { question, source }),
            Err(_) => Err(LookError::Silent { question }),
        }
    }

    /// The turns of a service; those that nobody has or waits for are forgotten.
    fn turns(&self, service: &ServiceId) -> Arc<Semaphore> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, of_one| Arc::strong_count(of_one) > 1);
        Arc::clone(turns.entry(service.clone()).or_insert_with(|| Arc::new(Semaphore::new(1))))
    }
}

impl From<LookError> for ProvisionError {
    fn from(error: LookError) -> Self {
        Self::RunnerUnavailable(error.to_string())
    }
}

impl From<LookError> for StartError {
    fn from(error: LookError) -> Self {
        Self::RunnerUnavailable(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn service(id: &str) -> ServiceId {
        ServiceId::new(id).unwrap()
    }

    async fn one(looks: &Looks, id: &str) -> Result<u32, LookError> {
        looks.look(&service(id), "what there is".to_owned(), || 1).await
    }

    /// Nothing but the paused clock ends the wait.
    #[tokio::test(start_paused = true)]
    async fn a_look_that_hangs_is_given_up_and_is_the_only_one_of_its_service() {
        let (looks, slow) = (Looks::default(), service("hung-1"));
        let (release, held) = mpsc::channel::<()>();
        let hung = looks.look(&slow, "what there is".to_owned(), move || held.recv().is_err());
        let why = hung.await.unwrap_err().to_string();
        assert!(why.starts_with("the disk has not said within 10s what there is"), "{why}");
        let (seen, unseen) = mpsc::channel();
        let behind = looks.look(&slow, "what there is".to_owned(), move || seen.send(()));
        assert!(matches!(behind.await, Err(LookError::Silent { .. })));
        assert!(unseen.recv().is_err(), "it looked beside the one that hangs");
        drop(release);
    }

    #[tokio::test]
    async fn others_look_meanwhile_and_the_service_again_when_it_hangs_no_more() {
        let (looks, slow) = (Looks::default(), service("hung-1"));
        let (release, held) = mpsc::channel::<()>();
        let (begun, begins) = mpsc::channel();
        let hung = looks.look(&slow, "what there is".to_owned(), move || {
            begun.send(()).unwrap();
            held.recv().is_err()
        });
        tokio::pin!(hung);
        assert!(timeout(Duration::ZERO, &mut hung).await.is_err());
        begins.recv().unwrap();
        assert_eq!(one(&looks, "other-1").await.unwrap(), 1);
        drop(release);
        assert!(hung.await.unwrap());
        assert_eq!(one(&looks, "hung-1").await.unwrap(), 1);
    }
}
