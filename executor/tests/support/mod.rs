//! What the tests of the runners share: plans, a runner on a directory of its own, and conditions.

// Each test binary uses its part.
#![allow(dead_code)]

pub(crate) mod server;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_common::id::{Epoch, ExecutorId, Generation, InstanceId, ServiceId};
use muster_common::instance::LocalInfo;
use muster_common::spec::{Executable, LocalServiceSpec};
use muster_common::time::Timestamp;
use muster_executor::{
    DockerConfig, HostAccessConfig, LogsConfig, ProcessConfig, ProcessRunner, RunnerChoice,
};
use muster_executor::{LaunchPlan, Place, RunnerConfig, RunnerEvent, Runners};
use muster_platform::DataDir;
use tokio::sync::mpsc;
use uuid::Uuid;

/// The longest that any condition may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A node's directory, and a runner on it that can be opened again and again.
pub(crate) struct Node {
    data: DataDir,
    _dir: tempfile::TempDir,
}

impl Node {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { data: DataDir::lock(&dir.path().join("data")).unwrap(), _dir: dir }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.data.path()
    }

    /// What a new executor process would open.
    pub(crate) fn open(&self) -> (ProcessRunner, mpsc::Receiver<RunnerEvent>) {
        self.open_with(ProcessConfig::default())
    }

    /// The same, configured otherwise.
    pub(crate) fn open_with(&self, config: ProcessConfig) -> (ProcessRunner, mpsc::Receiver<RunnerEvent>) {
        let (events, receiver) = mpsc::channel(256);
        let shim = PathBuf::from(env!("CARGO_BIN_EXE_muster-executor"));
        (ProcessRunner::open(self.dir(), shim, config, &LogsConfig::default(), events).unwrap(), receiver)
    }

    /// Everything that an executor without containers would open.
    pub(crate) async fn open_all(&self, process: ProcessConfig) -> Runners {
        let config = RunnerConfig {
            choice: RunnerChoice::Process,
            executor: ExecutorId::new("test").unwrap(),
            data_dir: self.dir().to_owned(),
            shim: Some(PathBuf::from(env!("CARGO_BIN_EXE_muster-executor"))),
            process,
            logs: LogsConfig::default(),
            docker: DockerConfig::default(),
            host_access: HostAccessConfig::default(),
        };
        Runners::open(&config).await.unwrap()
    }
}

/// Even a test that failed leaves nothing behind.
impl Drop for Node {
    fn drop(&mut self) {
        let Ok(instances) = std::fs::read_dir(self.dir().join("run")) else { return };
        for instance in instances.flatten() {
            let Ok(instance) = InstanceId::new(instance.file_name().to_string_lossy()) else { continue };
            for pid in processes_of(&instance) {
                let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap_or_default());
                // It may be gone by now.
                let _ = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::KILL));
            }
            remove_groups(&self.dir().join("run").join(instance.as_str()).join("cgroup.json"));
        }
    }
}

/// What is left of an instance's control groups; a test that passed has removed them.
fn remove_groups(list: &Path) {
    let Ok(text) = std::fs::read(list) else { return };
    let list: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    for place in list["places"].as_array().into_iter().flatten() {
        let dir = Path::new(place["dir"].as_str().unwrap_or_default());
        let remove = || {
            // That of commands beside the workload, if there were any.
            let _ = std::fs::remove_dir(dir.join("muster-beside"));
            std::fs::remove_dir(dir)
        };
        let deadline = Instant::now() + PATIENCE;
        // Those who were just killed leave it a moment later.
        while dir.is_dir() && remove().is_err() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = dir.parent().map(std::fs::remove_dir);
    }
}

/// A plan for a PROCESS executable with the environment that the executor would give it.
pub(crate) fn plan(command: &[&str]) -> LaunchPlan {
    let spec = LocalServiceSpec {
        executable: Some(Executable::Process {
            command: command.iter().map(|&word| word.to_owned()).collect(),
            working_directory: None,
        }),
        ..LocalServiceSpec::from_json(br#"{"name": "test", "version": "1"}"#).unwrap()
    };
    let instance = InstanceId::from_uuid(Uuid::new_v4());
    LaunchPlan {
        env: BTreeMap::from([
            ("MUSTER_INSTANCE_ID".to_owned(), instance.to_string()),
            ("GREETING".to_owned(), "hello".to_owned()),
        ]),
        instance,
        place: Place {
            service: ServiceId::new("test-1").unwrap(),
            service_name: "test".to_owned(),
            index: 0,
            epoch: Epoch(1),
            generation: Generation(1),
            created: Timestamp(0),
            local_info: LocalInfo { hostname: "localhost".to_owned(), ports: BTreeMap::new() },
            resources: Vec::new(),
        },
        spec: Arc::new(spec),
    }
}

/// A plan whose command is a shell script.
pub(crate) fn script(text: &str) -> LaunchPlan {
    plan(&["sh", "-c", text])
}

/// Waits for a condition, not for a guess.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The processes, zombies included, that carry the instance's id in their environment or are named
/// after it: the shim and all that it started.
pub(crate) fn processes_of(instance: &InstanceId) -> Vec<u32> {
    let mark = format!("MUSTER_INSTANCE_ID={instance}");
    let name = format!("muster-shim[{instance}]");
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let has = |file: &str, wanted: &str| {
                std::fs::read(format!("/proc/{pid}/{file}"))
                    .is_ok_and(|bytes| bytes.split(|&byte| byte == 0).any(|part| part == wanted.as_bytes()))
            };
            has("environ", &mark) || has("cmdline", &name)
        })
        .collect()
}

/// The zombies among this process's own children.
pub(crate) fn zombies() -> Vec<u32> {
    let me = std::process::id().to_string();
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse::<u32>().ok()?;
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
            (fields.next() == Some("Z") && fields.next() == Some(&me)).then_some(pid)
        })
        .collect()
}
