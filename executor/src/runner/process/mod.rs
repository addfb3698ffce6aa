//! The process runner: plain processes, each under a small [`shim`] that outlives the executor.
//!
//! | module | noun |
//! |---|---|
//! | [`shim`] | the parent of one workload |
//! | `launch` | what the executor tells a shim and what it answers |
//! | `rundir` | the files that outlive both |
//! | `entry` | what becomes the workload |
//! | `cgroup` | limits by control groups |
//! | `limits` | limits that a process carries itself |
//! | `scratch` | the workload's own directory |
//! | `start` | what is done to start one |
//! | `condition` | what the disk and the kernel say of one |
//! | `watch` | the tasks that see a shim end |
//! | `dirs` | who may enter which directory |
//! | `command` | a check's or hook's command beside the workload |
//! | `exec` | a user's command beside the workload |
//! | `terminal` | the pipes or the terminal that such a one has |
//! | `handover` | how it is handed these |
//! | `user` | who a workload runs as |
//!
//! On the disk, under `<dataDir>`: `run/<instance>/` (state, removed with the instance),
//! `scratch/<instance>/` (the working directory unless the spec names one, removed with it) and
//! `logs/<service>/<instance>/output.log`, … (see [`crate::logs`]; kept).
//!
//! Under systemd the executor's unit needs `KillMode=process`, or a restart of it takes all shims along. For
//! limits it needs `Delegate=yes` and `DelegateSubgroup=muster-agent` (systemd 254 or later).

mod cgroup;
mod command;
mod condition;
mod dirs;
mod entry;
mod exec;
mod handover;
mod launch;
mod limits;
mod rundir;
mod scratch;
pub mod shim;
mod start;
mod terminal;
mod user;
mod watch;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use muster_common::id::{ExecutorId, InstanceId, ServiceId};
use muster_common::instance::RunnerKind;
use muster_common::spec::Executable;
use rustix::process::Signal;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use self::cgroup::Cgroups;
use self::condition::{Condition, workload};
use self::entry::Entry;
use self::limits::ProcessLimits;
use self::rundir::RunDir;
use self::watch::{ExitReceiver, Watches};
use super::kin::{self, ProcessId};
use super::look::Looks;
use super::mark::CommandMark;
use super::under_way::UnderWay;
use super::{
    CommandOutput, ExecEnd, ExecIo, ExecRequest, Exit, Found, HostAccess, LaunchPlan, Listed, LogEnd,
    ProvisionError, Runner, RunnerError, RunnerEvent, StartError, Workload,
};
use crate::config::{LogsConfig, ProcessConfig};
use crate::logs::{LogDir, LogReader, keep_swept};

/// How long a workload may take to vanish after SIGKILL before the shim itself is killed.
const KILL_WAIT: Duration = Duration::from_secs(5);

/// The process runner could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The kernel is too old.
    #[error("the process runner needs Linux 5.4 or later (pidfd): {0}")]
    Kernel(#[source] io::Error),
    /// A directory cannot be used.
    #[error("the process runner cannot use {path}: {source}", path = path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Starts plain processes. Needs a Tokio runtime with I/O.
pub struct ProcessRunner(Arc<Inner>, HostAccess);

struct Inner {
    data_dir: PathBuf,
    shim: PathBuf,
    boot_id: String,
    config: ProcessConfig,
    cgroups: Cgroups,
    mark: CommandMark,
    starts: UnderWay<InstanceId>,
    looks: Looks,
    watches: Watches,
    _sweep: AbortOnDropHandle<()>,
}

impl ProcessRunner {
    /// Opens the runner on `data_dir`, whose owner is this executor alone. `shim` is the program that
    /// is run with the argument `shim`: normally `/proc/self/exe`.
    pub fn open(
        executor: &ExecutorId,
        data_dir: &Path,
        shim: PathBuf,
        config: ProcessConfig,
        logs: &LogsConfig,
        events: mpsc::Sender<RunnerEvent>,
    ) -> Result<Self, OpenError> {
        let me = ProcessId::of(std::process::id()).and_then(|me| me.map_or(Ok(None), ProcessId::open));
        if me.map_err(OpenError::Kernel)?.is_none() {
            return Err(OpenError::Kernel(io::ErrorKind::NotFound.into()));
        }
        let boot_path = Path::new("/proc/sys/kernel/random/boot_id");
        let boot_id = fs::read_to_string(boot_path)
            .map_err(|source| OpenError::Directory { path: boot_path.to_owned(), source })?;
        dirs::make_all(data_dir)
            .map_err(|source| OpenError::Directory { path: data_dir.to_owned(), source })?;
        let data_dir = fs::canonicalize(data_dir)
            .map_err(|source| OpenError::Directory { path: data_dir.to_owned(), source })?;
        let sweep = keep_swept(data_dir.clone(), logs.retention());
        let run = data_dir.join("run");
        let cgroups = if config.control_groups {
            Cgroups::open(&data_dir, |instance| run.join(instance).is_dir())
        } else {
            Cgroups::none()
        };
        let inner = Inner {
            mark: CommandMark::of(executor, &data_dir),
            data_dir,
            shim,
            config,
            cgroups,
            _sweep: sweep,
            boot_id: boot_id.trim().to_owned(),
            starts: UnderWay::default(),
            looks: Looks::default(),
            watches: Watches::new(events),
        };
        Ok(Self(Arc::new(inner), HostAccess::default()))
    }

    /// The same runner, whose specs may have this much of the node; nothing before.
    #[must_use]
    pub fn allowing(self, access: HostAccess) -> Self {
        Self(self.0, access)
    }
}

impl ProcessRunner {
    /// What becomes a command beside a workload: in its environment, directory, account and limits.
    async fn beside(&self, plan: &LaunchPlan, command: Vec<String>) -> Result<Entry, RunnerError> {
        let (user, run) = (plan.spec.user_spec.clone(), self.0.run_dir(&plan.instance));
        let prepare = move || {
            let account = user::account(user.as_ref()).map_err(io::Error::other)?;
            Ok((account, run.group()?.beside()?))
        };
        let (account, group) =
            off_worker(prepare).await.map_err(|error| command::failed("its account and groups", &error))?;
        Ok(Entry {
            command,
            env: self.1.environment(plan),
            working_directory: self.0.working_directory(plan),
            account,
            group,
            limits: ProcessLimits::of(&self.0.config),
        })
    }
}

impl Inner {
    fn run_dir(&self, instance: &InstanceId) -> RunDir {
        RunDir::new(self.data_dir.join("run").join(instance.as_str()))
    }

    fn scratch(&self, instance: &InstanceId) -> PathBuf {
        self.data_dir.join("scratch").join(instance.as_str())
    }

    fn log_dir(&self, service: &ServiceId, instance: &InstanceId) -> PathBuf {
        self.data_dir.join("logs").join(service.as_str()).join(instance.as_str())
    }

    fn working_directory(&self, plan: &LaunchPlan) -> PathBuf {
        match &plan.spec.executable {
            Some(Executable::Process { working_directory: Some(path), .. }) => PathBuf::from(path),
            _ => self.scratch(&plan.instance),
        }
    }

    /// Looks for the program, which may be on a disk that hangs: that costs this service alone.
    async fn provision(&self, plan: &LaunchPlan) -> Result<(), ProvisionError> {
        let service = &plan.place.service;
        let (launch, directory) = (plan.clone(), self.working_directory(plan));
        let question = format!("whether the program of {service} is there");
        self.looks.look(service, question, move || start::check_program(&launch, &directory)).await?
    }

    async fn stop(&self, instance: &InstanceId, grace: Duration) -> Result<Exit, RunnerError> {
        let (pids, mut exit) = match self.examine(instance).await? {
            Condition::Running(pids, exit) => (pids, exit),
            Condition::Ended(_, exit) => return Ok(exit),
            Condition::Nothing | Condition::NeverStarted => return Ok(Exit::default()),
        };
        let failed = |error: io::Error| RunnerError::at("stop process", &error);
        pids.workload.signal_group(Signal::TERM).map_err(failed)?;
        if let Some(exit) = ended_within(&mut exit, grace).await {
            return Ok(exit);
        }
        let (run, workload, shim) = (self.run_dir(instance), pids.workload, pids.shim.pid);
        let kill = move || {
            let group = run.group()?;
            // What the kernel killed before this is not why the workload ends.
            if let Err(error) = run.write_oom_kills_before(group.oom_kills()) {
                tracing::warn!(%error, run = %run.path().display(), "its end may be told as one for want of memory");
            }
            workload.signal_group(Signal::KILL)?;
            // First at one blow who is in the groups, then whoever left them.
            group.kill()?;
            kin::descendants(shim)?.into_iter().try_for_each(|process| process.signal(Signal::KILL))
        };
        blocking("stop process", kill).await?;
        if let Some(exit) = ended_within(&mut exit, KILL_WAIT).await {
            return Ok(exit);
        }
        // A shim that hangs, or was stopped by hand. What it leaves behind is killed by the watch.
        pids.shim.signal(Signal::KILL).map_err(failed)?;
        ended_within(&mut exit, KILL_WAIT).await.ok_or_else(|| RunnerError::Failed {
            step: "stop process",
            why: format!("process {} is still there {KILL_WAIT:?} after SIGKILL", pids.workload.pid),
        })
    }

    async fn remove(self: &Arc<Self>, instance: &InstanceId) -> Result<(), RunnerError> {
        self.stop(instance, Duration::ZERO).await?;
        // Whom the shim could not end, and checks and hooks that an executor before this one left behind.
        let failed = |error: io::Error| RunnerError::at("remove process", &error);
        let run = self.run_dir(instance);
        let kept = run.clone();
        let pids = match off_worker(move || kept.pids()).await {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => None,
            answer => answer.map_err(failed)?,
        };
        // Numbers of another boot are nobody's.
        let workload = pids.filter(|pids| pids.boot_id == self.boot_id).map(|pids| pids.workload);
        watch::kill_strays(instance, &run, workload, None).await.map_err(failed)?;
        self.watches.bury(instance).await;
        self.watches.forget(instance);
        // The run directory goes last: as long as it is there, the instance is listed.
        let (scratch, run) = (self.scratch(instance), self.run_dir(instance));
        let inner = Arc::clone(self);
        blocking("remove process", move || {
            inner.cgroups.remove(&run.group()?)?;
            rundir::remove_tree(&scratch)?;
            rundir::remove_tree(run.path())
        })
        .await
    }
}

async fn ended_within(exit: &mut ExitReceiver, limit: Duration) -> Option<Exit> {
    match timeout(limit, exit.wait_for(Option::is_some)).await {
        Ok(Ok(exit)) => exit.clone(),
        // Time is up, or the runtime is shutting down.
        Ok(Err(_)) | Err(_) => None,
    }
}

async fn blocking<T: Send + 'static>(
    step: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, RunnerError> {
    off_worker(work).await.map_err(|error| RunnerError::at(step, &error))
}

/// A disk may hang: then no task but the one that asks it waits.
async fn off_worker<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(error.into()))
}

impl Runner for ProcessRunner {
    fn kind(&self) -> RunnerKind {
        RunnerKind::Process
    }

    fn provision<'a>(&'a self, plan: &'a LaunchPlan) -> BoxFuture<'a, Result<(), ProvisionError>> {
        Box::pin(async move {
            // The program is looked for where the start finds it.
            let plan = LaunchPlan { env: self.1.environment(plan), ..plan.clone() };
            self.0.provision(&plan).await
        })
    }

    /// Dropping the future does not cancel a start: it goes on, and `find` tells what came of it.
    fn start<'a>(&'a self, plan: &'a LaunchPlan) -> BoxFuture<'a, Result<Workload, StartError>> {
        Box::pin(async move {
            let plan = self.1.admit(plan, &self.0.looks).await?;
            start::start(Arc::clone(&self.0), plan).await
        })
    }

    fn stop<'a>(
        &'a self,
        instance: &'a InstanceId,
        _workload: &'a Workload,
        grace: Duration,
    ) -> BoxFuture<'a, Result<Exit, RunnerError>> {
        Box::pin(self.0.stop(instance, grace))
    }

    fn remove<'a>(&'a self, instance: &'a InstanceId) -> BoxFuture<'a, Result<(), RunnerError>> {
        Box::pin(self.0.remove(instance))
    }

    fn find<'a>(
        &'a self,
        instance: &'a InstanceId,
        _workload: Option<&'a Workload>,
    ) -> BoxFuture<'a, Result<Found, RunnerError>> {
        Box::pin(async move {
            Ok(match self.0.examine(instance).await? {
                Condition::Nothing => Found::Nothing,
                Condition::NeverStarted => Found::NeverStarted,
                Condition::Running(pids, _) => Found::Running(workload(&pids)),
                Condition::Ended(pids, exit) => Found::Ended(workload(&pids), exit),
            })
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, RunnerError>> {
        let inner = Arc::clone(&self.0);
        Box::pin(blocking("list processes", move || inner.list()))
    }

    fn command<'a>(
        &'a self,
        plan: &'a LaunchPlan,
        _workload: &'a Workload,
        argv: &'a [String],
        timeout: Duration,
    ) -> BoxFuture<'a, Result<CommandOutput, RunnerError>> {
        Box::pin(async move {
            let entry = self.beside(plan, argv.to_vec()).await?;
            command::run(entry, self.0.mark.of_one(), &self.0.shim, timeout).await
        })
    }

    fn exec<'a>(
        &'a self,
        plan: &'a LaunchPlan,
        _workload: &'a Workload,
        request: &'a ExecRequest,
        io: ExecIo,
    ) -> BoxFuture<'a, Result<ExecEnd, RunnerError>> {
        Box::pin(async move {
            let mut entry = self.beside(plan, request.command.clone()).await?;
            // What tells whose process it is, is not the user's to say.
            let own = request.env.iter().filter(|(name, _)| !name.starts_with("MUSTER_"));
            entry.env.extend(own.map(|(name, value)| (name.clone(), value.clone())));
            if let Some(workdir) = &request.workdir {
                entry.working_directory = entry.working_directory.join(workdir);
            }
            exec::run(entry, self.0.mark.of_one(), &self.0.shim, request, io).await
        })
    }

    fn log_tail<'a>(
        &'a self,
        instance: &'a InstanceId,
        _workload: &'a Workload,
        max_bytes: usize,
    ) -> BoxFuture<'a, Result<LogEnd, RunnerError>> {
        let (inner, instance) = (Arc::clone(&self.0), instance.clone());
        Box::pin(blocking("read log", move || match LogDir::find(&inner.data_dir, &instance)? {
            Some(dir) => {
                let tail = LogReader::new(dir).tail(usize::MAX, max_bytes)?;
                Ok(LogEnd::kept(String::from_utf8_lossy(&tail.bytes)))
            }
            None => Ok(LogEnd::kept("")),
        }))
    }
}
