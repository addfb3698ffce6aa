//! §0: the twelve traps.

use reqwest::Method;
use reqwest::redirect::Policy;
use serde_json::{Value, json};

use super::{ENDED, EXECUTOR, Fleet, INSTANCE, OPERATIONS, SERVICE, controller, example_spec, spec_with};
use crate::common::{Cluster, spec};
use crate::success;

/// Every document that a client reads of a fleet.
fn reads() -> Vec<String> {
    let mut paths: Vec<String> = [
        "/ping",
        "/whoami",
        "/localservices",
        "/localservices/operations",
        "/instances?old=true",
        "/instances?old=true&detail=true",
        "/cluster",
        "/cluster/dashboard",
        "/cluster/controllers",
        "/cluster/executors",
        "/cluster/events",
        "/cluster/events?from=0",
        "/cluster/events/latest",
        "/cluster/events/summary",
        "/endpoints",
        "/endpoints/app/any",
    ]
    .map(str::to_owned)
    .to_vec();
    paths.push(format!("/cluster/executors/{EXECUTOR}"));
    paths.push(format!("/applications/{SERVICE}/instances"));
    for part in [
        "",
        "/spec",
        "/slots",
        "/placement",
        "/generations",
        "/operations",
        "/instances",
        "/instances?detail=true",
        "/instances/old",
    ] {
        paths.push(format!("/localservices/{SERVICE}{part}"));
    }
    for instance in [INSTANCE, ENDED] {
        paths.push(format!("/localservices/{SERVICE}/instances/{instance}"));
    }
    paths
}

fn null_in(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(elements) => elements.iter().any(null_in),
        Value::Object(members) => members.values().any(null_in),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Every instance in a document, wherever it is.
fn instances_in<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(members) if members.contains_key("instanceId") && members.contains_key("state") => {
            found.push(value);
        }
        Value::Object(members) => members.values().for_each(|value| instances_in(value, found)),
        Value::Array(elements) => elements.iter().for_each(|value| instances_in(value, found)),
        _ => {}
    }
}

/// §0.1, §0.2, §0.3, §0.6.
#[tokio::test]
async fn no_answer_holds_a_null_and_every_instance_an_error_message_and_no_metadata() {
    let fleet = Fleet::start().await;
    let mut seen = 0;
    for path in reads() {
        let data = fleet.get(&path).await;
        assert!(!null_in(&data), "§0.1 {path}: {data}");
        let mut instances = Vec::new();
        instances_in(&data, &mut instances);
        for instance in &instances {
            assert!(instance["errorMessage"].is_string(), "§0.2 {path}: {instance}");
            assert_eq!(instance["metadata"], json!({}), "§0.3 {path}");
            for date in ["created", "updated"] {
                assert!(instance[date].is_u64(), "§0.6 {path}: {date} of {instance}");
            }
        }
        seen += instances.len();
    }
    assert!(seen >= 10, "the lists were not empty: {seen}");
    fleet.stop().await;
}

/// §0.4, §0.5.
#[tokio::test]
async fn what_is_not_there_is_told_with_200_and_failed_and_without_data() {
    let cluster = controller().await;
    for path in
        ["/localservices/X", "/localservices/X/spec", "/cluster/executors/X", "/localservices/X/instances/I"]
    {
        let (status, answer) = cluster.get(0, path).await;
        assert_eq!((status, &answer["status"]), (200, &json!("FAILED")), "{path}");
        assert_eq!(answer.as_object().unwrap().len(), 2, "{path}: status and message alone: {answer}");
    }
    cluster.stop().await;
}

/// §0.7, §2.7: the pace of a restart, under either name.
#[tokio::test]
async fn a_restart_takes_its_pace_under_both_names() {
    for name in ["opSpec", "clusterOpSpec"] {
        let fleet = Fleet::start().await;
        let mut restart = json!({"type": "RESTART", "serviceId": SERVICE, "stopFirst": true});
        restart[name] = json!({"timeout": "7m", "parallelism": 4, "failureStrategy": "ROLLBACK"});
        let operation = fleet.cluster.submit(0, restart).await;
        let shown = fleet.get(&format!("{OPERATIONS}/{operation}")).await;
        let pace = json!({"timeout": "7 minutes", "parallelism": 4, "failureStrategy": "ROLLBACK"});
        assert_eq!((&shown["opSpec"], &shown["stopFirst"]), (&pace, &json!(true)), "{name}: {shown}");
        fleet.stop().await;
    }
}

/// §0.8: where drove-cli waits for instances of a local service.
#[tokio::test]
async fn the_instances_of_an_application_are_those_of_the_service() {
    let fleet = Fleet::start().await;
    let instances = fleet.get(&format!("/localservices/{SERVICE}/instances")).await;
    assert_eq!(instances[0]["instanceId"], INSTANCE);
    assert_eq!(fleet.get(&format!("/applications/{SERVICE}/instances")).await, instances);
    assert_eq!(fleet.get("/applications/NONE-1/instances").await, json!([]));
    fleet.stop().await;
}

/// §0.9, §4.1.
#[tokio::test]
async fn what_is_created_rests() {
    let fleet = Fleet::start().await;
    let other = spec_with("OTHER", &[]);
    fleet.cluster.submit(0, json!({"type": "CREATE", "spec": other, "instancesPerHost": 1})).await;
    let shown = fleet.get("/localservices/OTHER-1").await;
    assert_eq!((&shown["state"], &shown["activationState"]), (&json!("INACTIVE"), &json!("INACTIVE")));
    assert_eq!(fleet.get("/localservices/OTHER-1/slots").await, json!([]));
    fleet.stop().await;
}

/// §0.11, read otherwise: maintenance begins with the call that sets it, ends with the one that unsets it, and
/// does not begin with a new cluster.
#[tokio::test]
async fn maintenance_is_over_at_once() {
    let cluster = controller().await;
    let create = json!({"type": "CREATE", "spec": example_spec(), "instancesPerHost": 1}).to_string();
    for (call, status) in [("set", 400), ("unset", 200)] {
        cluster.post(0, &format!("/cluster/maintenance/{call}"), "{}").await;
        assert_eq!(cluster.post(0, OPERATIONS, create.clone()).await.0, status, "{call}");
    }
    cluster.stop().await;
}

/// §0.12, §1.1, read otherwise: every controller answers and takes what is written, and none redirects.
#[tokio::test]
async fn no_call_is_redirected_or_turned_away_by_who_does_not_lead() {
    let cluster = Cluster::start(3).await;
    let http = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
    for (n, name) in ["A", "B", "C"].into_iter().enumerate() {
        let create = json!({"type": "CREATE", "spec": spec(name), "instancesPerHost": 1});
        for (method, path, body) in [
            (Method::GET, "/ping", None),
            (Method::GET, "/localservices", None),
            (Method::POST, OPERATIONS, Some(create)),
        ] {
            let mut request = http.request(method, cluster.url(n, &format!("/apis/v1{path}")));
            if let Some(body) = body {
                request = request.json(&body);
            }
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 200, "{path} of {n}");
            let answer: Value = answer.json().await.unwrap();
            assert_eq!(answer["status"], "SUCCESS", "{path} of {n}: {answer}");
        }
        assert_eq!(cluster.get(n, "/ping").await.1, success(&json!("pong")));
    }
    cluster.stop().await;
}
