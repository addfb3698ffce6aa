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

/// §2.2 (l. 174-193), §2.3 (l. 196).
#[tokio::test]
async fn the_example_is_shown_as_it_was_sent_but_for_what_is_masked() {
    let cluster = controller().await;
    let mut expected = example_spec();
    expected["configs"][0]["data"] = json!("");
    assert_eq!(shown(&cluster, "§2.2 l. 174", &example_spec()).await, expected);
    // l. 196: of a copy; what runs has it.
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
        // §2: scalars (l. 130).
        ("l. 130", "/healthcheck/timeout", json!("5m"), "/healthcheck/timeout", json!("5 minutes")),
        ("l. 130", "/healthcheck/timeout", json!("1 s"), "/healthcheck/timeout", json!("1 second")),
        ("l. 130", "/healthcheck/timeout", json!("300ms"), "/healthcheck/timeout", json!("300 milliseconds")),
        ("l. 130", "/healthcheck/timeout", json!("2mins"), "/healthcheck/timeout", json!("2 minutes")),
        ("l. 130", "/healthcheck/timeout", json!("1 hour"), "/healthcheck/timeout", json!("1 hour")),
        ("l. 130", "/healthcheck/interval", json!("1d"), "/healthcheck/interval", json!("1 day")),
        (
            "l. 130",
            "/healthcheck/interval",
            json!("5000us"),
            "/healthcheck/interval",
            json!("5000 microseconds"),
        ),
        ("l. 130", "/healthcheck/interval", json!("7ns"), "/healthcheck/interval", json!("7 nanoseconds")),
        ("l. 130", "/healthcheck/interval", json!("1 minute"), "/healthcheck/interval", json!("1 minute")),
        ("l. 130", "/healthcheck/interval", json!("2 min"), "/healthcheck/interval", json!("2 minutes")),
        ("l. 130", "/healthcheck/interval", json!("2hours"), "/healthcheck/interval", json!("2 hours")),
        ("l. 130", "/healthcheck/interval", json!("3h"), "/healthcheck/interval", json!("3 hours")),
        ("l. 130", "/healthcheck/interval", json!("1day"), "/healthcheck/interval", json!("1 day")),
        ("l. 130", "/healthcheck/timeout", json!("1second"), "/healthcheck/timeout", json!("1 second")),
        (
            "l. 130",
            "/healthcheck/timeout",
            json!("9 milliseconds"),
            "/healthcheck/timeout",
            json!("9 milliseconds"),
        ),
        ("l. 130 case", "/exposedPorts/0/type", json!("http"), "/exposedPorts/0/type", json!("HTTP")),
        ("l. 130 case", "/placementPolicy/type", json!("local"), "/placementPolicy/type", json!("LOCAL")),
        ("l. 130 unknown", "/someday", json!({"x": 1}), "/name", Value::Null),
        ("l. 130 unknown", "/healthcheck/mode/someday", json!(1), "/healthcheck/mode/type", json!("HTTP")),
        // §2.2: members.
        ("l. 147", "/type", json!("SERVICE"), "/type", json!("SERVICE")),
        ("l. 147", "/type", json!("COMPUTATION"), "/type", json!("COMPUTATION")),
        ("l. 148", "/executable/type", Value::Null, "/executable/type", json!("DOCKER")),
        ("l. 149", "/exposedPorts/0/port", json!(65_535), "/exposedPorts/0/port", json!(65_535)),
        ("l. 149", "/exposedPorts/0/port", json!(1), "/exposedPorts/0/port", json!(1)),
        ("l. 149", "/exposedPorts/0/type", json!("HTTPS"), "/exposedPorts/0/type", json!("HTTPS")),
        ("l. 149", "/exposedPorts/0/type", json!("TCP"), "/exposedPorts/0/type", json!("TCP")),
        ("l. 150", "/volumes", Value::Null, "/volumes", Value::Null),
        ("l. 150", "/volumes/0/mode", json!("READ_ONLY"), "/volumes/0/mode", json!("READ_ONLY")),
        ("l. 152", "/logging", Value::Null, "/logging", Value::Null),
        ("l. 157", "/tags", Value::Null, "/tags", Value::Null),
        ("l. 158", "/env", json!({"COPIED": ""}), "/env", json!({"COPIED": ""})),
        ("l. 159", "/args", json!(["x".repeat(2048)]), "/args/0", json!("x".repeat(2048))),
        (
            "l. 161",
            "/preShutdown/waitBeforeKill",
            Value::Null,
            "/preShutdown/waitBeforeKill",
            json!("0 seconds"),
        ),
        ("l. 162", "/userSpec", json!({"user": "nobody"}), "/userSpec", json!({"user": "nobody"})),
        ("l. 164", "/placementPolicy/hostLevel", json!(true), "/placementPolicy/hostLevel", json!(true)),
        ("l. 166", "/healthcheck/initialDelay", Value::Null, "/healthcheck/initialDelay", json!("0 seconds")),
        ("l. 166", "/healthcheck/attempts", json!(100), "/healthcheck/attempts", json!(100)),
        ("l. 167", "/healthcheck/mode/protocol", Value::Null, "/healthcheck/mode/protocol", json!("HTTP")),
        (
            "l. 167",
            "/healthcheck/mode/protocol",
            json!("HTTPS"),
            "/healthcheck/mode/protocol",
            json!("HTTPS"),
        ),
        ("l. 167", "/healthcheck/mode/verb", json!("POST"), "/healthcheck/mode/verb", json!("POST")),
        ("l. 167", "/healthcheck/mode/verb", json!("PUT"), "/healthcheck/mode/verb", json!("PUT")),
        (
            "l. 167",
            "/healthcheck/mode/successCodes",
            json!([200, 204]),
            "/healthcheck/mode/successCodes",
            json!([200, 204]),
        ),
        (
            "l. 168",
            "/readiness/mode/shellDisabled",
            json!(true),
            "/readiness/mode/shellDisabled",
            json!(true),
        ),
        (
            "l. 167",
            "/healthcheck/mode/connectionTimeout",
            Value::Null,
            "/healthcheck/mode/connectionTimeout",
            json!("1 second"),
        ),
        (
            "l. 168",
            "/readiness",
            check(json!({"type": "CMD", "command": "true"})),
            "/readiness/mode/shellDisabled",
            json!(false),
        ),
        (
            "l. 169",
            "/logging",
            json!({"type": "RSYSLOG", "server": "udp://logs:514", "tagPrefix": "a", "tagSuffix": "b"}),
            "/logging",
            json!({"type": "RSYSLOG", "server": "udp://logs:514", "tagPrefix": "a", "tagSuffix": "b"}),
        ),
        ("l. 170, l. 196", "/configs/1", call, "/configs/1/http", whole_call),
        ("l. 171", "/devices/0", device.clone(), "/devices/0", device),
        ("l. 171", "/devices/0/permissions", json!("ALL"), "/devices/0/permissions", json!("ALL")),
        (
            "l. 171",
            "/devices/0/permissions",
            json!("READ_ONLY"),
            "/devices/0/permissions",
            json!("READ_ONLY"),
        ),
        (
            "l. 171",
            "/devices/0/permissions",
            json!("WRITE_ONLY"),
            "/devices/0/permissions",
            json!("WRITE_ONLY"),
        ),
        (
            "l. 171",
            "/devices/0/permissions",
            json!("MKNOD_ONLY"),
            "/devices/0/permissions",
            json!("MKNOD_ONLY"),
        ),
        (
            "l. 171",
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

/// §2.2 (l. 144-173): which must be there, in which bounds.
#[tokio::test]
async fn what_a_spec_needs_is_asked_for() {
    let cluster = controller().await;
    for (case, pointer, value) in [
        ("l. 145", "/name", json!("")),
        ("l. 145", "/name", json!("a b")),
        ("l. 146", "/version", Value::Null),
        ("l. 147", "/type", Value::Null),
        ("l. 148", "/executable/url", Value::Null),
        ("l. 148", "/executable/dockerPullTimeout", Value::Null),
        ("l. 149", "/exposedPorts", json!([])),
        ("l. 149", "/exposedPorts/0/name", json!("a.b")),
        ("l. 149", "/exposedPorts/0/port", json!(0)),
        ("l. 149", "/exposedPorts/0/port", json!(65_536)),
        ("l. 149", "/exposedPorts/0/type", Value::Null),
        ("l. 150", "/volumes/0/pathInContainer", Value::Null),
        ("l. 150", "/volumes/0/pathOnHost", Value::Null),
        ("l. 150", "/volumes/0/mode", Value::Null),
        ("l. 151", "/configs/0/type", Value::Null),
        ("l. 151", "/configs/0/localFilename", Value::Null),
        ("l. 153", "/resources", json!([])),
        ("l. 154", "/placementPolicy", Value::Null),
        (
            "l. 154",
            "/placementPolicy",
            json!({"type": "COMPOSITE", "policies": [{"type": "LOCAL"}], "combiner": "AND"}),
        ),
        ("l. 155", "/healthcheck", Value::Null),
        ("l. 156", "/readiness", Value::Null),
        ("l. 159", "/args", json!(["x".repeat(2049)])),
        ("l. 159", "/args", json!(vec![""; 2049])),
        ("l. 162", "/userSpec/user", Value::Null),
        ("l. 166", "/healthcheck/mode", Value::Null),
        ("l. 166", "/healthcheck/timeout", Value::Null),
        ("l. 166", "/healthcheck/interval", Value::Null),
        ("l. 166", "/healthcheck/attempts", json!(0)),
        ("l. 166", "/healthcheck/attempts", json!(101)),
        ("l. 167", "/healthcheck/mode/portName", Value::Null),
        ("l. 167", "/healthcheck/mode/successCodes", json!([])),
        ("l. 168", "/readiness/mode/command", Value::Null),
        ("l. 169", "/logging/maxSize", Value::Null),
        ("l. 169", "/logging/maxFiles", json!(0)),
        ("l. 169", "/logging/maxFiles", json!(101)),
        ("l. 169", "/logging", json!({"type": "RSYSLOG"})),
        ("l. 170", "/configs/0/data", json!("not Base64!")),
        ("l. 170", "/configs/1/filePathOnHost", Value::Null),
        ("l. 170", "/configs/1", json!({"type": "EXECUTOR_HTTP_FETCH", "localFilename": "/f"})),
        (
            "l. 170",
            "/configs/1",
            json!({"type": "EXECUTOR_HTTP_FETCH", "localFilename": "/f", "http": {"hostname": "a", "port": 65_536}}),
        ),
        (
            "l. 170",
            "/configs/1",
            json!({"type": "EXECUTOR_HTTP_FETCH", "localFilename": "/f", "http": {"path": "/"}}),
        ),
        ("l. 171", "/devices/0/pathOnHost", Value::Null),
        ("l. 172", "/placementPolicy", json!({"type": "ANY"})),
        ("l. 172", "/placementPolicy", json!({"type": "MAX_N_PER_HOST", "max": 2})),
        ("l. 172", "/placementPolicy", json!({"type": "ONE_PER_HOST"})),
        ("l. 172", "/placementPolicy", json!({"type": "MATCH_TAG", "tag": "ssd"})),
        ("l. 172", "/placementPolicy", json!({"type": "NO_TAG"})),
        ("l. 172", "/placementPolicy", json!({"type": "RULE_BASED", "rule": "true", "ruleType": "MVEL"})),
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
