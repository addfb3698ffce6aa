//! Answers of a cluster, for tests of what is written: as JSON, so that members that come later do no harm.

use muster_common::cluster::ControllerInfo;
use muster_common::event::Event;
use muster_common::executor::{ExecutorNodeData, ExecutorSummary};
use muster_common::instance::InstanceInfo;
use muster_common::operation::{Operation, OperationSummary};
use muster_common::placement::ExecutorPlacement;
use muster_common::service::ServiceSummary;
use muster_common::time::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::screen::Screen;

/// 2026-11-21T12:00:00Z.
const NOW: u64 = 1_795_262_400_000;

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// So many seconds ago.
fn ago(seconds: u64) -> u64 {
    NOW - seconds * 1000
}

/// A pipe.
pub(crate) fn screen() -> Screen {
    Screen { width: None, color: false, is_terminal: false, now: Timestamp(NOW) }
}

/// A terminal of some width.
pub(crate) fn wide_screen(width: u16) -> Screen {
    Screen { width: Some(width), ..screen() }
}

pub(crate) fn service() -> ServiceSummary {
    read(json!({
        "id": "hello-1", "name": "hello", "instancesPerHost": 1, "healthyInstances": 2, "totalCPUs": 0.5,
        "totalMemory": 128, "tags": {"team": "edge", "tier": "web"}, "activationState": "ACTIVE", "state": "ACTIVE",
        "created": ago(90), "updated": ago(30), "generation": 6, "requiredInstances": 2
    }))
}

pub(crate) fn troubled_service() -> ServiceSummary {
    read(json!({
        "id": "shipper-2", "name": "shipper", "instancesPerHost": 1, "healthyInstances": 0, "totalCPUs": 2,
        "totalMemory": 512, "tags": {}, "activationState": "ACTIVE", "state": "ADJUSTING_INSTANCES",
        "created": ago(7_300), "updated": ago(60), "generation": 41, "requiredInstances": 3, "awayInstances": 1,
        "failedInstances": 1, "problems": [
            "executor-1/0: CRASH_LOOP: ended 5 times within 10 minutes",
            "executor-3/0: its executor is away since 2026-11-21T11:58:00.000Z"
        ]
    }))
}

fn instance(id: &str, state: &str, phase: &str, more: Value) -> InstanceInfo {
    let mut value = json!({
        "serviceId": "hello-1", "serviceName": "hello", "instanceId": id, "executorId": "executor-1",
        "resources": [{"type": "CPU", "cores": {"0": [2, 3]}}, {"type": "MEMORY", "memoryInMB": {"0": 64}}],
        "state": state, "phase": phase, "metadata": {}, "errorMessage": "", "created": ago(90), "updated": ago(30),
        "slotIndex": 0, "epoch": 7, "generation": 6, "runner": "PROCESS"
    });
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    read(value)
}

pub(crate) fn healthy_instance() -> InstanceInfo {
    let more = json!({
        "localInfo": {"hostname": "node-1", "ports": {"main": {"containerPort": 5900, "hostPort": 18000, "portType": "HTTP"}}},
        "startedAt": ago(88),
        "warnings": ["the memory limit could not be set: no cgroup may be made"],
        "timeline": [
            {"at": ago(89), "from": "PENDING", "to": "PROVISIONING"},
            {"at": ago(88), "from": "PROVISIONING", "to": "STARTING"},
            {"at": ago(88), "from": "STARTING", "to": "UNREADY"},
            {"at": ago(87), "from": "UNREADY", "to": "READY"},
            {"at": ago(86), "from": "READY", "to": "HEALTHY"}
        ],
        "probes": [
            {"at": ago(87), "kind": "READINESS", "passed": true, "latencyMs": 3, "code": 200, "answer": "ok"},
            {"at": ago(5), "kind": "HEALTH", "passed": true, "latencyMs": 1, "code": 200, "answer": "ok\nfine"}
        ]
    });
    instance("SI-189f22f6-a6ab-418e-b71a-3358ef709ea6", "HEALTHY", "RUNNING", more)
}

pub(crate) fn pending_instance() -> InstanceInfo {
    let more = json!({
        "executorId": "executor-2", "resources": [], "reason": "INSUFFICIENT_RESOURCES",
        "errorMessage": "needs 4 cores, 1 of 8 is free"
    });
    instance("SI-7e3d9363-d722-49e5-8d25-2b5c1600acc4", "PENDING", "PENDING", more)
}

pub(crate) fn ended_instance() -> InstanceInfo {
    let more = json!({
        "reason": "EXITED", "errorMessage": "the process ended with exit code 3", "startedAt": ago(80),
        "finishedAt": ago(35),
        "timeline": [
            {"at": ago(80), "from": "STARTING", "to": "UNREADY"},
            {"at": ago(35), "from": "UNREADY", "to": "STOPPING", "reason": "EXITED", "message": "exit code 3"},
            {"at": ago(30), "from": "DEPROVISIONING", "to": "STOPPED"}
        ],
        "probes": [
            {"at": ago(40), "kind": "READINESS", "passed": false, "latencyMs": 2, "answer": "connection refused"},
            {"at": ago(38), "kind": "READINESS", "passed": false, "latencyMs": 2, "answer": "connection refused"}
        ],
        "evidence": {"exitCode": 3, "oomKilled": false, "logTail": "starting\nno route to host\n"}
    });
    instance("SI-deadbeef-0000-4000-8000-000000000001", "STOPPED", "FAILED", more)
}

pub(crate) fn executors() -> Vec<ExecutorSummary> {
    read(json!([
        {"executorId": "executor-1", "hostname": "node-1", "port": 4200, "transportType": "HTTP", "freeCores": 1,
         "usedCores": 7, "freeMemory": 1024, "usedMemory": 7168, "tags": ["node-1", "zone=a"], "state": "ACTIVE"},
        {"executorId": "executor-2", "hostname": "node-2", "port": 4200, "transportType": "HTTP", "freeCores": 8,
         "usedCores": 0, "freeMemory": 8192, "usedMemory": 0, "tags": ["node-2"], "state": "DRAINING"}
    ]))
}

pub(crate) fn executor_node() -> ExecutorNodeData {
    read(json!({
        "type": "EXECUTOR", "hostname": "node-2", "port": 4200, "transportType": "HTTP", "updated": ago(10),
        "state": {
            "executorId": "executor-2",
            "cpus": {"type": "CPU", "freeCores": {"0": [0, 1, 2]}, "usedCores": {"0": [3]}},
            "memory": {"type": "MEMORY", "freeMemory": {"0": 4096}, "usedMemory": {"0": 64}},
            "layout": {"cores": {"0": [0, 1, 2, 3]}, "memory": {"0": 4160}}
        },
        "instances": [], "tasks": [], "serviceInstances": [], "tags": ["node-2", "zone=b"], "metadata": {},
        "executorState": "DRAINING", "version": "0.1.0", "clockSkewMs": -2_500, "givenTags": ["zone=b"],
        "drainDeadline": NOW + 600_000
    }))
}

fn operation(state: &str, more: Value) -> Value {
    let mut value = json!({
        "id": "OP-d8be7219-24a5-4a47-88c7-149dffc5564e", "service": "shipper-2", "kind": "UPDATE_SPEC", "by": "ada",
        "opSpec": {"timeout": "5 minutes", "parallelism": "25%", "failureStrategy": "ROLLBACK", "canary": {"percent": 10}},
        "stopFirst": false, "generation": 41, "fromGeneration": 30, "created": ago(200), "deadline": NOW + 100_000,
        "timeLeftMs": 100_000, "state": state,
        "slots": [
            {"slot": {"service": "shipper-2", "executor": "executor-1", "index": 0}, "canary": true, "outcome": "DONE"},
            {"slot": {"service": "shipper-2", "executor": "executor-2", "index": 0}, "outcome": "FAILED",
             "message": "the new instance ended with exit code 3"},
            {"slot": {"service": "shipper-2", "executor": "executor-3", "index": 0}, "outcome": "AWAY"}
        ]
    });
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    value
}

pub(crate) fn operation_summary() -> OperationSummary {
    read(operation("RUNNING", json!({"outcomes": {"DONE": 1, "FAILED": 1, "AWAY": 1}})))
}

pub(crate) fn failed_operation() -> Operation {
    read(operation("FAILED", json!({"message": "1 of 3 slots failed", "finished": ago(20)})))
}

pub(crate) fn events() -> Vec<Event> {
    read(json!([
        {"type": "EXECUTOR_ADDED", "id": "a", "time": ago(100), "revision": 5,
         "metadata": {"EXECUTOR_ID": "executor-1", "HOSTNAME": "node-1", "PORT": 4200}},
        {"type": "LOCAL_SERVICE_INSTANCE_STATE_CHANGE", "id": "b", "time": ago(86), "revision": 9,
         "metadata": {"SERVICE_ID": "hello-1", "INSTANCE_ID": "SI-189f22f6-a6ab-418e-b71a-3358ef709ea6",
                      "EXECUTOR_ID": "executor-1", "CURRENT_STATE": "HEALTHY"}},
        {"type": "OPERATION_STATE_CHANGE", "id": "c", "time": ago(20), "revision": 12,
         "metadata": {"OPERATION_ID": "OP-1", "TYPE": "RESTART", "SERVICE_ID": "hello-1", "STATE": "FAILED",
                      "ERROR": "1 of 3 slots failed"}}
    ]))
}

pub(crate) fn members() -> Vec<ControllerInfo> {
    read(json!([
        {"id": 1, "api": "127.0.0.1:4000", "cluster": "127.0.0.1:4100", "leader": true, "role": "LEADER", "lastLog": 90,
         "lag": 0},
        {"id": 2, "api": "127.0.0.1:4001", "cluster": "127.0.0.1:4101", "leader": false, "role": "LEARNER",
         "lastLog": 80, "lag": 10, "silentMs": 1_250},
        {"id": 3, "api": "127.0.0.1:4002", "cluster": "127.0.0.1:4102", "leader": false, "role": "VOTER"}
    ]))
}

pub(crate) fn places() -> Vec<ExecutorPlacement> {
    read(json!([
        {"executorId": "executor-1", "hostname": "node-1", "state": "ACTIVE", "wanted": 1, "live": 1, "reasons": []},
        {"executorId": "executor-2", "hostname": "node-2", "state": "DRAINING", "wanted": 0, "live": 0,
         "reasons": [{"code": "DRAINING", "message": "executor-2 is being drained"},
                     {"code": "TAGS", "message": "it lacks the tag zone=a"}]}
    ]))
}

/// Serves these calls until the test is over, in place of a controller; its address.
pub(crate) async fn serve(router: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    server
}
