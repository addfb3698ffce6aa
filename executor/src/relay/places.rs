//! How many requests are answered at once, of each kind: who follows logs, for hours maybe, keeps neither commands nor
//! those out who read what there is.

use muster_proto::v1::relay_down::Body as Down;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::line::Refusal;

/// As many instances of a service as one call follows.
const MAX_FOLLOWED: usize = 64;
/// Logs that are listed or read as far as they go.
const MAX_READ: usize = 32;
const MAX_COMMANDS: usize = 32;
/// All together.
pub(super) const MAX_ANSWERED: usize = MAX_FOLLOWED + MAX_READ + MAX_COMMANDS;

/// Room for requests.
#[derive(Debug)]
pub(super) struct Places {
    followed: Semaphore,
    read: Semaphore,
    commands: Semaphore,
}

impl Default for Places {
    fn default() -> Self {
        let room = Semaphore::new;
        Self { followed: room(MAX_FOLLOWED), read: room(MAX_READ), commands: room(MAX_COMMANDS) }
    }
}

impl Places {
    /// Room for this request while it is answered.
    pub(super) fn take(&self, request: &Down) -> Result<SemaphorePermit<'_>, Refusal> {
        let (room, most, what) = match request {
            Down::ReadLog(ask) if ask.follow => (&self.followed, MAX_FOLLOWED, "followed logs"),
            Down::StartExec(_) => (&self.commands, MAX_COMMANDS, "commands"),
            Down::ReadLog(_) | Down::ListLogFiles(_) | Down::Credit(_) | Down::ExecInput(_) => {
                (&self.read, MAX_READ, "logs being read")
            }
        };
        room.try_acquire()
            .map_err(|_| Refusal::Busy(format!("the node has {most} {what} already; end some and ask again")))
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
        let list = Down::ListLogFiles(v1::ListLogFiles::default());
        let (followed, read) = (read(true), read(false));
        let mut taken = Vec::new();
        for (request, most) in [(&followed, MAX_FOLLOWED), (&read, MAX_READ), (&command, MAX_COMMANDS)] {
            taken.extend((0..most).map(|_| places.take(request).unwrap()));
            assert!(matches!(places.take(request), Err(Refusal::Busy(_))), "{most}");
        }
        assert!(places.take(&list).is_err(), "as other reads");
        taken.pop();
        drop(places.take(&command).unwrap());
    }
}
