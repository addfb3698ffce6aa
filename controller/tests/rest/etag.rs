//! What callers know already, and what they expect while they change it.

use serde_json::{Value, json};

use crate::common::{Cluster, spec};

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
