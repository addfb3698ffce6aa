//! How much a call may name, ask for and leave behind, and what is said where it is too much.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::common::{Cluster, PATIENCE, spec};
use crate::{invalid, refused, success};

/// Many parameters of one name.
fn many(name: &str, count: usize) -> String {
    (0..count).map(|n| format!("{name}=x{n}")).collect::<Vec<_>>().join("&")
}

/// The first problem of a refusal with this status.
async fn refusal(cluster: &Cluster, path: &str) -> String {
    let (status, answer) = cluster.get(0, path).await;
    assert_eq!(status, 400, "{path}: {answer}");
    answer["data"]["validationErrors"][0].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_call_may_name_as_many_things_as_it_is_for() {
    let cluster = Cluster::start(1).await;
    // A rack of 200, half of it twice.
    let query = format!("{}&{}", many("id", 200), many("id", 100));
    let (status, answer) = cluster.post(0, &format!("/cluster/executors/blacklist?{query}"), "{}").await;
    assert_eq!((status, &answer["data"]["successful"]), (200, &json!([])), "{answer}");
    let named: Vec<String> = (0..200).map(|n| format!("x{n}")).collect();
    assert_eq!(answer["data"]["failed"], json!(named), "each once");

    let exec = "/localservices/A-1/instances/SI-1/exec";
    let taken = refusal(&cluster, &format!("{exec}?{}", many("command", 320))).await;
    assert!(taken.starts_with("this call is for WebSockets"), "{taken}");
    for (path, count, most) in [(exec, 321, 320), ("/localservices", 65, 64)] {
        let sentence = format!(
            "the query has {count} parameters, and this call takes {most} at most: leave out what it does not need, or ask \
             in several calls"
        );
        assert_eq!(refusal(&cluster, &format!("{path}?{}", many("command", count))).await, sentence);
    }
    cluster.stop().await;
}

#[tokio::test]
async fn who_asks_for_nothing_is_given_nothing_and_what_cannot_be_is_refused() {
    let cluster = Cluster::start(1).await;
    for path in ["/cluster/events?from=0&size=0", "/cluster/events?size=0"] {
        assert_eq!(cluster.get(0, path).await, (200, success(&json!([]))), "{path}");
    }
    let (_, one) = cluster.get(0, "/cluster/events?from=0&size=1").await;
    assert!(!one["data"].as_array().unwrap().is_empty(), "{one}");
    for (count, problem) in [("0", "greater than or equal to 1"), ("257", "less than or equal to 256")] {
        let path = format!("/localservices/placement?instancesPerHost={count}");
        let answer = cluster.post(0, &path, spec("WEB").to_string()).await;
        assert_eq!(answer, (400, invalid(&[&format!("query param instancesPerHost must be {problem}")])));
    }
    let read = "/logfiles/localservices/A-1/SI-1/read/output.log";
    for parameter in ["offset", "length"] {
        let sentence = format!("query param {parameter} must be a whole number");
        assert_eq!(refusal(&cluster, &format!("{read}?{parameter}=abc")).await, sentence);
    }
    let (status, answer) = cluster.post(0, "/cluster/controllers", r#"{"id":0,"cluster":"x"}"#).await;
    let errors = ["id - Ids begin at 1", "cluster - 'x' is no address; write host:port"];
    assert_eq!((status, answer), (400, invalid(&errors)));
    cluster.stop().await;
}

#[tokio::test]
async fn what_users_send_is_neither_kept_nor_repeated_without_end() {
    let cluster = Cluster::start(1).await;
    let (session, ..) = cluster.with_a_healthy_instance().await;
    for list in ["slots", "placement", "generations"] {
        for (page, count) in [("", 1), ("?size=1", 1), ("?from=1&size=1", 0), ("?size=0", 0)] {
            let url = cluster.url(0, &format!("/apis/v1/localservices/WEB-1/{list}{page}"));
            let response = cluster.http.get(url).send().await.unwrap();
            assert_eq!(response.headers()["x-total-count"], "1", "{list}{page}");
            let answer: Value = response.json().await.unwrap();
            assert_eq!(answer["data"].as_array().unwrap().len(), count, "{list}{page}: {answer}");
        }
    }

    let ids: Vec<String> = (0..30).map(|n| format!("SI-none{n}")).collect();
    let stop =
        |ids: &Value| json!({"type": "STOP_INSTANCES", "serviceId": "WEB-1", "instanceIds": ids}).to_string();
    let answer = cluster.post(0, "/localservices/operations", stop(&json!(ids))).await;
    let sentence =
        format!("There are no healthy instances with ids: [{}, and 10 more]", ids[..20].join(", "));
    assert_eq!(answer, (400, refused(&[&sentence], "NOT_FOUND")));
    let answer =
        cluster.post(0, "/localservices/operations", stop(&json!(["SI-1", "x".repeat(100_000)]))).await;
    assert_eq!(answer, (400, invalid(&["instanceIds[1] - An id has 255 bytes at most"])));

    // Its executor never dials; what is written down is written down before.
    let path = "/localservices/WEB-1/instances/SI-1/exec";
    let program = format!("a\n{}", "x".repeat(4_000));
    let asked = cluster.post(0, path, json!({"command": [program, "secret"]}).to_string());
    let noted = async {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (_, answer) = cluster.get(0, "/cluster/events").await;
            let events = answer["data"].as_array().unwrap();
            if let Some(noted) = events.iter().find(|event| event["type"] == "INSTANCE_EXEC") {
                return noted["metadata"]["PROGRAM"].as_str().unwrap().to_owned();
            }
            assert!(Instant::now() < deadline, "never written down: {answer}");
            sleep(Duration::from_millis(20)).await;
        }
    };
    let asked = async {
        asked.await;
        std::future::pending().await
    };
    let noted: String = tokio::select! { noted = noted => noted, nothing = asked => nothing };
    assert_eq!(noted, format!("a\\n{}…", "x".repeat(253)));
    drop(session);
    cluster.stop().await;
}
