//! §3, and the bounds of §2.6 and §2.7: what is refused, in which order and in which words.

use muster_common::spec::SpecLimits;
use muster_platform::World;
use serde_json::{Value, json};

use super::{
    COMMAND, ENDED, Fleet, INSTANCE, OPERATIONS, SERVICE, controller, example_spec, refusal, spec_with,
};
use crate::common::Cluster;

/// Sends it; all that is said against it.
pub(super) async fn refused(cluster: &Cluster, case: &str, operation: &Value) -> Vec<String> {
    let (status, answer) = cluster.post(0, OPERATIONS, operation.to_string()).await;
    assert_eq!((status, &answer["status"]), (400, &json!("FAILED")), "{case}: {operation}: {answer}");
    let errors = answer["data"]["validationErrors"].as_array().unwrap();
    errors.iter().map(|error| error.as_str().unwrap().to_owned()).collect()
}

/// §3.1.
#[tokio::test]
async fn each_refusal_has_its_sentence() {
    let fleet = Fleet::start().await;
    let host_level = |name| spec_with(name, &[("/placementPolicy/hostLevel", json!(true))]);
    fleet
        .cluster
        .submit(0, json!({"type": "CREATE", "spec": host_level("FIXED"), "instancesPerHost": 1}))
        .await;
    let unknown = "No state found for local service: NONE-1";
    let resting = "Only [ACTIVATE, ADJUST_INSTANCES, DEPLOY_TEST_INSTANCE, DESTROY, UPDATE_INSTANCE_COUNT] allowed for \
                   local service FIXED-1 as it is in INACTIVE state";
    let named = |kind: &str, ids: &[&str]| json!({"type": kind, "serviceId": SERVICE, "instanceIds": ids});
    for (case, operation, sentence) in [
        ("no id", json!({"type": "ACTIVATE", "serviceId": ""}), "No local service id found in operation"),
        ("no id", json!({"type": "DESTROY"}), "No local service id found in operation"),
        ("unknown service", json!({"type": "DESTROY", "serviceId": "NONE-1"}), unknown),
        ("unknown service", json!({"type": "RESTART", "serviceId": "NONE-1"}), unknown),
        ("others allowed", json!({"type": "DEACTIVATE", "serviceId": "FIXED-1"}), resting),
        ("others allowed", json!({"type": "RESTART", "serviceId": "FIXED-1"}), resting),
        (
            "there already",
            json!({"type": "CREATE", "spec": example_spec(), "instancesPerHost": 1}),
            "Local service TEST_LOCAL_SERVICE-1 already exists",
        ),
        (
            "fixed ports, count",
            json!({"type": "CREATE", "spec": host_level("OTHER"), "instancesPerHost": 2}),
            "Host level service cannot have more than one instance",
        ),
        (
            "fixed ports, another count",
            json!({"type": "UPDATE_INSTANCE_COUNT", "serviceId": "FIXED-1", "instancesPerHost": 2}),
            "Instance count update is allowed only for services that do not have Host Level option set",
        ),
        (
            "not replaceable",
            named("REPLACE_INSTANCES", &[ENDED]),
            &format!("There are no replaceable healthy instances with ids: [{ENDED}]"),
        ),
        (
            "any of them",
            named("REPLACE_INSTANCES", &[INSTANCE, "SI-2"]),
            "There are no replaceable healthy instances with ids: [SI-2]",
        ),
        (
            "not stoppable",
            named("STOP_INSTANCES", &["SI-2"]),
            "There are no healthy instances with ids: [SI-2]",
        ),
        (
            "any of them",
            named("STOP_INSTANCES", &[INSTANCE, ENDED]),
            &format!("There are no healthy instances with ids: [{ENDED}]"),
        ),
    ] {
        assert_eq!(refused(&fleet.cluster, case, &operation).await, [sentence], "§3.1 {case}: {operation}");
    }
    let operations = fleet.get(&format!("/localservices/{SERVICE}/operations")).await;
    assert_eq!(operations.as_array().unwrap().len(), 2, "§3.1: a refused operation is refused as a whole");
    fleet.stop().await;
}

/// §3.1: the first stage that fails decides.
#[tokio::test]
async fn stages_come_in_their_order() {
    let fleet = Fleet::start().await;
    let ask = |kind: &str, service: &str, count: u32| json!({"type": kind, "serviceId": service, "instancesPerHost": count});
    let (count, unknown) =
        ("instancesPerHost must be between 1 and 256", "No state found for local service: NONE-1");
    for (case, operation, sentence) in [
        ("the body before the service", ask("UPDATE_INSTANCE_COUNT", "NONE-1", 0), count),
        ("the service before the state", ask("DESTROY", "NONE-1", 1), unknown),
        (
            "the state before the instances",
            json!({"type": "STOP_INSTANCES", "serviceId": "IDLE-1", "instanceIds": ["SI-2"]}),
            "Only [ACTIVATE, ADJUST_INSTANCES, DEPLOY_TEST_INSTANCE, DESTROY, UPDATE_INSTANCE_COUNT] allowed for local \
             service IDLE-1 as it is in INACTIVE state",
        ),
    ] {
        if operation["serviceId"] == "IDLE-1" {
            let idle = json!({"type": "CREATE", "spec": spec_with("IDLE", &[]), "instancesPerHost": 1});
            fleet.cluster.submit(0, idle).await;
        }
        assert_eq!(refused(&fleet.cluster, case, &operation).await, [sentence], "§3.1: {case}");
    }
    fleet.cluster.post(0, "/cluster/maintenance/set", "{}").await;
    let (_, answer) = fleet.cluster.post(0, OPERATIONS, ask("DESTROY", "NONE-1", 1).to_string()).await;
    assert_eq!(answer, refusal(COMMAND, &["Cluster is in maintenance mode"], "CONFLICT"), "§3.1");
    let (_, answer) = fleet.cluster.post(0, OPERATIONS, "{}").await;
    assert_eq!(answer["message"], "JSON validation failure", "§3.1: parsing is even earlier");
    fleet.stop().await;
}

/// §2.7: each is accepted where the wire allows it, also by its other name.
#[tokio::test]
async fn each_operation_is_accepted() {
    let fleet = Fleet::start().await;
    for (case, operation, state) in [
        ("alias", json!({"type": "STOP", "serviceId": SERVICE}), "INACTIVE"),
        (
            "count",
            json!({"type": "UPDATE_INSTANCE_COUNT", "serviceId": SERVICE, "instancesPerHost": 256}),
            "INACTIVE",
        ),
        (
            "count",
            json!({"type": "UPDATE_INSTANCE_COUNT", "serviceId": SERVICE, "instancesPerHost": 1}),
            "INACTIVE",
        ),
        ("in any case", json!({"type": "activate", "serviceId": SERVICE, "someday": 1}), "ACTIVE"),
    ] {
        let (status, answer) = fleet.cluster.post(0, OPERATIONS, operation.to_string()).await;
        assert_eq!((status, &answer["data"]["serviceId"]), (200, &json!(SERVICE)), "§2.7 {case}: {answer}");
        let shown = fleet.get(&format!("/localservices/{SERVICE}")).await;
        assert_eq!(shown["state"], state, "§2.7 {case}: {operation}");
    }
    let adjust = json!({
        "type": "ADJUST_INSTANCES", "serviceId": SERVICE,
        "opSpec": {"timeout": "5m", "parallelism": 4, "failureStrategy": "STOP"}
    });
    let operation = fleet.cluster.submit(0, adjust).await;
    let shown = fleet.get(&format!("{OPERATIONS}/{operation}")).await;
    assert_eq!(shown["kind"], "ADJUST_INSTANCES", "§2.7: {shown}");
    fleet.stop().await;
}

/// §2.7, §4.1.
#[tokio::test]
async fn instances_are_stopped() {
    let fleet = Fleet::start().await;
    let stop = json!({"type": "STOP_INSTANCES", "serviceId": SERVICE, "instanceIds": [INSTANCE]});
    fleet.cluster.submit(0, stop).await;
    assert_eq!(fleet.get(&format!("/localservices/{SERVICE}")).await["state"], "STOPPING_INSTANCES");
    fleet.stop().await;
}

/// §2.7: none named means all. §2.6: how it proceeds when nothing is said.
#[tokio::test]
async fn a_replacement_of_none_is_one_of_all_and_has_the_default_pace() {
    let fleet = Fleet::start().await;
    let replace = json!({"type": "REPLACE_INSTANCES", "serviceId": SERVICE, "instanceIds": []});
    let operation = fleet.cluster.submit(0, replace).await;
    let shown = fleet.get(&format!("{OPERATIONS}/{operation}")).await;
    assert_eq!(shown["slots"].as_array().unwrap().len(), 1, "§2.7: {shown}");
    assert_eq!(shown["stopFirst"], false, "§2.7");
    // The example's instances may take longer than the 300 s that each has by default (§4.1).
    let pace = json!({"timeout": "323 seconds", "parallelism": 1, "failureStrategy": "STOP"});
    assert_eq!(shown["opSpec"], pace, "§2.6");
    fleet.stop().await;
}

/// §2.6, §2.7: the bounds of a request.
#[tokio::test]
async fn what_is_out_of_bounds_is_named_with_its_member() {
    let fleet = Fleet::start().await;
    let create =
        |count: Value| json!({"type": "CREATE", "spec": spec_with("NEW", &[]), "instancesPerHost": count});
    let scale = |count: Value| json!({"type": "UPDATE_INSTANCE_COUNT", "serviceId": SERVICE, "instancesPerHost": count});
    let paced = |pace: Value| json!({"type": "REPLACE_INSTANCES", "serviceId": SERVICE, "opSpec": pace});
    let count = "instancesPerHost must be between 1 and 256";
    let parallelism = "opSpec.parallelism must be between 1 and 512";
    for (case, operation, error) in [
        ("§2.7 missing = 0", json!({"type": "CREATE", "spec": spec_with("NEW", &[])}), count),
        ("§2.7", create(json!(0)), count),
        ("§2.7", create(json!(-1)), count),
        ("§2.7", create(json!(257)), count),
        ("§2.7", create(json!("many")), "instancesPerHost - must be a whole number"),
        ("§2.7", json!({"type": "CREATE", "instancesPerHost": 1}), "spec - Specify what to run"),
        ("§2.7", scale(json!(0)), count),
        ("§2.7", scale(json!(257)), count),
        (
            "§2.7",
            json!({"type": "STOP_INSTANCES", "serviceId": SERVICE, "instanceIds": []}),
            "instanceIds - Specify the instances to stop",
        ),
        ("§2.6", paced(json!({"parallelism": 0})), parallelism),
        ("§2.6", paced(json!({"parallelism": 513})), parallelism),
        ("§2.6", paced(json!({"timeout": "0s"})), "opSpec.timeout - Must be longer than no time"),
        (
            "§2.6",
            paced(json!({"failureStrategy": "HOPE"})),
            "opSpec.failureStrategy - 'HOPE' is not one of [STOP, ROLLBACK]",
        ),
    ] {
        assert_eq!(refused(&fleet.cluster, case, &operation).await, [error], "{case}: {operation}");
    }
    fleet.stop().await;
}

/// §3.3: the damage, and all that is said of it: alone, and of an operation's spec.
#[tokio::test]
async fn each_broken_rule_of_a_spec_is_told_in_droves_words() {
    let cluster = controller().await;
    let characters = "- Only characters, numbers, hyphen and underscore is allowed";
    let port = |name: &str| json!({"type": "HTTP", "portName": name, "path": "/", "verb": "GET", "successCodes": [200]});
    // A path, or nothing where the whole sentence is the wire's.
    let table = [
        (
            "port name",
            "/healthcheck/mode",
            port("X"),
            "",
            "Invalid port name for health check: X. Available ports: [main]",
        ),
        (
            "port name",
            "/readiness/mode",
            port("X"),
            "",
            "Invalid port name for health check: X. Available ports: [main]",
        ),
        (
            "resources",
            "/resources",
            json!([{"type": "MEMORY", "sizeInMB": 1}]),
            "",
            "Cpu requirements are mandatory",
        ),
        (
            "resources",
            "/resources",
            json!([{"type": "CPU", "count": 1}]),
            "",
            "Memory requirements are mandatory",
        ),
        (
            "args",
            "/args",
            json!(["x".repeat(1024), "y".repeat(1024)]),
            "",
            "Maximum combined length of command line arguments can be 2048",
        ),
        (
            "placement",
            "/placementPolicy",
            json!({"type": "ANY"}),
            "",
            "Only local placement is allowed for local services",
        ),
        ("path", "/name", json!(""), "name", "- Service name is mandatory"),
        ("path", "/name", json!("a.b"), "name", characters),
        ("path", "/version", Value::Null, "version", "- Service version is mandatory"),
        ("path", "/version", json!("1.0"), "version", characters),
        ("path", "/executable", Value::Null, "executable", "- Executable details is required"),
        ("path", "/executable/url", Value::Null, "executable.url", "- Specify url for container"),
        (
            "path",
            "/executable/dockerPullTimeout",
            Value::Null,
            "executable.dockerPullTimeout",
            "- Specify container fetch (docker pull) timeout",
        ),
        ("path", "/exposedPorts/0/port", json!(0), "exposedPorts[0].port", "- Port cannot be negative or 0"),
        ("path", "/exposedPorts/0/port", json!(-8), "exposedPorts[0].port", "- Port cannot be negative or 0"),
        (
            "path",
            "/exposedPorts/0/port",
            json!(65_536),
            "exposedPorts[0].port",
            "- Port cannot be more than 65K",
        ),
        (
            "path",
            "/exposedPorts/0/type",
            Value::Null,
            "exposedPorts[0].type",
            "- Please specify port type [HTTP/TCP/UDP]",
        ),
        ("path", "/type", Value::Null, "type", "- Specify if job is a computation or a service"),
        ("path", "/resources", json!([]), "resources", "- CPU/Memory requirements must be specified"),
        (
            "path",
            "/volumes/0/pathInContainer",
            Value::Null,
            "volumes[0].pathInContainer",
            "- Provide mount path inside container",
        ),
        (
            "path",
            "/volumes/0/pathOnHost",
            Value::Null,
            "volumes[0].pathOnHost",
            "- Provide host directory to mount",
        ),
        (
            "path",
            "/volumes/0/mode",
            Value::Null,
            "volumes[0].mode",
            "- Specify whether mount is read-only or read-write",
        ),
        (
            "path",
            "/logging/maxSize",
            Value::Null,
            "logging.maxSize",
            "- Specify max size of logs, such as 10m",
        ),
        ("path", "/logging/maxFiles", json!(101), "logging.maxFiles", "must be between 1 and 100"),
    ];
    for (case, pointer, value, path, message) in table {
        let spec = spec_with("A", &[(pointer, value.clone())]);
        let told = |inside: &str| {
            if path.is_empty() { message.to_owned() } else { format!("{inside}{path} {message}") }
        };
        let answer = cluster.post(0, "/localservices/validate/spec", spec.to_string()).await;
        assert_eq!(
            answer,
            (400, refusal(COMMAND, &[&told("")], "INVALID")),
            "§3.3 {case}: {pointer} = {value}"
        );
        let create = json!({"type": "CREATE", "spec": spec, "instancesPerHost": 1}).to_string();
        let answer = cluster.post(0, OPERATIONS, create).await;
        assert_eq!(answer, (400, refusal(COMMAND, &[&told("spec.")], "INVALID")), "§3.3 {case}: {pointer}");
    }
    // §3.3: all that is wrong, at once.
    let spec =
        spec_with("", &[("/version", json!("")), ("/exposedPorts", json!([])), ("/resources", json!([]))]);
    let (_, answer) = cluster.post(0, "/localservices/validate/spec", spec.to_string()).await;
    let said = answer["data"]["validationErrors"].as_array().unwrap();
    assert!(
        said.len() >= 4 && said.contains(&json!("exposedPorts - Port specifications are needed")),
        "{answer}"
    );
    cluster.stop().await;
}

/// §3.3: what the cluster's configuration forbids.
#[tokio::test]
async fn a_cluster_forbids_what_its_configuration_says() {
    let cluster = Cluster::start_configured(World::system(), 1, |config| {
        config.spec_limits = SpecLimits {
            allowed_mount_dirs: Some(vec!["/srv".to_owned()]),
            disable_cmdl_args: true,
            ..SpecLimits::default()
        };
    })
    .await;
    let answer = cluster.post(0, "/localservices/validate/spec", example_spec().to_string()).await;
    let errors = [
        "Volume mount requested on non whitelisted host directory: /mnt/datavol",
        "Passing command line to containers is disabled on this cluster",
        "Device access is disabled. To enable, set enableRawDeviceAccess: true in controller options.",
    ];
    assert_eq!(answer, (400, refusal(COMMAND, &errors, "INVALID")), "§3.3");
    cluster.stop().await;
}
