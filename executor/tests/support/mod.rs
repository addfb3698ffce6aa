//! What the tests of the runners share: plans, a runner on a directory of its own, and conditions.

// Each test binary uses its part.
#![allow(dead_code)]

pub(crate) mod hung_disk;
/// One home for all tests; in its own crate it is public.
#[allow(unreachable_pub)]
#[path = "../../../tests/src/leftovers.rs"]
pub(crate) mod leftovers;
pub(crate) mod server;
/// One home for all tests; in its own crate it is public.
#[allow(unreachable_pub)]
#[path = "../../../tests/src/small_disk.rs"]
pub(crate) mod small_disk;

use std::collections::{BTreeMap, BTreeSet};
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

fn executor() -> ExecutorId {
    ExecutorId::new("test").unwrap()
}

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
        let logs = LogsConfig::default();
        (ProcessRunner::open(&executor(), self.dir(), shim, config, &logs, events).unwrap(), receiver)
    }

    /// Everything that an executor without containers would open.
    pub(crate) async fn open_all(&self, process: ProcessConfig) -> Runners {
        let config = RunnerConfig {
            choice: RunnerChoice::Process,
            executor: executor(),
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
        leftovers::clear(self.dir());
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

/// The zombies among this process's own children.
pub(crate) fn zombies() -> BTreeSet<u32> {
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
