//! The shim: the small parent of one workload, which outlives the executor.
//!
//! It leads a session of its own and adopts every orphan below it (`PR_SET_CHILD_SUBREAPER`), owns the
//! log file and the pipe into it, writes down who runs and how it ended, and takes every descendant
//! along when the workload's first process ends. It knows nothing of slots, states or probes, and
//! after its one answer it speaks to nobody: no end of a pipe to the executor is kept, so that nothing
//! that happens to the executor can hold it up.
//!
//! What it starts is an [`entry`](super::entry): that process puts itself under the workload's limits and then
//! becomes the workload.
//!
//! One thread: a loop over the output pipe and SIGCHLD. Signals that would end it are swallowed; only
//! SIGKILL does, and then the executor kills what is left.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::Duration;

use muster_platform::World;
use rustix::process::{Signal, WaitOptions, WaitStatus};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::signal::unix::{self, SignalKind};
use tokio::time::{Instant, sleep, timeout};

use super::cgroup::Group;
use super::entry;
use super::launch::{Ended, Launch, MAX_LAUNCH_BYTES, Pids, Reply};
use super::rundir::RunDir;
use crate::logs::{LogDir, OutputLog};
use crate::runner::Exit;
use crate::runner::kin::{self, ProcessId};
use crate::want::{is_full, is_want, named};

/// The signals that would end the shim, or that only a terminal sends.
const DEAF_TO: [fn() -> SignalKind; 8] = [
    SignalKind::hangup,
    SignalKind::interrupt,
    SignalKind::quit,
    SignalKind::terminate,
    SignalKind::user_defined1,
    SignalKind::user_defined2,
    SignalKind::alarm,
    SignalKind::pipe,
];

/// How long descendants may take to vanish after SIGKILL. Only one that hangs in the kernel takes
/// longer than moments.
const KILL_WAIT: Duration = Duration::from_secs(10);

/// How often a kill is repeated: what forks while being killed is caught the next time.
const KILL_INTERVAL: Duration = Duration::from_millis(20);

/// How long the rest of the output may take after everybody ended. Nobody writes any more, so only a
/// pipe that was handed out of the family is still open then.
const DRAIN_WAIT: Duration = Duration::from_secs(1);

/// How often it is tried to say in the log what was lost, while nothing is written that would try it too.
const LOSS_INTERVAL: Duration = Duration::from_secs(1);

/// The bytes of output that are taken in one go: the size of a pipe.
const OUTPUT_CHUNK: usize = 64 << 10;

/// Where a program is looked up when its environment has no PATH.
pub(super) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs the shim: what the hidden subcommand `shim` does. Must be called first thing, before any
/// thread or runtime exists. Reads its description from stdin, answers on stdout.
#[must_use]
pub fn main() -> ExitCode {
    if entry::is_wanted() {
        return entry::main();
    }
    let Err(error) = run() else { return ExitCode::SUCCESS };
    // Stderr is `shim.log`, for whoever looks later. Stdout leads to the executor, until the start was
    // reported; if it died meanwhile, nothing was started, and there is nobody to tell.
    let _ = writeln!(io::stderr(), "{error}");
    let why = error.to_string();
    let _ = answer(&if is_want(&error) || is_full(&error) { Reply::InWant(why) } else { Reply::Failed(why) });
    ExitCode::FAILURE
}

fn run() -> io::Result<()> {
    rustix::process::setsid().map_err(|error| {
        io::Error::other(format!("this command is run by the executor, not by hand (setsid: {error})"))
    })?;
    // Not after the link that it was started by: a service manager names in its log whom it leaves running.
    rustix::thread::set_name(c"muster-shim")?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let mut description = Vec::new();
    io::stdin().lock().take(MAX_LAUNCH_BYTES).read_to_end(&mut description)?;
    let launch: Launch = serde_json::from_slice(&description)
        .map_err(|error| io::Error::other(format!("the launch description cannot be read: {error}")))?;
    drop(description);
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(tend(launch))
}

/// Starts the workload and stays with it to its end.
async fn tend(launch: Launch) -> io::Result<()> {
    let mut children = unix::signal(SignalKind::child())?;
    // A handler, unlike an ignored signal, is not handed down to the workload.
    let _deaf = DEAF_TO.iter().map(|kind| unix::signal(kind())).collect::<io::Result<Vec<_>>>()?;
    let run = RunDir::new(launch.run_dir.clone());
    let mut log = OutputLog::open(LogDir::new(launch.log_dir.clone()), launch.rotation)
        .map_err(|error| named(format!("cannot write to {}", launch.log_dir.display()), error))?;

    let (reader, writer) = io::pipe()?;
    let mut output = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?;
    run.reserve_ended()?;
    let workload = spawn(&launch, writer)?;
    if let Err(error) = announce(&run, &launch, workload) {
        kill_all(&launch.entry.group).await;
        return Err(error);
    }
    let group = launch.entry.group.clone();
    drop(launch);

    let mut chunk = vec![0; OUTPUT_CHUNK];
    let mut open = true;
    let exit = loop {
        tokio::select! {
            read = output.read(&mut chunk), if open => match read {
                Ok(0) | Err(_) => open = false,
                Ok(count) => log.append(&chunk[..count]),
            },
            () = sleep(LOSS_INTERVAL), if log.has_unsaid_loss() => log.say_loss(),
            _ = children.recv() => if let Some(exit) = reap(Some(workload)) {
                break exit;
            },
        }
    };
    // Written before anything else is done: from here on the exit status survives the shim too.
    let exit = group.explain(&exit, oom_kills_before(&run));
    let alone = left(&group).is_ok_and(|left| left.is_empty());
    let mut written = run.write_ended(&Ended { exit: exit.clone(), alone });
    if !alone {
        kill_all(&group).await;
        // One that SIGKILL does not end (it hangs in a file system, say) is the executor's to go on with.
        let alone = left(&group).is_ok_and(|left| left.is_empty());
        written = run.write_ended(&Ended { exit, alone });
    }
    let rest = async {
        while let Ok(count @ 1..) = output.read(&mut chunk).await {
            log.append(&chunk[..count]);
        }
    };
    // A pipe that is still open by then is in the hands of a stranger.
    let _ = timeout(DRAIN_WAIT, rest).await;
    log.say_loss();
    written
}

/// What cannot be read keeps no exit status from being written. It is said in `shim.log`, as all that is written to stderr.
fn oom_kills_before(run: &RunDir) -> u64 {
    run.oom_kills_before().unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "{error}");
        0
    })
}

fn spawn(launch: &Launch, output: io::PipeWriter) -> io::Result<ProcessId> {
    let mut child = launch.entry.spawn(output)?;
    // It has not been reaped, so its entry in /proc is there even if it has ended. It stays the same process when
    // it becomes the workload.
    let workload = ProcessId::of(child.id())?
        .ok_or_else(|| io::Error::other("/proc does not show the process just started"))?;
    launch.entry.admit(&mut child)?;
    Ok(workload)
}

/// Writes `pid.json`, answers, and lets go of the executor's pipes.
fn announce(run: &RunDir, launch: &Launch, workload: ProcessId) -> io::Result<()> {
    let shim = ProcessId::of(std::process::id())?
        .ok_or_else(|| io::Error::other("/proc does not show this process"))?;
    let (boot_id, warnings) = (launch.boot_id.clone(), launch.warnings.clone());
    let pids = Pids { boot_id, shim, workload, warnings };
    run.write_pids(&pids)
        .map_err(|error| named(format!("cannot write to {}", run.path().display()), error))?;
    // An executor that died meanwhile finds `pid.json`: the workload runs, and that is what it wanted.
    let _ = answer(&Reply::Started(pids));
    let nowhere = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nowhere)?;
    rustix::stdio::dup2_stdout(&nowhere)?;
    Ok(())
}

fn answer(reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    io::stdout().write_all(&line)?;
    io::stdout().flush()
}

/// Buries every child that ended, own and adopted. Says how `workload` ended, if it is among them.
fn reap(workload: Option<ProcessId>) -> Option<Exit> {
    let mut exit = None;
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        let pid = u32::try_from(pid.as_raw_nonzero().get()).ok();
        if pid.is_some() && pid == workload.map(|workload| workload.pid) {
            exit = Some(exit_of(status));
        }
    }
    exit
}

fn exit_of(status: WaitStatus) -> Exit {
    let at = Some(World::system().clock.now());
    Exit { code: status.exit_status(), signal: status.terminating_signal(), at, ..Exit::default() }
}

/// Who is below this process or in the group. The former finds also who left the group (root can), the latter also
/// who was adopted by somebody else.
fn left(group: &Group) -> io::Result<Vec<ProcessId>> {
    let mut left = kin::descendants(std::process::id())?;
    left.extend(group.members()?);
    left.sort_unstable_by_key(|process| process.pid);
    left.dedup();
    Ok(left)
}

/// Kills and buries all of them, until nobody is left.
async fn kill_all(group: &Group) {
    let deadline = Instant::now() + KILL_WAIT;
    loop {
        reap(None);
        let left = left(group);
        if left.as_ref().is_ok_and(Vec::is_empty) {
            return;
        }
        if Instant::now() >= deadline {
            // Into `shim.log`; where the disk is full, there is nobody else to tell.
            let _ = writeln!(io::stderr(), "processes that SIGKILL does not end: {left:?}");
            return;
        }
        // What fails now is tried again.
        let _ = group.kill();
        for process in left.into_iter().flatten() {
            let _ = process.signal(Signal::KILL);
        }
        sleep(KILL_INTERVAL).await;
    }
}
