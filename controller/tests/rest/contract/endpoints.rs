//! §1: conventions, who may call what, and the calls.

use muster_common::executor::ExecutorState;
use muster_common::id::ExecutorId;
use muster_common::user::UserRole;
use muster_controller::{State, TokenDigest, UserConfig};
use muster_platform::World;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    COMMAND, ENDED, EXECUTOR, Fleet, INSTANCE, OPERATIONS, SERVICE, controller, example_spec, refusal,
};
use crate::common::Cluster;
use crate::{failed, success};

/// A call with a body and a content type, or without either; its status and what it says of its kind.
async fn call(
    cluster: &Cluster,
    method: Method,
    path: &str,
    body: Option<(&str, String)>,
) -> (u16, String, Value) {
    let mut request = cluster.http.request(method, cluster.url(0, &format!("/apis/v1{path}")));
    if let Some((content_type, body)) = body {
        request = request.header("content-type", content_type).body(body);
    }
    let answer = request.send().await.unwrap();
    let kind = answer.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
    (status, kind.unwrap_or_default(), serde_json::from_str(&text).unwrap_or_default())
}

/// §1.1: which bodies are taken.
#[tokio::test]
async fn calls_that_take_nothing_take_nothing_or_an_object() {
    let fleet = Fleet::start().await;
    let json = |text: &str| Some(("application/json", text.to_owned()));
    for (path, body, status) in [
        // As drove-cli sends it; there is nothing to cancel.
        (format!("{OPERATIONS}/{SERVICE}/cancel"), None, 400),
        (format!("{OPERATIONS}/{SERVICE}/cancel"), json("{}"), 400),
        (format!("/cluster/executors/{EXECUTOR}/blacklist"), None, 200),
        (format!("/cluster/executors/{EXECUTOR}/unblacklist"), json("{}"), 200),
        (format!("/cluster/executors/blacklist?id={EXECUTOR}"), json("{}"), 200),
        (format!("/cluster/executors/unblacklist?id={EXECUTOR}"), None, 200),
        ("/cluster/maintenance/set".to_owned(), json("{}"), 200),
        ("/cluster/maintenance/unset".to_owned(), None, 200),
    ] {
        let (given, kind, answer) = call(&fleet.cluster, Method::POST, &path, body).await;
        assert_eq!(given, status, "{path}: {answer}");
        assert_eq!(kind, "application/json", "{path}");
    }
    fleet.stop().await;
}

/// §1.1: the table of errors, but for 401 and 403, which are in `users.rs`.
#[tokio::test]
async fn each_error_has_its_status_and_its_body() {
    let fleet = Fleet::start().await;
    let validate = "/localservices/validate/spec";
    let nameless = super::spec_with("", &[]).to_string();
    let unnamed =
        json!({"type": "CREATE", "spec": super::spec_with("", &[]), "instancesPerHost": 257}).to_string();
    let no_name = "spec.name - Service name is mandatory";
    let count = "instancesPerHost must be between 1 and 256";
    for (case, path, body, expected) in [
        ("unknown path", "/none", None, (404, Value::Null)),
        ("unknown method", validate, None, (405, Value::Null)),
        (
            "a broken rule",
            OPERATIONS,
            Some(json!({"type": "ACTIVATE", "serviceId": "X-1"}).to_string()),
            (400, refusal(COMMAND, &["No state found for local service: X-1"], "NOT_FOUND")),
        ),
        ("a bound", OPERATIONS, Some(unnamed), (400, refusal(COMMAND, &[no_name, count], "INVALID"))),
        (
            "a bound",
            validate,
            Some(nameless),
            (400, refusal(COMMAND, &["name - Service name is mandatory"], "INVALID")),
        ),
        (
            "a bound",
            "/localservices?from=-1",
            None,
            (400, refusal(COMMAND, &["query param from must be greater than or equal to 0"], "INVALID")),
        ),
        (
            "no type",
            OPERATIONS,
            Some("{}".to_owned()),
            (
                400,
                refusal("JSON validation failure", &["type - Specify the type of the operation"], "INVALID"),
            ),
        ),
        ("unknown", "/localservices/X", None, (200, failed("Local service X not found"))),
        (
            "unknown",
            "/localservices/S/instances/I",
            None,
            (200, failed("No such local service instance S/I")),
        ),
        ("unknown", "/cluster/executors/E", None, (200, failed("No executor found with id: E"))),
    ] {
        let answer = match body {
            Some(body) => fleet.cluster.post(0, path, body).await,
            None => fleet.cluster.get(0, path).await,
        };
        assert_eq!(answer, expected, "§1.1 {case}: {path}");
    }
    let answer = fleet.cluster.post(0, &format!("{OPERATIONS}/{SERVICE}/cancel"), "").await;
    assert_eq!(answer, (400, failed("Current operation could not be cancelled")), "§1.1");
    fleet.stop().await;
}

/// §1.1: whatever cannot be read is told as such.
#[tokio::test]
async fn what_cannot_be_read_is_told_as_no_json() {
    let cluster = controller().await;
    let create = |pointer: &str, value: Value| {
        let spec = super::spec_with("A", &[(pointer, value)]);
        json!({"type": "CREATE", "spec": spec, "instancesPerHost": 1}).to_string()
    };
    for (case, body) in [
        ("bad JSON", "{\"type\":".to_owned()),
        ("bad JSON", "nonsense".to_owned()),
        ("no type", json!({"serviceId": "A-1"}).to_string()),
        ("unknown type", json!({"type": "FLY", "serviceId": "A-1"}).to_string()),
        ("bad enum", create("/type", json!("CRON"))),
        ("bad enum", create("/exposedPorts/0/type", json!("SCTP"))),
        ("bad enum", create("/healthcheck/mode/verb", json!("PATCH"))),
        ("unknown type", create("/healthcheck/mode/type", json!("ICMP"))),
        ("missing type", create("/resources/0/type", Value::Null)),
        ("bad duration", create("/healthcheck/timeout", json!("soon"))),
        ("bad duration", create("/readiness/interval", json!("5 fortnights"))),
        ("bad duration", create("/executable/dockerPullTimeout", json!(""))),
    ] {
        let (status, answer) = cluster.post(0, OPERATIONS, body.clone()).await;
        assert_eq!(
            (status, &answer["message"]),
            (400, &json!("JSON validation failure")),
            "{case} {body}: {answer}"
        );
        assert!(!answer["data"]["validationErrors"][0].as_str().unwrap().is_empty(), "{case} {body}");
    }
    cluster.stop().await;
}

/// §1.1, §3.1.
#[tokio::test]
async fn a_closed_cluster_refuses_operations_and_duties_each_in_its_way() {
    let fleet = Fleet::start().await;
    fleet.cluster.post(0, "/cluster/maintenance/set", "{}").await;
    let sentence = "Cluster is in maintenance mode";
    let closed = (400, refusal(COMMAND, &[sentence], "CONFLICT"));
    let validated = fleet.cluster.post(0, "/localservices/validate/spec", example_spec().to_string()).await;
    assert_eq!(validated, closed, "§1.1");
    for operation in [
        json!({"type": "CREATE", "spec": super::spec_with("A", &[]), "instancesPerHost": 1}),
        json!({"type": "DEACTIVATE", "serviceId": SERVICE}),
        // Before whether there is such a service is looked at.
        json!({"type": "ACTIVATE", "serviceId": "NONE-1"}),
    ] {
        let answer = fleet.cluster.post(0, OPERATIONS, operation.to_string()).await;
        assert_eq!(answer, closed, "§1.1, §3.1: {operation}");
    }
    for duty in ["blacklist", "unblacklist"] {
        for path in [format!("{EXECUTOR}/{duty}"), format!("{duty}?id={EXECUTOR}")] {
            let answer = fleet.cluster.post(0, &format!("/cluster/executors/{path}"), "{}").await;
            assert_eq!(answer, (200, failed(sentence)), "§1.1: {path}");
        }
    }
    fleet.stop().await;
}

/// §1.2: every call of Drove's and who may make it.
#[tokio::test]
async fn each_group_of_calls_is_for_its_roles() {
    const ROLES: [UserRole; 4] =
        [UserRole::Root, UserRole::ReadWrite, UserRole::Maintenance, UserRole::ReadOnly];
    let cluster = Cluster::start_configured(World::system(), 1, |config| {
        config.users = ROLES
            .map(|role| UserConfig {
                name: role.as_str().to_owned(),
                role,
                token_sha256: TokenDigest::of(role.as_str()),
            })
            .to_vec();
    })
    .await;
    let all = &ROLES[..];
    let writers = &[UserRole::Root, UserRole::ReadWrite][..];
    let keepers = &[UserRole::Root, UserRole::Maintenance][..];
    let readers_of_logs = &[UserRole::Root, UserRole::ReadWrite, UserRole::ReadOnly][..];
    let read = |path: &'static str| ("reads", Method::GET, path, all);
    for (case, method, path, may) in [
        read("/ping"),
        read("/localservices"),
        read("/localservices/A-1"),
        read("/localservices/A-1/spec"),
        read("/localservices/A-1/instances"),
        read("/localservices/A-1/instances/old"),
        read("/localservices/A-1/instances/SI-1"),
        read("/applications/A-1/instances"),
        read("/cluster"),
        read("/cluster/dashboard"),
        read("/cluster/executors"),
        read("/cluster/executors/E"),
        read("/cluster/events"),
        read("/cluster/events/latest"),
        read("/cluster/events/summary"),
        read("/endpoints"),
        read("/endpoints/app/A"),
        ("reads", Method::POST, "/localservices/validate/spec", all),
        ("operations", Method::POST, "/localservices/operations", writers),
        ("operations", Method::POST, "/localservices/operations/A-1/cancel", writers),
        ("duties", Method::POST, "/cluster/executors/E/blacklist", keepers),
        ("duties", Method::POST, "/cluster/executors/E/unblacklist", keepers),
        ("duties", Method::POST, "/cluster/executors/blacklist?id=E", keepers),
        ("duties", Method::POST, "/cluster/executors/unblacklist?id=E", keepers),
        ("duties", Method::POST, "/cluster/maintenance/set", keepers),
        ("duties", Method::POST, "/cluster/maintenance/unset", keepers),
        ("logs", Method::GET, "/logfiles/localservices/A-1/SI-1/list", readers_of_logs),
        ("logs", Method::GET, "/logfiles/localservices/A-1/SI-1/read/output.log", readers_of_logs),
        ("logs", Method::GET, "/logfiles/localservices/A-1/SI-1/download/output.log", readers_of_logs),
    ] {
        for role in ROLES {
            let request = cluster.http.request(method.clone(), cluster.url(0, &format!("/apis/v1{path}")));
            let status = request.bearer_auth(role.as_str()).send().await.unwrap().status().as_u16();
            assert_eq!(status != 403, may.contains(&role), "§1.2 {case}: {role} {path}: {status}");
        }
        let stranger = cluster.http.request(method, cluster.url(0, &format!("/apis/v1{path}")));
        assert_eq!(stranger.send().await.unwrap().status().as_u16(), 401, "§1.1: {path}");
    }
    cluster.stop().await;
}

/// §1.3.
#[tokio::test]
async fn services_and_instances_are_listed_in_pages_and_by_state() {
    let fleet = Fleet::start().await;
    let ids = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|one| one["instanceId"].as_str().unwrap().to_owned()).collect()
    };
    for (case, query, expected) in [
        ("defaults", "", &[SERVICE][..]),
        ("the bounds", "?from=0&size=2147483646", &[SERVICE]),
        ("from beyond", "?from=1", &[]),
        ("nothing", "?size=0", &[]),
    ] {
        let services = fleet.get(&format!("/localservices{query}")).await;
        let found: Vec<&str> = services.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(found, expected, "§1.3 {case}");
    }
    for query in ["from=2147483647", "size=2147483647", "from=x", "size=-1"] {
        let (status, answer) = fleet.cluster.get(0, &format!("/localservices?{query}")).await;
        assert_eq!((status, &answer["message"]), (400, &json!(COMMAND)), "§1.3: {query}");
        let error = answer["data"]["validationErrors"][0].as_str().unwrap();
        assert!(error.starts_with("query param "), "{error}");
    }
    for (case, query, expected) in [
        ("active ones", "", &[INSTANCE][..]),
        ("a state", "?state=HEALTHY", &[INSTANCE]),
        ("states in any case", "?state=healthy&state=Ready", &[INSTANCE]),
        ("another state", "?state=STOPPING", &[]),
        ("states only narrow", "?state=STOPPED", &[]),
    ] {
        let found = fleet.get(&format!("/localservices/{SERVICE}/instances{query}")).await;
        assert_eq!(ids(&found), expected, "§1.3 {case}");
    }
    assert_eq!(fleet.get("/localservices/NONE-1/instances").await, json!([]), "§1.3");
    assert_eq!(ids(&fleet.get(&format!("/localservices/{SERVICE}/instances/old")).await), [ENDED], "§1.3");
    for (id, state) in [(INSTANCE, "HEALTHY"), (ENDED, "STOPPED")] {
        let one = fleet.get(&format!("/localservices/{SERVICE}/instances/{id}")).await;
        assert_eq!((&one["instanceId"], &one["state"]), (&json!(id), &json!(state)), "§1.3");
    }
    let answer = fleet.cluster.get(0, &format!("/localservices/OTHER-1/instances/{INSTANCE}")).await;
    let message = format!("No such local service instance OTHER-1/{INSTANCE}");
    assert_eq!(answer, (200, failed(&message)), "§1.3: of another service");
    let valid = super::spec_with("A", &[]).to_string();
    let answer = fleet.cluster.post(0, "/localservices/validate/spec", valid).await;
    assert_eq!(answer, (200, success(&json!({"valid": true}))), "§1.3");
    fleet.stop().await;
}

/// §1.3.
#[tokio::test]
async fn an_operation_is_accepted_with_its_service_and_cancelled_without_data() {
    let fleet = Fleet::start().await;
    let restart = json!({"type": "RESTART", "serviceId": SERVICE}).to_string();
    let (status, answer) = fleet.cluster.post(0, OPERATIONS, restart).await;
    assert_eq!(status, 200, "{answer}");
    super::assert_example("§1.3", &answer["data"], &json!({"serviceId": SERVICE}), &[], &["operationId"]);
    let path = format!("/apis/v1{OPERATIONS}/{SERVICE}/cancel");
    let bare = fleet.cluster.http.post(fleet.cluster.url(0, &path)).send().await.unwrap();
    assert_eq!(bare.status().as_u16(), 200);
    let answer: Value = bare.json().await.unwrap();
    assert_eq!(answer, json!({"status": "SUCCESS", "message": "success"}), "§1.3");
    fleet.stop().await;
}

/// §1.4, §2.10.
#[tokio::test]
async fn the_cluster_and_its_executors_are_shown_and_kept() {
    let fleet = Fleet::start().await;
    assert_eq!(fleet.get("/ping").await, json!("pong"), "§1.4");
    for path in ["/endpoints", "/endpoints?app=A&app=B", "/endpoints/app/A"] {
        assert_eq!(fleet.get(path).await, json!([]), "§1.4: {path}");
    }
    for (call, state) in
        [("set", "MAINTENANCE"), ("set", "MAINTENANCE"), ("unset", "NORMAL"), ("unset", "NORMAL")]
    {
        let (status, answer) = fleet.cluster.post(0, &format!("/cluster/maintenance/{call}"), "{}").await;
        assert_eq!(status, 200, "§1.4: in any state: {answer}");
        let example = json!({"state": state, "updated": 1_719_897_526_772_u64});
        super::assert_example("§2.10", &answer["data"], &example, &["updated"], &[]);
        assert_eq!(fleet.get("/cluster").await["state"], state, "§2.10");
    }
    let outcome = |successful: &[&str], failed: &[&str], message: &str| json!({"successful": successful, "failed": failed, "approxCompletionTimeMs": 0, "message": message});
    let scheduled = "Blacklisting successful and app movement scheduled";
    let unsent = "Blacklisting messages could not be sent to any of the executors.";
    let whole = "Unblacklisting successful for all executors";
    let some = "Unblacklisting successful for some executors. Check logs for details.";
    for (case, path, expected) in [
        ("several", format!("blacklist?id={EXECUTOR}&id=ex2"), outcome(&[EXECUTOR], &["ex2"], scheduled)),
        (
            "asked again while it holds something",
            format!("{EXECUTOR}/blacklist"),
            outcome(&[EXECUTOR], &[], scheduled),
        ),
        ("BLACKLISTED already", format!("{EXECUTOR}/blacklist"), outcome(&[], &[EXECUTOR], unsent)),
        ("several", format!("unblacklist?id=ex2&id={EXECUTOR}"), outcome(&[EXECUTOR], &["ex2"], some)),
        ("one", format!("{EXECUTOR}/blacklist"), outcome(&[EXECUTOR], &[], scheduled)),
        ("one", format!("{EXECUTOR}/unblacklist"), outcome(&[EXECUTOR], &[], whole)),
        ("unknown", "ex2/blacklist".to_owned(), outcome(&[], &["ex2"], unsent)),
    ] {
        if case.contains("already") {
            fleet.end_instance().await;
            let executor = ExecutorId::new(EXECUTOR).unwrap();
            let is_empty = |state: &State| {
                state.executor(&executor).unwrap().shown_state() == ExecutorState::Blacklisted
            };
            fleet.cluster.until(0, "the executor is empty", is_empty).await;
        }
        let answer = fleet.cluster.post(0, &format!("/cluster/executors/{path}"), "{}").await;
        assert_eq!(answer, (200, success(&expected)), "§1.4 {case}: {path}");
    }
    let events = fleet.get("/cluster/events").await;
    let emptied = events.as_array().unwrap().iter().find(|event| event["type"] == "EXECUTOR_BLACKLISTED");
    let node = json!({"EXECUTOR_ID": EXECUTOR, "HOSTNAME": "node1", "PORT": 3000});
    assert_eq!(emptied.unwrap()["metadata"], node, "§2.11");
    for duty in ["blacklist", "unblacklist"] {
        let answer = fleet.cluster.post(0, &format!("/cluster/executors/{duty}"), "{}").await;
        let nobody = refusal(COMMAND, &["query param id must not be empty"], "INVALID");
        assert_eq!(answer, (400, nobody), "§1.4: id is required");
    }
    fleet.stop().await;
}

/// §1.4.
#[tokio::test]
async fn events_are_newest_first_after_a_time_and_cut_from_the_old_end() {
    let fleet = Fleet::start().await;
    let all = fleet.get("/cluster/events").await;
    let all = all.as_array().unwrap();
    let times: Vec<u64> = all.iter().map(|event| event["time"].as_u64().unwrap()).collect();
    assert!(times.len() >= 5 && times.is_sorted_by(|newer, older| newer >= older), "§1.4: {times:?}");
    let newest = times[0];

    assert_eq!(fleet.get("/cluster/events?size=2").await, json!(all[..2]), "§1.4: the newest");
    assert_eq!(fleet.get("/cluster/events?size=0").await, json!([]));
    let since = times[times.len() - 2];
    let later: Vec<&Value> = all.iter().filter(|event| event["time"].as_u64().unwrap() > since).collect();
    assert_eq!(fleet.get(&format!("/cluster/events?lastSyncTime={since}")).await, json!(later), "§1.4");

    let latest = fleet.get("/cluster/events/latest?size=1").await;
    assert_eq!(latest, json!({"events": all[..1], "lastSyncTime": newest}), "§1.4");
    let none = fleet.get(&format!("/cluster/events/latest?lastSyncTime={newest}")).await;
    assert_eq!(none, json!({"events": [], "lastSyncTime": newest}), "§1.4");
    let ahead = newest + 3_600_000;
    let none = fleet.get(&format!("/cluster/events/latest?lastSyncTime={ahead}")).await;
    assert_eq!(none, json!({"events": [], "lastSyncTime": newest}), "§1.4: the newest stored event's");

    let summary = fleet.get("/cluster/events/summary").await;
    let counted: u64 =
        summary["eventsCount"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!((counted, &summary["lastSyncTime"]), (all.len() as u64, &json!(newest)), "§1.4");
    for path in ["?size=-1", "/latest?lastSyncTime=x", "/summary?lastSyncTime=-5"] {
        assert_eq!(fleet.cluster.get(0, &format!("/cluster/events{path}")).await.0, 400, "{path}");
    }
    fleet.stop().await;
}

/// §1.5: nobody has that log.
#[tokio::test]
async fn logs_of_nobody_have_no_content() {
    let fleet = Fleet::start().await;
    for path in ["list", "read/output.log", "read/output.log?offset=0&length=10", "download/output.log"] {
        for instance in ["SI-none", "..%2f.."] {
            let path = format!("/logfiles/localservices/{SERVICE}/{instance}/{path}");
            assert_eq!(fleet.cluster.get(0, &path).await, (204, Value::Null), "§1.5: {path}");
        }
    }
    fleet.stop().await;
}
