//! The first moments of a workload: a process of this program that puts itself under the workload's limits,
//! becomes its user, and then becomes the workload (`exec`). Nothing the workload starts was ever outside, and the
//! shim was never inside: it is not killed for the memory that the workload takes.
//!
//! What it does is told on its stdin. On its stdout it says that it is about to become the workload, and then nothing
//! more, or why it could not; one that ends without a word never got so far. Its stderr is the workload's output.
//!
//! A command that a user runs has streams of its own instead, or a terminal. Its stdin is a socket then, over
//! which they are handed to it (see `handover`), and on which it answers.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::cgroup::Group;
use super::handover::take_over;
use super::launch::{MAX_LAUNCH_BYTES, MAX_REPLY_BYTES};
use super::limits::ProcessLimits;
use super::shim::DEFAULT_PATH;
use super::user::Account;
use crate::runner::mark;
use crate::want::{is_missing, named, want_of};

/// The variable that tells such a process from a shim. Neither hands it down.
const VARIABLE: &str = "MUSTER_SHIM_ENTERS";

/// What that says of a process that is handed its streams.
const OWN_STREAMS: &str = "own-streams";

/// Said right before the process becomes the workload, when nothing but its program can be wrong any more.
const READY: &str = "ready\n";

/// What marks a process as an instance's own, or as a command beside one, from before it is either.
const MARKS: [&str; 2] = ["MUSTER_INSTANCE_ID", mark::VARIABLE];

/// The program that runs, whatever became of its file on the disk since.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// Descriptors below it are standard ones.
const FIRST_FREE: i32 = 3;

/// What becomes of the new process. Has no `Debug`: the environment holds secrets.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    /// The program and its arguments; not through a shell.
    pub(super) command: Vec<String>,
    /// The complete environment; nothing is inherited.
    pub(super) env: BTreeMap<String, String>,
    /// Where it starts.
    pub(super) working_directory: PathBuf,
    /// Who it runs as, when not as the executor's own user.
    pub(super) account: Option<Account>,
    /// The groups it runs in.
    pub(super) group: Group,
    /// Its own limits.
    pub(super) limits: ProcessLimits,
}

impl Entry {
    /// Starts the process. Whoever waits for it can tell who it is before [`Self::admit`] makes it the workload.
    pub(super) fn spawn(&self, output: io::PipeWriter) -> io::Result<Child> {
        self.process(Path::new(THIS_PROGRAM), output).spawn()
    }

    /// The process, in a process group of its own, that waits on its stdin to be told what it is.
    pub(super) fn process(&self, program: &Path, output: io::PipeWriter) -> Command {
        let mut command = self.bare(program, "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(output).process_group(0);
        command
    }

    /// The same for one that is handed its streams over `socket`. It makes itself a session, and with that a
    /// process group, whose terminal they may be.
    pub(super) fn process_with_own_streams(&self, program: &Path, socket: OwnedFd) -> Command {
        let mut command = self.bare(program, OWN_STREAMS);
        command.stdin(socket).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn bare(&self, program: &Path, kind: &str) -> Command {
        let mut command = Command::new(program);
        // Not the workload's environment: what it says to the loader is not for somebody who may still be root.
        command.arg0("muster-entry").arg("shim").env_clear().env(VARIABLE, kind);
        command.envs(MARKS.iter().filter_map(|&mark| Some((mark, self.env.get(mark)?))));
        command
    }

    /// Tells the process what it is, and waits until it is the workload. In words why it is not.
    pub(super) fn admit(&self, child: &mut Child) -> io::Result<()> {
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("the new process has no pipes"));
        };
        // One that ended already says why, or how it ended says so.
        let told = stdin.write_all(&self.description()?);
        drop(stdin);
        let mut said = String::new();
        stdout.take(MAX_REPLY_BYTES).read_to_string(&mut said)?;
        judge(&said, told)
    }

    /// What is written to the process's stdin, and nowhere else.
    pub(super) fn description(&self) -> io::Result<Vec<u8>> {
        Ok(serde_json::to_vec(self)?)
    }

    /// Does not come back unless it fails.
    fn become_workload(&self, ear: &mut File, streams: Streams) -> io::Result<Infallible> {
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(io::Error::other("the command is empty"));
        };
        self.limits.apply().map_err(|error| named("set its limits".to_owned(), error))?;
        self.group.join().map_err(|error| named("enter its control group".to_owned(), error))?;
        if let Some(account) = &self.account {
            streams.give_to(account)?;
            account.assume().map_err(|error| named("switch user".to_owned(), error))?;
        }
        let directory = &self.working_directory;
        std::env::set_current_dir(directory)
            .map_err(|error| named(format!("working directory {}", directory.display()), error))?;
        ear.write_all(READY.as_bytes())?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("PATH", DEFAULT_PATH).envs(&self.env);
        streams.put_into(&mut command)?;
        let error = command.exec();
        Err(named(format!("{program} in {}", directory.display()), error))
    }
}

/// Where what becomes of this process reads and writes.
enum Streams {
    /// It has no input, and its output is where this process's own goes.
    Inherited,
    /// These three.
    Pipes { stdin: OwnedFd, stdout: OwnedFd, stderr: OwnedFd },
    /// This terminal, which is that of its session.
    Terminal(OwnedFd),
}

impl Streams {
    /// Those that were handed over, in a session of this process's own.
    fn taken_over() -> io::Result<Self> {
        let mut taken = take_over(rustix::stdio::stdin())?.into_iter();
        rustix::process::setsid()?;
        match (taken.next(), taken.next(), taken.next()) {
            (Some(terminal), None, None) => {
                rustix::process::ioctl_tiocsctty(&terminal)?;
                Ok(Self::Terminal(terminal))
            }
            (Some(stdin), Some(stdout), Some(stderr)) => Ok(Self::Pipes { stdin, stdout, stderr }),
            _ => Err(io::Error::other("the command's streams were not handed over")),
        }
    }

    /// A terminal belongs to who uses it: some programs open it by its name.
    fn give_to(&self, account: &Account) -> io::Result<()> {
        match self {
            Self::Terminal(terminal) => account.own(terminal),
            Self::Inherited | Self::Pipes { .. } => Ok(()),
        }
    }

    fn put_into(self, command: &mut Command) -> io::Result<()> {
        match self {
            Self::Inherited => command.stdin(Stdio::null()),
            Self::Pipes { stdin, stdout, stderr } => command.stdin(stdin).stdout(stdout).stderr(stderr),
            Self::Terminal(terminal) => {
                let (stdin, stdout) = (terminal.try_clone()?, terminal.try_clone()?);
                command.stdin(stdin).stdout(stdout).stderr(terminal)
            }
        };
        Ok(())
    }
}

/// What a process said before it closed its stdout, and whether it could be told what it is. The error is
/// [`io::ErrorKind::NotFound`] when it is the program that is not there, and not something that it was to have.
pub(super) fn judge(said: &str, told: io::Result<()>) -> io::Result<()> {
    match said.strip_prefix(READY) {
        Some("") => Ok(()),
        Some(why) => Err(refused(why)),
        None if said.is_empty() => {
            told?;
            Err(io::Error::other("the new process ended before it was under the workload's limits"))
        }
        None => Err(io::Error::other(refused(said))),
    }
}

/// Stands between the words of a refusal and the kernel's number for it. In no words.
const NUMBER: char = '\0';

/// What a process that did not become the workload says: why, and the kernel's number where that tells whose fault it
/// is: the node is short of something, or what is to run is not there.
fn refusal(error: &io::Error) -> String {
    let told = want_of(error).or_else(|| is_missing(error).then_some(Errno::NOENT));
    told.map_or_else(|| error.to_string(), |errno| format!("{error}{NUMBER}{}", errno.raw_os_error()))
}

/// The same as an error again.
fn refused(said: &str) -> io::Error {
    let split = said.rsplit_once(NUMBER);
    match split.and_then(|(words, errno)| Some((words, errno.parse().ok()?))) {
        Some((words, errno)) => {
            let source = io::Error::from_raw_os_error(errno);
            io::Error::new(source.kind(), Refused { words: words.to_owned(), source })
        }
        None => io::Error::other(said),
    }
}

/// A process did not become the workload for a reason that the kernel has a number for.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
struct Refused {
    words: String,
    source: io::Error,
}

/// Whether this process is to become a workload.
pub(super) fn is_wanted() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// What such a process does. Comes back only when it failed, and has said so.
pub(super) fn main() -> ExitCode {
    let has_own_streams = std::env::var_os(VARIABLE).is_some_and(|kind| kind == OWN_STREAMS);
    let answers_on = if has_own_streams { rustix::stdio::stdin() } else { rustix::stdio::stdout() };
    // Closed by the kernel when this process becomes another program.
    let Ok(ear) = rustix::io::fcntl_dupfd_cloexec(answers_on, FIRST_FREE) else { return ExitCode::FAILURE };
    let mut ear = File::from(ear);
    let streams = if has_own_streams {
        Streams::taken_over()
    } else {
        rustix::stdio::dup2_stdout(io::stderr()).map(|()| Streams::Inherited).map_err(io::Error::from)
    };
    let outcome = streams.and_then(|streams| {
        let mut description = Vec::new();
        io::stdin().lock().take(MAX_LAUNCH_BYTES).read_to_end(&mut description)?;
        let entry: Entry = serde_json::from_slice(&description)?;
        drop(description);
        entry.become_workload(&mut ear, streams)
    });
    let Err(error) = outcome;
    // Nobody listens any more: then nobody minds.
    let _ = ear.write_all(refusal(&error).as_bytes());
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_said_so_became_the_workload() {
        let why = |said: &str| judge(said, Ok(())).map_err(|error| error.to_string());
        assert_eq!(why("ready\n"), Ok(()));
        assert_eq!(why("ready\n/no/such in /: not found"), Err("/no/such in /: not found".to_owned()));
        assert_eq!(why("switch user: not permitted"), Err("switch user: not permitted".to_owned()));
        assert!(why("").unwrap_err().contains("ended before"));
        let short = named("switch user".to_owned(), io::Error::from_raw_os_error(11));
        let told = judge(&format!("{READY}{}", refusal(&short)), Ok(())).unwrap_err();
        assert!(want_of(&told).is_some(), "the node is to blame, and not the workload");
        assert_eq!(told.to_string(), short.to_string());
        let missing = named("/no/such in /".to_owned(), io::Error::from_raw_os_error(2));
        let told = judge(&format!("{READY}{}", refusal(&missing)), Ok(())).unwrap_err();
        assert_eq!((told.kind(), told.to_string()), (io::ErrorKind::NotFound, missing.to_string()));
        assert!(want_of(&told).is_none());
        let elsewhere = named("working directory /no/such".to_owned(), io::Error::from_raw_os_error(2));
        let told = judge(&refusal(&elsewhere), Ok(())).unwrap_err();
        assert_eq!((told.kind(), told.to_string()), (io::ErrorKind::Other, elsewhere.to_string()));
        let short = judge(&refusal(&short), Ok(())).unwrap_err();
        assert!(want_of(&short).is_some(), "whatever it was short for");
        let broken = Err(io::ErrorKind::BrokenPipe.into());
        assert!(judge("ready\n", broken).is_ok(), "it did not need to read to the end");
    }
}
