//! Logs of containers that a whole executor copies while they end.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use bollard::Docker;
use bollard::query_parameters::{KillContainerOptions, ListContainersOptionsBuilder};
use muster_common::instance::{InstanceRecord, InstanceState};
use muster_common::reason::Reason;
use muster_common::slot::SlotAssignment;
use muster_common::spec::LocalServiceSpec;
use muster_tests::agent::{Agent, row, table, until};
use muster_tests::controller::{Controller, Records};
use muster_tests::docker_image::{TestImage, engine_or_skip};
use muster_tests::ports::free_port;
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};

use super::logs::{kept, lines, local, log_dir};

/// A node that runs containers of one service.
struct Node {
    engine: Docker,
    image: TestImage,
    controller: Controller,
    agent: Agent,
}

impl Node {
    async fn start(test: &str) -> Option<Self> {
        let engine = engine_or_skip(test).await?;
        let image = TestImage::import(&engine).await.unwrap();
        let controller = Controller::start().await;
        let program = env!("CARGO_BIN_EXE_muster-under-test");
        let agent = Agent::with(program, &controller, "runner: docker\n");
        Some(Self { engine, image, controller, agent })
    }

    fn data(&self) -> PathBuf {
        self.agent.dir.path().join("data")
    }

    /// The test's service with these arguments, and these members beside.
    fn row(&self, epoch: u64, args: &[&str], members: Value) -> SlotAssignment {
        let check = json!({"mode": {"type": "CMD", "command": "/service exit 0", "shellDisabled": true},
            "timeout": "5s", "interval": "1s"});
        let mut spec = json!({
            "name": "test", "version": "1", "type": "LOCAL_SERVICE", "args": args,
            "executable": {"type": "DOCKER", "url": self.image.reference(), "dockerPullTimeout": "20s"},
            "resources": [{"type": "CPU", "count": 0.5}, {"type": "MEMORY", "sizeInMB": 32}],
            "placementPolicy": {"type": "LOCAL"}, "readiness": check, "healthcheck": check,
        });
        let Value::Object(members) = members else { panic!("{members}") };
        spec.as_object_mut().unwrap().extend(members);
        let mut spec: LocalServiceSpec = serde_json::from_value(spec).unwrap();
        spec.logging = Some(local("1m", 100));
        SlotAssignment { spec: Arc::new(spec), ..row("test", epoch, "") }
    }

    /// Waits for an instance of this epoch, other than `but`, of which `condition` is true.
    async fn until(
        &self,
        what: &str,
        epoch: u64,
        but: Option<&InstanceRecord>,
        condition: impl Fn(&InstanceRecord) -> bool,
    ) -> InstanceRecord {
        let is = |record: &&InstanceRecord| {
            record.epoch.0 == epoch && but.is_none_or(|but| record.id != but.id) && condition(record)
        };
        let records = self.controller.until(what, |records| records.values().any(|one| is(&one))).await;
        records.values().find(is).unwrap().clone()
    }

    /// The containers of an instance, whether they run or not.
    async fn containers(&self, record: &InstanceRecord) -> Vec<String> {
        let filter = [("label".to_owned(), vec![format!("muster.instance={}", record.id)])].into();
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filter).build();
        let found = self.engine.list_containers(Some(options)).await.unwrap();
        found.into_iter().filter_map(|container| container.id).collect()
    }

    async fn end(mut self) {
        self.controller.set_table(table(1000, vec![]));
        let all_over = |records: &Records| records.values().all(|record| record.state.is_terminal());
        self.controller.until("all is over", all_over).await;
        self.agent.terminate();
    }
}

#[tokio::test]
async fn docker_log_that_takes_long_to_copy_keeps_its_container_and_holds_up_no_replacement() {
    let test = "docker_log_that_takes_long_to_copy_keeps_its_container_and_holds_up_no_replacement";
    let Some(node) = Node::start(test).await else { return };
    // A port of the node's own: the next one can only have it when the last one has given it back.
    let port = free_port();
    let members = json!({
        "exposedPorts": [{"name": "main", "port": port, "type": "TCP"}],
        "placementPolicy": {"type": "LOCAL", "hostLevel": true},
        "restartPolicy": {"backoff": ["100ms"], "budget": 10},
    });
    node.controller.set_table(table(1, vec![node.row(1, &["serve", &port.to_string()], members)]));
    let is_healthy = |record: &InstanceRecord| record.state == InstanceState::Healthy;
    let first = node.until("it is healthy", 1, None, is_healthy).await;
    let copied = log_dir(&node.data(), &first.id).join("output.copied");
    until("it is copied", || copied.exists()).await;
    // Nobody else can write the copy meanwhile.
    let slow_disk = File::open(&copied).unwrap();
    flock(&slow_disk, FlockOperation::LockExclusive).unwrap();
    let containers = node.containers(&first).await;
    node.engine.kill_container(&containers[0], None::<KillContainerOptions>).await.unwrap();

    let next = node.until("the next one is healthy", 1, Some(&first), is_healthy).await;
    assert_eq!(next.local_info.unwrap().ports["main"].host_port, port);
    let waiting = node.controller.records()[first.id.as_str()].clone();
    assert_eq!((waiting.state, waiting.reason), (InstanceState::Deprovisioning, Some(Reason::CopyingLog)));
    let evidence = waiting.evidence.unwrap();
    assert_eq!((evidence.signal, evidence.log_tail), (Some(9), format!("serving on {port}\n")));
    assert_eq!(node.containers(&first).await, containers, "it has the rest of the log");

    drop(slow_disk);
    let over = |record: &InstanceRecord| record.id == first.id && record.state == InstanceState::Stopped;
    let over = node.until("it is over", 1, None, over).await;
    assert_eq!(over.reason, Some(Reason::Signaled));
    assert!(node.containers(&first).await.is_empty());
    assert_eq!(kept(&node.data(), &first.id), format!("serving on {port}\n"));
    node.end().await;
}

#[tokio::test]
async fn docker_log_is_whole_after_its_executor_was_killed_copying_it() {
    const KILLS: usize = 3;
    let test = "docker_log_is_whole_after_its_executor_was_killed_copying_it";
    let Some(mut node) = Node::start(test).await else { return };
    let (mut count, mut epoch) = (60_000, 1);
    loop {
        let kills = killed_while_copying(&mut node, epoch, count, KILLS).await;
        if kills == KILLS {
            break;
        }
        // On a fast node the copy was whole too soon: that try says little, and the next log is longer.
        (count, epoch) = (count * 4, epoch + 1);
        assert!(count < 5_000_000, "only {kills} kills");
    }
    node.end().await;
}

/// Kills the executor up to `most` times while it copies the log of a container that ends, and looks at what came of
/// it. How often it did.
async fn killed_while_copying(node: &mut Node, epoch: u64, count: usize, most: usize) -> usize {
    let members = json!({"restartPolicy": {"backoff": ["1h"], "budget": 10}});
    let row = node.row(epoch, &["lines", &count.to_string()], members);
    node.controller.set_table(table(epoch, vec![row]));
    let record = node.until("it is started", epoch, None, |_| true).await;
    let dir = log_dir(&node.data(), &record.id);
    let anchor = || std::fs::read_to_string(dir.join("output.copied")).unwrap_or_default();
    let is_whole = || dir.join("output.ended").exists();
    let (mut kills, mut last) = (0, anchor());
    while kills < most {
        until("the copy gets on", || anchor() != last || is_whole()).await;
        if is_whole() {
            break;
        }
        last = anchor();
        node.agent.kill();
        node.agent.start();
        kills += 1;
    }
    let is_stopped = |one: &InstanceRecord| one.id == record.id && one.state == InstanceState::Stopped;
    let over = node.until("it is over", epoch, None, is_stopped).await;
    let tail = over.evidence.unwrap().log_tail;
    assert!(tail.ends_with(&format!("line {}\n", count - 1)), "{kills} kills");
    assert!(kept(&node.data(), &record.id) == lines(count), "{kills} kills");
    kills
}
