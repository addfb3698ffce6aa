//! The start of a process: what is prepared on the disk, and the exchange with the new shim.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_common::instance::RunnerKind;
use muster_common::spec::Executable;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::time::timeout;

use super::cgroup::Limits;
use super::condition::{Condition, SETTLE_INTERVAL, SETTLE_WAIT, workload};
use super::entry::Entry;
use super::launch::{Launch, MAX_REPLY_BYTES, Pids, Reply};
use super::limits::ProcessLimits;
use super::rundir::RunDir;
use super::scratch;
use super::shim::DEFAULT_PATH;
use super::user::{self, AccountError};
use super::{Inner, watch};
use crate::logs::Rotation;
use crate::runner::file::{self, PlacedFile};
use crate::runner::kin::ProcessId;
use crate::runner::step::Step;
use crate::runner::{LaunchPlan, ProvisionError, RunnerError, StartError, Workload};

/// How long a new shim may take to answer. It starts within milliseconds on an idle machine.
const REPLY_WAIT: Duration = Duration::from_secs(30);

/// Whether there is a program to run: all that can be known before the start.
pub(super) fn check_program(plan: &LaunchPlan, directory: &Path) -> Result<(), ProvisionError> {
    let Some(Executable::Process { command, .. }) = &plan.spec.executable else {
        return Err(ProvisionError::Unavailable {
            what: "the executable".to_owned(),
            why: "it is not a PROCESS executable".to_owned(),
        });
    };
    let program = command.first().map_or("", String::as_str);
    let unavailable =
        |why: &str| ProvisionError::Unavailable { what: program.to_owned(), why: why.to_owned() };
    let is_program = |path: &Path| {
        fs::metadata(path).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
    };
    if program.is_empty() {
        return Err(unavailable("the command is empty"));
    }
    if program.contains('/') {
        return match directory.join(program) {
            path if is_program(&path) => Ok(()),
            path if path.exists() => Err(unavailable("it is not an executable file")),
            _ => Err(unavailable("there is no such file on this node")),
        };
    }
    let path = plan.env.get("PATH").map_or(DEFAULT_PATH, String::as_str);
    if std::env::split_paths(path).any(|dir| is_program(&dir.join(program))) {
        Ok(())
    } else {
        Err(unavailable(&format!("it is in none of the directories of PATH ({path})")))
    }
}

/// Starts the workload; one that a former start of the same instance left running is it.
pub(super) async fn start(inner: Arc<Inner>, plan: LaunchPlan) -> Result<Workload, StartError> {
    match inner.examine(&plan.instance).await {
        Ok(Condition::Running(pids, _)) => return Ok(workload(&pids)),
        Ok(Condition::Ended(pids, exit)) => {
            inner.watches.announce(plan.instance, exit).await;
            return Ok(workload(&pids));
        }
        Ok(Condition::Nothing | Condition::NeverStarted) => {}
        Err(RunnerError::Failed { why, .. } | RunnerError::NoSuchCommand(why)) => {
            return Err(StartError::Failed { step: "prepare", why });
        }
        Err(RunnerError::Unavailable(why)) => return Err(StartError::RunnerUnavailable(why)),
    }
    // Before the task: a start that is let go while the disk is slow leaves nothing behind.
    let files = file::read_all(&plan.spec.configs, &plan.place.service, &inner.looks).await?;
    // In a task of its own: a start that was let go half-way would leave nobody to tell what came of it.
    let under_way = inner.starts.begin(&plan.instance).ok_or_else(|| {
        StartError::RunnerUnavailable(format!("another start of {} is under way", plan.instance))
    })?;
    let task = tokio::spawn(async move {
        let _under_way = under_way;
        let preparing = Step::begin(RunnerKind::Process, "prepare");
        let (shim, description) = {
            let (inner, plan) = (Arc::clone(&inner), plan.clone());
            tokio::task::spawn_blocking(move || prepare(&inner, &plan, &files))
                .await
                .map_err(|error| cut_short(&error))??
        };
        preparing.done();
        let spawning = Step::begin(RunnerKind::Process, "spawn");
        let pids = converse(shim, &description).await?;
        spawning.done();
        let run = inner.run_dir(&plan.instance);
        // Whoever starts it again finds it running.
        let failed = |error: io::Error| StartError::at("watch process", &error);
        if inner.watches.watch(&plan.instance, &run, &pids).map_err(failed)?.is_none() {
            // It was too quick to be watched: nobody else will tell of its end.
            let exit = watch::conclude(&plan.instance, &run, &pids, None).await.map_err(failed)?;
            inner.watches.announce(plan.instance, exit).await;
        }
        Ok(workload(&pids))
    });
    task.await.map_err(|error| cut_short(&error))?
}

fn cut_short(error: &tokio::task::JoinError) -> StartError {
    StartError::Failed { step: "start", why: error.to_string() }
}

/// Everything on the disk, then the shim itself. Blocks.
fn prepare(inner: &Inner, plan: &LaunchPlan, files: &[PlacedFile]) -> Result<(Child, Vec<u8>), StartError> {
    let failed = |step: &'static str| move |why: String| StartError::Failed { step, why };
    let on_disk = |error: io::Error| StartError::at("prepare", &error);
    let Some(Executable::Process { command, working_directory }) = &plan.spec.executable else {
        return Err(failed("prepare")("it is not a PROCESS executable".to_owned()));
    };
    refuse_container_only(plan, working_directory.is_some()).map_err(failed("prepare"))?;
    let no_account = |error: AccountError| match &error {
        AccountError::Unread { source, .. } => StartError::told("switch user", source, error.to_string()),
        AccountError::Refused(_) => failed("switch user")(error.to_string()),
    };
    let account = user::account(plan.spec.user_spec.as_ref()).map_err(no_account)?;
    // Only here: what runs already is checked as whom it runs, whatever the configuration says since.
    user::permit(account.as_ref(), inner.config.users.as_deref()).map_err(no_account)?;
    let rotation = Rotation::of(plan.spec.logging.as_ref()).map_err(failed("prepare log"))?;

    let run = inner.run_dir(&plan.instance);
    let lock = claim(&run)
        .map_err(on_disk)?
        .ok_or_else(|| failed("prepare")("another start of the same instance is under way".to_owned()))?;
    run.write_place(&plan.place).map_err(on_disk)?;
    scratch::make(&inner.scratch(&plan.instance), files, account.as_ref())?;
    // Written down before they are made: nobody forgets to remove them.
    run.write_group(&inner.cgroups.group(&plan.instance)).map_err(on_disk)?;
    let limits = Limits::of(plan, inner.config.max_pids);
    let (group, warnings) = inner.cgroups.make(&plan.instance, &limits);

    let launch = Launch {
        run_dir: run.path().to_owned(),
        log_dir: inner.log_dir(&plan.place.service, &plan.instance),
        rotation,
        entry: Entry {
            command: command.iter().chain(&plan.spec.args).cloned().collect(),
            env: plan.env.clone(),
            working_directory: inner.working_directory(plan),
            account,
            group,
            limits: ProcessLimits::of(&inner.config),
        },
        warnings,
        boot_id: inner.boot_id.clone(),
    };
    let description = serde_json::to_vec(&launch).map_err(|error| on_disk(error.into()))?;
    let shim = spawn(&inner.shim, plan, lock).map_err(|error| {
        StartError::told("start shim", &error, format!("{}: {error}", inner.shim.display()))
    })?;
    Ok((shim, description))
}

/// Takes the lock, which was free a moment ago. A process that was forked just then for another instance holds a
/// copy of whoever looked, until it becomes a program of its own.
fn claim(run: &RunDir) -> io::Result<Option<File>> {
    let deadline = Instant::now() + SETTLE_WAIT;
    loop {
        let lock = run.claim()?;
        if lock.is_some() || Instant::now() >= deadline {
            return Ok(lock);
        }
        std::thread::sleep(SETTLE_INTERVAL);
    }
}

/// What a spec may ask for that only a container can give. Said, not passed over.
fn refuse_container_only(plan: &LaunchPlan, has_directory: bool) -> Result<(), String> {
    let spec = &plan.spec;
    if !spec.volumes.is_empty() {
        return Err("volumes need a container; a PROCESS executable sees the node's own files".to_owned());
    }
    if !spec.devices.is_empty() {
        return Err("devices need a container; a PROCESS executable sees the node's own devices".to_owned());
    }
    if !spec.configs.is_empty() && has_directory {
        return Err("configs of a PROCESS executable are placed in its scratch directory; \
                    leave workingDirectory away, so that it starts there"
            .to_owned());
    }
    Ok(())
}

fn spawn(program: &Path, plan: &LaunchPlan, lock: File) -> io::Result<Child> {
    Command::new(program)
        // What `ps` shows: which instance it is for.
        .arg0(format!("muster-shim[{}]", plan.instance))
        .arg("shim")
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(lock)
        .spawn()
}

/// Hands the shim its description and waits for its answer. One that does not answer is killed.
async fn converse(mut shim: Child, description: &[u8]) -> Result<Pids, StartError> {
    let failed = |step: &'static str, why: String| StartError::Failed { step, why };
    let id = ProcessId::of(shim.id()).unwrap_or_else(|error| {
        tracing::warn!(%error, "it cannot be read who a shim is; should it hang, it is not killed");
        None
    });
    let reply = match timeout(REPLY_WAIT, exchange(&mut shim, description)).await {
        Ok(Ok(Reply::Started(pids))) => return Ok(pids),
        Ok(Ok(Reply::Failed(why))) => failed("spawn", why),
        Ok(Ok(Reply::InWant(why))) => {
            StartError::RunnerUnavailable(format!("spawn cannot be done now: {why}"))
        }
        Ok(Err(error)) => StartError::told("start shim", &error, format!("it gave no answer: {error}")),
        Err(_) => failed("start shim", format!("it gave no answer within {REPLY_WAIT:?}")),
    };
    // It ends by itself after a failure; if it hangs, it does not survive this.
    if let Some(Err(error)) = id.map(|id| id.signal(Signal::KILL)) {
        tracing::warn!(%error, "a shim that failed could not be killed");
    }
    let buried = tokio::task::spawn_blocking(move || shim.wait()).await;
    if let Ok(Err(error)) = buried {
        tracing::warn!(%error, "a shim that failed could not be reaped");
    }
    Err(reply)
}

async fn exchange(shim: &mut Child, description: &[u8]) -> io::Result<Reply> {
    let (Some(stdin), Some(stdout)) = (shim.stdin.take(), shim.stdout.take()) else {
        return Err(io::Error::other("it has no pipes"));
    };
    let mut question = pipe::Sender::from_owned_fd(OwnedFd::from(stdin))?;
    let answer = pipe::Receiver::from_owned_fd(OwnedFd::from(stdout))?;
    // A shim that ends before it has read everything still says why.
    let asked = question.write_all(description).await;
    drop(question);
    let mut line = Vec::new();
    answer.take(MAX_REPLY_BYTES).read_to_end(&mut line).await?;
    if line.is_empty() {
        return Err(asked.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(serde_json::from_slice(&line)?)
}
