//! Why a relay could not be opened, or broke: sentences for users.

use std::time::Duration;

use muster_common::id::ExecutorId;
use muster_common::time::Timestamp;

use super::Who;

/// A relay could not be opened, or broke.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RelayError {
    /// Its executor has not been heard for a while.
    #[error("{who} is away since {since}")]
    Away {
        /// The executor.
        who: Who,
        /// Since when it was not heard.
        since: Timestamp,
    },
    /// Its executor was removed.
    #[error("executor {0} is not in the cluster any more")]
    Gone(ExecutorId),
    /// Its executor has no session, and nobody knows yet whether it is away.
    #[error(
        "{who} has had no session with the leader for {waited:?}; it may be starting, ask again in a moment"
    )]
    NoSession {
        /// The executor.
        who: Who,
        /// How long this controller waited.
        waited: Duration,
    },
    /// Nobody can tell the executor.
    #[error(
        "there has been no leader for {waited:?}, and only the leader reaches {who}; ask again in a moment"
    )]
    NoLeader {
        /// The executor.
        who: Who,
        /// How long this controller waited.
        waited: Duration,
    },
    /// The executor was told, and did not come.
    #[error(
        "{who} was told to dial this controller at {address} and did not within {within:?}; look whether it \
         reaches that address, and whether its version is as new as the controllers'"
    )]
    NotDialled {
        /// The executor.
        who: Who,
        /// How long this controller waited.
        within: Duration,
        /// Where it should have come.
        address: String,
    },
    /// This controller has enough to do.
    #[error("this controller has {limit} {what} already; end some, or ask another controller")]
    TooMany {
        /// The most that it has.
        limit: usize,
        /// Of what.
        what: &'static str,
    },
    /// What was asked for is not there.
    #[error("{0}")]
    NotFound(String),
    /// The executor has too many relays open.
    #[error("{0}")]
    Busy(String),
    /// There is no such command.
    #[error("{0}")]
    NoSuchCommand(String),
    /// The executor tried, and it went wrong.
    #[error("{0}")]
    Failed(String),
    /// The connection ended before everything was said.
    #[error("the connection to {who} broke: {why}")]
    Broken {
        /// The executor.
        who: Who,
        /// The reason.
        why: String,
    },
    /// The executor answers, but not as this version understands it.
    #[error(
        "{who} answers in a way that this controller does not understand ({what}); are their versions far apart?"
    )]
    Misunderstood {
        /// The executor.
        who: Who,
        /// What it said instead.
        what: &'static str,
    },
}

impl RelayError {
    /// Whether this was known before anything was tried, and will last longer than a moment.
    pub(crate) const fn is_known_before(&self) -> bool {
        matches!(self, Self::Away { .. } | Self::TooMany { .. } | Self::Busy(_))
    }

    /// Whether asking again in a moment may help, as when an executor or the leader is being restarted.
    pub(crate) const fn may_pass(&self) -> bool {
        match self {
            Self::Away { .. }
            | Self::NoSession { .. }
            | Self::NoLeader { .. }
            | Self::NotDialled { .. }
            | Self::TooMany { .. }
            | Self::Busy(_)
            | Self::Broken { .. } => true,
            Self::Gone(_)
            | Self::NotFound(_)
            | Self::NoSuchCommand(_)
            | Self::Failed(_)
            | Self::Misunderstood { .. } => false,
        }
    }
}
