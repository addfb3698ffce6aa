//! The real program with real processes under it: killed, started again, told to stop.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod controller;
mod metrics;
mod systemd;

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use muster_common::id::{Epoch, Generation, Revision};
use muster_common::instance::{InstanceRecord, InstanceState};
use muster_common::reason::Reason;
use muster_common::slot::{ReplaceMode, SlotAssignment, SlotTable};
use muster_common::spec::LocalServiceSpec;
use rustix::process::{Pid, Signal, kill_process};

use controller::{Controller, Records, write_certificate};

/// An executor's directory and configuration; the process is killed with it.
struct Agent {
    dir: tempfile::TempDir,
    config: PathBuf,
    process: Option<Child>,
    port: u16,
}

impl Agent {
    fn new(controller: &Controller) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tls = write_certificate(&controller.authority, "test", dir.path());
        let config = dir.path().join("executor.yaml");
        let port = free_port();
        let text = format!(
            "cluster: test\nid: e1\ndataDir: {}/data\nhostname: localhost\nlisten: {{api: '127.0.0.1:{port}'}}\n\
             controllers: ['{}']\ntls: {tls}\nrunner: process\ncoreOvercommit: 16\nmemoryMb: 4096\n",
            dir.path().display(),
            controller.address,
        );
        std::fs::write(&config, text).unwrap();
        let mut agent = Self { dir, config, process: None, port };
        agent.start();
        agent
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_muster-executor"));
        command.arg("--config").arg(&self.config).stderr(Stdio::piped());
        command
    }

    fn start(&mut self) {
        self.process = Some(self.command().stderr(Stdio::null()).spawn().unwrap());
    }

    fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Waits until its api port takes a connection.
    async fn until_it_listens(&self) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        while tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            assert!(tokio::time::Instant::now() < deadline, "it never listens");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// SIGTERM; how it ended.
    fn terminate(&mut self) -> i32 {
        let mut process = self.process.take().unwrap();
        signal(process.id(), Signal::TERM);
        process.wait().unwrap().code().unwrap()
    }

    /// What a service wrote about itself into its scratch directory.
    fn pid_of(&self, record: &InstanceRecord) -> u32 {
        let path = self.dir.path().join("data/scratch").join(record.id.as_str()).join("pid");
        std::fs::read_to_string(path).unwrap().trim().parse().unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z')))
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A shell script as a service whose checks pass while it runs.
fn row(name: &str, epoch: u64, script: &str) -> SlotAssignment {
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
    SlotAssignment {
        service: spec.service_id().unwrap(),
        index: 0,
        epoch: Epoch(epoch),
        generation: Generation(epoch),
        mode: ReplaceMode::StartFirst,
        spec: Arc::new(spec),
    }
}

const STEADY: &str = "echo hello; echo $$ > pid; exec sleep 100000";

fn table(revision: u64, rows: Vec<SlotAssignment>) -> SlotTable {
    SlotTable { revision: Revision(revision), rows }
}

fn healthy<'a>(records: &'a Records, name: &'a str) -> impl Iterator<Item = &'a InstanceRecord> {
    records
        .values()
        .filter(move |record| record.state == InstanceState::Healthy && record.service_name == name)
}

#[tokio::test]
async fn a_service_does_not_notice_that_its_executor_was_killed() {
    let controller = Controller::start().await;
    let mut agent = Agent::new(&controller);
    controller.set_table(table(1, vec![row("steady", 1, STEADY)]));
    let records = controller.until("it is healthy", |records| healthy(records, "steady").count() == 1).await;
    let first = healthy(&records, "steady").next().unwrap().clone();
    let pid = agent.pid_of(&first);
    for _ in 0..3 {
        let before = controller.records()[first.id.as_str()].version;
        agent.kill();
        agent.start();
        let again = controller
            .until("it is found again", |records| {
                let record = &records[first.id.as_str()];
                record.version > before && record.state == InstanceState::Healthy
            })
            .await;
        assert_eq!(again.len(), 1, "nothing was started anew");
        assert!(is_alive(pid));
    }

    // It is killed while nobody looks: its end is told all the same.
    agent.kill();
    signal(pid, Signal::KILL);
    agent.start();
    let over = |records: &Records| records[first.id.as_str()].state == InstanceState::Stopped;
    let records = controller.until("its end is told", over).await;
    let ended = &records[first.id.as_str()];
    assert_eq!(ended.reason, Some(Reason::Signaled));
    let evidence = ended.evidence.clone().unwrap();
    assert_eq!((evidence.signal, evidence.log_tail.as_str()), (Some(9), "hello\n"));
    let records = controller.until("it is replaced", |records| healthy(records, "steady").count() == 1).await;
    let second = agent.pid_of(healthy(&records, "steady").next().unwrap());

    // SIGTERM keeps it; an empty table does not.
    assert_eq!(agent.terminate(), 0);
    assert!(is_alive(second));
    agent.start();
    controller.set_table(table(2, vec![]));
    let all_over = |records: &Records| records.values().all(|record| record.state.is_terminal());
    controller.until("all is over", all_over).await;
    assert!(!is_alive(second));
}

#[tokio::test]
async fn a_service_does_not_notice_that_the_journal_is_gone() {
    let controller = Controller::start().await;
    let mut agent = Agent::new(&controller);
    controller.set_table(table(1, vec![row("steady", 1, STEADY), row("unwanted", 1, STEADY)]));
    let both = |records: &Records| {
        healthy(records, "steady").count() == 1 && healthy(records, "unwanted").count() == 1
    };
    let before = controller.until("both are healthy", both).await;
    let steady = healthy(&before, "steady").next().unwrap().clone();
    let unwanted = healthy(&before, "unwanted").next().unwrap().clone();
    let (steady_pid, unwanted_pid) = (agent.pid_of(&steady), agent.pid_of(&unwanted));

    agent.kill();
    std::fs::remove_file(agent.dir.path().join("data/journal.redb")).unwrap();
    controller.set_table(table(2, vec![row("steady", 1, STEADY)]));
    agent.start();
    let records = controller
        .until("one is found, the other has ended", |records| {
            let found = &records[steady.id.as_str()];
            found.version > steady.version
                && found.state == InstanceState::Healthy
                && records[unwanted.id.as_str()].state == InstanceState::Stopped
        })
        .await;
    assert_eq!(records.len(), 2, "nothing was started anew");
    assert_eq!(records[steady.id.as_str()].local_info, steady.local_info);
    assert!(is_alive(steady_pid) && !is_alive(unwanted_pid));
    let orphan = &records[unwanted.id.as_str()];
    assert_eq!(orphan.evidence.as_ref().unwrap().log_tail, "hello\n");
    assert!(orphan.error_message.contains("no record of it was left"), "{}", orphan.error_message);

    controller.set_table(table(3, vec![]));
    let all_over = |records: &Records| records.values().all(|record| record.state.is_terminal());
    controller.until("all is over", all_over).await;
}

#[tokio::test]
async fn the_drain_flag_overrules_a_configuration_that_keeps() {
    let controller = Controller::start().await;
    let mut agent = Agent::new(&controller);
    agent.kill();
    let config = std::fs::read_to_string(&agent.config).unwrap();
    std::fs::write(&agent.config, format!("{config}onTerminate: keep\n")).unwrap();
    agent.process = Some(agent.command().arg("--drain").stderr(Stdio::null()).spawn().unwrap());
    controller.set_table(table(1, vec![row("steady", 1, STEADY)]));
    let records = controller.until("it is healthy", |records| healthy(records, "steady").count() == 1).await;
    let pid = agent.pid_of(healthy(&records, "steady").next().unwrap());
    assert_eq!(agent.terminate(), 0);
    assert!(!is_alive(pid));
    assert!(agent.dir.path().join("data").join(muster_executor::DRAINED).exists());
}

#[tokio::test]
async fn a_drain_right_after_the_start_leaves_nothing_running() {
    let controller = Controller::start().await;
    let mut agent = Agent::new(&controller);
    controller.set_table(table(1, vec![row("steady", 1, STEADY)]));
    let records = controller.until("it is healthy", |records| healthy(records, "steady").count() == 1).await;
    let pid = agent.pid_of(healthy(&records, "steady").next().unwrap());
    agent.kill();
    let config = std::fs::read_to_string(&agent.config).unwrap();
    std::fs::write(&agent.config, format!("{config}onTerminate: drain\n")).unwrap();
    agent.start();
    agent.until_it_listens().await;
    assert_eq!(agent.terminate(), 0);
    assert!(!is_alive(pid));
    assert_eq!(std::fs::read_dir(agent.dir.path().join("data/run")).unwrap().count(), 0);
}

/// How often the executor is killed; more by `MUSTER_KILLS`.
const KILLS: u32 = 12;

#[tokio::test]
async fn killed_again_and_again_among_services_of_every_kind() {
    let kills = std::env::var("MUSTER_KILLS").ok().and_then(|count| count.parse().ok()).unwrap_or(KILLS);
    let controller = Controller::start().await;
    let mut agent = Agent::new(&controller);
    let rows = |epoch: u64| {
        let mut rows: Vec<_> = (0..4).map(|index| row(&format!("steady-{index}"), 1, STEADY)).collect();
        rows.push(row("crashing", 1, "sleep 0.2; exit 7"));
        rows.push(row("replaced", epoch, STEADY));
        rows
    };
    controller.set_table(table(1, rows(1)));
    let steady = |records: &Records| -> Vec<InstanceRecord> {
        let is = |record: &&InstanceRecord| record.service_name.starts_with("steady");
        records.values().filter(is).cloned().collect()
    };
    let all_steady = |records: &Records| {
        steady(records).iter().filter(|record| record.state == InstanceState::Healthy).count() == 4
    };
    let records = controller.until("the steady ones are healthy", all_steady).await;
    let pids: Vec<u32> = steady(&records).iter().map(|record| agent.pid_of(record)).collect();
    for round in 0..kills {
        controller.set_table(table(u64::from(round) + 2, rows(u64::from(round) + 2)));
        // A different moment each time, from before the journal is open to the middle of everything.
        tokio::time::sleep(Duration::from_millis(u64::from(round) * 37 % 450)).await;
        agent.kill();
        agent.start();
    }
    controller.until("the steady ones are healthy again", all_steady).await;
    let last = Epoch(u64::from(kills) + 1);
    let records = controller
        .until("the last replacement is healthy", |records| {
            healthy(records, "replaced").count() == 1
                && healthy(records, "replaced").all(|record| record.epoch == last)
        })
        .await;
    assert_eq!(steady(&records).len(), 4, "a steady service was started anew");
    assert!(pids.iter().all(|&pid| is_alive(pid)));

    controller.set_table(table(u64::from(kills) + 2, vec![]));
    let all_over = |records: &Records| records.values().all(|record| record.state.is_terminal());
    let records = controller.until("all is over", all_over).await;
    for record in records.values().filter(|record| record.service_name == "crashing") {
        let asked = record.reason == Some(Reason::SlotRemoved);
        let code = record.evidence.as_ref().and_then(|evidence| evidence.exit_code);
        assert!(asked || code == Some(7), "{record:#?}");
    }
    agent.kill();
    for name in ["run", "scratch"] {
        let left = std::fs::read_dir(agent.dir.path().join("data").join(name)).unwrap().count();
        assert_eq!(left, 0, "{name} is not empty");
    }
    let marked = |pid: &String| {
        std::fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environ| records.keys().any(|id| contains(&environ, id.as_bytes())))
    };
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let left: Vec<String> =
        processes.filter_map(|entry| entry.file_name().into_string().ok()).filter(marked).collect();
    assert_eq!(left, Vec::<String>::new(), "processes were left behind");
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test]
async fn what_is_in_the_way_is_said_in_one_sentence() {
    let controller = Controller::start().await;
    let agent = Agent::new(&controller);
    controller.set_table(table(1, vec![row("steady", 1, STEADY)]));
    controller.until("it works", |records| healthy(records, "steady").count() == 1).await;

    let refused = |config: String, code: i32, words: &str| {
        let path = agent.dir.path().join("other.yaml");
        std::fs::write(&path, config).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_muster-executor"))
            .arg("--config")
            .arg(&path)
            .env("MUSTER_LOG", "off")
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(words) && said.starts_with("muster: ") && said.lines().count() == 1, "{said}");
    };
    let config = std::fs::read_to_string(&agent.config).unwrap();
    refused(config.clone(), 5, "in use by another process");
    let elsewhere = config.replace("/data\n", "/elsewhere\n");
    refused(elsewhere.clone(), 5, "the port is taken");
    refused(config.replace("cluster: test", "cluster: another"), 3, "another");
    refused(config.replace("id: e1", "id: e2"), 3, "e2");
    refused(format!("{config}surprise: 1\n"), 6, "surprise");
    refused(config.replace("coreOvercommit: 16", "coreOvercommit: 0"), 6, "coreOvercommit");

    controller.set_table(table(2, vec![]));
    let all_over = |records: &Records| records.values().all(|record| record.state.is_terminal());
    controller.until("all is over", all_over).await;
}
