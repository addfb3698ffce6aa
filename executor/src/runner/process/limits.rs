//! Limits that a process carries itself (setrlimit(2)). Everything that is not named here stays as the executor has
//! it, the number of processes of a user among others: control groups count those of one instance.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

use crate::config::ProcessConfig;

/// A workload's own limits.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProcessLimits {
    /// Files that may be open; as many as the executor may grant when absent.
    pub(super) open_files: Option<u64>,
    /// The largest core dump, in bytes.
    pub(super) core_bytes: u64,
}

impl ProcessLimits {
    /// Those of every workload of a node.
    pub(super) fn of(config: &ProcessConfig) -> Self {
        Self { open_files: config.open_files, core_bytes: config.core_bytes }
    }

    /// Sets them on this process, for itself and what it becomes.
    pub(super) fn apply(&self) -> io::Result<()> {
        set(Resource::Nofile, |now| files(now, self.open_files))?;
        set(Resource::Core, |now| at_most(now, self.core_bytes))
    }
}

fn set(resource: Resource, wanted: impl FnOnce(Rlimit) -> Rlimit) -> io::Result<()> {
    Ok(setrlimit(resource, wanted(getrlimit(resource)))?)
}

/// Only root may raise the hard limit; it is left as it is, so that this works for everybody alike.
fn files(now: Rlimit, wanted: Option<u64>) -> Rlimit {
    match (wanted, now.maximum) {
        (None, maximum) => Rlimit { current: maximum, maximum },
        (Some(wanted), _) => at_most(now, wanted),
    }
}

fn at_most(now: Rlimit, wanted: u64) -> Rlimit {
    let current = now.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    Rlimit { current: Some(current), ..now }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_files_go_up_to_the_hard_limit_and_never_beyond() {
        let now = Rlimit { current: Some(1024), maximum: Some(4096) };
        assert_eq!(files(now, None).current, Some(4096));
        assert_eq!(files(now, Some(100)).current, Some(100));
        assert_eq!(files(now, Some(1 << 20)), Rlimit { current: Some(4096), maximum: Some(4096) });
        let endless = Rlimit { current: Some(1024), maximum: None };
        assert_eq!(files(endless, None).current, None);
        assert_eq!(at_most(endless, 0), Rlimit { current: Some(0), maximum: None });
    }
}
