//! What the API says of itself is true: an independent judge (schemathesis, from `PyPI`) calls whatever the document
//! describes, with what it allows and with what it does not, and finds no failure of a controller and no answer that the
//! document does not tell of.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fmt::Write as _;
use std::fs;

use muster_tests::cluster::DevCluster;
use muster_tests::python::SCHEMATHESIS;
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_muster-under-test");
/// How many calls of each kind: enough to meet each refusal, within a minute or two.
const EXAMPLES: &str = "--max-examples=6";
/// So that a failing run can be had again.
const SEED: &str = "--seed=1";
/// How the judge makes bodies that can be taken.
const HOOKS: &str = include_str!("hooks.py");
/// The calls that steer an operation. Each has one of its own, which is where it is wanted however often that is said.
const STEERS: [&str; 4] = ["cancel", "pause", "resume", "promote"];

/// A service that does nothing.
fn service(name: &str) -> Value {
    let check =
        json!({"mode": {"type": "CMD", "command": "true"}, "timeout": "5s", "interval": "5s", "attempts": 3});
    json!({
        "name": name, "version": "1", "type": "LOCAL_SERVICE",
        "executable": {"type": "PROCESS", "command": ["sleep", "100000"]},
        "exposedPorts": [{"name": "main", "port": 8080, "type": "TCP"}],
        "resources": [{"type": "CPU", "count": 0.1}, {"type": "MEMORY", "sizeInMB": 16}],
        "placementPolicy": {"type": "LOCAL", "hostLevel": false},
        "readiness": check, "healthcheck": check,
    })
}

/// Begins an operation on a service that goes on for as long as anybody looks.
fn begin_operation(cluster: &DevCluster, rest: &str, service: &str) -> String {
    // Of what is not healthy yet nothing would be replaced, and it would be over at once.
    cluster.wait_for_healthy(service, 1);
    let pace = json!({"timeout": "2 hours", "settle": "1 hour", "canary": {"percent": 50}});
    let restart = json!({"type": "RESTART", "serviceId": service, "opSpec": pace});
    let begun =
        cluster.wait_for("a controller that takes the operation", || cluster.operate(rest, &restart).ok());
    begun["operationId"].as_str().unwrap().to_owned()
}

/// What the judge is told beside the document: what there is, and that each call must be taken some of the time. The body of
/// three calls is a spec again, or holds one: what of it is at the bounds is tried with that which checks a spec.
fn configuration(cluster: &DevCluster, rest: &str) -> String {
    let instance = &cluster.wait_for_healthy("web-1", 1)[0].instance_id;
    let mut text = format!(
        r#"
            hooks = "hooks"
            [warnings]
            fail-on = ["validation_mismatch"]
            [dictionaries]
            services = {{ values = ["web-1"] }}
            instances = {{ values = ["{instance}"] }}
            files = {{ values = ["output.log"] }}
            executors = {{ values = ["executor-1"] }}
            [parameters]
            "path.service" = {{ dictionary = "services", probability = 0.8 }}
            "path.instance" = {{ dictionary = "instances", probability = 0.8 }}
            "path.file" = {{ dictionary = "files", probability = 0.8 }}
            [[operations]]
            include-path = ["/cluster/placement/simulate", "/localservices/placement", "/localservices/operations"]
            phases.coverage.enabled = false
            [[operations]]
            include-operation-id = ["getExecutor", "tagExecutor"]
            parameters = {{ "path.executor" = {{ dictionary = "executors", probability = 0.8 }} }}
            # An executor that is emptied has no place for the operations that are to be at work.
            [[operations]]
            include-path-regex = "^/cluster/executors/[{{]executor[}}]/(blacklist|drain|remove)$"
            parameters = {{ "path.executor" = "executor-2" }}
        "#
    );
    for steer in STEERS {
        let operation = begin_operation(cluster, rest, &format!("{steer}-1"));
        write!(
            text,
            r#"
            [[operations]]
            include-operation-id = ["{steer}Operation"]
            parameters = {{ "path.operation" = "{operation}" }}
            "#
        )
        .unwrap();
    }
    text
}

#[test]
fn the_api_does_what_its_description_says() {
    let Some(judge) = SCHEMATHESIS.install_or_skip("the_api_does_what_its_description_says") else { return };
    let services: Vec<Value> = STEERS.into_iter().chain(["web"]).map(service).collect();
    let cluster = DevCluster::start(PROGRAM, 1, &services);
    let rest = cluster.controllers()[0].rest.clone();
    fs::write(judge.home().join("schemathesis.toml"), configuration(&cluster, &rest)).unwrap();
    fs::write(judge.home().join("hooks.py"), HOOKS).unwrap();
    let document = format!("{rest}/apis/v1/openapi.json");
    let checks = "--checks=not_a_server_error,status_code_conformance,content_type_conformance,\
                  response_headers_conformance,response_schema_conformance";
    // Streams go on until somebody leaves; and without its controllers nothing answers any more.
    let without = "--exclude-path-regex=/(watch|logs|exec)$|^/cluster/controllers";
    let (status, printed) = judge.end(&["--no-color", "run", &document, checks, without, EXAMPLES, SEED]);
    assert!(status.success(), "{printed}");
}
