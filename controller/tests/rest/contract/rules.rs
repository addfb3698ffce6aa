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

/// §3.1 (l. 331-339).
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
        ("l. 331", json!({"type": "ACTIVATE", "serviceId": ""}), "No local service id found in operation"),
        ("l. 331", json!({"type": "DESTROY"}), "No local service id found in operation"),
        ("l. 332", json!({"type": "DESTROY", "serviceId": "NONE-1"}), unknown),
        ("l. 332", json!({"type": "RESTART", "serviceId": "NONE-1"}), unknown),
        ("l. 334", json!({"type": "DEACTIVATE", "serviceId": "FIXED-1"}), resting),
        ("l. 334", json!({"type": "RESTART", "serviceId": "FIXED-1"}), resting),
        (
            "l. 335",
            json!({"type": "CREATE", "spec": example_spec(), "instancesPerHost": 1}),
            "Local service TEST_LOCAL_SERVICE-1 already exists",
        ),
        (
            "l. 336",
            json!({"type": "CREATE", "spec": host_level("OTHER"), "instancesPerHost": 2}),
            "Host level service cannot have more than one instance",
        ),
        (
            "l. 337",
            json!({"type": "UPDATE_INSTANCE_COUNT", "serviceId": "FIXED-1", "instancesPerHost": 2}),
            "Instance count update is allowed only for services that do not have Host Level option set",
        ),
        (
            "l. 338",
            named("REPLACE_INSTANCES", &[ENDED]),
            &format!("There are no replaceable healthy instances with ids: [{ENDED}]"),
        ),
        (
            "l. 338 any of them",
            named("REPLACE_INSTANCES", &[INSTANCE, "SI-2"]),
            "There are no replaceable healthy instances with ids: [SI-2]",
        ),
        ("l. 339", named("STOP_INSTANCES", &["SI-2"]), "There are no healthy instances with ids: [SI-2]"),
        (
            "l. 339 any of them",
            named("STOP_INSTANCES", &[INSTANCE, ENDED]),
            &format!("There are no healthy instances with ids: [{ENDED}]"),
        ),
    ] {
        assert_eq!(refused(&fleet.cluster, case, &operation).await, [sentence], "§3.1 {case}: {operation}");
    }
    let operations = fleet.get(&format!("/localservices/{SERVICE}/operations")).await;
    assert_eq!(
        operations.as_array().unwrap().len(),
        2,
        "§3.1 l. 338: a refused operation is refused as a whole"
    );
    fleet.stop().await;
}

/// §3.1 (l. 326): the first stage that fails decides.
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
        assert_eq!(refused(&fleet.cluster, case, &operation).await, [sentence], "§3.1 l. 326: {case}");
    }
    fleet.cluster.post(0, "/cluster/maintenance/set", "{}").await;
    let (_, answer) = fleet.cluster.post(0, OPERATIONS, ask("DESTROY", "NONE-1", 1).to_string()).await;
    assert_eq!(answer, refusal(COMMAND, &["Cluster is in maintenance mode"], "CONFLICT"), "§3.1 l. 326");
    let (_, answer) = fleet.cluster.post(0, OPERATIONS, "{}").await;
    assert_eq!(answer["message"], "JSON validation failure", "§3.1 l. 326: parsing is even earlier");
    fleet.stop().await;
}

/// §2.7 (l. 249-258): each is accepted where the wire allows it, also by its other name.
#[tokio::test]
async fn each_operation_is_accepted() {
    let fleet = Fleet::start().await;
    for (case, operation, state) in [
        ("l. 251 alias", json!({"type": "STOP", "serviceId": SERVICE}), "INACTIVE"),
        (
            "l. 254",
            json!({"type": "UPDATE_INSTANCE_COUNT", "serviceId": SERVICE, "instancesPerHost": 256}),
            "INACTIVE",
        ),
        (
            "l. 254",
            json!({"type": "UPDATE_INSTANCE_COUNT", "serviceId": SERVICE, "instancesPerHost": 1}),
            "INACTIVE",
        ),
        ("l. 250 in any case", json!({"type": "activate", "serviceId": SERVICE, "someday": 1}), "ACTIVE"),
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
    assert_eq!(shown["kind"], "ADJUST_INSTANCES", "§2.7 l. 253: {shown}");
    fleet.stop().await;
}

/// §2.7 (l. 257), §4.1 (l. 390).
#[tokio::test]
async fn instances_are_stopped() {
    let fleet = Fleet::start().await;
    let stop = json!({"type": "STOP_INSTANCES", "serviceId": SERVICE, "instanceIds": [INSTANCE]});
    fleet.cluster.submit(0, stop).await;
    assert_eq!(fleet.get(&format!("/localservices/{SERVICE}")).await["state"], "STOPPING_INSTANCES");
    fleet.stop().await;
}

/// §2.7 (l. 256): none named means all. §2.6 (l. 241): how it proceeds when nothing is said.
#[tokio::test]
async fn a_replacement_of_none_is_one_of_all_and_has_the_default_pace() {
    let fleet = Fleet::start().await;
    let replace = json!({"type": "REPLACE_INSTANCES", "serviceId": SERVICE, "instanceIds": []});
    let operation = fleet.cluster.submit(0, replace).await;
    let shown = fleet.get(&format!("{OPERATIONS}/{operation}")).await;
    assert_eq!(shown["slots"].as_array().unwrap().len(), 1, "§2.7 l. 256: {shown}");
    assert_eq!(shown["stopFirst"], false, "§2.7 l. 256");
    // The example's instances may take longer than the 300 s that each has by default (§4.1, l. 403).
    let pace = json!({"timeout": "323 seconds", "parallelism": 1, "failureStrategy": "STOP"});
    assert_eq!(shown["opSpec"], pace, "§2.6 l. 241");
    fleet.stop().await;
}

/// §2.6 (l. 241), §2.7 (l. 249, l. 254, l. 257): the bounds of a request.
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
        ("§2.7 l. 249 missing = 0", json!({"type": "CREATE", "spec": spec_with("NEW", &[])}), count),
        ("§2.7 l. 249", create(json!(0)), count),
        ("§2.7 l. 249", create(json!(-1)), count),
        ("§2.7 l. 249", create(json!(257)), count),
        ("§2.7 l. 249", create(json!("many")), "instancesPerHost - must be a whole number"),
        ("§2.7 l. 249", json!({"type": "CREATE", "instancesPerHost": 1}), "spec - Specify what to run"),
        ("§2.7 l. 254", scale(json!(0)), count),
        ("§2.7 l. 254", scale(json!(257)), count),
        (
            "§2.7 l. 257",
            json!({"type": "STOP_INSTANCES", "serviceId": SERVICE, "instanceIds": []}),
            "instanceIds - Specify the instances to stop",
        ),
        ("§2.6 l. 241", paced(json!({"parallelism": 0})), parallelism),
        ("§2.6 l. 241", paced(json!({"parallelism": 513})), parallelism),
        ("§2.6 l. 241", paced(json!({"timeout": "0s"})), "opSpec.timeout - Must be longer than no time"),
        (
            "§2.6 l. 241",
            paced(json!({"failureStrategy": "HOPE"})),
            "opSpec.failureStrategy - 'HOPE' is not one of [STOP, ROLLBACK]",
        ),
    ] {
        assert_eq!(refused(&fleet.cluster, case, &operation).await, [error], "{case}: {operation}");
    }
    fleet.stop().await;
}

/// §3.3 (l. 353-364): the damage, and all that is said of it: alone, and of an operation's spec.
#[tokio::test]
async fn each_broken_rule_of_a_spec_is_told_in_droves_words() {
    let cluster = controller().await;
    let characters = "- Only characters, numbers, hyphen and underscore is allowed";
    let port = |name: &str| json!({"type": "HTTP", "portName": name, "path": "/", "verb": "GET", "successCodes": [200]});
    // A path, or nothing where the whole sentence is the wire's.
    let table = [
        (
            "l. 356",
            "/healthcheck/mode",
            port("X"),
            "",
            "Invalid port name for health check: X. Available ports: [main]",
        ),
        (
            "l. 356",
            "/readiness/mode",
            port("X"),
            "",
            "Invalid port name for health check: X. Available ports: [main]",
        ),
        (
            "l. 357",
            "/resources",
            json!([{"type": "MEMORY", "sizeInMB": 1}]),
            "",
            "Cpu requirements are mandatory",
        ),
        (
            "l. 357",
            "/resources",
            json!([{"type": "CPU", "count": 1}]),
            "",
            "Memory requirements are mandatory",
        ),
        (
            "l. 360",
            "/args",
            json!(["x".repeat(1024), "y".repeat(1024)]),
            "",
            "Maximum combined length of command line arguments can be 2048",
        ),
        (
            "l. 362",
            "/placementPolicy",
            json!({"type": "ANY"}),
            "",
            "Only local placement is allowed for local services",
        ),
        ("l. 364", "/name", json!(""), "name", "- Service name is mandatory"),
        ("l. 364", "/name", json!("a.b"), "name", characters),
        ("l. 364", "/version", Value::Null, "version", "- Service version is mandatory"),
        ("l. 364", "/version", json!("1.0"), "version", characters),
        ("l. 364", "/executable", Value::Null, "executable", "- Executable details is required"),
        ("l. 364", "/executable/url", Value::Null, "executable.url", "- Specify url for container"),
        (
            "l. 364",
            "/executable/dockerPullTimeout",
            Value::Null,
            "executable.dockerPullTimeout",
            "- Specify container fetch (docker pull) timeout",
        ),
        (
            "l. 364",
            "/exposedPorts/0/port",
            json!(0),
            "exposedPorts[0].port",
            "- Port cannot be negative or 0",
        ),
        (
            "l. 364",
            "/exposedPorts/0/port",
            json!(-8),
            "exposedPorts[0].port",
            "- Port cannot be negative or 0",
        ),
        (
            "l. 364",
            "/exposedPorts/0/port",
            json!(65_536),
            "exposedPorts[0].port",
            "- Port cannot be more than 65K",
        ),
        (
            "l. 364",
            "/exposedPorts/0/type",
            Value::Null,
            "exposedPorts[0].type",
            "- Please specify port type [HTTP/TCP/UDP]",
        ),
        ("l. 364", "/type", Value::Null, "type", "- Specify if job is a computation or a service"),
        ("l. 364", "/resources", json!([]), "resources", "- CPU/Memory requirements must be specified"),
        (
            "l. 364",
            "/volumes/0/pathInContainer",
            Value::Null,
            "volumes[0].pathInContainer",
            "- Provide mount path inside container",
        ),
        (
            "l. 364",
            "/volumes/0/pathOnHost",
            Value::Null,
            "volumes[0].pathOnHost",
            "- Provide host directory to mount",
        ),
        (
            "l. 364",
            "/volumes/0/mode",
            Value::Null,
            "volumes[0].mode",
            "- Specify whether mount is read-only or read-write",
        ),
        (
            "l. 364",
            "/logging/maxSize",
            Value::Null,
            "logging.maxSize",
            "- Specify max size of logs, such as 10m",
        ),
        ("l. 364", "/logging/maxFiles", json!(101), "logging.maxFiles", "must be between 1 and 100"),
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
    // l. 353: all that is wrong, at once.
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

/// §3.3 (l. 358, l. 359, l. 361): what the cluster's configuration forbids.
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
    assert_eq!(answer, (400, refusal(COMMAND, &errors, "INVALID")), "§3.3 l. 358, l. 359, l. 361");
    cluster.stop().await;
}
