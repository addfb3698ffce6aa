//! Shapes, statuses and sentences of docs/drove-api.md.

use serde_json::{Value, json};

use crate::bad_input::UNDECODED;
use crate::common::{Cluster, spec};
use crate::{failed, invalid, refused, success};

#[tokio::test]
async fn a_service_is_created_shown_and_destroyed() {
    let cluster = Cluster::start(1).await;
    assert_eq!(cluster.get(0, "/ping").await, (200, success(&json!("pong"))));
    assert_eq!(cluster.get(0, "/localservices").await, (200, success(&json!({}))));

    let create = json!({"type": "CREATE", "spec": spec("WEB"), "instancesPerHost": 2});
    let (status, body) = cluster.post(0, "/localservices/operations", create.to_string()).await;
    assert_eq!((status, &body["data"]["serviceId"]), (200, &json!("WEB-1")), "{body}");
    let operation = body["data"]["operationId"].as_str().unwrap();

    let (status, body) = cluster.get(0, "/localservices/WEB-1").await;
    let shown = &body["data"];
    assert_eq!(status, 200);
    for (member, value) in [
        ("id", json!("WEB-1")),
        ("name", json!("WEB")),
        ("instancesPerHost", json!(2)),
        ("healthyInstances", json!(0)),
        ("totalCPUs", json!(0)),
        ("totalMemory", json!(0)),
        ("tags", json!({"team": "platform"})),
        ("activationState", json!("INACTIVE")),
        ("state", json!("INACTIVE")),
    ] {
        assert_eq!(shown[member], value, "{member}");
    }
    assert!(shown["created"].is_u64() && shown["updated"].is_u64());

    let (_, body) = cluster.get(0, &format!("/localservices/operations/{operation}")).await;
    assert_eq!(
        (&body["data"]["kind"], &body["data"]["state"]),
        (&json!("CREATE"), &json!("SUCCEEDED")),
        "{body}"
    );
    let (_, body) = cluster.get(0, "/localservices/WEB-1/operations").await;
    assert_eq!(body["data"][0]["id"], json!(operation));

    let (_, body) = cluster.get(0, "/localservices/WEB-1/spec").await;
    assert_eq!(body["data"]["configs"][0]["data"], json!(""), "inline configs are masked");
    assert_eq!(body["data"]["readiness"]["timeout"], json!("1 second"));

    for path in ["/instances", "/instances/old", "/slots"] {
        let answer = cluster.get(0, &format!("/localservices/WEB-1{path}")).await;
        assert_eq!(answer, (200, success(&json!([]))), "{path}");
    }

    let destroyed = cluster.submit(0, json!({"type": "DESTROY", "serviceId": "WEB-1"})).await;
    let is_gone = |state: &muster_controller::State| state.services().next().is_none();
    cluster.until(0, "the service is destroyed", is_gone).await;
    let (_, body) = cluster.get(0, "/localservices/WEB-1").await;
    assert_eq!(body, failed("Local service WEB-1 not found"));
    // What was done to it can be asked for as long as it is kept.
    let (status, body) = cluster.get(0, "/localservices/WEB-1/operations").await;
    assert_eq!((status, &body["data"][0]["id"]), (200, &json!(destroyed)), "{body}");
    assert_eq!(body["data"][1]["id"], json!(operation), "{body}");
    cluster.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_named_and_paths_that_do_not_exist_are_404() {
    let cluster = Cluster::start(1).await;
    for (path, message) in [
        ("/localservices/NONE-1", "Local service NONE-1 not found"),
        ("/localservices/a%20b", "Local service a b not found"),
        ("/localservices/NONE-1/spec", "Local service NONE-1 not found"),
        ("/localservices/NONE-1/slots", "Local service NONE-1 not found"),
        ("/localservices/NONE-1/operations", "Local service NONE-1 not found"),
        ("/localservices/NONE-1/instances/SI-1", "No such local service instance NONE-1/SI-1"),
        ("/localservices/operations/OP-1", "No operation found with id: OP-1"),
        ("/cluster/executors/none", "No executor found with id: none"),
    ] {
        assert_eq!(cluster.get(0, path).await, (200, failed(message)), "{path}");
    }
    for path in ["/localservices/NONE-1/instances", "/localservices/NONE-1/instances/old", "/endpoints"] {
        assert_eq!(cluster.get(0, path).await, (200, success(&json!([]))), "{path}");
    }
    assert_eq!(cluster.get(0, "/localservices/%ff").await, (400, invalid(&[UNDECODED])));
    assert_eq!(cluster.get(0, "/nothing/here").await, (404, Value::Null));
    assert_eq!(cluster.get(0, "/localservices/validate/spec").await, (405, Value::Null));
    assert_eq!(cluster.post(0, "/cluster", "{}").await, (405, Value::Null));
    cluster.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_or_is_not_valid_changes_nothing() {
    let cluster = Cluster::start(1).await;
    let operations = "/localservices/operations";
    for body in ["", "{", "[]", "{}", r#"{"type":"FLY"}"#, r#"{"type":"CREATE","instancesPerHost":"many"}"#] {
        let (status, answer) = cluster.post(0, operations, body).await;
        assert_eq!(
            (status, &answer["message"]),
            (400, &json!("JSON validation failure")),
            "{body}: {answer}"
        );
        assert!(!answer["data"]["validationErrors"][0].as_str().unwrap().is_empty(), "{body}");
    }

    let mut nameless = spec("");
    nameless["exposedPorts"] = json!([]);
    let create = json!({"type": "CREATE", "spec": nameless, "instancesPerHost": 0});
    let (status, answer) = cluster.post(0, operations, create.to_string()).await;
    assert_eq!((status, &answer["message"]), (400, &json!("Command validation failure")), "{answer}");
    let errors = answer["data"]["validationErrors"].to_string();
    for part in ["spec.name - Service name is mandatory", "spec.exposedPorts", "instancesPerHost"] {
        assert!(errors.contains(part), "{part} is missing in {errors}");
    }
    let (status, answer) = cluster.post(0, "/localservices/validate/spec", nameless.to_string()).await;
    assert_eq!((status, &answer["message"]), (400, &json!("Command validation failure")), "{answer}");
    assert_eq!(answer["data"]["validationErrors"][0], json!("name - Service name is mandatory"));
    let answer = cluster.post(0, "/localservices/validate/spec", spec("GOOD").to_string()).await;
    assert_eq!(answer, (200, success(&json!({"valid": true}))));
    cluster.post(0, "/cluster/maintenance/set", "").await;
    let (status, answer) = cluster.post(0, "/localservices/validate/spec", spec("GOOD").to_string()).await;
    assert_eq!((status, &answer["message"]), (400, &json!("Command validation failure")), "{answer}");
    assert_eq!(answer["data"]["validationErrors"], json!(["Cluster is in maintenance mode"]));

    let (_, listed) = cluster.get(0, "/localservices").await;
    assert_eq!(listed["data"], json!({}));
    cluster.stop().await;
}

#[tokio::test]
async fn refusals_use_droves_sentences() {
    let cluster = Cluster::start(1).await;
    cluster.submit(0, json!({"type": "CREATE", "spec": spec("WEB"), "instancesPerHost": 1})).await;
    for (operation, kind, sentence) in [
        (json!({"type": "ACTIVATE", "serviceId": ""}), "INVALID", "No local service id found in operation"),
        (
            json!({"type": "ACTIVATE", "serviceId": "NONE-1"}),
            "NOT_FOUND",
            "No state found for local service: NONE-1",
        ),
        (
            json!({"type": "CREATE", "spec": spec("WEB"), "instancesPerHost": 1}),
            "CONFLICT",
            "Local service WEB-1 already exists",
        ),
        (
            json!({"type": "STOP", "serviceId": "WEB-1"}),
            "CONFLICT",
            "Only [ACTIVATE, ADJUST_INSTANCES, DEPLOY_TEST_INSTANCE, DESTROY, UPDATE_INSTANCE_COUNT] allowed for \
             local service WEB-1 as it is in INACTIVE state",
        ),
    ] {
        let answer = cluster.post(0, "/localservices/operations", operation.to_string()).await;
        assert_eq!(answer, (400, refused(&[sentence], kind)), "{operation}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn queries_are_bounded_and_pages_are_cut() {
    let cluster = Cluster::start(1).await;
    for name in ["A", "B", "C"] {
        cluster.submit(0, json!({"type": "CREATE", "spec": spec(name), "instancesPerHost": 1})).await;
    }
    let (_, page) = cluster.get(0, "/localservices?from=1&size=1").await;
    assert_eq!(page["data"].as_object().unwrap().keys().collect::<Vec<_>>(), ["B-1"]);
    for (path, sentence) in [
        ("/localservices?from=-1", "query param from must be greater than or equal to 0"),
        ("/localservices?size=x", "query param size must be a whole number"),
        ("/localservices?stale=perhaps", "query param stale must be either true or false"),
        ("/cluster/events/latest?size=-5", "query param size must be greater than or equal to 0"),
    ] {
        assert_eq!(cluster.get(0, path).await, (400, invalid(&[sentence])), "{path}");
    }
    let (status, body) = cluster.get(0, "/localservices/A-1/instances?state=HEALTHY&state=flying").await;
    assert_eq!(status, 400);
    assert!(body["data"]["validationErrors"][0].as_str().unwrap().contains("'flying'"), "{body}");
    let many = (0..65).map(|n| format!("state=healthy&x{n}=1")).collect::<Vec<_>>().join("&");
    assert_eq!(cluster.get(0, &format!("/localservices/A-1/instances?{many}")).await.0, 400);
    cluster.stop().await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_with_the_envelope() {
    let cluster = Cluster::start(1).await;
    let body = "x".repeat(1024 * 1024 + 1);
    let answer = cluster.post(0, "/localservices/operations", body).await;
    let sentence = "The request's body is larger than 1048576 bytes; nothing was done";
    assert_eq!(answer, (413, failed(sentence)));
    cluster.stop().await;
}

#[tokio::test]
async fn the_cluster_and_its_events_are_shown() {
    let cluster = Cluster::start(1).await;
    cluster.submit(0, json!({"type": "CREATE", "spec": spec("WEB"), "instancesPerHost": 1})).await;
    let (_, body) = cluster.get(0, "/cluster").await;
    let address = cluster.controllers[0].api_addr().to_string();
    assert_eq!(body["data"]["leader"], json!(address));
    assert_eq!(body["data"]["numLocalServices"], json!(1));
    let (_, body) = cluster.get(0, "/cluster/controllers").await;
    assert_eq!((&body["data"][0]["id"], &body["data"][0]["leader"]), (&json!(1), &json!(true)), "{body}");
    assert!(body["data"][0]["appliedRevision"].as_u64().unwrap() > 0);
    assert_eq!(cluster.get(0, "/cluster/executors").await, (200, success(&json!([]))));

    let (_, body) = cluster.get(0, "/cluster/events/latest").await;
    let events = &body["data"]["events"];
    assert_eq!(events[0]["type"], json!("OPERATION_STATE_CHANGE"), "{body}");
    assert_eq!(events[0]["metadata"]["SERVICE_ID"], json!("WEB-1"));
    let event = &events[1];
    assert_eq!(event["type"], json!("LOCAL_SERVICE_STATE_CHANGE"), "{body}");
    assert_eq!(event["metadata"]["LOCAL_SERVICE_ID"], json!("WEB-1"));
    let newest = body["data"]["lastSyncTime"].as_u64().unwrap();
    assert_eq!(event["time"], json!(newest));
    let (_, body) = cluster.get(0, &format!("/cluster/events/latest?lastSyncTime={newest}")).await;
    assert_eq!(body["data"], json!({"events": [], "lastSyncTime": newest}));
    let (_, body) = cluster.get(0, "/cluster/events/summary").await;
    assert!(body["data"]["eventsCount"]["LOCAL_SERVICE_STATE_CHANGE"].as_u64().unwrap() >= 1, "{body}");

    let metrics = cluster.http.get(cluster.url(0, "/metrics")).send().await.unwrap();
    assert_eq!(metrics.status(), 200);
    cluster.stop().await;
}

#[tokio::test]
async fn what_a_page_of_another_site_sends_is_refused() {
    let cluster = Cluster::start(1).await;
    let url = cluster.url(0, "/apis/v1/localservices/operations");
    let create = json!({"type": "CREATE", "spec": spec("EVIL"), "instancesPerHost": 1}).to_string();
    for (header, value, status) in [
        ("origin", "https://evil.example", 403),
        ("host", "evil.example", 403),
        ("content-type", "text/plain", 415),
    ] {
        let mut request = cluster.http.post(&url).body(create.clone());
        if header != "content-type" {
            request = request.header("content-type", "application/json");
        }
        let response = request.header(header, value).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{header}: {value}");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["status"], "FAILED");
    }
    let (_, listed) = cluster.get(0, "/localservices").await;
    assert_eq!(listed["data"], json!({}), "nothing was done");
    cluster.stop().await;
}

#[tokio::test]
async fn the_pages_of_drove_and_the_lists_of_everything_are_answered() {
    let cluster = Cluster::start(1).await;
    let create = json!({"type": "CREATE", "spec": spec("WEB"), "instancesPerHost": 2});
    cluster.submit(0, create.clone()).await;
    let (status, body) = cluster.get(0, "/cluster/dashboard").await;
    assert_eq!((status, &body["data"]["serviceStats"]["serviceCountByState"]["INACTIVE"]), (200, &json!(1)));
    assert_eq!(body["data"]["executorStats"]["utilization"]["averageUtilization"], json!(0.0));
    assert_eq!(cluster.get(0, "/instances").await, (200, success(&json!([]))));
    assert_eq!(cluster.get(0, "/applications/WEB-1/instances").await, (200, success(&json!([]))));

    let simulation = json!({"spec": spec("WEB"), "numInstances": 2});
    let (status, body) =
        cluster.post(0, "/cluster/placement/simulate?detail=true", simulation.to_string()).await;
    assert_eq!(status, 200, "{body}");
    let nowhere = "no executor that takes instances has the tags that the spec asks for";
    assert_eq!(body["data"], json!({"requested": 0, "placed": 0, "placements": [], "errors": [nowhere]}));
    let elsewhere = json!({"spec": spec("WEB"), "numInstances": 0, "placementPolicy": {"type": "ANY"}});
    let (status, body) = cluster.post(0, "/cluster/placement/simulate", elsewhere.to_string()).await;
    assert_eq!(status, 400, "{body}");
    let errors =
        ["Only local placement is allowed for local services", "numInstances must be between 1 and 256"];
    assert_eq!(body, invalid(&errors));

    let (status, body) = cluster.post(0, "/cluster/maintenance/set", "{}").await;
    assert_eq!((status, &body["data"]["state"]), (200, &json!("MAINTENANCE")));
    let answer = cluster.post(0, "/localservices/operations", create.to_string()).await;
    assert_eq!(answer, (400, refused(&["Cluster is in maintenance mode"], "CONFLICT")));
    let answer = cluster.post(0, "/cluster/executors/blacklist?id=e", "{}").await;
    assert_eq!(answer, (200, failed("Cluster is in maintenance mode")));
    let (status, body) = cluster.post(0, "/cluster/maintenance/unset", "{}").await;
    assert_eq!((status, &body["data"]["state"]), (200, &json!("NORMAL")));
    assert!(body["data"]["updated"].is_u64());
    cluster.stop().await;
}

#[tokio::test]
async fn a_page_says_how_long_the_list_is() {
    let cluster = Cluster::start(1).await;
    for name in ["A", "B", "C"] {
        cluster.submit(0, json!({"type": "CREATE", "spec": spec(name), "instancesPerHost": 1})).await;
    }
    for (path, total) in [
        ("/localservices?from=1&size=1", "3"),
        ("/localservices/operations?size=2", "3"),
        ("/localservices/A-1/operations", "1"),
        ("/localservices/A-1/instances", "0"),
        ("/localservices/A-1/instances/old?size=0", "0"),
        ("/instances?service=A-1&state=HEALTHY&label=team=platform&idPrefix=SI", "0"),
        ("/cluster/executors", "0"),
        ("/localservices/A-1/slots?size=1", "0"),
        ("/localservices/A-1/placement?from=1", "0"),
        ("/localservices/A-1/generations?size=0", "1"),
    ] {
        let url = cluster.url(0, &format!("/apis/v1{path}"));
        let response = cluster.http.get(url).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200, "{path}");
        assert_eq!(response.headers()["x-total-count"], total, "{path}");
    }
    cluster.stop().await;
}
