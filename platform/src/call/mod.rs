//! One call to a server over HTTP/1.1, with or without TLS: a connection of its own, no redirects followed, nothing
//! pooled, nothing that goes on when the call is let go. Who calls bounds the whole of it and judges the answer;
//! [`fetch`] does both for a file.

mod fetch;
mod http;
mod reach;
mod tls;

pub use fetch::fetch;
pub use http::{Question, exchange};
pub use reach::Reach;
pub use tls::{Speak, Trust, handshake};

/// Why there was no answer, in words for a person; holds neither headers, bodies nor queries, which may be secret.
#[derive(Debug)]
pub struct CallError(pub String);
