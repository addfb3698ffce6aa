//! One call to a server over HTTP/1.1, with or without TLS: a connection of its own, no redirects followed, nothing
//! pooled, nothing that goes on when the call is let go. Knows neither checks nor files: who calls bounds the whole
//! of it and judges the answer.

mod http;
mod tls;

pub(crate) use http::{Question, exchange, with_cause};
pub(crate) use tls::{Speak, Trust, handshake};

/// Why there was no answer, in words for a person; holds neither headers, bodies nor queries, which may be secret.
pub(crate) struct CallError(pub(crate) String);
