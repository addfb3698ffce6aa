//! The first moments of a workload: a process of this program that puts itself under the workload's limits,
//! becomes its user, and then becomes the workload (`exec`). Nothing the workload starts was ever outside, and the
//! shim was never inside: it is not killed for the memory that the workload takes.
//!
//! What it does is told on its stdin. Its stdout is answered only on failure; that it closes without a word means
//! that the workload runs. Its stderr is the workload's output.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};

use serde::{Deserialize, Serialize};

use super::cgroup::Group;
use super::launch::{MAX_LAUNCH_BYTES, MAX_REPLY_BYTES};
use super::limits::ProcessLimits;
use super::shim::DEFAULT_PATH;
use super::user::Account;

/// The second argument, after `shim`.
pub(super) const ARGUMENT: &str = "enter";

/// What marks a process as an instance's own, from before it is the workload.
const MARK: &str = "MUSTER_INSTANCE_ID";

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
        let mut command = Command::new(program);
        command
            .arg0("muster-entry")
            .args(["shim", ARGUMENT])
            // Not the workload's: what it says to the loader is not for somebody who may still be root.
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(output)
            .process_group(0);
        if let Some(mark) = self.env.get(MARK) {
            command.env(MARK, mark);
        }
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
        match answer(stdout)? {
            why if why.is_empty() => match told {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
                _ => Ok(()),
            },
            why => Err(io::Error::other(why)),
        }
    }

    /// What is written to the process's stdin, and nowhere else.
    pub(super) fn description(&self) -> io::Result<Vec<u8>> {
        Ok(serde_json::to_vec(self)?)
    }

    /// Does not come back unless it fails.
    fn become_workload(&self) -> io::Result<Infallible> {
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(io::Error::other("the command is empty"));
        };
        self.limits.apply().map_err(|error| named("set its limits", &error))?;
        self.group.join().map_err(|error| named("enter its control group", &error))?;
        if let Some(account) = &self.account {
            account.assume().map_err(|error| named("switch user", &error))?;
        }
        let error = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("PATH", DEFAULT_PATH)
            .envs(&self.env)
            .current_dir(&self.working_directory)
            .stdin(Stdio::null())
            .exec();
        Err(io::Error::new(
            error.kind(),
            format!("{program} in {}: {error}", self.working_directory.display()),
        ))
    }
}

fn named(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

fn answer(stdout: ChildStdout) -> io::Result<String> {
    let mut why = Vec::new();
    stdout.take(MAX_REPLY_BYTES).read_to_end(&mut why)?;
    Ok(String::from_utf8_lossy(&why).into_owned())
}

/// What `shim enter` does. Comes back only when it failed, and has said so.
pub(super) fn main() -> ExitCode {
    // Closed by the kernel when this process becomes another program.
    let ear = rustix::io::fcntl_dupfd_cloexec(io::stdout(), FIRST_FREE);
    let outcome = rustix::stdio::dup2_stdout(io::stderr()).map_err(io::Error::from).and_then(|()| {
        let mut description = Vec::new();
        io::stdin().lock().take(MAX_LAUNCH_BYTES).read_to_end(&mut description)?;
        let entry: Entry = serde_json::from_slice(&description)?;
        drop(description);
        entry.become_workload()
    });
    if let (Err(error), Ok(ear)) = (outcome, ear) {
        // Nobody listens any more: then nobody minds.
        let _ = File::from(ear).write_all(error.to_string().as_bytes());
    }
    ExitCode::FAILURE
}
