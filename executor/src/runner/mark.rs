//! What commands beside workloads are known by: checks and hooks, for which nobody waits any more when the executor
//! that started them was killed.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use muster_common::id::ExecutorId;
use rustix::process::Signal;
use uuid::Uuid;

use super::kin;

/// The variable in the environment of a command, and so of all that it starts.
pub(super) const VARIABLE: &str = "MUSTER_COMMAND";

/// How long those who were killed may take to vanish.
const END_WAIT: Duration = Duration::from_secs(10);

/// How often the kill is repeated: who forks meanwhile is caught the next time.
const END_INTERVAL: Duration = Duration::from_millis(20);

/// Stands for a data directory, among those of all executors that see the same files.
pub(super) fn data_dir_id(data_dir: &Path) -> Uuid {
    Uuid::new_v3(&Uuid::NAMESPACE_URL, data_dir.as_os_str().as_encoded_bytes())
}

/// The mark of one executor's commands. The next one with the same id and data directory has the same.
pub(super) struct CommandMark(String);

impl CommandMark {
    /// Executors in containers may have the same path for their own directories and see each other's processes:
    /// the id tells them apart.
    pub(super) fn of(executor: &ExecutorId, data_dir: &Path) -> Self {
        let name = Uuid::new_v3(&data_dir_id(data_dir), executor.as_str().as_bytes());
        Self(format!("muster-{}", name.simple()))
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
    fn only_who_bears_this_executors_mark_is_ended() {
        let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let mark = |id: &str, at: usize| CommandMark::of(&ExecutorId::new(id).unwrap(), dirs[at].path());
        let (mine, others) = (mark("e1", 0), [mark("e1", 1), mark("e10", 0)]);
        let sleeper = |value: String| Command::new("sleep").arg("1000").env(VARIABLE, value).spawn().unwrap();
        let (mut plain, mut longer) =
            (sleeper(mine.value().to_owned()), sleeper(format!("{}-7", mine.value())));
        let mut strangers = others.each_ref().map(|other| sleeper(other.value().to_owned()));
        assert_eq!(mine.end_all().unwrap(), 2);
        for child in [&mut plain, &mut longer] {
            assert_eq!(child.wait().unwrap().signal(), Some(9));
        }
        for (other, stranger) in others.iter().zip(&mut strangers) {
            assert!(stranger.try_wait().unwrap().is_none());
            assert_eq!(other.end_all().unwrap(), 1);
            assert_eq!(stranger.wait().unwrap().signal(), Some(9));
        }
    }
}
