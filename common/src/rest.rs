//! Names and numbers that both ends of the REST API go by, beside what is in its bodies.

use std::time::Duration;

/// The header of an answer that holds a page of a list: how long the whole list is.
pub const TOTAL_COUNT: &str = "x-total-count";
/// The header of a call: after which message of a stream of server-sent events it goes on.
pub const LAST_EVENT_ID: &str = "Last-Event-ID";
/// The header of a call that becomes one operation, however often it comes.
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// How long a stream of server-sent events is silent at most: a comment or a message says that somebody is there.
pub const HEARTBEAT: Duration = Duration::from_secs(10);
/// A stream that says nothing for so long is broken.
pub const SILENCE: Duration = HEARTBEAT.saturating_mul(3);
