//! The program around an executor: configuration, certificate, runners, signals.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use muster_common::exit::Exit;
use muster_common::identity::{Identity, Role};
use muster_common::spec::DrainPolicy;
use muster_platform::tls::keep_current;
use muster_platform::{DataDir, RoleError, TlsIdentity, World, shutdown, telemetry};

use crate::config::{ExecutorConfig, OnTerminate};
use crate::executor::Executor;
use crate::probe::NodeProber;
use crate::runner::{RunnerConfig, Runners};
use crate::systemd::Manager;
use crate::want;

/// The command line of an executor.
#[derive(Debug, Clone, clap::Args)]
pub struct ExecutorArgs {
    /// The configuration file (YAML)
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// On SIGTERM stop workloads first (in the order of their drainPolicy), even if the configuration's onTerminate says keep
    #[arg(long)]
    pub drain: bool,
}

impl ExecutorArgs {
    /// What happens to workloads when the executor is told to end.
    fn on_terminate(&self, configured: OnTerminate) -> OnTerminate {
        match configured {
            OnTerminate::Keep if self.drain => OnTerminate::Drain,
            configured => configured,
        }
    }
}

/// The name of the file in the data directory that says that nothing runs, since the last drain was complete.
pub const DRAINED: &str = "drained";

/// Runs an executor until SIGTERM, SIGINT or SIGHUP.
pub async fn run(args: ExecutorArgs, world: World) -> Result<(), RoleError> {
    telemetry::init_logs();
    // Installs the recorder before the first count.
    telemetry::metrics();
    let _upkeep = telemetry::keep_up();
    if let Err(error) = want::raise_open_files() {
        tracing::warn!(%error, "the limit on open files cannot be raised; checks may find none left");
    }
    let config: ExecutorConfig = muster_platform::config::read_yaml(&args.config)?;
    config.check()?;
    let Some(files) = &config.tls else {
        let sentence =
            format!("{} has no 'tls'; name the executor's ca, cert and key", args.config.display());
        return Err(RoleError::new(Exit::Validation, sentence));
    };
    let identity = Identity { cluster: config.cluster.clone(), role: Role::Executor(config.id.clone()) };
    // One that is out of date keeps the node from nothing but its sessions.
    let tls = TlsIdentity::load_whatever_its_dates(files, &identity)?;
    let _renewal = keep_current(tls.clone(), files.clone());
    let ended = shutdown::shutdown_signal()
        .map_err(|error| RoleError::caused_by(Exit::Failure, "cannot listen for signals", &error))?;
    // Locked before a runner looks into it.
    let data_dir = DataDir::lock(&config.data_dir)?;
    let runners = Runners::open(&runner_config(&config, &data_dir))
        .await
        .map_err(|error| RoleError::caused_by(Exit::Failure, "cannot start the executor", &error))?;
    let drained = data_dir.path().join(DRAINED);
    forget_drain(&drained)?;
    let prober = Arc::new(NodeProber::new(&runners));
    let (on_terminate, limit) = (args.on_terminate(config.on_terminate), config.drain_timeout.as_duration());
    let mut executor = Executor::start_in(data_dir, config, world, tls.clone(), runners, prober).await?;
    let manager = Manager::attend(executor.subject(), tls);
    let failed = tokio::select! {
        () = ended.cancelled() => None,
        failed = executor.failed() => Some(failed),
    };
    let drains_up_to = on_terminate.drains_up_to().filter(|_| failed.is_none());
    manager.ending(if drains_up_to.is_some() { limit } else { Duration::ZERO });
    if let Some(failed) = failed {
        executor.shutdown().await;
        return Err(RoleError::new(Exit::Failure, failed.to_string()));
    }
    let outcome = match drains_up_to {
        None => Ok(()),
        Some(last) => drain(&executor, last, limit, &drained).await,
    };
    executor.shutdown().await;
    outcome
}

/// What the runners need of the configuration.
fn runner_config(config: &ExecutorConfig, data_dir: &DataDir) -> RunnerConfig {
    RunnerConfig {
        choice: config.runner,
        executor: config.id.clone(),
        data_dir: data_dir.path().to_owned(),
        shim: None,
        process: config.process.clone(),
        logs: config.logs.clone(),
        docker: config.docker.clone(),
        host_access: config.host_access.clone(),
    }
}

/// Stops what runs, up to the drain policy `last`, and notes in the file `drained` when nothing runs any more.
async fn drain(
    executor: &Executor,
    last: DrainPolicy,
    limit: Duration,
    drained: &Path,
) -> Result<(), RoleError> {
    match executor.drain(last, limit).await {
        // As long as the directory is still this executor's: the next one takes the file away.
        Ok(0) => note_drain(drained),
        Ok(kept) => {
            tracing::info!(kept, "the node is drained; what a drain is to keep goes on running");
            Ok(())
        }
        Err(error) => {
            let sentence = format!("the node was not drained: {error}; they keep running");
            Err(RoleError::new(Exit::Timeout, sentence))
        }
    }
}

/// Notes that nothing runs.
fn note_drain(drained: &Path) -> Result<(), RoleError> {
    std::fs::write(drained, "").map_err(|error| {
        RoleError::caused_by(Exit::Failure, format!("cannot write {}", drained.display()), &error)
    })
}

/// Takes that note back: from now on there may be workloads again.
fn forget_drain(drained: &Path) -> Result<(), RoleError> {
    match std::fs::remove_file(drained) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(RoleError::caused_by(Exit::Failure, format!("cannot remove {}", drained.display()), &error))
        }
        _ => Ok(()),
    }
}
