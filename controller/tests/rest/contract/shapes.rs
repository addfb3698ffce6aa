//! §2.1, §2.4 to §2.11: what is answered, as the contract's examples have it.

use muster_common::duration::DroveDuration;
use muster_common::executor::ExecutorState;
use muster_common::id::ExecutorId;
use muster_controller::State;
use muster_platform::World;
use serde_json::{Value, json};

use super::{EXECUTOR, Fleet, INSTANCE, OPERATIONS, SERVICE, assert_example, refusal, spec_with};
use crate::common::Cluster;
use crate::common::executor::{Session, register};
use crate::failed;

/// What Muster adds to an instance in a list.
const IN_LISTS: [&str; 7] = ["slotIndex", "epoch", "generation", "runner", "phase", "restarts", "startedAt"];

fn instance() -> Value {
    json!({
        "serviceId": SERVICE, "serviceName": "TEST_LOCAL_SERVICE", "instanceId": INSTANCE, "executorId": EXECUTOR,
        "localInfo": {
            "hostname": "node1",
            "ports": {"main": {"containerPort": 8000, "hostPort": 33857, "portType": "HTTP"}}
        },
        "resources": [{"type": "CPU", "cores": {"0": [2]}}, {"type": "MEMORY", "memoryInMB": {"0": 128}}],
        "state": "HEALTHY", "metadata": {}, "errorMessage": "",
        "created": 1_719_892_354_194_u64, "updated": 1_719_897_100_104_u64
    })
}

/// §2.1.
#[tokio::test]
async fn the_envelope_is_droves() {
    let fleet = Fleet::start().await;
    let other = json!({"type": "CREATE", "spec": spec_with("OTHER", &[]), "instancesPerHost": 1});
    let (status, answer) = fleet.cluster.post(0, OPERATIONS, other.to_string()).await;
    let example = json!({"status": "SUCCESS", "data": {"serviceId": "OTHER-1"}, "message": "success"});
    assert_eq!(status, 200);
    assert_example("§2.1", &answer, &example, &["data"], &[]);
    assert_example("§2.1", &answer["data"], &example["data"], &[], &["operationId"]);

    let restart = json!({"type": "RESTART", "serviceId": "OTHER-1"}).to_string();
    let sentence = "Only [ACTIVATE, ADJUST_INSTANCES, DEPLOY_TEST_INSTANCE, DESTROY, UPDATE_INSTANCE_COUNT] allowed for \
                    local service OTHER-1 as it is in INACTIVE state";
    let answer = fleet.cluster.post(0, OPERATIONS, restart).await;
    assert_eq!(answer, (400, refusal("Command validation failure", &[sentence], "CONFLICT")), "§2.1");
    fleet.stop().await;
}

/// §2.4.
#[tokio::test]
async fn a_service_is_summed_up() {
    let fleet = Fleet::start().await;
    let example = json!({
        "id": SERVICE, "name": "TEST_LOCAL_SERVICE", "instancesPerHost": 1, "healthyInstances": 1, "totalCPUs": 1,
        "totalMemory": 128, "tags": {"team": "platform"}, "activationState": "ACTIVE", "state": "ACTIVE",
        "created": 1_719_892_354_194_u64, "updated": 1_719_892_454_194_u64
    });
    let listed = fleet.get("/localservices").await;
    assert_eq!(listed.as_object().unwrap().len(), 1, "§1.3: by id");
    for shown in [&fleet.get(&format!("/localservices/{SERVICE}")).await, &listed[SERVICE]] {
        let additions = ["generation", "requiredInstances"];
        assert_example("§2.4", shown, &example, &["created", "updated"], &additions);
    }
    fleet.stop().await;
}

/// §2.5.
#[tokio::test]
async fn an_instance_is_shown() {
    let fleet = Fleet::start().await;
    let of_service = format!("/localservices/{SERVICE}/instances");
    for path in [of_service.clone(), format!("/applications/{SERVICE}/instances"), "/instances".to_owned()] {
        let listed = fleet.get(&path).await;
        assert_eq!(listed.as_array().unwrap().len(), 1, "{path}");
        assert_example(&format!("§2.5 {path}"), &listed[0], &instance(), &[], &IN_LISTS);
    }
    let one = fleet.get(&format!("{of_service}/{INSTANCE}")).await;
    let in_detail = [&IN_LISTS[..], &["conditions", "timeline"]].concat();
    assert_example("§2.5", &one, &instance(), &[], &in_detail);

    // §2.5: the last error stays, whatever state follows.
    let ended = &fleet.get(&format!("{of_service}/old")).await[0];
    assert_eq!((&ended["state"], &ended["errorMessage"]), (&json!("STOPPED"), &json!("exited with code 3")));
    fleet.stop().await;
}

/// §2.8, §2.9.
#[tokio::test]
async fn an_executor_is_shown() {
    let fleet = Fleet::start().await;
    let summary = json!({
        "executorId": EXECUTOR, "hostname": "node1", "port": 3000, "transportType": "HTTP", "freeCores": 3,
        "usedCores": 1, "freeMemory": 18_898, "usedMemory": 128, "tags": ["node1"], "state": "ACTIVE"
    });
    assert_eq!(fleet.get("/cluster/executors").await, json!([summary]), "§2.8");

    let mut node = fleet.get(&format!("/cluster/executors/{EXECUTOR}")).await;
    let runs = node["serviceInstances"].take();
    assert_example("§2.9", &runs[0], &instance(), &[], &IN_LISTS);
    node["serviceInstances"] = json!([]);
    let example = json!({
        "type": "EXECUTOR", "hostname": "node1", "port": 3000, "transportType": "HTTP",
        "updated": 1_719_897_100_104_u64,
        "state": {
            "executorId": EXECUTOR,
            "cpus": {"type": "CPU", "freeCores": {"0": [3, 4, 5]}, "usedCores": {"0": [2]}},
            "memory": {"type": "MEMORY", "freeMemory": {"0": 18_898}, "usedMemory": {"0": 128}},
            "layout": {"cores": {"0": [2, 3, 4, 5]}, "memory": {"0": 19_026}}
        },
        "instances": [], "tasks": [], "serviceInstances": [], "tags": ["node1"], "metadata": {},
        "executorState": "ACTIVE"
    });
    let additions = ["version", "clockSkewMs", "contact", "contactSince"];
    assert_example("§2.9", &node, &example, &["updated"], &additions);
    fleet.stop().await;
}

/// §1.4: the list keeps one that was removed; asked for by its id, there is none.
#[tokio::test]
async fn an_executor_that_was_removed_is_in_the_list_alone() {
    let cluster = Cluster::start_configured(World::system(), 1, |config| {
        config.liveness.unknown_after = DroveDuration::from_secs(1);
    })
    .await;
    let address = cluster.controllers[0].cluster_addr().to_string();
    let mut executor =
        Session::open(&cluster.executor(EXECUTOR), &address, register(EXECUTOR, 1, 0)).await.unwrap();
    executor.welcome().await;
    let one = format!("/cluster/executors/{EXECUTOR}");
    assert_eq!(cluster.get(0, &one).await.1["data"]["executorState"], "ACTIVE");
    drop(executor);
    let id = ExecutorId::new(EXECUTOR).unwrap();
    let is_missed = |state: &State| state.executor(&id).unwrap().shown_state() == ExecutorState::Unready;
    cluster.until(0, "the executor is missed", is_missed).await;
    assert_eq!(cluster.get(0, &one).await.1["data"]["executorState"], "UNREADY", "it may come back");
    let (status, answer) = cluster.post(0, &format!("{one}/remove"), "{}").await;
    assert_eq!((status, &answer["data"]["state"]), (200, &json!("REMOVED")), "{answer}");
    let (_, listed) = cluster.get(0, "/cluster/executors").await;
    assert_eq!(listed["data"], json!([answer["data"]]), "§1.4");
    let message = format!("No executor found with id: {EXECUTOR}");
    assert_eq!(cluster.get(0, &one).await, (200, failed(&message)), "§1.4, §1.1");
    let (_, events) = cluster.get(0, "/cluster/events").await;
    let gone = events["data"].as_array().unwrap().iter().find(|event| event["type"] == "EXECUTOR_REMOVED");
    assert_eq!(gone.unwrap()["metadata"]["EXECUTOR_ID"], EXECUTOR, "§2.11");
    cluster.stop().await;
}

/// §2.10.
#[tokio::test]
async fn the_cluster_is_summed_up() {
    let fleet = Fleet::start().await;
    let idle = json!({"type": "CREATE", "spec": spec_with("IDLE", &[]), "instancesPerHost": 1});
    fleet.cluster.submit(0, idle).await;
    let example = json!({
        "leader": fleet.cluster.controllers[0].api_addr().to_string(), "state": "NORMAL", "numExecutors": 1,
        "numApplications": 0, "numActiveApplications": 0, "numActiveTasks": 0, "numLocalServices": 2,
        "numActiveLocalServices": 1, "freeCores": 3, "usedCores": 1, "totalCores": 4, "freeMemory": 18_898,
        "usedMemory": 128, "totalMemory": 19_026
    });
    assert_eq!(fleet.get("/cluster").await, example, "§2.10");
    // §2.10: who takes nothing does not count.
    fleet.cluster.post(0, &format!("/cluster/executors/{EXECUTOR}/blacklist"), "{}").await;
    let emptied = fleet.get("/cluster").await;
    for (member, value) in
        [("numExecutors", 0), ("totalCores", 0), ("totalMemory", 0), ("numLocalServices", 2)]
    {
        assert_eq!(emptied[member], value, "§2.10: {member}");
    }
    fleet.stop().await;
}

/// §2.11.
#[tokio::test]
async fn events_have_droves_tags() {
    let fleet = Fleet::start().await;
    fleet.cluster.post(0, "/cluster/maintenance/set", "{}").await;
    fleet.cluster.post(0, "/cluster/maintenance/unset", "{}").await;
    for duty in ["blacklist", "unblacklist"] {
        fleet.cluster.post(0, &format!("/cluster/executors/{EXECUTOR}/{duty}"), "{}").await;
    }
    let events = fleet.get("/cluster/events").await;
    let events = events.as_array().unwrap();
    let node = json!({"EXECUTOR_ID": EXECUTOR, "HOSTNAME": "node1", "PORT": 3000});
    let controller = json!({"HOSTNAME": "127.0.0.1"});
    for (case, kind, metadata) in [
        (
            "a service",
            "LOCAL_SERVICE_STATE_CHANGE",
            json!({
                "LOCAL_SERVICE_ID": SERVICE, "LOCAL_SERVICE_NAME": "TEST_LOCAL_SERVICE", "LOCAL_SERVICE_VERSION": "1",
                "EXECUTABLE": "registry.example.org/team/web:1.0", "CPU_COUNT": 1, "MEMORY": 128,
                "PLACEMENT_POLICY": "LOCAL", "PORTS": "main:8000:http", "CURRENT_INSTANCES_PER_HOST": 1,
                "CURRENT_STATE": "ACTIVE"
            }),
        ),
        (
            "an instance",
            "LOCAL_SERVICE_INSTANCE_STATE_CHANGE",
            json!({
                "SERVICE_ID": SERVICE, "SERVICE_NAME": "TEST_LOCAL_SERVICE", "INSTANCE_ID": INSTANCE,
                "EXECUTOR_ID": EXECUTOR, "EXECUTOR_HOST": "node1", "PORTS": "main:33857:http",
                "CREATED": 1_719_892_354_194_u64, "CURRENT_STATE": "HEALTHY"
            }),
        ),
        ("an executor", "EXECUTOR_ADDED", node.clone()),
        ("an executor", "EXECUTOR_BLACKLIST_REQUESTED", node.clone()),
        ("an executor", "EXECUTOR_UN_BLACKLISTED", node),
        ("the cluster", "MAINTENANCE_MODE_SET", controller.clone()),
        ("the cluster", "MAINTENANCE_MODE_REMOVED", controller.clone()),
        ("the cluster", "LEADERSHIP_ACQUIRED", controller),
    ] {
        let is_meant = |event: &&Value| event["type"] == kind && event["metadata"] == metadata;
        let event =
            events.iter().find(is_meant).unwrap_or_else(|| panic!("§2.11 {case}: {kind} in {events:?}"));
        let example = json!({"metadata": metadata, "type": kind, "id": "", "time": 1_719_977_631_534_u64});
        assert_example(&format!("§2.11 {case}"), event, &example, &["id", "time"], &["revision"]);
        assert_eq!(event["id"].as_str().unwrap().len(), 36, "§2.11: a UUID");
    }
    // §2.11: ERROR where there is one.
    let ended = events.iter().find(|event| event["metadata"]["CURRENT_STATE"] == "STOPPED").unwrap();
    assert_eq!(ended["metadata"]["ERROR"], "exited with code 3", "{ended}");
    fleet.stop().await;
}
