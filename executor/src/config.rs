//! The executor's configuration file.

use std::path::PathBuf;

use muster_common::duration::DroveDuration;
use muster_common::exit::Exit;
use muster_common::id::{ClusterId, ExecutorId};
use muster_common::size::ByteSize;
use muster_common::spec::DrainPolicy;
use muster_platform::{RoleError, TlsFiles};
use serde::{Deserialize, Serialize};

use crate::logs::Retention;

/// How often a core may be leased at most: beyond that a node is not shared but swamped.
const MAX_OVERCOMMIT: u32 = 1024;
/// How many controllers may be named.
const MAX_CONTROLLERS: usize = 16;
/// With fewer open files hardly a program starts.
const MIN_OPEN_FILES: u64 = 16;
/// How many images may be pulled at once: more only share the same network and disk.
const MAX_PULLS: usize = 64;
/// How many directories of the node may be opened to specs, of each kind.
const MAX_HOST_DIRS: usize = 64;
/// How many of the executor's variables may be opened by name.
const MAX_HOST_VARIABLES: usize = 256;
/// How many users PROCESS executables may be limited to.
const MAX_USERS: usize = 64;
/// How many tags an executor may have.
const MAX_TAGS: usize = 64;

/// More processes and threads than any well-behaved service has, and few enough that one that forks for ever leaves
/// numbers for the others (Linux has 32768 by default).
const MAX_PIDS: u64 = 8192;

/// One executor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecutorConfig {
    /// The name of the cluster that it belongs to.
    pub cluster: ClusterId,
    /// Its id, as its certificate names it.
    pub id: ExecutorId,
    /// Where its journal, logs and scratch directories are. One executor owns it.
    pub data_dir: PathBuf,
    /// The name that instances and users are told; the system's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Its own ports.
    pub listen: ExecutorListen,
    /// Cluster ports of the controllers, `host:port`. Where there is none, it works on the last table that it was given.
    pub controllers: Vec<String>,
    /// Its certificate. Absent only where the identity is handed over in memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsFiles>,
    /// Which runners may start workloads.
    #[serde(default)]
    pub runner: RunnerChoice,
    /// The tags that a service's placement may ask for. The host name is always one of them.
    #[serde(default)]
    pub tags: Vec<String>,
    /// How often each core may be leased.
    #[serde(default = "one")]
    pub core_overcommit: u32,
    /// The memory that may be leased, in MB. When absent: what the machine has, minus a reserve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u64>,
    /// How PROCESS executables are run.
    #[serde(default)]
    pub process: ProcessConfig,
    /// What is kept of the logs of instances that ended.
    #[serde(default)]
    pub logs: LogsConfig,
    /// How the Docker Engine is used.
    #[serde(default)]
    pub docker: DockerConfig,
    /// What specs may use of the node.
    #[serde(default)]
    pub host_access: HostAccessConfig,
    /// Host ports for instances whose spec does not fix them.
    #[serde(default)]
    pub ports: PortRange,
    /// What happens to workloads on SIGTERM, SIGINT or SIGHUP.
    #[serde(default)]
    pub on_terminate: OnTerminate,
    /// How long a drain may take.
    #[serde(default = "default_drain_timeout")]
    pub drain_timeout: DroveDuration,
}

/// Addresses that the executor itself listens on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecutorListen {
    /// Metrics and health of the executor. Offers users no way in.
    pub api: String,
}

/// Which runners may start workloads.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RunnerChoice {
    /// Docker and processes. DOCKER executables wait while the engine does not answer yet; PROCESS ones do not need it.
    #[default]
    Auto,
    /// Only DOCKER executables.
    Docker,
    /// Only PROCESS executables.
    Process,
}

/// Limits of PROCESS executables that no spec names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ProcessConfig {
    /// Whether control groups are used, where they are permitted; without them nothing holds a workload to its
    /// memory and cores.
    pub control_groups: bool,
    /// Processes and threads of one instance, where control groups are permitted.
    pub max_pids: u64,
    /// As whom they may run: `USER`, with any group of that user's own, or `USER:GROUP`. Absent: as anybody, and as the
    /// executor itself where a spec names nobody, which is root in the shipped unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<String>>,
    /// Files that one process may have open; as many as the executor's hard limit allows when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u64>,
    /// The largest core dump, in bytes.
    pub core_bytes: u64,
}

impl Default for ProcessConfig {
    fn default() -> Self {
        Self { control_groups: true, max_pids: MAX_PIDS, users: None, open_files: None, core_bytes: 0 }
    }
}

/// How much is kept of the logs of instances that are over. The logs of living instances are bounded by their specs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct LogsConfig {
    /// For how long logs are kept.
    pub max_age: DroveDuration,
    /// How many bytes all of them may take together; the oldest go first.
    #[serde(with = "byte_size")]
    pub max_total_size: ByteSize,
}

/// A week and a GiB: a failure before the weekend can be looked into after it, and no disk is filled.
impl Default for LogsConfig {
    fn default() -> Self {
        Self {
            max_age: DroveDuration::from_secs(7 * 24 * 3600),
            max_total_size: ByteSize::from_bytes(1 << 30),
        }
    }
}

impl LogsConfig {
    pub(crate) fn retention(&self) -> Retention {
        let max_total_bytes = self.max_total_size.as_bytes();
        Retention { max_age: self.max_age.as_duration(), max_total_bytes }
    }
}

/// A size as people write it: `512m`, `1g`.
mod byte_size {
    use muster_common::size::ByteSize;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's form
    pub(super) fn serialize<S: Serializer>(size: &ByteSize, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(size)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ByteSize, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// How the Docker Engine is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct DockerConfig {
    /// The engine's socket; when absent, `DOCKER_HOST` if it names one, else the usual place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<PathBuf>,
    /// Whether a spec's `devices` are passed through. A device can be the node's whole disk.
    pub allow_devices: bool,
    /// How many images are pulled at once.
    pub pulls_in_flight: usize,
    /// The directory of the `config.json` that `docker login` writes; `DOCKER_CONFIG` or `~/.docker` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<PathBuf>,
    /// Processes and threads of one container.
    pub max_pids: u64,
    /// How many files each process of a container may have open; as the engine sets it when absent. An engine without
    /// root rights refuses to start containers with more than it may have itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u64>,
}

/// Three pulls at once, as many as the engine fetches layers of one image.
impl Default for DockerConfig {
    fn default() -> Self {
        Self {
            socket: None,
            allow_devices: false,
            pulls_in_flight: 3,
            credentials: None,
            max_pids: MAX_PIDS,
            open_files: None,
        }
    }
}

/// What specs may use of the node: directories with all that is below them, and the executor's variables. Nothing is open
/// unless it is named here: whoever may mount `/` owns the node, and the executor's variables may hold its keys to a cloud.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HostAccessConfig {
    /// Directories that may be mounted as volumes.
    pub volumes: Vec<PathBuf>,
    /// Directories from which files of type `EXECUTOR_LOCAL_FILE` may be taken.
    pub files: Vec<PathBuf>,
    /// Variables of the executor's own that a spec copies with an empty value of the same name; `*`: all of them.
    pub env: Vec<String>,
}

/// Host ports, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortRange {
    /// The first.
    pub from: u16,
    /// The last.
    pub to: u16,
}

/// Below the ports that Linux gives to outgoing connections (32768-60999 by default).
impl Default for PortRange {
    fn default() -> Self {
        Self { from: 20000, to: 29999 }
    }
}

/// What happens to workloads when the executor is told to end.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnTerminate {
    /// Workloads go on running; the next start finds them.
    #[default]
    Keep,
    /// Workloads are stopped first, except those whose drain policy is KEEP.
    Drain,
    /// All workloads are stopped first: the node goes away.
    Empty,
}

impl OnTerminate {
    /// The drain policy up to which workloads are stopped.
    pub(crate) const fn drains_up_to(self) -> Option<DrainPolicy> {
        match self {
            Self::Keep => None,
            Self::Drain => Some(DrainPolicy::Last),
            Self::Empty => Some(DrainPolicy::Keep),
        }
    }
}

fn one() -> u32 {
    1
}

fn default_drain_timeout() -> DroveDuration {
    DroveDuration::from_secs(60)
}

impl ExecutorConfig {
    /// Checks what reading the file alone cannot see. The error names the first problem with its field.
    pub fn check(&self) -> Result<(), RoleError> {
        self.check_room()?;
        self.process.check()?;
        self.docker.check()?;
        self.host_access.check()?;
        self.check_addresses()
    }

    fn check_room(&self) -> Result<(), RoleError> {
        if self.ports.from == 0 || self.ports.from > self.ports.to {
            return refuse("ports", &format!("{}-{} is not a range", self.ports.from, self.ports.to));
        }
        if !(1..=MAX_OVERCOMMIT).contains(&self.core_overcommit) {
            return refuse("coreOvercommit", &format!("must be within 1..={MAX_OVERCOMMIT}"));
        }
        if self.tags.len() > MAX_TAGS {
            return refuse("tags", &format!("must not have more than {MAX_TAGS} entries"));
        }
        Ok(())
    }

    fn check_addresses(&self) -> Result<(), RoleError> {
        if self.controllers.len() > MAX_CONTROLLERS {
            return refuse("controllers", &format!("must not name more than {MAX_CONTROLLERS}"));
        }
        let is_address = |address: &str| {
            address
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        for (index, address) in self.controllers.iter().enumerate() {
            if !is_address(address) {
                return refuse(&format!("controllers[{index}]"), &format!("'{address}' is not host:port"));
            }
        }
        if !is_address(&self.listen.api) {
            return refuse("listen.api", &format!("'{}' is not host:port", self.listen.api));
        }
        Ok(())
    }
}

impl ProcessConfig {
    fn check(&self) -> Result<(), RoleError> {
        check_limits("process", self.max_pids, self.open_files)?;
        let users = self.users.as_deref().unwrap_or_default();
        if users.len() > MAX_USERS {
            return refuse("process.users", &format!("must not name more than {MAX_USERS}"));
        }
        let is_entry =
            |entry: &str| entry.split(':').count() <= 2 && entry.split(':').all(|part| !part.is_empty());
        if let Some(entry) = users.iter().find(|entry| !is_entry(entry)) {
            return refuse("process.users", &format!("'{entry}' is neither USER nor USER:GROUP"));
        }
        Ok(())
    }
}

impl DockerConfig {
    fn check(&self) -> Result<(), RoleError> {
        check_limits("docker", self.max_pids, self.open_files)?;
        if let Some(socket) = self.socket.as_ref().filter(|socket| !socket.is_absolute()) {
            return refuse("docker.socket", &format!("'{}' is not an absolute path", socket.display()));
        }
        if !(1..=MAX_PULLS).contains(&self.pulls_in_flight) {
            return refuse("docker.pullsInFlight", &format!("must be within 1..={MAX_PULLS}"));
        }
        Ok(())
    }
}

impl HostAccessConfig {
    fn check(&self) -> Result<(), RoleError> {
        for (field, dirs) in [("hostAccess.volumes", &self.volumes), ("hostAccess.files", &self.files)] {
            if dirs.len() > MAX_HOST_DIRS {
                return refuse(field, &format!("must not name more than {MAX_HOST_DIRS}"));
            }
            if let Some(dir) = dirs.iter().find(|dir| !dir.is_absolute()) {
                return refuse(field, &format!("'{}' is not an absolute path", dir.display()));
            }
        }
        if self.env.len() > MAX_HOST_VARIABLES {
            return refuse("hostAccess.env", &format!("must not name more than {MAX_HOST_VARIABLES}"));
        }
        Ok(())
    }
}

/// The limits that both runners have.
fn check_limits(runner: &str, max_pids: u64, open_files: Option<u64>) -> Result<(), RoleError> {
    if max_pids == 0 {
        return refuse(&format!("{runner}.maxPids"), "must be at least 1");
    }
    if open_files.is_some_and(|files| files < MIN_OPEN_FILES) {
        return refuse(&format!("{runner}.openFiles"), &format!("must be at least {MIN_OPEN_FILES}"));
    }
    Ok(())
}

fn refuse(field: &str, problem: &str) -> Result<(), RoleError> {
    Err(RoleError::new(Exit::Validation, format!("the executor's configuration: {field} {problem}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = "cluster: dev\nid: executor-1\ndataDir: /tmp/x\nlisten: {api: '127.0.0.1:4200'}\n\
        controllers: ['127.0.0.1:4100']\ntls: {ca: a, cert: b, key: c}\n";

    fn read(text: &str) -> ExecutorConfig {
        serde_saphyr::from_str(text).unwrap()
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        let config = read(MINIMAL);
        assert_eq!(config.runner, RunnerChoice::Auto);
        assert_eq!(config.on_terminate, OnTerminate::Keep);
        assert_eq!((config.core_overcommit, config.ports.from), (1, 20000));
        config.check().unwrap();
        assert_eq!(config.logs, LogsConfig::default());
        let kept = read(&format!("{MINIMAL}logs: {{maxAge: 3d, maxTotalSize: 512m}}\n")).logs;
        assert_eq!(kept.max_total_size.as_bytes(), 512 << 20);
        assert_eq!(kept.max_age, DroveDuration::from_secs(3 * 24 * 3600));
        assert_eq!(config.host_access, HostAccessConfig::default());
        let HostAccessConfig { volumes, files, env } = &config.host_access;
        assert!(volumes.is_empty() && files.is_empty() && env.is_empty());
        assert!(!config.docker.allow_devices);
        let full = format!("{MINIMAL}runner: process\ncoreOvercommit: 16\nports: {{from: 5000, to: 5199}}\n");
        assert_eq!(read(&full).ports, PortRange { from: 5000, to: 5199 });
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, field) in [
            ("ports: {from: 5, to: 4}", "ports 5-4"),
            ("coreOvercommit: 0", "coreOvercommit"),
            ("process: {maxPids: 0}", "process.maxPids"),
            ("docker: {maxPids: 0}", "docker.maxPids"),
            ("process: {users: [web, 'log:adm', '1234:1234']}", ""),
            ("process: {users: [web, 'log:']}", "process.users 'log:'"),
            ("process: {openFiles: 3}", "process.openFiles"),
            ("docker: {openFiles: 3}", "docker.openFiles"),
            ("docker: {socket: docker.sock}", "docker.socket 'docker.sock'"),
            ("docker: {pullsInFlight: 0}", "docker.pullsInFlight"),
            ("docker: {socket: /run/docker.sock}", ""),
            ("hostAccess: {volumes: [/a, b]}", "hostAccess.volumes 'b'"),
            ("hostAccess: {volumes: [/a], files: [/]}", ""),
            ("tags: [a]", ""),
        ] {
            let config = read(&format!("{MINIMAL}{line}\n"));
            match config.check() {
                Ok(()) => assert!(field.is_empty(), "{line}"),
                Err(error) => assert!(error.sentence.contains(field) && !field.is_empty(), "{error}"),
            }
        }
        let mut config = read(MINIMAL);
        config.controllers.push("nowhere".to_owned());
        assert!(config.check().unwrap_err().sentence.contains("controllers[1] 'nowhere'"));
        assert!(serde_saphyr::from_str::<ExecutorConfig>(&format!("{MINIMAL}surprise: 1\n")).is_err());
    }
}
