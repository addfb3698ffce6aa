//! A node with an engine of its own: the real executor, a controller of one, and twenty services of two kinds.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use bollard::models::ContainerSummary;
use bollard::query_parameters::ListContainersOptionsBuilder;
use muster_common::instance::{InstanceRecord, InstanceState};
use muster_common::slot::SlotTable;
use muster_common::spec::LocalServiceSpec;
use muster_tests::agent::{slot, table};
use muster_tests::controller::{Controller, Records, write_certificate};
use muster_tests::docker_image::import_into;
use muster_tests::engine::PrivateEngine;
use muster_tests::ports::free_port;
use serde_json::{Value, json};

/// How many containers of each kind.
pub(crate) const OF_EACH: u32 = 10;
/// How many there are.
pub(crate) const ALL: usize = 20;

/// What happens to a service whose engine is in trouble is seen here.
pub(crate) struct Node {
    pub(crate) engine: PrivateEngine,
    pub(crate) controller: Controller,
    dir: tempfile::TempDir,
    image: String,
    process: Option<Child>,
    port: u16,
}

impl Node {
    /// With its executor running and nothing to do.
    pub(crate) async fn new(test: &str, live_restore: bool) -> Option<Self> {
        let engine = PrivateEngine::start_or_skip(test, live_restore)?;
        let image = import_into(&engine.client().unwrap()).await.unwrap();
        let controller = Controller::start().await;
        let dir = tempfile::tempdir().unwrap();
        let tls = write_certificate(&controller.authority, "test", dir.path());
        let port = free_port();
        let first = ports();
        let config = format!(
            "cluster: test\nid: e1\ndataDir: {dir}/data\nhostname: localhost\nlisten: {{api: '127.0.0.1:{port}'}}\n\
             controllers: ['{}']\ntls: {tls}\nrunner: docker\ncoreOvercommit: 16\nmemoryMb: 4096\n\
             ports: {{from: {first}, to: {}}}\n",
            controller.address,
            first + 199,
            dir = dir.path().display(),
        );
        std::fs::write(dir.path().join("executor.yaml"), config).unwrap();
        let mut node = Self { engine, controller, dir, image, process: None, port };
        node.start_executor();
        Some(node)
    }

    pub(crate) fn start_executor(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.log_path()).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_muster-under-test"))
            .args(["executor", "--config"])
            .arg(self.dir.path().join("executor.yaml"))
            .env("DOCKER_HOST", format!("unix://{}", self.engine.socket().display()))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(child);
    }

    /// SIGKILL.
    pub(crate) fn kill_executor(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("executor.log")
    }

    /// Ten with a check over the network, ten with a command as their check.
    pub(crate) fn twenty(&self, revision: u64) -> SlotTable {
        let of =
            |spec: &Arc<LocalServiceSpec>| (0..OF_EACH).map(|index| slot(spec, index, 1)).collect::<Vec<_>>();
        table(revision, [of(&self.http()), of(&self.cmd("/service exit 0"))].concat())
    }

    /// Starts the twenty, and returns when they are healthy.
    pub(crate) async fn run_twenty(&self) -> Records {
        self.controller.set_table(self.twenty(1));
        self.until("the twenty are healthy", |records| healthy(records).count() == ALL).await
    }

    pub(crate) fn http(&self) -> Arc<LocalServiceSpec> {
        let mode = json!({"type": "HTTP", "protocol": "HTTP", "portName": "main", "path": "/", "verb": "GET",
            "successCodes": [200]});
        let ports = json!([{"name": "main", "port": 8000, "type": "HTTP"}]);
        self.spec("http", &json!(["serve", "8000"]), &ports, &mode)
    }

    pub(crate) fn cmd(&self, command: &str) -> Arc<LocalServiceSpec> {
        let mode = json!({"type": "CMD", "command": command, "shellDisabled": true});
        self.spec("cmd", &json!(["sleep"]), &json!([]), &mode)
    }

    /// Ends with 7, a while after it was told to stop.
    pub(crate) fn lingering(&self) -> Arc<LocalServiceSpec> {
        let mode = json!({"type": "CMD", "command": "/service exit 0", "shellDisabled": true});
        self.spec("lingering", &json!(["linger", "7"]), &json!([]), &mode)
    }

    fn spec(&self, name: &str, args: &Value, ports: &Value, mode: &Value) -> Arc<LocalServiceSpec> {
        let check =
            json!({"mode": mode, "timeout": "2s", "interval": "1s", "attempts": 3, "initialDelay": "0s"});
        let spec = json!({
            "name": name, "version": "1", "type": "LOCAL_SERVICE", "args": args,
            "executable": {"type": "DOCKER", "url": self.image, "dockerPullTimeout": "60s"},
            "exposedPorts": ports,
            "resources": [{"type": "CPU", "count": 0.1}, {"type": "MEMORY", "sizeInMB": 16}],
            "placementPolicy": {"type": "LOCAL", "hostLevel": false},
            "healthcheck": check, "readiness": check,
            "restartPolicy": {"backoff": ["1s"], "budget": 100},
        });
        Arc::new(LocalServiceSpec::from_json(spec.to_string().as_bytes()).unwrap())
    }

    /// Waits for what is reported; shows what the executor wrote when it waited in vain.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Records) -> bool) -> Records {
        self.controller.until(what, wanted).await
    }

    /// Everything of this executor that the engine knows, running or not.
    pub(crate) async fn containers(&self) -> Vec<ContainerSummary> {
        let filters = HashMap::from([("label".to_owned(), vec!["muster.executor=e1".to_owned()])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        self.engine.client().unwrap().list_containers(Some(options)).await.unwrap()
    }

    /// The containers by their instance.
    pub(crate) async fn by_instance(&self) -> BTreeMap<String, String> {
        let containers = self.containers().await;
        containers
            .into_iter()
            .map(|container| (container.labels.unwrap()["muster.instance"].clone(), container.id.unwrap()))
            .collect()
    }

    /// A metric's value, all of the series added up that hold these words.
    pub(crate) fn metric(&self, name: &str, words: &str) -> f64 {
        let url = format!("http://127.0.0.1:{}/metrics", self.port);
        // A thread of its own: a blocking client must not be used in a runtime.
        let scraped = std::thread::spawn(move || reqwest::blocking::get(url).unwrap().text().unwrap());
        let scraped = scraped.join().unwrap();
        let series = scraped.lines().filter(|line| line.starts_with(name) && line.contains(words));
        series.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.log_path()).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- executor\n{}", lines[lines.len().saturating_sub(80)..].join("\n"));
        }
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A range of ports for instances that no other test of this process uses.
fn ports() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    25_000 + 200 * (NEXT.fetch_add(1, Ordering::Relaxed) % 30)
}

pub(crate) fn healthy(records: &Records) -> impl Iterator<Item = &InstanceRecord> {
    records.values().filter(|record| record.state == InstanceState::Healthy)
}

/// Whether it was ever said to be bad, or taken down.
pub(crate) fn was_hurt(record: &InstanceRecord) -> bool {
    use InstanceState::{Lost, Stopping, Unhealthy};
    record.timeline.iter().any(|step| matches!(step.to, Unhealthy | Stopping | Lost))
}
