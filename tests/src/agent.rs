//! A real executor under a controller of one: the real program, killed, started again, told to stop.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_common::id::{Epoch, Generation, Revision, ServiceId};
use muster_common::instance::{InstanceRecord, InstanceState, LocalInfo};
use muster_common::slot::{ReplaceMode, SlotAssignment, SlotTable};
use muster_common::spec::LocalServiceSpec;
use muster_common::time::Timestamp;
use muster_executor::Place;
use rustix::process::{Pid, Signal, kill_process};

use crate::controller::{Controller, PATIENCE, Records, write_certificate};
use crate::leftovers;
use crate::ports::free_port;

/// An executor's directory and configuration; the process is killed with it, and whatever process it left running: also
/// a test that failed leaves nothing behind.
pub struct Agent {
    /// Holds everything.
    pub dir: tempfile::TempDir,
    /// Its configuration file.
    pub config: PathBuf,
    /// While it runs.
    pub process: Option<Child>,
    /// Its api port.
    pub port: u16,
    /// What runs an executor when it is given `--config FILE`.
    program: Vec<String>,
}

impl Agent {
    /// Starts one that runs processes only.
    #[must_use]
    pub fn new(program: &'static str, controller: &Controller) -> Self {
        Self::with(program, controller, "runner: process\n")
    }

    /// Starts one with more lines in its configuration.
    #[must_use]
    pub fn with(program: &'static str, controller: &Controller, lines: &str) -> Self {
        Self::of(vec![program.to_owned(), "executor".to_owned()], controller, lines)
    }

    /// The same for any command that runs an executor when it is given `--config FILE`.
    #[must_use]
    pub fn of(program: Vec<String>, controller: &Controller, lines: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tls = write_certificate(&controller.authority, "test", dir.path());
        let config = dir.path().join("executor.yaml");
        let port = free_port();
        let text = format!(
            "cluster: test\nid: e1\ndataDir: {}/data\nhostname: localhost\nlisten: {{api: '127.0.0.1:{port}'}}\n\
             controllers: ['{}']\ntls: {tls}\ncoreOvercommit: 16\nmemoryMb: 4096\n{lines}",
            dir.path().display(),
            controller.address,
        );
        std::fs::write(&config, text).unwrap();
        let mut agent = Self { dir, config, process: None, port, program };
        agent.start();
        agent
    }

    /// The command that starts it.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program[0]);
        command.args(&self.program[1..]).arg("--config").arg(&self.config).stderr(Stdio::piped());
        command
    }

    /// Starts it, again or for the first time.
    pub fn start(&mut self) {
        self.process = Some(self.command().stderr(Stdio::null()).spawn().unwrap());
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Waits until its api port takes a connection.
    pub async fn until_it_listens(&self) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            assert!(tokio::time::Instant::now() < deadline, "it never listens");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// SIGTERM; how it ended.
    pub fn terminate(&mut self) -> i32 {
        let mut process = self.process.take().unwrap();
        signal(process.id(), Signal::TERM);
        process.wait().unwrap().code().unwrap()
    }

    /// What a service writes about itself into its scratch directory. Its checks may pass before it has done so.
    #[must_use]
    pub fn pid_of(&self, record: &InstanceRecord) -> u32 {
        let path = self.dir.path().join("data/scratch").join(record.id.as_str()).join("pid");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            if let Some(pid) = text.strip_suffix('\n') {
                return pid.parse().unwrap();
            }
            assert!(Instant::now() < deadline, "{} holds no pid but {text:?}", path.display());
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        leftovers::clear(&self.dir.path().join("data"));
    }
}

/// Waits until something is seen on the node.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "waited {PATIENCE:?} in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Sends a signal to a process that a test started.
pub fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

/// Whether a process runs; a zombie does not.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z')))
}

/// A shell script as a service whose checks pass while it runs.
#[must_use]
pub fn row(name: &str, epoch: u64, script: &str) -> SlotAssignment {
    let check = r#"{"mode": {"type": "CMD", "command": "true"}, "timeout": "5s", "interval": "1s"}"#;
    let spec: LocalServiceSpec = serde_json::from_str(&format!(
        r#"{{"name": "{name}", "version": "1", "type": "LOCAL_SERVICE",
            "executable": {{"type": "PROCESS", "command": ["/bin/sh", "-c", {}]}},
            "exposedPorts": [{{"name": "main", "port": 8080, "type": "TCP"}}],
            "resources": [{{"type": "CPU", "count": 0.1}}, {{"type": "MEMORY", "sizeInMB": 16}}],
            "placementPolicy": {{"type": "LOCAL"}}, "readiness": {check}, "healthcheck": {check},
            "restartPolicy": {{"backoff": ["100ms"], "budget": 10000}}}}"#,
        serde_json::Value::from(script)
    ))
    .unwrap();
    slot(&Arc::new(spec), 0, epoch)
}

/// A slot of a service.
#[must_use]
pub fn slot(spec: &Arc<LocalServiceSpec>, index: u32, epoch: u64) -> SlotAssignment {
    SlotAssignment {
        service: spec.service_id().unwrap(),
        index,
        epoch: Epoch(epoch),
        generation: Generation(epoch),
        mode: ReplaceMode::StartFirst,
        spec: Arc::clone(spec),
    }
}

/// A script that says hello, notes its pid, and runs on.
pub const STEADY: &str = "echo hello; echo $$ > pid; exec sleep 100000";

/// The place of an instance that was leased nothing.
#[must_use]
pub fn place() -> Place {
    Place {
        service: ServiceId::new("test-1").unwrap(),
        service_name: "test".to_owned(),
        index: 0,
        epoch: Epoch(1),
        generation: Generation(1),
        created: Timestamp(0),
        local_info: LocalInfo { hostname: "localhost".to_owned(), ports: BTreeMap::new() },
        resources: Vec::new(),
    }
}

/// What must be.
#[must_use]
pub fn table(revision: u64, rows: Vec<SlotAssignment>) -> SlotTable {
    SlotTable { revision: Revision(revision), rows, unreadable: Vec::new() }
}

/// The healthy instances of a service.
pub fn healthy<'a>(records: &'a Records, name: &'a str) -> impl Iterator<Item = &'a InstanceRecord> {
    records
        .values()
        .filter(move |record| record.state == InstanceState::Healthy && record.service_name == name)
}
