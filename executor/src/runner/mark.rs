//! What commands beside workloads are known by: checks and hooks, for which nobody waits any more when the executor
//! that started them was killed.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use uuid::Uuid;

use super::kin;

/// The variable in the environment of a command, and so of all that it starts.
pub(super) const VARIABLE: &str = "MUSTER_COMMAND";

/// How long those who were killed may take to vanish.
const END_WAIT: Duration = Duration::from_secs(10);

/// How often the kill is repeated: who forks meanwhile is caught the next time.
const END_INTERVAL: Duration = Duration::from_millis(20);

/// The name of one data directory's executor, among all on the machine.
pub(super) fn executor_name(data_dir: &Path) -> String {
    format!("muster-{}", Uuid::new_v3(&Uuid::NAMESPACE_URL, data_dir.as_os_str().as_encoded_bytes()).simple())
}

/// The mark of one executor's commands. The next executor on the same data directory has the same.
pub(super) struct CommandMark(String);

impl CommandMark {
    pub(super) fn of(data_dir: &Path) -> Self {
        Self(executor_name(data_dir))
    }

    /// What [`VARIABLE`] says, or begins with.
    pub(super) fn value(&self) -> &str {
        &self.0
    }

    /// Ends every command that bears it, with all that it started: before this executor starts any, they are those
    /// of one that was killed. Blocks until they are gone. Says how many there were.
    pub(super) fn end_all(&self) -> io::Result<usize> {
        let entry = format!("{VARIABLE}={}", self.0);
        let deadline = Instant::now() + END_WAIT;
        let mut most = 0;
        loop {
            let left = kin::marked(&entry)?;
            most = most.max(left.len());
            if left.is_empty() {
                return Ok(most);
            }
            if Instant::now() >= deadline {
                let pids: Vec<u32> = left.iter().map(|process| process.pid).collect();
                return Err(io::Error::other(format!("{pids:?} are still there {END_WAIT:?} after SIGKILL")));
            }
            for process in left {
                process.signal(Signal::KILL)?;
            }
            std::thread::sleep(END_INTERVAL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn only_who_bears_this_data_directorys_mark_is_ended() {
        let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let [mine, other] = [0, 1].map(|at: usize| CommandMark::of(dirs[at].path()));
        let sleeper = |value: String| Command::new("sleep").arg("1000").env(VARIABLE, value).spawn().unwrap();
        let (mut plain, mut longer) =
            (sleeper(mine.value().to_owned()), sleeper(format!("{}-7", mine.value())));
        let mut stranger = sleeper(other.value().to_owned());
        assert_eq!(mine.end_all().unwrap(), 2);
        for child in [&mut plain, &mut longer] {
            assert_eq!(child.wait().unwrap().signal(), Some(9));
        }
        assert!(stranger.try_wait().unwrap().is_none());
        assert_eq!(other.end_all().unwrap(), 1);
        stranger.wait().unwrap();
    }
}
