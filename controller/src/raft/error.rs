//! What can go wrong, one enum for each operation.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use muster_common::exit::Exit;
use muster_common::id::ControllerId;
use muster_platform::RoleError;

/// A command was not accepted.
///
/// Only [`Unknown`](Self::Unknown) leaves open whether it happened; all others say that it did not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProposeError {
    /// No leader could be found in time. It did not happen: trying again is safe.
    #[error("no controller leads at the moment (waited {} s); try again", waited.as_secs())]
    NoLeader {
        /// For how long.
        waited: Duration,
    },
    /// It was decided by a leader that leads no more. It did not happen.
    #[error("this controller does not lead any more; what it decided is left to the next leader")]
    Deposed,
    /// It was handed to a leader and no answer came. It may or may not have happened: only a command
    /// that is harmless when applied twice may be proposed again.
    #[error("it is not known whether the change was made: {cause}; look at the state before trying again")]
    Unknown {
        /// What happened instead of the answer.
        cause: String,
    },
    /// The leader cannot take it, nor what shared its entry. It did not happen.
    #[error("the leader refused the change: {cause}; bring all controllers to one version")]
    Refused {
        /// The reason.
        cause: String,
    },
    /// Too much is waiting already. It did not happen.
    #[error("too many changes are waiting; try again later")]
    Overloaded,
    /// The command is too large. It did not happen, and never will.
    #[error("the change takes {size} bytes; at most {limit} are possible")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// This member has stopped. It did not happen.
    #[error("this controller is stopping")]
    Stopped,
}

/// A linearizable read could not be prepared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    /// No leader confirmed in time that it still leads.
    #[error("no controller leads at the moment (waited {} s); try again, or read with ?stale=true", waited.as_secs())]
    NoLeader {
        /// For how long.
        waited: Duration,
    },
    /// This member is too far behind the leader.
    #[error("this controller is behind the leader (waited {} s); try again, or ask another", waited.as_secs())]
    Behind {
        /// For how long.
        waited: Duration,
    },
    /// Too many reads are waiting already.
    #[error("too many reads are waiting; try again later")]
    Overloaded,
    /// This member has stopped.
    #[error("this controller is stopping")]
    Stopped,
}

/// The group was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChangeError {
    /// The change would harm the group, so nothing was done.
    #[error("{why}")]
    Refused {
        /// The reason.
        why: String,
    },
    /// There is no such member; nothing was done.
    #[error("the cluster has no such controller")]
    NoMember,
    /// No leader could be found in time. Asking again is safe.
    #[error("no controller leads at the moment (waited {} s); try again", waited.as_secs())]
    NoLeader {
        /// For how long.
        waited: Duration,
    },
    /// A leader was asked and no answer came. Asking again is safe.
    #[error("it is not known whether the change was made: {cause}; look at 'muster members', and try again")]
    Unknown {
        /// What happened instead of the answer.
        cause: String,
    },
}

/// A member could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its configuration cannot work.
    #[error("the members of the cluster are not configured as they must be: {0}")]
    Config(String),
    /// Another process uses its files.
    #[error("{} is in use by another process; stop that process, or choose another data directory", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Its files belong to somebody else.
    #[error(
        "{} belongs to controller {found} of cluster {cluster}, and this is {expected}; choose another data directory",
        path.display()
    )]
    WrongOwner {
        /// The file.
        path: PathBuf,
        /// The controller that owns it.
        found: ControllerId,
        /// The cluster of that controller.
        cluster: String,
        /// This controller.
        expected: String,
    },
    /// Its files are damaged.
    #[error("{} is damaged: {cause}; {REPAIR}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The disk has no room for what a start writes.
    #[error("cannot use {}: its disk is full; make room there, and start it again", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// Its files cannot be read or written.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// Its state cannot be rebuilt from its files.
    #[error(
        "cannot recover the replicated state: {0}; if a newer version was used here, use that one; otherwise the files \
         are damaged: {REPAIR}"
    )]
    Recovery(String),
}

/// What to do about files that cannot be used any more.
const REPAIR: &str = "while a majority of the other controllers is well, set them aside with 'muster controller rejoin \
                      --config FILE', which says how this controller joins the others again; otherwise restore a backup \
                      with 'muster controller restore'";

impl StartError {
    /// The file at `path` cannot be read or written.
    pub(crate) fn io(path: PathBuf, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            _ => Self::Io { path, source },
        }
    }
}

impl From<StartError> for RoleError {
    fn from(error: StartError) -> Self {
        let exit = match error {
            StartError::Config(_) => Exit::Usage,
            StartError::InUse { .. } | StartError::WrongOwner { .. } => Exit::Conflict,
            StartError::Damaged { .. }
            | StartError::Full { .. }
            | StartError::Io { .. }
            | StartError::Recovery(_) => Exit::Failure,
        };
        match std::error::Error::source(&error) {
            Some(source) => Self::caused_by(exit, error.to_string(), source),
            None => Self::new(exit, error.to_string()),
        }
    }
}
