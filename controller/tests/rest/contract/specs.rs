//! §2 (scalars), §2.2, §2.3: which specs are taken, and how they are shown.

use muster_common::id::ServiceId;
use muster_controller::State;
use serde_json::{Value, json};

use super::{SERVICE, controller, example_spec, spec_with};
use crate::common::Cluster;

/// Creates a service of this spec; the spec as it is shown.
async fn shown(cluster: &Cluster, case: &str, spec: &Value) -> Value {
    let create = json!({"type": "CREATE", "spec": spec, "instancesPerHost": 1}).to_string();
    let (status, answer) = cluster.post(0, super::OPERATIONS, create).await;
    assert_eq!(status, 200, "{case}: {answer}");
    let id = answer["data"]["serviceId"].as_str().unwrap();
    cluster.get(0, &format!("/localservices/{id}/spec")).await.1["data"].clone()
}

/// §2.2, §2.3.
#[tokio::test]
async fn the_example_is_shown_as_it_was_sent_but_for_what_is_masked() {
    let cluster = controller().await;
    let mut expected = example_spec();
    expected["configs"][0]["data"] = json!("");
    assert_eq!(shown(&cluster, "§2.2", &example_spec()).await, expected);
    // §2.3: of a copy; what runs has it.
    let id = ServiceId::new(SERVICE).unwrap();
    let keeps = |state: &State| {
        let spec = serde_json::to_value(state.service(&id).unwrap().spec().as_ref()).unwrap();
        spec["configs"][0]["data"] == example_spec()["configs"][0]["data"]
    };
    cluster.until(0, "the service keeps what is masked", keeps).await;
    cluster.stop().await;
}

/// What is put into the example, and what of it is shown where.
#[tokio::test]
async fn what_may_be_left_out_or_written_otherwise_is_shown_as_it_is_meant() {
    let cluster = controller().await;
    let call = json!({"type": "EXECUTOR_HTTP_FETCH", "localFilename": "/f", "http": {
        "hostname": "config.example.org", "username": "ann", "password": "secret", "authHeader": "Bearer secret"
    }});
    let whole_call = json!({
        "protocol": "HTTP", "hostname": "config.example.org", "port": 0, "path": "/", "verb": "GET",
        "successCodes": [200], "connectionTimeout": "1 second", "operationTimeout": "1 second", "username": "***",
        "password": "***", "authHeader": "***", "insecure": false
    });
    let device = json!({"type": "DIRECT", "pathOnHost": "/dev/fuse"});
    let check = |mode: Value| json!({"mode": mode, "timeout": "1s", "interval": "1s", "attempts": 1});
    let table = [
        // §2: scalars.
        ("scalar", "/healthcheck/timeout", json!("5m"), "/healthcheck/timeout", json!("5 minutes")),
        ("scalar", "/healthcheck/timeout", json!("1 s"), "/healthcheck/timeout", json!("1 second")),
        ("scalar", "/healthcheck/timeout", json!("300ms"), "/healthcheck/timeout", json!("300 milliseconds")),
        ("scalar", "/healthcheck/timeout", json!("2mins"), "/healthcheck/timeout", json!("2 minutes")),
        ("scalar", "/healthcheck/timeout", json!("1 hour"), "/healthcheck/timeout", json!("1 hour")),
        ("scalar", "/healthcheck/interval", json!("1d"), "/healthcheck/interval", json!("1 day")),
        (
            "scalar",
            "/healthcheck/interval",
            json!("5000us"),
            "/healthcheck/interval",
            json!("5000 microseconds"),
        ),
        ("scalar", "/healthcheck/interval", json!("7ns"), "/healthcheck/interval", json!("7 nanoseconds")),
        ("scalar", "/healthcheck/interval", json!("1 minute"), "/healthcheck/interval", json!("1 minute")),
        ("scalar", "/healthcheck/interval", json!("2 min"), "/healthcheck/interval", json!("2 minutes")),
        ("scalar", "/healthcheck/interval", json!("2hours"), "/healthcheck/interval", json!("2 hours")),
        ("scalar", "/healthcheck/interval", json!("3h"), "/healthcheck/interval", json!("3 hours")),
        ("scalar", "/healthcheck/interval", json!("1day"), "/healthcheck/interval", json!("1 day")),
        ("scalar", "/healthcheck/timeout", json!("1second"), "/healthcheck/timeout", json!("1 second")),
        (
            "scalar",
            "/healthcheck/timeout",
            json!("9 milliseconds"),
            "/healthcheck/timeout",
            json!("9 milliseconds"),
        ),
        ("case", "/exposedPorts/0/type", json!("http"), "/exposedPorts/0/type", json!("HTTP")),
        ("case", "/placementPolicy/type", json!("local"), "/placementPolicy/type", json!("LOCAL")),
        ("unknown", "/someday", json!({"x": 1}), "/name", Value::Null),
        ("unknown", "/healthcheck/mode/someday", json!(1), "/healthcheck/mode/type", json!("HTTP")),
        // §2.2: members.
        ("type", "/type", json!("SERVICE"), "/type", json!("SERVICE")),
        ("type", "/type", json!("COMPUTATION"), "/type", json!("COMPUTATION")),
        ("executable", "/executable/type", Value::Null, "/executable/type", json!("DOCKER")),
        ("ports", "/exposedPorts/0/port", json!(65_535), "/exposedPorts/0/port", json!(65_535)),
        ("ports", "/exposedPorts/0/port", json!(1), "/exposedPorts/0/port", json!(1)),
        ("ports", "/exposedPorts/0/type", json!("HTTPS"), "/exposedPorts/0/type", json!("HTTPS")),
        ("ports", "/exposedPorts/0/type", json!("TCP"), "/exposedPorts/0/type", json!("TCP")),
        ("volumes", "/volumes", Value::Null, "/volumes", Value::Null),
        ("volumes", "/volumes/0/mode", json!("READ_ONLY"), "/volumes/0/mode", json!("READ_ONLY")),
        ("logging", "/logging", Value::Null, "/logging", Value::Null),
        ("tags", "/tags", Value::Null, "/tags", Value::Null),
        ("env", "/env", json!({"COPIED": ""}), "/env", json!({"COPIED": ""})),
        ("args", "/args", json!(["x".repeat(2048)]), "/args/0", json!("x".repeat(2048))),
        (
            "shutdown",
            "/preShutdown/waitBeforeKill",
            Value::Null,
            "/preShutdown/waitBeforeKill",
            json!("0 seconds"),
        ),
        ("user", "/userSpec", json!({"user": "nobody"}), "/userSpec", json!({"user": "nobody"})),
        ("fixed ports", "/placementPolicy/hostLevel", json!(true), "/placementPolicy/hostLevel", json!(true)),
        ("check", "/healthcheck/initialDelay", Value::Null, "/healthcheck/initialDelay", json!("0 seconds")),
        ("check", "/healthcheck/attempts", json!(100), "/healthcheck/attempts", json!(100)),
        (
            "HTTP check",
            "/healthcheck/mode/protocol",
            Value::Null,
            "/healthcheck/mode/protocol",
            json!("HTTP"),
        ),
        (
            "HTTP check",
            "/healthcheck/mode/protocol",
            json!("HTTPS"),
            "/healthcheck/mode/protocol",
            json!("HTTPS"),
        ),
        ("HTTP check", "/healthcheck/mode/verb", json!("POST"), "/healthcheck/mode/verb", json!("POST")),
        ("HTTP check", "/healthcheck/mode/verb", json!("PUT"), "/healthcheck/mode/verb", json!("PUT")),
        (
            "HTTP check",
            "/healthcheck/mode/successCodes",
            json!([200, 204]),
            "/healthcheck/mode/successCodes",
            json!([200, 204]),
        ),
        (
            "CMD check",
            "/readiness/mode/shellDisabled",
            json!(true),
            "/readiness/mode/shellDisabled",
            json!(true),
        ),
        (
            "HTTP check",
            "/healthcheck/mode/connectionTimeout",
            Value::Null,
            "/healthcheck/mode/connectionTimeout",
            json!("1 second"),
        ),
        (
            "CMD check",
            "/readiness",
            check(json!({"type": "CMD", "command": "true"})),
            "/readiness/mode/shellDisabled",
            json!(false),
        ),
        (
            "logging",
            "/logging",
            json!({"type": "RSYSLOG", "server": "udp://logs:514", "tagPrefix": "a", "tagSuffix": "b"}),
            "/logging",
            json!({"type": "RSYSLOG", "server": "udp://logs:514", "tagPrefix": "a", "tagSuffix": "b"}),
        ),
        ("configs, masked", "/configs/1", call, "/configs/1/http", whole_call),
        ("devices", "/devices/0", device.clone(), "/devices/0", device),
        ("devices", "/devices/0/permissions", json!("ALL"), "/devices/0/permissions", json!("ALL")),
        (
            "devices",
            "/devices/0/permissions",
            json!("READ_ONLY"),
            "/devices/0/permissions",
            json!("READ_ONLY"),
        ),
        (
            "devices",
            "/devices/0/permissions",
            json!("WRITE_ONLY"),
            "/devices/0/permissions",
            json!("WRITE_ONLY"),
        ),
        (
            "devices",
            "/devices/0/permissions",
            json!("MKNOD_ONLY"),
            "/devices/0/permissions",
            json!("MKNOD_ONLY"),
        ),
        (
            "devices",
            "/devices/0",
            json!({"type": "DETAILED", "driver": "nvidia", "count": 1, "capabilities": [["gpu"]]}),
            "/devices/0/capabilities",
            json!([["gpu"]]),
        ),
    ];
    for (n, (case, pointer, value, place, expected)) in table.into_iter().enumerate() {
        let case = format!("§2.2 {case}: {pointer} = {value}");
        let shown = shown(&cluster, &case, &spec_with(&format!("S{n}"), &[(pointer, value)])).await;
        let expected = if place == "/name" { json!(format!("S{n}")) } else { expected };
        assert_eq!(shown.pointer(place).unwrap_or(&Value::Null), &expected, "{case}: {shown}");
    }
    cluster.stop().await;
}

/// §2.2: which must be there, in which bounds.
#[tokio::test]
async fn what_a_spec_needs_is_asked_for() {
    let cluster = controller().await;
    for (case, pointer, value) in [
        ("name", "/name", json!("")),
        ("name", "/name", json!("a b")),
        ("version", "/version", Value::Null),
        ("type", "/type", Value::Null),
        ("executable", "/executable/url", Value::Null),
        ("executable", "/executable/dockerPullTimeout", Value::Null),
        ("ports", "/exposedPorts", json!([])),
        ("ports", "/exposedPorts/0/name", json!("a.b")),
        ("ports", "/exposedPorts/0/port", json!(0)),
        ("ports", "/exposedPorts/0/port", json!(65_536)),
        ("ports", "/exposedPorts/0/type", Value::Null),
        ("volumes", "/volumes/0/pathInContainer", Value::Null),
        ("volumes", "/volumes/0/pathOnHost", Value::Null),
        ("volumes", "/volumes/0/mode", Value::Null),
        ("configs", "/configs/0/type", Value::Null),
        ("configs", "/configs/0/localFilename", Value::Null),
        ("resources", "/resources", json!([])),
        ("placement", "/placementPolicy", Value::Null),
        (
            "placement",
            "/placementPolicy",
            json!({"type": "COMPOSITE", "policies": [{"type": "LOCAL"}], "combiner": "AND"}),
        ),
        ("health check", "/healthcheck", Value::Null),
        ("readiness", "/readiness", Value::Null),
        ("args", "/args", json!(["x".repeat(2049)])),
        ("args", "/args", json!(vec![""; 2049])),
        ("user", "/userSpec/user", Value::Null),
        ("check", "/healthcheck/mode", Value::Null),
        ("check", "/healthcheck/timeout", Value::Null),
        ("check", "/healthcheck/interval", Value::Null),
        ("check", "/healthcheck/attempts", json!(0)),
        ("check", "/healthcheck/attempts", json!(101)),
        ("HTTP check", "/healthcheck/mode/portName", Value::Null),
        ("HTTP check", "/healthcheck/mode/successCodes", json!([])),
        ("CMD check", "/readiness/mode/command", Value::Null),
        ("logging", "/logging/maxSize", Value::Null),
        ("logging", "/logging/maxFiles", json!(0)),
        ("logging", "/logging/maxFiles", json!(101)),
        ("logging", "/logging", json!({"type": "RSYSLOG"})),
        ("configs", "/configs/0/data", json!("not Base64!")),
        ("configs", "/configs/1/filePathOnHost", Value::Null),
        ("configs", "/configs/1", json!({"type": "EXECUTOR_HTTP_FETCH", "localFilename": "/f"})),
        (
            "configs",
            "/configs/1",
            json!({"type": "EXECUTOR_HTTP_FETCH", "localFilename": "/f", "http": {"hostname": "a", "port": 65_536}}),
        ),
        (
            "configs",
            "/configs/1",
            json!({"type": "EXECUTOR_HTTP_FETCH", "localFilename": "/f", "http": {"path": "/"}}),
        ),
        ("devices", "/devices/0/pathOnHost", Value::Null),
        ("placement", "/placementPolicy", json!({"type": "ANY"})),
        ("placement", "/placementPolicy", json!({"type": "MAX_N_PER_HOST", "max": 2})),
        ("placement", "/placementPolicy", json!({"type": "ONE_PER_HOST"})),
        ("placement", "/placementPolicy", json!({"type": "MATCH_TAG", "tag": "ssd"})),
        ("placement", "/placementPolicy", json!({"type": "NO_TAG"})),
        ("placement", "/placementPolicy", json!({"type": "RULE_BASED", "rule": "true", "ruleType": "MVEL"})),
    ] {
        let spec = spec_with("A", &[(pointer, value.clone())]).to_string();
        let (status, answer) = cluster.post(0, "/localservices/validate/spec", spec).await;
        assert_eq!(status, 400, "§2.2 {case}: {pointer} = {value}: {answer}");
        // Whose fault it is can be told from what is said.
        let said = answer["data"]["validationErrors"].to_string();
        let member = pointer.trim_start_matches('/').split('/').next().unwrap();
        let sentences = ["Only local placement", "Invalid port name", "Maximum combined length"];
        let is_named = said.contains(member) || sentences.iter().any(|sentence| said.contains(sentence));
        assert!(is_named, "§2.2 {case}: {pointer} = {value}: {said}");
    }
    cluster.stop().await;
}
