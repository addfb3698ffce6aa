//! The way up. Output waits until there is credit for it, so that a user who does not read holds nothing here but what
//! waits, and nothing at his controller but what it gave credit for.

use std::sync::Arc;

use muster_proto::v1;
use muster_proto::v1::relay_up::Body as Up;
use tokio::sync::{Semaphore, mpsc};

/// No more than this is ever given: a window, many times over.
const MAX_CREDIT_BYTES: usize = 16 << 20;

/// Why a request is not, or not further, answered: words for whoever asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// It is not there.
    #[error("{0}")]
    NotFound(String),
    /// There is too much to do.
    #[error("{0}")]
    Busy(String),
    /// There is no such command.
    #[error("{0}")]
    NoSuchCommand(String),
    /// It went wrong.
    #[error("{0}")]
    Failed(String),
}

impl From<Refusal> for v1::RelayRefusal {
    fn from(refusal: Refusal) -> Self {
        let (kind, why) = match refusal {
            Refusal::NotFound(why) => ("NOT_FOUND", why),
            Refusal::Busy(why) => ("BUSY", why),
            Refusal::NoSuchCommand(why) => ("NO_SUCH_COMMAND", why),
            Refusal::Failed(why) => ("FAILED", why),
        };
        Self { kind: kind.to_owned(), why }
    }
}

/// How much output may be sent. Clones speak of the same.
#[derive(Debug, Clone)]
pub(super) struct Credit(Arc<Semaphore>);

impl Default for Credit {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }
}

impl Credit {
    pub(super) fn give(&self, bytes: u64) {
        let room = MAX_CREDIT_BYTES.saturating_sub(self.0.available_permits());
        self.0.add_permits(usize::try_from(bytes).unwrap_or(room).min(room));
    }

    async fn take(&self, bytes: usize) {
        // It is never closed, and no piece of output is larger than 2^32.
        if let Ok(taken) = self.0.acquire_many(u32::try_from(bytes).unwrap_or(u32::MAX)).await {
            taken.forget();
        }
    }
}

/// The way up of one relay.
pub(super) struct Line {
    up: mpsc::Sender<v1::RelayUp>,
    credit: Credit,
}

impl Line {
    pub(super) const fn new(up: mpsc::Sender<v1::RelayUp>, credit: Credit) -> Self {
        Self { up, credit }
    }

    /// Lets the controller send so much more input.
    pub(super) async fn give(&self, bytes: u64) {
        let _ = self.up.send(v1::RelayUp { body: Some(Up::Credit(v1::Credit { bytes })) }).await;
    }

    /// Says a piece of output of so many bytes once there is credit for it. A controller that is gone is noticed
    /// elsewhere.
    pub(super) async fn say(&self, bytes: usize, output: Up) {
        self.credit.take(bytes).await;
        let _ = self.up.send(v1::RelayUp { body: Some(output) }).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nothing_is_said_that_there_is_no_credit_for() {
        let (up, mut heard) = mpsc::channel(8);
        let credit = Credit::default();
        let line = Line::new(up, credit.clone());
        let say = || line.say(10, Up::Beat(v1::RelayBeat {}));
        let a_while = Duration::from_secs(60);
        credit.give(9);
        assert!(timeout(a_while, say()).await.is_err());
        credit.give(11);
        say().await;
        say().await;
        assert!(timeout(a_while, say()).await.is_err());
        assert_eq!(heard.len(), 2);
        heard.recv().await.unwrap();
        credit.give(u64::MAX);
        credit.give(u64::MAX);
        say().await;
    }
}
