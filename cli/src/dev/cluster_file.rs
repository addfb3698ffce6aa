//! `DIR/cluster.json`: who the roles are and which process each is. Written whole and renamed, changed
//! only under a lock.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use muster_common::exit::Exit;
use serde::{Deserialize, Serialize};

use super::process::Pid;
use crate::error::CliError;

const FILE: &str = "cluster.json";
const LOCK: &str = "cluster.lock";
const STOP_LOCK: &str = "stop.lock";

/// What a role is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum RoleKind {
    Controller,
    Executor,
}

impl RoleKind {
    /// The subcommand of `muster` that runs it.
    pub(crate) fn subcommand(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::Executor => "executor",
        }
    }
}

/// One role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RoleEntry {
    pub(crate) role: RoleKind,
    pub(crate) id: String,
    /// Its process; null while it has none. It counts only together with its start time.
    pub(crate) pid: Option<u32>,
    /// Ticks since boot at which the process started: a pid alone may be somebody else's by now.
    pub(crate) start_ticks: Option<u64>,
    /// REST on controllers, metrics on executors.
    pub(crate) rest: String,
    /// gRPC; null on executors, which call and are not called.
    pub(crate) grpc: Option<String>,
    pub(crate) dir: PathBuf,
}

impl RoleEntry {
    /// Its process, if that still lives.
    pub(crate) fn process(&self) -> Option<Pid> {
        let pid = Pid { pid: self.pid?, start_ticks: self.start_ticks? };
        pid.is_alive().then_some(pid)
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir.join(format!("{}.yaml", self.role.subcommand()))
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.dir.join("role.log")
    }
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClusterFile {
    pub(crate) cluster: String,
    pub(crate) port_base: u16,
    /// The directory is removed when the cluster stops.
    pub(crate) ephemeral: bool,
    /// It was stopped in order: nothing runs, and nothing is left to be ended.
    #[serde(default)]
    pub(crate) stopped: bool,
    pub(crate) roles: Vec<RoleEntry>,
}

impl ClusterFile {
    /// Whether `dir` holds a cluster.
    pub(crate) fn exists(dir: &Path) -> bool {
        dir.join(FILE).exists()
    }

    pub(crate) fn read(dir: &Path) -> Result<Self, CliError> {
        let path = dir.join(FILE);
        let text = fs::read_to_string(&path).map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                CliError::new(
                    Exit::NotFound,
                    format!(
                        "there is no cluster in {}; 'muster dev --dir {0}' starts one, or name the directory that \
                         'muster dev' printed",
                        dir.display()
                    ),
                )
            } else {
                CliError::failure(format!("cannot read {}: {error}", path.display()))
            }
        })?;
        serde_json::from_str(&text)
            .map_err(|error| CliError::failure(format!("{} is damaged: {error}", path.display())))
    }

    /// Changes the file under its lock; other `muster dev` commands wait.
    pub(crate) fn update<T>(
        dir: &Path,
        change: impl FnOnce(&mut Self) -> Result<T, CliError>,
    ) -> Result<T, CliError> {
        let _lock = lock(dir, LOCK)?;
        let mut file = Self::read(dir)?;
        let answer = change(&mut file)?;
        file.write(dir)?;
        Ok(answer)
    }

    /// Waits until nobody else stops the cluster, and keeps others from it as long as the answer lives.
    pub(crate) async fn lock_for_stop(dir: &Path) -> Result<File, CliError> {
        // Says so in words where there is no cluster.
        Self::read(dir)?;
        let dir = dir.to_owned();
        let locked = tokio::task::spawn_blocking(move || lock(&dir, STOP_LOCK)).await;
        locked.map_err(|error| CliError::failure(format!("cannot wait for another stop: {error}")))?
    }

    /// Replaces the file.
    pub(crate) fn write(&self, dir: &Path) -> Result<(), CliError> {
        let path = dir.join(FILE);
        let fail = |error: &dyn std::fmt::Display| {
            CliError::failure(format!("cannot write {}: {error}", path.display()))
        };
        let text = serde_json::to_string_pretty(self).map_err(|error| fail(&error))?;
        let fresh = dir.join(format!("{FILE}.new"));
        fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, &path)).map_err(|error| fail(&error))
    }

    pub(crate) fn role(&self, id: &str) -> Result<&RoleEntry, CliError> {
        self.roles.iter().find(|role| role.id == id).ok_or_else(|| {
            let ids: Vec<&str> = self.roles.iter().map(|role| role.id.as_str()).collect();
            CliError::new(Exit::NotFound, format!("there is no role '{id}'; there are {}", ids.join(", ")))
        })
    }

    /// Notes which process a role is now.
    pub(crate) fn set_process(&mut self, id: &str, process: Option<Pid>) {
        self.stopped = false;
        for role in self.roles.iter_mut().filter(|role| role.id == id) {
            role.pid = process.map(|process| process.pid);
            role.start_ticks = process.map(|process| process.start_ticks);
        }
    }

    /// Notes that every role has ended in order.
    pub(crate) fn set_stopped(&mut self) {
        self.stopped = true;
        for role in &mut self.roles {
            role.pid = None;
            role.start_ticks = None;
        }
    }

    /// REST addresses of the controllers.
    pub(crate) fn servers(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().filter(|role| role.role == RoleKind::Controller).map(|role| role.rest.as_str())
    }
}

fn lock(dir: &Path, name: &str) -> Result<File, CliError> {
    let path = dir.join(name);
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    file.and_then(|file| file.lock().map(|()| file))
        .map_err(|error| CliError::failure(format!("cannot lock {}: {error}", path.display())))
}
