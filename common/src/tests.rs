//! What the REST API answers, member by member (docs/drove-api.md §2): read as a client reads it and written
//! back, nothing is lost, renamed, reordered in kind, or null.

use std::fmt::Debug;

use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::cluster::ClusterSummary;
use crate::envelope::{Envelope, ValidationErrors};
use crate::event::Event;
use crate::executor::{ExecutorNodeData, ExecutorSummary};
use crate::instance::{InstanceInfo, InstanceState};
use crate::operation::Operation;
use crate::service::ServiceSummary;
use crate::slot::SlotStatus;
use crate::strategy;

/// Reads `document` as a `T`, from a text as it comes over the wire, and writes it back.
fn rewritten<T: Serialize + DeserializeOwned>(document: &Value) -> Value {
    let read: T = serde_json::from_str(&document.to_string()).expect("a client can read it");
    serde_json::to_value(&read).expect("it is JSON")
}

fn instance() -> Value {
    json!({
        "serviceId": "edge-cache-7_2", "serviceName": "edge-cache", "instanceId": "SI-0001",
        "executorId": "executor-2",
        "localInfo": {
            "hostname": "rack4",
            "ports": {"web": {"containerPort": 8080, "hostPort": 31007, "portType": "HTTP"}}
        },
        "resources": [{"type": "CPU", "cores": {"0": [4, 5]}}, {"type": "MEMORY", "memoryInMB": {"0": 96, "1": 32}}],
        "state": "UNHEALTHY", "metadata": {}, "errorMessage": "", "created": 1_700_000_000_000_u64,
        "updated": 1_700_000_000_900_u64,
        "slotIndex": 0, "epoch": 3, "generation": 2, "runner": "DOCKER", "phase": "UNHEALTHY", "restarts": 3,
        "reason": "HEALTH_CHECK_FAILED",
        "startedAt": 1_700_000_000_400_u64,
        "timeline": [
            {"at": 1_700_000_000_000_u64, "from": "PENDING", "to": "PROVISIONING"},
            {"at": 1_700_000_000_900_u64, "from": "HEALTHY", "to": "UNHEALTHY", "reason": "HEALTH_CHECK_FAILED", "message": "3 in a row"},
            {"at": 1_700_000_000_950_u64, "from": "UNKNOWN", "to": "UNHEALTHY", "reason": "FOUND_AGAIN", "repeats": {"times": 2, "last": 1_700_000_000_990_u64}}
        ],
        "probes": [
            {"at": 1_700_000_000_800_u64, "kind": "HEALTH", "passed": false, "latencyMs": 12, "code": 503, "answer": "busy"}
        ],
        "evidence": {"exitCode": 137, "signal": 9, "oomKilled": true, "logTail": "bye\n"}
    })
}

#[test]
fn answers_are_what_the_wire_says() {
    let service = json!({
        "id": "edge-cache-7_2", "name": "edge-cache", "instancesPerHost": 2, "healthyInstances": 5,
        "totalCPUs": 1.5, "totalMemory": 576, "tags": {"team": "delivery"}, "activationState": "ACTIVE",
        "state": "REPLACING_INSTANCES", "created": 1, "updated": 2, "generation": 4, "requiredInstances": 6
    });
    assert_eq!(rewritten::<ServiceSummary>(&service), service);
    assert_eq!(rewritten::<InstanceInfo>(&instance()), instance());

    let executor = json!({
        "executorId": "executor-2", "hostname": "rack4", "port": 4201, "transportType": "HTTP", "freeCores": 14,
        "usedCores": 2, "freeMemory": 31000, "usedMemory": 128, "tags": ["rack4"], "state": "ACTIVE"
    });
    assert_eq!(rewritten::<ExecutorSummary>(&executor), executor);
    let node = json!({
        "type": "EXECUTOR", "hostname": "rack4", "port": 4201, "transportType": "HTTP", "updated": 3,
        "state": {
            "executorId": "executor-2",
            "cpus": {"type": "CPU", "freeCores": {"0": [1]}, "usedCores": {"0": [0]}},
            "memory": {"type": "MEMORY", "freeMemory": {"0": 900}, "usedMemory": {"0": 100}},
            "layout": {"cores": {"0": [0, 1]}, "memory": {"0": 1000}}
        },
        "instances": [], "tasks": [], "serviceInstances": [instance()], "tags": ["rack4"], "metadata": {},
        "executorState": "UNREADY", "version": "0.1.0", "clockSkewMs": -3
    });
    assert_eq!(rewritten::<ExecutorNodeData>(&node), node);

    let cluster = json!({
        "leader": "rack1:4000", "state": "NORMAL", "numExecutors": 2, "numApplications": 0,
        "numActiveApplications": 0, "numActiveTasks": 0, "numLocalServices": 1, "numActiveLocalServices": 1,
        "freeCores": 28, "usedCores": 4, "totalCores": 32, "freeMemory": 62000, "usedMemory": 256,
        "totalMemory": 62256
    });
    assert_eq!(rewritten::<ClusterSummary>(&cluster), cluster);

    let event = json!({
        "type": "LOCAL_SERVICE_INSTANCE_STATE_CHANGE", "id": "e-1", "time": 9,
        "metadata": {"INSTANCE_ID": "SI-0001", "CREATED": 8}, "revision": 77
    });
    assert_eq!(rewritten::<Event>(&event), event);
}

#[test]
fn what_muster_adds_has_the_same_manners() {
    let operation = json!({
        "id": "OP-1", "service": "edge-cache-7_2", "kind": "REPLACE_INSTANCES",
        "opSpec": {"timeout": "5 minutes", "parallelism": 4, "failureStrategy": "STOP"}, "stopFirst": false,
        "created": 1, "deadline": 300_001, "timeLeftMs": 300_000, "state": "RUNNING",
        "slots": [
            {"slot": {"service": "edge-cache-7_2", "executor": "executor-1", "index": 0}, "outcome": "WAITING"},
            {
                "slot": {"service": "edge-cache-7_2", "executor": "executor-2", "index": 0},
                "oldInstance": "SI-0001", "epoch": 4, "outcome": "FAILED", "reason": "START_FAILED", "message": "no"
            }
        ]
    });
    assert_eq!(rewritten::<Operation>(&operation), operation);
    let status = json!({
        "service": "edge-cache-7_2", "index": 1, "epoch": 2, "phase": "BACKOFF", "restarts": 3, "retryAt": 5,
        "reason": "EXITED", "message": "exit code 1", "version": 12
    });
    assert_eq!(rewritten::<SlotStatus>(&status), status);
}

#[test]
fn the_frame_leaves_out_what_it_does_not_have() {
    let written = |envelope: Envelope<Value>| serde_json::to_string(&envelope).unwrap();
    assert_eq!(
        written(Envelope::success(json!({"serviceId": "edge-cache-7_2"}))),
        r#"{"status":"SUCCESS","data":{"serviceId":"edge-cache-7_2"},"message":"success"}"#
    );
    assert_eq!(
        written(Envelope::failed("No executor found with id: e", None)),
        r#"{"status":"FAILED","message":"No executor found with id: e"}"#
    );
    let refusal = json!({
        "status": "FAILED", "data": {"validationErrors": ["spec.name - Service name is mandatory"], "kind": "INVALID"},
        "message": "Command validation failure"
    });
    assert_eq!(rewritten::<Envelope<ValidationErrors>>(&refusal), refusal);
}

/// Nothing is lost on the way to a client; `errorMessage` is always there, and nothing is null.
fn survives<T>(value: &T) -> Result<(), TestCaseError>
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let json = serde_json::to_string(value).unwrap();
    prop_assert_eq!(&serde_json::from_str::<T>(&json).unwrap(), value);
    prop_assert!(!json.contains(":null") && !json.contains("[null"));
    Ok(())
}

proptest! {
    #[test]
    fn instances_survive_their_json(record in strategy::instance_record()) {
        let shown = InstanceInfo::from(&record);
        survives(&shown)?;
        let document = serde_json::to_value(&shown).unwrap();
        prop_assert_eq!(document["errorMessage"].as_str(), Some(record.error_message.as_str()));
        prop_assert_eq!(&document["metadata"], &json!({}));
    }

    #[test]
    fn slot_statuses_survive_their_json(status in strategy::slot_status()) {
        survives(&status)?;
    }
}

#[test]
fn enums_are_read_in_any_case_and_written_in_one() {
    for state in InstanceState::ALL {
        for text in [state.as_str().to_owned(), state.as_str().to_lowercase()] {
            assert_eq!(serde_json::from_value::<InstanceState>(json!(text)).unwrap(), *state);
        }
        assert_eq!(json!(state), json!(state.as_str()));
    }
    let groups =
        |is: fn(InstanceState) -> bool| InstanceState::ALL.iter().filter(|state| is(**state)).count();
    // Nine, three and two, as docs/drove-api.md §2.5 lists them.
    assert_eq!(
        [
            groups(InstanceState::is_active),
            groups(InstanceState::is_running),
            groups(InstanceState::is_terminal)
        ],
        [9, 3, 2]
    );
}
