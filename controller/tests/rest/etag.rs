//! What callers know already, and what they expect while they change it.

use serde_json::{Value, json};

use crate::common::{Cluster, spec};
use crate::{invalid, refused};

/// Asks for a count under `If-Match`; the status and the answer.
async fn scale(cluster: &Cluster, count: u32, if_match: &str) -> (u16, Value) {
    let body = json!({"type": "UPDATE_INSTANCE_COUNT", "serviceId": "WEB-1", "instancesPerHost": count});
    let request = cluster.http.post(cluster.url(0, "/apis/v1/localservices/operations")).json(&body);
    let response = request.header("if-match", if_match).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// The status and the tag of a read by somebody who has `known`.
async fn read(cluster: &Cluster, path: &str, known: &str) -> (u16, String, String) {
    let request = cluster.http.get(cluster.url(0, &format!("/apis/v1{path}")));
    let response = request.header("if-none-match", known).send().await.unwrap();
    let tag = response.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(response.headers()["cache-control"], "no-store");
    (response.status().as_u16(), tag, response.text().await.unwrap())
}

#[tokio::test]
async fn what_a_caller_has_is_not_sent_again_and_what_moved_is_not_changed() {
    let cluster = Cluster::start(1).await;
    cluster.submit(0, json!({"type": "CREATE", "spec": spec("WEB"), "instancesPerHost": 1})).await;
    let (_, shown) = cluster.get(0, "/localservices/WEB-1").await;
    let tag = format!("\"{}\"", shown["data"]["generation"]);
    for path in ["/localservices/WEB-1", "/localservices/WEB-1/spec"] {
        let (status, given, body) = read(&cluster, path, "\"1\"").await;
        assert_eq!((status, &given), (200, &tag), "{path}");
        assert!(body.contains("SUCCESS"));
        for known in [tag.clone(), format!("\"1\", W/{tag}")] {
            assert_eq!(
                read(&cluster, path, &known).await,
                (304, tag.clone(), String::new()),
                "{path} {known}"
            );
        }
    }

    let (status, answer) = scale(&cluster, 2, &tag).await;
    assert_eq!(status, 200, "{answer}");
    let (status, answer) = scale(&cluster, 3, &tag).await;
    assert_eq!((status, &answer["data"]["kind"]), (412, &json!("CONFLICT")), "{answer}");
    let sentence = answer["data"]["validationErrors"][0].as_str().unwrap();
    assert!(sentence.starts_with("Local service WEB-1 is of generation"), "{sentence}");
    let (_, shown) = cluster.get(0, "/localservices/WEB-1").await;
    assert_eq!(shown["data"]["instancesPerHost"], json!(2));
    let (status, answer) = scale(&cluster, 3, "seven").await;
    assert_eq!(status, 400, "{answer}");
    assert!(
        answer["data"]["validationErrors"][0].as_str().unwrap().starts_with("header If-Match"),
        "{answer}"
    );
    cluster.stop().await;
}

#[tokio::test]
async fn an_expectation_that_cannot_hold_or_that_nobody_looks_at_is_refused() {
    let cluster = Cluster::start(1).await;
    let call = async |method: &str, path: &str, body: &Value| {
        let url = cluster.url(0, &format!("/apis/v1{path}"));
        let request =
            cluster.http.request(method.parse().unwrap(), url).json(body).header("if-match", "\"999\"");
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let create = json!({"type": "CREATE", "spec": spec("WEB"), "instancesPerHost": 1});
    let sentence = "There is no local service WEB-1, and so none of generation 999 as If-Match expects: leave If-Match out \
                    to create it";
    let operations = "/localservices/operations";
    assert_eq!(call("POST", operations, &create).await, (412, refused(&[sentence], "CONFLICT")));
    let nobody = json!({"type": "ACTIVATE", "serviceId": "WEB-1"});
    assert_eq!(call("POST", operations, &nobody).await.0, 400, "what is not there is told as such");

    let sentence = "header If-Match is for the calls that submit operations; this one would do what it does whatever was \
                    changed meanwhile: leave it out";
    for (method, path) in [
        ("POST", "/cluster/executors/e1/tags"),
        ("POST", "/cluster/maintenance/set"),
        ("POST", "/localservices/operations/WEB-1/cancel"),
        ("DELETE", "/cluster/controllers/9"),
        ("GET", "/localservices"),
    ] {
        assert_eq!(call(method, path, &json!({})).await, (400, invalid(&[sentence])), "{method} {path}");
    }
    let (_, shown) = cluster.get(0, "/cluster").await;
    assert_eq!(shown["data"]["state"], json!("NORMAL"), "nothing was done");
    cluster.stop().await;
}
