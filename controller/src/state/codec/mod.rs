//! Commands, replies and snapshots as bytes (`muster/v1/state.proto`).
//!
//! Writing never fails; reading refuses what it does not know by name ([`Malformed`]), so that a
//! controller of an older version stops at a command it cannot apply instead of misreading it.

mod change;
mod command;
#[cfg(test)]
mod fuzz;
mod operation;
mod record;
mod reply;
mod snapshot;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use muster_proto::{Fields, Malformed, v1};
use prost::Message;

use super::{Command, Reply};

pub(crate) use snapshot::{read_snapshot, write_snapshot};

/// Bytes that are not a value of this module's.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not even a message.
    #[error("it is not a protobuf message: {0}")]
    NotAMessage(#[from] prost::DecodeError),
    /// A message that means nothing here.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Command {
    /// As bytes for the log.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        self.encode_in_term(0)
    }

    /// As bytes for the log, of what the leader of `term` proposes as such.
    #[must_use]
    pub(crate) fn encode_in_term(&self, term: u64) -> Bytes {
        v1::StateCommand { term, ..self.into() }.encode_to_vec().into()
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self::decode_with_term(bytes)?.0)
    }

    /// Reads what [`Self::encode_in_term`] wrote, with the term; 0: nobody said.
    pub(crate) fn decode_with_term(bytes: &[u8]) -> Result<(Self, u64), DecodeError> {
        let message = v1::StateCommand::decode(bytes)?;
        let term = message.term;
        Ok((message.try_into()?, term))
    }
}

impl Reply {
    /// As bytes for the proposer.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        v1::StateReply::from(self).encode_to_vec().into()
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Ok(v1::StateReply::decode(bytes)?.try_into()?)
    }
}

/// An optional enum's name; empty: none.
fn name_or_empty<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// What every message with a `oneof body` says when it is empty.
fn no_body(fields: Fields) -> Malformed {
    fields.refuse("body", "is missing or of a kind that this version does not know")
}
