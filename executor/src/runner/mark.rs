//! What commands beside workloads are known by: checks and hooks, for which nobody waits any more when the executor
//! that started them was killed, and what each of them leaves behind.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use muster_common::id::ExecutorId;
use rustix::process::Signal;
use uuid::Uuid;

use super::kin::{self, ProcessId};

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

    /// What [`VARIABLE`] says for one command, and for no other. It begins as for all, by which the next executor ends
    /// them.
    pub(super) fn of_one(&self) -> String {
        format!("{}-{}", self.0, Uuid::new_v4().simple())
    }

    /// Ends every command that bears it, with all that it started: before this executor starts any, they are those
    /// of one that was killed. Blocks until they are gone. Says how many there were.
    pub(super) fn end_all(&self) -> io::Result<usize> {
        let entry = format!("{VARIABLE}={}", self.0);
        end(|| kin::marked(&entry))
    }
}

/// Ends what a command left that was the process `first` and had `mark`, wherever it went. As [`CommandMark::end_all`]
/// otherwise.
pub(super) fn end_rest(mark: &str, first: u32) -> io::Result<usize> {
    let entry = format!("{VARIABLE}={mark}");
    end(|| kin::marked_since(&entry, first))
}

fn end(find: impl Fn() -> io::Result<Vec<ProcessId>>) -> io::Result<usize> {
    let deadline = Instant::now() + END_WAIT;
    let mut most = 0;
    loop {
        let left = find()?;
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
        let (mut plain, mut longer) = (sleeper(mine.0.clone()), sleeper(mine.of_one()));
        let mut strangers = others.each_ref().map(|other| sleeper(other.0.clone()));
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

    #[test]
    fn only_what_one_command_left_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let executor = CommandMark::of(&ExecutorId::new("e1").unwrap(), dir.path());
        let (mine, others) = (executor.of_one(), executor.of_one());
        let sleeper = |mark: &str| Command::new("sleep").arg("1000").env(VARIABLE, mark).spawn().unwrap();
        let (mut first, mut second, mut other) = (sleeper(&mine), sleeper(&mine), sleeper(&others));
        assert_eq!(end_rest(&mine, first.id()).unwrap(), 2);
        for child in [&mut first, &mut second] {
            assert_eq!(child.wait().unwrap().signal(), Some(9));
        }
        assert!(other.try_wait().unwrap().is_none());
        assert_eq!(end_rest(&others, other.id()).unwrap(), 1);
        other.wait().unwrap();
    }
}
