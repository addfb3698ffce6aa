//! What operators do to the cluster and its executors, over REST and over the wire of sessions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says so by failing

mod common;

use common::{Cluster, spec};
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
