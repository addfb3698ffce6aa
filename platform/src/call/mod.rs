//! One call to a server over HTTP/1.1, with or without TLS: a connection of its own, no redirects followed, nothing
//! pooled, nothing that goes on when the call is let go. Who calls bounds the whole of it and judges the answer;
//! [`fetch`] does both for a file.

mod fetch;
mod http;
mod reach;
mod tls;

use std::io;

pub use fetch::{FetchError, fetch};
pub use http::{Question, exchange};
pub use reach::Reach;
pub use tls::{Speak, Trust, handshake};

/// Why there was no answer, in words for a person; holds neither headers, bodies nor queries, which may be secret.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The server gave none, or cannot be asked so.
    #[error("{0}")]
    NoAnswer(String),
    /// This machine does not give what a call takes; nothing was asked.
    #[error("{what}: {source}")]
    Machine {
        /// What was tried.
        what: String,
        /// The machine's own word.
        source: io::Error,
    },
}
