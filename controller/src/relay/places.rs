//! How many relays are open at once, of each kind: who follows logs, for hours maybe, keeps neither commands nor those
//! out who read what there is.

use std::sync::Arc;

use muster_proto::v1::relay_down::Body as Down;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::RelayError;

/// One holds some 256 KiB at most for a user who does not read: all together 96 MiB. Four services of as many instances
/// as one call follows.
const MAX_FOLLOWED: usize = 256;
/// Logs that are listed or read as far as they go.
const MAX_READ: usize = 64;
const MAX_COMMANDS: usize = 64;

/// Room for relays. Clones speak of the same.
#[derive(Debug, Clone)]
pub(super) struct Places {
    followed: Arc<Semaphore>,
    read: Arc<Semaphore>,
    commands: Arc<Semaphore>,
}

impl Default for Places {
    fn default() -> Self {
        let room = |most| Arc::new(Semaphore::new(most));
        Self { followed: room(MAX_FOLLOWED), read: room(MAX_READ), commands: room(MAX_COMMANDS) }
    }
}

impl Places {
    /// Room for one that asks for this.
    pub(super) fn take(&self, request: &Down) -> Result<OwnedSemaphorePermit, RelayError> {
        let (room, limit, what) = match request {
            Down::ReadLog(ask) if ask.follow => (&self.followed, MAX_FOLLOWED, "followed logs"),
            Down::StartExec(_) => (&self.commands, MAX_COMMANDS, "commands"),
            Down::ReadLog(_) | Down::ListLogFiles(_) | Down::Credit(_) | Down::ExecInput(_) => {
                (&self.read, MAX_READ, "logs being read")
            }
        };
        Arc::clone(room).try_acquire_owned().map_err(|_| RelayError::TooMany { limit, what })
    }
}

#[cfg(test)]
mod tests {
    use muster_proto::v1;

    use super::*;

    #[test]
    fn each_kind_has_its_own_bound_and_a_place_that_is_given_back_is_free() {
        let places = Places::default();
        let read = |follow| Down::ReadLog(v1::ReadLog { follow, ..v1::ReadLog::default() });
        let command = Down::StartExec(v1::StartExec::default());
        let mut taken = Vec::new();
        for (request, most) in [(read(true), MAX_FOLLOWED), (read(false), MAX_READ), (command, MAX_COMMANDS)]
        {
            taken.extend((0..most).map(|_| places.take(&request).unwrap()));
            let refused = places.take(&request).unwrap_err();
            assert!(matches!(refused, RelayError::TooMany { limit, .. } if limit == most), "{refused}");
        }
        taken.pop();
        drop(places.take(&Down::StartExec(v1::StartExec::default())).unwrap());
        assert!(places.take(&Down::ListLogFiles(v1::ListLogFiles::default())).is_err(), "as other reads");
    }
}
