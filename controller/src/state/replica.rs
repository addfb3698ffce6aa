//! One controller's copy of the state: driven by Raft, watched by everybody else.

use std::sync::Arc;

use bytes::Bytes;
use muster_common::id::Revision;
use muster_common::operation::Operation;
use muster_common::time::Timestamp;
use tokio::sync::watch;

use super::codec::{read_snapshot, write_snapshot};
use super::{Command, State};
use crate::raft::{Encode, Machine, RestoreError, UnreadableCommand};

/// Owns the state; readers get whole, unchanging copies and never hold it up.
#[derive(Debug)]
pub(crate) struct Replica {
    state: State,
    published: watch::Sender<Arc<State>>,
}

impl Replica {
    /// An empty state, and where to watch it.
    #[must_use]
    pub(crate) fn new() -> (Self, watch::Receiver<Arc<State>>) {
        let (published, watched) = watch::channel(Arc::default());
        (Self { state: State::default(), published }, watched)
    }

    /// See [`State::begin_history`].
    pub(crate) fn begin_history(&mut self, revision: Revision, history: String) {
        self.state.begin_history(revision, history);
    }

    /// See [`State::pause_waves`].
    pub(crate) fn pause_waves(&mut self, at: Timestamp) -> Vec<Arc<Operation>> {
        self.state.pause_waves(at)
    }
}

impl Machine for Replica {
    fn check(command: &[u8]) -> Result<(), UnreadableCommand> {
        read(command).map(drop)
    }

    fn apply(&mut self, revision: Revision, command: &[u8]) -> Result<Bytes, UnreadableCommand> {
        let (command, term) = read(command)?;
        Ok(self.state.apply_in_term(revision, term, &command).encode())
    }

    fn publish(&mut self) {
        self.published.send_replace(Arc::new(self.state.clone()));
    }

    fn snapshot(&self) -> Encode {
        let state = self.state.clone();
        Box::new(move || write_snapshot(&state))
    }

    fn restore(&mut self, chunks: &[Bytes]) -> Result<(), RestoreError> {
        self.state = read_snapshot(chunks).map_err(|error| RestoreError(error.to_string()))?;
        Ok(())
    }
}

fn read(command: &[u8]) -> Result<(Command, u64), UnreadableCommand> {
    Command::decode_with_term(command).map_err(|error| UnreadableCommand(error.to_string()))
}
