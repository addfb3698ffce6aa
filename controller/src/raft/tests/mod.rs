//! A group of members in one process, over mTLS on loopback, with a machine that adds numbers up.

mod change;
mod cluster;
mod failure;
mod group;
mod leadership;
mod partition;
mod single;
/// One home for all tests; in its own crate it is public.
#[allow(unreachable_pub)]
#[path = "../../../../tests/src/small_disk.rs"]
pub(crate) mod small_disk;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use muster_common::id::Revision;

use super::{Encode, Machine, RestoreError, UnreadableCommand};

/// What readers see of an [`Adder`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) revision: Revision,
    pub(crate) numbers: Vec<u64>,
    /// How many snapshots it became.
    pub(crate) restored: u64,
}

/// Keeps every number that it is given, and answers with their sum.
#[derive(Debug, Default)]
pub(crate) struct Adder {
    now: Seen,
    pub(crate) seen: Arc<Mutex<Seen>>,
}

/// What an [`Adder`] cannot read.
pub(crate) const UNREADABLE: &[u8] = b"?";

impl Machine for Adder {
    fn check(command: &[u8]) -> Result<(), UnreadableCommand> {
        if command == UNREADABLE { Err(UnreadableCommand("it is no number".to_owned())) } else { Ok(()) }
    }

    fn apply(&mut self, revision: Revision, command: &[u8]) -> Result<Bytes, UnreadableCommand> {
        assert!(revision >= self.now.revision, "revisions never go back");
        self.now.revision = revision;
        self.now.numbers.push(number(command));
        let sum: u64 = self.now.numbers.iter().sum();
        Ok(Bytes::copy_from_slice(&sum.to_be_bytes()))
    }

    fn publish(&mut self) {
        *self.seen.lock().unwrap() = self.now.clone();
    }

    fn snapshot(&self) -> Encode {
        let now = self.now.clone();
        Box::new(move || {
            std::iter::once(Bytes::copy_from_slice(&now.revision.0.to_be_bytes()))
                .chain(now.numbers.chunks(100).map(|chunk| {
                    chunk.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<_>>().into()
                }))
                .collect()
        })
    }

    fn restore(&mut self, chunks: &[Bytes]) -> Result<(), RestoreError> {
        let (revision, numbers) =
            chunks.split_first().ok_or_else(|| RestoreError("it is empty".to_owned()))?;
        if revision == UNREADABLE {
            return Err(RestoreError("it is no number".to_owned()));
        }
        self.now.revision = Revision(number(revision));
        self.now.numbers = numbers.iter().flat_map(|chunk| chunk.chunks(8).map(number)).collect();
        self.now.restored += 1;
        Ok(())
    }
}

pub(crate) fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().unwrap())
}

pub(crate) fn command(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}
