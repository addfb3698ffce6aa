//! What operators do to the cluster and its executors, over REST and over the wire of sessions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says so by failing

mod common;

use common::executor::{Session, register};
use common::{Cluster, spec};
use muster_common::executor::ExecutorState;
use muster_common::id::ExecutorId;
use serde_json::json;

#[tokio::test]
async fn maintenance_refuses_operations_until_it_is_unset() {
    let cluster = Cluster::start(1).await;
    // As drove-cli sends it.
    let (status, body) = cluster.post(0, "/cluster/maintenance/set", "{}").await;
    assert_eq!((status, &body["data"]["state"]), (200, &json!("MAINTENANCE")), "{body}");
    assert!(body["data"]["updated"].as_u64().unwrap() > 0);
    let (_, summary) = cluster.get(0, "/cluster").await;
    assert_eq!(summary["data"]["state"], json!("MAINTENANCE"));

    let create = json!({"type": "CREATE", "spec": spec("WEB"), "instancesPerHost": 1});
    let (status, body) = cluster.post(0, "/localservices/operations", create.to_string()).await;
    assert_eq!(
        (status, &body["data"]["validationErrors"]),
        (400, &json!(["Cluster is in maintenance mode"])),
        "{body}"
    );

    let (status, body) = cluster.post(0, "/cluster/maintenance/unset", "{}").await;
    assert_eq!((status, &body["data"]["state"]), (200, &json!("NORMAL")), "{body}");
    cluster.submit(0, create).await;
    let (_, counts) = cluster.get(0, "/cluster/events/summary").await;
    let counts = &counts["data"]["eventsCount"];
    assert_eq!(
        (&counts["MAINTENANCE_MODE_SET"], &counts["MAINTENANCE_MODE_REMOVED"]),
        (&json!(1), &json!(1))
    );
    cluster.stop().await;
}

#[tokio::test]
async fn a_blacklisted_executor_is_told_to_stop_what_it_has_and_is_blacklisted_when_it_did() {
    let cluster = Cluster::start(1).await;
    let (mut session, _, running) = cluster.with_a_healthy_instance().await;

    // As drove-cli sends it; one of them does not exist.
    let (status, body) = cluster.post(0, "/cluster/executors/blacklist?id=e1&id=e2", "{}").await;
    let expected = json!({
        "successful": ["e1"], "failed": ["e2"], "approxCompletionTimeMs": 0,
        "message": "Blacklisting successful and app movement scheduled"
    });
    assert_eq!((status, &body["data"]), (200, &expected), "{body}");
    assert!(session.table().await.rows.is_empty());
    let (_, shown) = cluster.get(0, "/cluster/executors/e1").await;
    assert_eq!(shown["data"]["executorState"], json!("BLACKLIST_REQUESTED"));
    let (status, body) = cluster.post(0, "/cluster/executors/e1/remove", "{}").await;
    assert_eq!((status, &body["data"]["kind"]), (400, &json!("CONFLICT")), "{body}");

    let mut stopped = running;
    stopped.version += 1;
    "STOPPED".clone_into(&mut stopped.state);
    session.report(vec![stopped], Vec::new()).await;
    session.ack().await;
    let e1 = ExecutorId::new("e1").unwrap();
    let is_blacklisted = |state: &muster_controller::State| {
        state.executor(&e1).is_some_and(|executor| executor.shown_state() == ExecutorState::Blacklisted)
    };
    cluster.until(0, "the executor is BLACKLISTED", is_blacklisted).await;

    let (_, body) = cluster.post(0, "/cluster/executors/e1/unblacklist", "{}").await;
    assert_eq!(body["data"]["message"], json!("Unblacklisting successful for all executors"), "{body}");
    while session.table().await.rows.is_empty() {}
    cluster.stop().await;
}

#[tokio::test]
async fn duties_of_executors_that_are_not_there_and_bad_requests_are_named() {
    let cluster = Cluster::start(1).await;
    let (status, body) = cluster.post(0, "/cluster/executors/none/drain", "").await;
    assert_eq!((status, &body["message"]), (200, &json!("No executor found with id: none")), "{body}");
    let (status, body) = cluster.post(0, "/cluster/executors/none/drain", r#"{"timeout": "9 days"}"#).await;
    let errors = json!(["timeout - Must be between 1 second and 1 day"]);
    assert_eq!((status, &body["data"]["validationErrors"]), (400, &errors), "{body}");
    let (status, body) = cluster.post(0, "/cluster/executors/blacklist", "{}").await;
    assert_eq!((status, &body["data"]["kind"]), (400, &json!("INVALID")), "{body}");
    cluster.post(0, "/cluster/maintenance/set", "{}").await;
    let answer = cluster.post(0, "/cluster/executors/none/blacklist", "{}").await;
    assert_eq!(answer, (200, json!({"status": "FAILED", "message": "Cluster is in maintenance mode"})));
    cluster.stop().await;
}

#[tokio::test]
async fn tags_that_users_give_decide_where_a_service_goes_and_the_answer_says_why_not() {
    let cluster = Cluster::start(1).await;
    let mut picky = spec("WEB");
    picky["placementPolicy"]["tags"] = json!({"all": ["ssd"]});
    let address = cluster.controllers[0].cluster_addr().to_string();
    let mut session = Session::open(&cluster.executor("e1"), &address, register("e1", 1, 0)).await.unwrap();
    session.welcome().await;
    let dry = cluster.post(0, "/localservices/placement?instancesPerHost=2", picky.to_string()).await;
    let reasons = json!([{"code": "TAGS", "message": "it lacks the tag ssd"}]);
    assert_eq!((dry.0, &dry.1["data"][0]["reasons"]), (200, &reasons), "{}", dry.1);

    cluster.submit(0, json!({"type": "CREATE", "spec": picky, "instancesPerHost": 2})).await;
    cluster.submit(0, json!({"type": "ACTIVATE", "serviceId": "WEB-1"})).await;
    let (_, placement) = cluster.get(0, "/localservices/WEB-1/placement").await;
    assert_eq!(placement["data"][0]["wanted"], json!(0), "{placement}");
    let (status, tagged) = cluster.post(0, "/cluster/executors/e1/tags", r#"{"tags": ["ssd"]}"#).await;
    assert_eq!((status, &tagged["data"]["tags"]), (200, &json!(["node1", "ssd"])), "{tagged}");
    while session.table().await.rows.len() < 2 {}
    let (_, placement) = cluster.get(0, "/localservices/WEB-1/placement").await;
    assert_eq!(placement["data"][0]["wanted"], json!(2), "{placement}");

    let amend = json!({"remove": ["gpu"], "add": ["zone=a"]}).to_string();
    let (status, tagged) = cluster.post(0, "/cluster/executors/e1/tags", amend).await;
    assert_eq!((status, &tagged["data"]["tags"]), (200, &json!(["node1", "ssd", "zone=a"])), "{tagged}");
    let many: Vec<String> = (0..63).map(|n| format!("t{n}")).collect();
    let (status, body) =
        cluster.post(0, "/cluster/executors/e1/tags", json!({"add": many}).to_string()).await;
    assert_eq!((status, &body["data"]["kind"]), (400, &json!("CONFLICT")), "{body}");

    let (status, body) = cluster.post(0, "/cluster/executors/e1/tags", r#"{"tags": ["a b"]}"#).await;
    assert_eq!((status, &body["data"]["kind"]), (400, &json!("INVALID")), "{body}");
    cluster.stop().await;
}

/// The names and ids of what a stream of events says, until it ends or `last` was said.
async fn watched(response: &mut reqwest::Response, last: &str) -> Vec<(String, String)> {
    watched_within(response, last, common::PATIENCE).await
}

async fn watched_within(
    response: &mut reqwest::Response,
    last: &str,
    patience: std::time::Duration,
) -> Vec<(String, String)> {
    let (mut text, mut told) = (String::new(), Vec::new());
    let read = async {
        while let Some(chunk) = response.chunk().await.unwrap() {
            text.push_str(std::str::from_utf8(&chunk).unwrap());
            while let Some((one, rest)) = text.clone().split_once("\n\n") {
                let field = |name: &str| {
                    let mut lines = one.lines();
                    lines.find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
                };
                told.push((field("event:"), field("id:")));
                rest.clone_into(&mut text);
            }
            if told.iter().any(|(name, _)| name == last) {
                break;
            }
        }
    };
    tokio::time::timeout(patience, read).await.unwrap_or_else(|_| panic!("never: {last}"));
    told
}

#[tokio::test]
async fn events_are_watched_and_resumed_by_revision_until_the_controller_stops() {
    let cluster = Cluster::start(1).await;
    let url = cluster.url(0, "/apis/v1/cluster/events/watch?from=0");
    let mut first = cluster.http.get(&url).send().await.unwrap();
    assert_eq!(first.headers()["content-type"], "text/event-stream");
    cluster.post(0, "/cluster/maintenance/set", "{}").await;
    let told = watched(&mut first, "MAINTENANCE_MODE_SET").await;
    let (_, seen) = told.iter().find(|(name, _)| name == "MAINTENANCE_MODE_SET").unwrap();

    cluster.post(0, "/cluster/maintenance/unset", "{}").await;
    let mut second = cluster.http.get(&url).header("Last-Event-ID", seen).send().await.unwrap();
    let resumed = watched(&mut second, "MAINTENANCE_MODE_REMOVED").await;
    assert_eq!(resumed.len(), 1, "{resumed:?}");
    let (_, page) = cluster.get(0, &format!("/cluster/events?from={seen}")).await;
    assert_eq!(page["data"][0]["type"], json!("MAINTENANCE_MODE_REMOVED"));
    assert_eq!(page["data"].as_array().unwrap().len(), 1, "{page}");

    let (status, body) = cluster.get(0, "/cluster/events?from=999999").await;
    assert_eq!((status, body["data"]["resumeFrom"].is_u64()), (410, true), "{body}");
    let (status, _) = cluster.get(0, "/cluster/events?from=x").await;
    assert_eq!(status, 400);
    let stopping = tokio::spawn(cluster.stop());
    assert_eq!(watched(&mut second, "SHUTTING_DOWN").await.last().unwrap().0, "SHUTTING_DOWN");
    stopping.await.unwrap();
}

#[tokio::test]
async fn who_watches_a_controller_that_is_cut_off_is_sent_elsewhere() {
    let mut cluster = Cluster::start(3).await;
    let url = |query: &str| cluster.url(0, &format!("/apis/v1/cluster/events/watch{query}"));
    let mut known = cluster.http.get(url("")).send().await.unwrap();
    let mut stale = cluster.http.get(url("?stale=true")).send().await.unwrap();
    let others: Vec<_> = cluster.controllers.drain(1..).collect();
    futures::future::join_all(others.into_iter().map(muster_controller::Controller::shutdown)).await;
    // Not before a heartbeat is due and the group had its time to answer.
    let told = watched_within(&mut known, "NO_LEADER", 3 * common::PATIENCE).await;
    assert!(!told.last().unwrap().1.is_empty(), "it says where to go on: {told:?}");
    let told = watched_within(&mut stale, "HEARTBEAT", 3 * common::PATIENCE).await;
    assert!(told.iter().all(|(name, _)| name != "NO_LEADER"), "{told:?}");
    cluster.stop().await;
}

#[tokio::test]
async fn metrics_tell_of_executors_and_of_operations_that_ended() {
    let cluster = Cluster::start(1).await;
    cluster.submit(0, json!({"type": "CREATE", "spec": spec("WEB"), "instancesPerHost": 1})).await;
    let told = async {
        loop {
            let answer = cluster.http.get(cluster.url(0, "/metrics")).send().await.unwrap();
            let metrics = answer.text().await.unwrap();
            let wanted = [
                r#"muster_operations_total{kind="CREATE",outcome="SUCCEEDED"}"#,
                r#"muster_executors{state="BLACKLISTED"}"#,
                "muster_reconcile_seconds",
            ];
            if wanted.iter().all(|name| metrics.contains(name)) {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(common::PATIENCE, told).await.expect("the metrics never told of it");
    cluster.stop().await;
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_shown_with_the_version_and_decides_nothing() {
    use muster_proto::v1;
    let cluster = Cluster::start(1).await;
    let address = cluster.controllers[0].cluster_addr().to_string();
    let mut session = Session::open(&cluster.executor("e1"), &address, register("e1", 1, 0)).await.unwrap();
    session.welcome().await;
    let heartbeat = v1::Heartbeat { table_revision: 0, now_ms: 1_000 };
    session.send(v1::executor_message::Body::Heartbeat(heartbeat)).await;
    let e1 = ExecutorId::new("e1").unwrap();
    let is_shown = |state: &muster_controller::State| {
        state.executor(&e1).is_some_and(|executor| executor.clock_skew_ms < -1_000_000)
    };
    cluster.until(0, "the skew is shown", is_shown).await;
    let (_, shown) = cluster.get(0, "/cluster/executors/e1").await;
    let shown = &shown["data"];
    assert_eq!((&shown["version"], &shown["executorState"]), (&json!("0.1.0"), &json!("ACTIVE")), "{shown}");
    assert!(shown["clockSkewMs"].as_i64().unwrap() < -1_000_000, "{shown}");
    assert_eq!((&shown["contact"], shown["contactSince"].is_u64()), (&json!("CONNECTED"), true), "{shown}");
    // Each member of these would be a column of `drove executor list`.
    let (_, list) = cluster.get(0, "/cluster/executors").await;
    assert_eq!(list["data"][0].get("contact"), None, "{list}");
    cluster.stop().await;
}
