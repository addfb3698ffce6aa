//! A service as a container, on a real cluster and a real engine. Skipped where no engine answers, unless
//! `MUSTER_REQUIRE_DOCKER=1` is set.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

use std::collections::HashMap;

use bollard::Docker;
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::ListContainersOptionsBuilder;
use muster_common::instance::{InstanceInfo, RunnerKind};
use muster_common::reason::Reason;
use muster_tests::cluster::DevCluster;
use muster_tests::docker_image::{TestImage, engine_or_skip};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const PROGRAM: &str = env!("CARGO_BIN_EXE_muster-under-test");
const SERVICE: &str = "web-1";
const SIGKILL: i32 = 9;

/// The engine, seen from a test that is not asynchronous itself.
struct Engine {
    client: Docker,
    runtime: Runtime,
}

impl Engine {
    fn or_skip(test: &str) -> Option<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(engine_or_skip(test))?;
        Some(Self { client, runtime })
    }

    fn image(&self) -> TestImage {
        self.runtime.block_on(TestImage::import(&self.client)).unwrap()
    }

    fn container_of(&self, instance: &InstanceInfo) -> ContainerInspectResponse {
        let name = format!("{SERVICE}-{}", instance.instance_id);
        self.runtime.block_on(self.client.inspect_container(&name, None)).unwrap()
    }

    fn kill(&self, container: &str) {
        self.runtime.block_on(self.client.kill_container(container, None)).unwrap();
    }

    /// The containers that were made of an image, in whatever condition.
    fn made_of(&self, image: &TestImage) -> usize {
        let filters = HashMap::from([("ancestor".to_owned(), vec![image.reference().to_owned()])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        self.runtime.block_on(self.client.list_containers(Some(options))).unwrap().len()
    }
}

fn spec(image: &TestImage) -> Value {
    let check = json!({
        "mode": {"type": "HTTP", "protocol": "HTTP", "portName": "main", "path": "/", "verb": "GET",
            "successCodes": [200]},
        "timeout": "5s", "interval": "1s", "attempts": 3, "initialDelay": "0s",
    });
    json!({
        "name": "web", "version": "1", "type": "LOCAL_SERVICE", "args": ["serve", "8000"],
        "executable": {"type": "DOCKER", "url": image.reference(), "dockerPullTimeout": "20s"},
        "exposedPorts": [{"name": "main", "port": 8000, "type": "HTTP"}],
        "resources": [{"type": "CPU", "count": 1}, {"type": "MEMORY", "sizeInMB": 32}],
        "placementPolicy": {"type": "LOCAL", "hostLevel": false},
        "healthcheck": check, "readiness": check,
    })
}

#[test]
fn docker_service_is_replaced_found_again_and_leaves_nothing() {
    let test = "docker_service_is_replaced_found_again_and_leaves_nothing";
    let Some(engine) = Engine::or_skip(test) else { return };
    let image = engine.image();
    let cluster = DevCluster::start(PROGRAM, 2, &[spec(&image)]);
    let before = cluster.wait_for_healthy(SERVICE, 2);
    assert!(before.iter().all(|instance| instance.runner == RunnerKind::Docker));
    let port = before[0].local_info.as_ref().unwrap().ports["main"].host_port;
    let answer = reqwest::blocking::get(format!("http://127.0.0.1:{port}/")).unwrap().text().unwrap();
    assert_eq!(answer, "ok\n");

    // A container killed behind everybody's back is replaced, and explained.
    let victim = &before[0];
    engine.kill(&engine.container_of(victim).id.unwrap());
    let dead = cluster.wait_for_end(SERVICE, victim);
    let evidence = dead.evidence.expect("evidence");
    assert_eq!((evidence.signal, evidence.exit_code, evidence.oom_killed), (Some(SIGKILL), None, false));
    assert_eq!(evidence.log_tail, "serving on 8000\n");
    assert_eq!(dead.reason, Some(Reason::Signaled));
    let after = cluster.wait_for_healthy(SERVICE, 2);

    // A killed executor finds its container again.
    let kept = after.iter().find(|instance| instance.executor_id == "executor-1").unwrap();
    let container = engine.container_of(kept);
    cluster.dev("kill", "executor-1");
    cluster.dev("start", "executor-1");
    let found = cluster.wait_for("the instance, healthy again, through the new executor process", || {
        let healthy = cluster.healthy(SERVICE).into_iter();
        healthy.filter(|instance| instance.executor_id == "executor-1").find(|now| now.updated > kept.updated)
    });
    assert_eq!(found.instance_id, kept.instance_id);
    let again = engine.container_of(&found);
    assert_eq!((&again.id, again.state.unwrap().pid), (&container.id, container.state.unwrap().pid));

    // Deactivated, nothing is left of it in the engine.
    let leader = cluster.wait_for("a leader", || cluster.leader());
    cluster.operate(&leader.rest, &json!({"type": "DEACTIVATE", "serviceId": SERVICE})).unwrap();
    cluster.wait_for("no container to be left", || (engine.made_of(&image) == 0).then_some(()));
}
