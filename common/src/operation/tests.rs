//! Requests as users send them.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{OperationKind, OperationRequest, Parallelism, validate_request};
use crate::read::{Refused, accept, accept_value};
use crate::spec::SpecLimits;
use crate::spec::tests::{SENT, generous, sent};
use crate::strategy;

fn read(document: &Value) -> Result<OperationRequest, Refused> {
    accept_value(document, |request| validate_request(request, &generous()))
}

fn refusals(document: &Value) -> Vec<String> {
    match read(document) {
        Ok(_) => Vec::new(),
        Err(refused) => refused.errors().iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn every_kind_is_read_and_written_back() {
    let op_spec = json!({"timeout": "4 minutes", "parallelism": 2, "failureStrategy": "ROLLBACK"});
    let careful = json!({
        "timeout": "1 hour", "parallelism": "25%", "failureStrategy": "ROLLBACK", "settle": "10 seconds",
        "canary": {"tag": "canary"}
    });
    let spec: crate::spec::LocalServiceSpec = serde_json::from_str(SENT).unwrap();
    let service = "edge-cache-7_2";
    for (document, kind) in [
        (json!({"type": "CREATE", "spec": spec, "instancesPerHost": 2}), OperationKind::Create),
        (json!({"type": "ACTIVATE", "serviceId": service}), OperationKind::Activate),
        (json!({"type": "DEACTIVATE", "serviceId": service}), OperationKind::Deactivate),
        (json!({"type": "DESTROY", "serviceId": service}), OperationKind::Destroy),
        (
            json!({"type": "UPDATE_INSTANCE_COUNT", "serviceId": service, "instancesPerHost": 256}),
            OperationKind::UpdateInstanceCount,
        ),
        (
            json!({"type": "RESTART", "serviceId": service, "stopFirst": true, "clusterOpSpec": op_spec}),
            OperationKind::Restart,
        ),
        (
            json!({"type": "REPLACE_INSTANCES", "serviceId": service, "instanceIds": [], "stopFirst": false}),
            OperationKind::ReplaceInstances,
        ),
        (
            json!({"type": "STOP_INSTANCES", "serviceId": service, "instanceIds": ["SI-1"], "opSpec": op_spec}),
            OperationKind::StopInstances,
        ),
        (json!({"type": "DEPLOY_TEST_INSTANCE", "serviceId": service}), OperationKind::DeployTestInstance),
        (
            json!({"type": "ADJUST_INSTANCES", "serviceId": service, "opSpec": op_spec}),
            OperationKind::AdjustInstances,
        ),
        (json!({"type": "RETRY", "serviceId": service}), OperationKind::Retry),
        (
            json!({"type": "UPDATE_SPEC", "spec": spec, "stopFirst": false, "opSpec": careful}),
            OperationKind::UpdateSpec,
        ),
        (
            json!({"type": "ROLLBACK", "serviceId": service, "generation": 7, "stopFirst": true}),
            OperationKind::Rollback,
        ),
    ] {
        let request = read(&document).unwrap();
        assert_eq!(request.kind(), kind);
        assert_eq!(serde_json::to_value(&request).unwrap(), document);
    }
}

#[test]
fn names_of_the_wire_are_understood_as_they_come() {
    let stop = read(&json!({"type": "stop", "serviceId": "a-1"})).unwrap();
    assert_eq!(stop, OperationRequest::Deactivate { service_id: "a-1".to_owned() });
    for name in ["opSpec", "clusterOpSpec"] {
        for (kind, ids) in [("RESTART", Value::Null), ("REPLACE_INSTANCES", json!(["SI-1"]))] {
            let document =
                json!({"type": kind, "serviceId": "a-1", "instanceIds": ids, name: {"timeout": "90s"}});
            let (OperationRequest::Restart { cluster_op_spec: spec, .. }
            | OperationRequest::ReplaceInstances { op_spec: spec, .. }) = read(&document).unwrap()
            else {
                panic!("{document}")
            };
            let spec = spec.unwrap();
            assert_eq!(
                (spec.timeout.to_string().as_str(), spec.parallelism),
                ("90 seconds", Parallelism::Slots(1))
            );
        }
    }
}

#[test]
fn each_bad_field_is_named() {
    const COUNT: &str = "instancesPerHost must be between 1 and 256";
    const PARALLELISM: &str = "opSpec.parallelism must be between 1 and 512";
    let restart = |op_spec: Value| json!({"type": "RESTART", "serviceId": "a-1", "opSpec": op_spec});
    let count = |count: Value| json!({"type": "UPDATE_INSTANCE_COUNT", "serviceId": "a-1", "instancesPerHost": count});
    for (document, expected) in [
        (json!({"type": "ACTIVATE"}), "No local service id found in operation"),
        (json!({"type": "ACTIVATE", "serviceId": null}), "No local service id found in operation"),
        (count(Value::Null), COUNT),
        (count(json!(0)), COUNT),
        (count(json!(-1)), COUNT),
        (count(json!(257)), COUNT),
        (count(json!(99_999_999_999_i64)), COUNT),
        (count(json!("two")), "instancesPerHost - must be a whole number"),
        (restart(json!({"parallelism": 0})), PARALLELISM),
        (
            json!({"type": "RESTART", "serviceId": "a-1", "clusterOpSpec": {"parallelism": 0}}),
            "clusterOpSpec.parallelism must be between 1 and 512",
        ),
        (
            json!({"type": "ROLLBACK", "serviceId": "a-1", "clusterOpSpec": {"canary": {"percent": 100}}}),
            "clusterOpSpec.canary.percent must be between 1 and 99",
        ),
        (
            json!({"type": "RESTART", "serviceId": "a-1", "clusterOpSpec": {"timeout": "soon"}}),
            "clusterOpSpec.timeout - 'soon' is not a duration; write a whole number and a unit, such as '30s', \
             '5 minutes' or '1h'",
        ),
        (restart(json!({"parallelism": 513})), PARALLELISM),
        (restart(json!({"parallelism": "101%"})), "opSpec.parallelism must be between 1% and 100%"),
        (
            restart(json!({"parallelism": "some%"})),
            "opSpec.parallelism - must be a whole number or a percentage such as 25%",
        ),
        (restart(json!({"settle": "5m"})), "opSpec.settle - Must be shorter than the timeout"),
        (restart(json!({"canary": {}})), "opSpec.canary - Specify either percent or tag"),
        (restart(json!({"canary": {"percent": 100}})), "opSpec.canary.percent must be between 1 and 99"),
        (
            json!({"type": "ADJUST_INSTANCES", "serviceId": "a-1", "opSpec": {"settle": "5s"}}),
            "opSpec.settle - This operation has no settle time: it does not go in waves",
        ),
        (restart(json!({"timeout": "0s"})), "opSpec.timeout - Must be longer than no time"),
        (restart(json!({"timeout": "8d"})), "opSpec.timeout - Cannot be more than 7 days"),
        (
            restart(json!({"failureStrategy": "PANIC"})),
            "opSpec.failureStrategy - 'PANIC' is not one of [STOP, ROLLBACK]",
        ),
        (
            json!({"type": "STOP_INSTANCES", "serviceId": "a-1"}),
            "instanceIds - Specify the instances to stop",
        ),
        (
            json!({"type": "REPLACE_INSTANCES", "serviceId": "a-1", "instanceIds": vec!["SI-1"; 10_001]}),
            "instanceIds - Cannot name more than 10000",
        ),
        (
            json!({"type": "STOP_INSTANCES", "serviceId": "a-1", "instanceIds": ["SI-1", "x".repeat(256)]}),
            "instanceIds[1] - An id has 255 bytes at most",
        ),
        (json!({}), "type - Specify the type of the operation"),
        (
            json!({"type": "FLY"}),
            "type - 'FLY' is not one of [CREATE, ACTIVATE, DEACTIVATE, DEPLOY_TEST_INSTANCE, ADJUST_INSTANCES, \
             UPDATE_INSTANCE_COUNT, RESTART, REPLACE_INSTANCES, STOP_INSTANCES, UPDATE_SPEC, ROLLBACK, RETRY, DESTROY]",
        ),
    ] {
        assert_eq!(refusals(&document), [expected], "{document}");
    }
    assert_eq!(refusals(&json!([]))[0], "must be an object, not a list");
}

#[test]
fn the_errors_of_a_spec_carry_its_path() {
    let mut spec = sent();
    spec["name"] = json!("");
    spec["readiness"]["mode"]["portName"] = json!("none");
    let document = json!({"type": "CREATE", "spec": spec, "instancesPerHost": 0});
    assert_eq!(
        refusals(&document),
        [
            "spec.name - Service name is mandatory",
            "Invalid port name for health check: none. Available ports: [web, stats-udp]",
            "instancesPerHost must be between 1 and 256",
        ]
    );
    assert_eq!(read(&document).unwrap_err().message(), "Command validation failure");
}

#[test]
fn how_many_a_host_level_service_may_have_is_told_by_the_controllers_in_its_turn() {
    let mut spec = sent();
    spec["placementPolicy"]["hostLevel"] = json!(true);
    let document = json!({"type": "CREATE", "spec": spec, "instancesPerHost": 2});
    assert_eq!(refusals(&document), [""; 0]);
}

#[test]
fn what_is_no_json_is_told_where() {
    let refused = |text: &str| accept::<OperationRequest>(text.as_bytes(), |_| Vec::new()).unwrap_err();
    assert_eq!(
        refused("").to_string(),
        "JSON validation failure: the body is empty; a JSON object is expected"
    );
    let cut = refused("{\"type\":");
    assert!(cut.errors()[0].message.contains("line 1 column 8"), "{cut}");
    let error =
        serde_json::from_str::<OperationRequest>(r#"{"type":"CREATE","spec":{"type":"CRON"}}"#).unwrap_err();
    assert!(error.to_string().starts_with("spec.type - 'CRON' is not one of"), "{error}");
}

proptest! {
    #[test]
    fn every_request_survives_its_json(request in strategy::operation_request()) {
        prop_assert_eq!(OperationRequest::from_json(&request.to_json()).unwrap(), request);
    }

    #[test]
    fn every_request_can_be_judged(request in strategy::operation_request()) {
        for error in validate_request(&request, &SpecLimits::default()) {
            prop_assert!(!error.message.is_empty());
        }
    }

    #[test]
    fn no_text_makes_the_reader_fall(text in "\\PC{0,80}") {
        if let Err(refused) = accept::<OperationRequest>(text.as_bytes(), |_| Vec::new()) {
            prop_assert!(!refused.errors().is_empty());
        }
    }
}
