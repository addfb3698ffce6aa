//! What is replicated, as Raft sees it: opaque commands in, opaque replies out.

use bytes::Bytes;
use muster_common::id::Revision;

/// Encodes a snapshot that was taken earlier; runs off the apply path.
pub(crate) type Encode = Box<dyn FnOnce() -> Vec<Bytes> + Send>;

/// The replicated machine.
///
/// Every member applies the same commands at the same revisions, so whatever [`apply`](Self::apply)
/// does may depend on nothing else: no clock, no randomness, no map with a random order.
pub(crate) trait Machine: Send + 'static {
    /// Whether [`apply`](Self::apply) could read `command`: the leader asks before it appends what
    /// another member, perhaps of a newer version, has written.
    fn check(command: &[u8]) -> Result<(), UnreadableCommand>
    where
        Self: Sized;

    /// Changes the state by one command and answers it. Several commands may share a revision. An
    /// error ends this member: one that passed over what the others apply would hold another state.
    fn apply(&mut self, revision: Revision, command: &[u8]) -> Result<Bytes, UnreadableCommand>;

    /// Shows the state to readers. Called after each batch of applied commands, before any of them is
    /// answered, and after [`restore`](Self::restore).
    fn publish(&mut self);

    /// Takes a snapshot: cheap now, the work is in the closure.
    fn snapshot(&self) -> Encode;

    /// Becomes the state that a snapshot holds, in the chunks that [`Encode`] made.
    fn restore(&mut self, chunks: &[Bytes]) -> Result<(), RestoreError>;
}

/// A command cannot be read: most likely a newer version wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a command cannot be read: {0}; if a newer version wrote it, use that one here, too")]
pub(crate) struct UnreadableCommand(pub String);

/// A snapshot cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the snapshot cannot be read: {0}; if a newer version wrote it, use that one here, too")]
pub(crate) struct RestoreError(pub String);
