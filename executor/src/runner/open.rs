//! Which runners a node has.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster_common::id::ExecutorId;
use tokio::sync::mpsc;

use super::Runners;
use super::access::HostAccess;
use super::docker::DockerRunner;
use super::mark::CommandMark;
use super::process::{OpenError, ProcessRunner};
use crate::config::{DockerConfig, HostAccessConfig, LogsConfig, ProcessConfig, RunnerChoice};
use crate::limits::CALL_LIMIT;

/// Events that may wait for the supervisor, which takes them in between two turns; then the runners wait.
const EVENT_QUEUE: usize = 256;

/// Where the engine listens unless the configuration or `DOCKER_HOST` says otherwise.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// What the runners need to know of their node.
#[derive(Debug, Clone)]
pub struct RunnerConfig {
    /// Which runners to have.
    pub choice: RunnerChoice,
    /// This executor; with `data_dir` it tells its containers from those of others.
    pub executor: ExecutorId,
    /// Where runners keep what outlives them.
    pub data_dir: PathBuf,
    /// The program that is run with the argument `shim`; this very program when absent.
    pub shim: Option<PathBuf>,
    /// How processes are run.
    pub process: ProcessConfig,
    /// What is kept of the logs of instances that ended.
    pub logs: LogsConfig,
    /// How the Docker Engine is used.
    pub docker: DockerConfig,
    /// What of the node specs may use.
    pub host_access: HostAccessConfig,
}

impl Runners {
    /// Opens the runners of a node. An engine that does not answer is no error: DOCKER executables fail
    /// to provision with a clear sentence until it does. Must be called in a Tokio runtime.
    pub async fn open(config: &RunnerConfig) -> Result<Self, OpenError> {
        let (sender, events) = mpsc::channel(EVENT_QUEUE);
        std::fs::create_dir_all(&config.data_dir)
            .map_err(|source| OpenError::Directory { path: config.data_dir.clone(), source })?;
        let data_dir = std::fs::canonicalize(&config.data_dir)
            .map_err(|source| OpenError::Directory { path: config.data_dir.clone(), source })?;

        end_commands(&config.executor, &data_dir).await;
        let access = HostAccess { paths: config.host_access.clone(), devices: config.docker.allow_devices };
        let mut runners = Self { docker: None, process: None, events };
        if config.choice != RunnerChoice::Process {
            let socket = config.docker.socket.clone().unwrap_or_else(default_socket);
            let docker = DockerRunner::open(&socket, &config.executor, &data_dir, CALL_LIMIT, sender.clone());
            let docker = docker.allowing(access.clone()).configured(&config.docker);
            // Beside a process runner that one looks after all logs.
            let is_alone = config.choice == RunnerChoice::Docker;
            let docker = if is_alone { docker.sweeping(&config.logs) } else { docker }.copying();
            if let Err(why) = docker.check().await {
                tracing::warn!("DOCKER executables cannot be run for now: {why}");
            }
            runners.docker = Some(Arc::new(docker));
        }
        if config.choice != RunnerChoice::Docker {
            let shim = config.shim.clone().unwrap_or_else(|| PathBuf::from("/proc/self/exe"));
            let (id, process, logs) = (&config.executor, config.process.clone(), &config.logs);
            let process = ProcessRunner::open(id, &data_dir, shim, process, logs, sender)?;
            runners.process = Some(Arc::new(process.allowing(access)));
        }
        Ok(runners)
    }
}

/// Ends what an executor before this one left in the middle of a check or a hook. Those of containers are among
/// them where the node's pids are seen. A node that starts all the same is of more use than one that does not.
async fn end_commands(executor: &ExecutorId, data_dir: &Path) {
    let mark = CommandMark::of(executor, data_dir);
    let ended = tokio::task::spawn_blocking(move || mark.end_all()).await;
    match ended.unwrap_or_else(|error| Err(error.into())) {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "ended what an earlier executor's checks and hooks left"),
        Err(error) => tracing::warn!(%error, "checks and hooks of an earlier executor could not be ended"),
    }
}

fn default_socket() -> PathBuf {
    let named = std::env::var_os("DOCKER_HOST").unwrap_or_default();
    match DockerHost::of(&named.to_string_lossy()) {
        DockerHost::Unset => PathBuf::from(DOCKER_SOCKET),
        DockerHost::Socket(path) => path.to_owned(),
        DockerHost::Other { scheme } => {
            tracing::warn!(
                scheme,
                "DOCKER_HOST does not name a socket of this node (unix://PATH): {DOCKER_SOCKET} is used instead"
            );
            PathBuf::from(DOCKER_SOCKET)
        }
    }
}

/// What the variable names.
#[derive(Debug, PartialEq, Eq)]
enum DockerHost<'a> {
    Unset,
    Socket(&'a Path),
    /// An engine that is reached in another way. The rest of the address can hold a password.
    Other {
        scheme: &'a str,
    },
}

impl<'a> DockerHost<'a> {
    fn of(named: &'a str) -> Self {
        match named.split_once("://") {
            Some(("unix", path)) if !path.is_empty() => Self::Socket(Path::new(path)),
            Some((scheme, _)) => Self::Other { scheme },
            None if named.is_empty() => Self::Unset,
            None => Self::Other { scheme: "" },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_socket_of_this_node_is_taken_from_docker_host() {
        assert_eq!(DockerHost::of(""), DockerHost::Unset);
        let socket = Path::new("/run/user/1000/docker.sock");
        assert_eq!(DockerHost::of("unix:///run/user/1000/docker.sock"), DockerHost::Socket(socket));
        for (named, scheme) in [
            ("tcp://engine:2376", "tcp"),
            ("ssh://joe:secret@engine", "ssh"),
            ("unix://", "unix"),
            ("/run/docker.sock", ""),
        ] {
            assert_eq!(DockerHost::of(named), DockerHost::Other { scheme }, "{named}");
        }
    }
}
