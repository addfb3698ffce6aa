//! Whatever is sent, the answer is a refusal in the envelope that says what is wrong; never a failure of the controller's,
//! and never silence.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::common::{Cluster, spec};
use crate::{failed, invalid};

/// Far longer than any of these takes.
const WITHIN: Duration = Duration::from_secs(20);

/// What is said of a path that is no text.
pub(crate) const UNDECODED: &str =
    "the path cannot be decoded: write ids in UTF-8, with %XX for what is no letter or digit";

/// Every call that has ids in its path.
const NAMED: [(&str, &str); 24] = [
    ("GET", "/localservices/{}"),
    ("GET", "/localservices/{}/spec"),
    ("GET", "/localservices/{}/slots"),
    ("GET", "/localservices/{}/placement"),
    ("GET", "/localservices/{}/generations"),
    ("GET", "/localservices/{}/operations"),
    ("GET", "/localservices/{}/instances"),
    ("GET", "/localservices/{}/instances/old"),
    ("GET", "/localservices/{}/instances/{}"),
    ("GET", "/localservices/operations/{}"),
    ("POST", "/localservices/operations/{}/cancel"),
    ("POST", "/localservices/operations/{}/pause"),
    ("POST", "/localservices/operations/{}/resume"),
    ("POST", "/localservices/operations/{}/promote"),
    ("GET", "/applications/{}/instances"),
    ("DELETE", "/cluster/controllers/{}"),
    ("GET", "/cluster/executors/{}"),
    ("POST", "/cluster/executors/{}/blacklist"),
    ("POST", "/cluster/executors/{}/unblacklist"),
    ("POST", "/cluster/executors/{}/drain"),
    ("POST", "/cluster/executors/{}/remove"),
    ("POST", "/cluster/executors/{}/tags"),
    ("GET", "/endpoints/app/{}"),
    ("POST", "/cluster/executors/blacklist?id={}"),
];

/// Parts of paths that are no ids, or nobody's.
const NO_IDS: [&str; 14] = [
    "%00",
    "%ff",
    "%2e%2e%2f%2e%2e",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e",
    "a%20b",
    "%F0%9F%A6%80",
    "-1",
    "99999999999999999999999999",
    "%25s%25n",
    "';--",
    "%0d%0aset-cookie:%20x=1",
    "null",
    "LONG",
];

/// Calls with a query, and what none of their parameters can be.
const QUERIES: [(&str, &[&str]); 13] = [
    ("/localservices", &["from", "size", "stale"]),
    ("/localservices/operations", &["from", "size", "state", "stale"]),
    ("/localservices/A-1/operations", &["from", "size"]),
    ("/localservices/A-1/instances", &["state", "from", "size", "detail", "since", "reason"]),
    ("/localservices/A-1/instances/old", &["state", "from", "size", "since", "reason"]),
    ("/instances", &["state", "from", "size", "since", "reason", "old", "detail"]),
    ("/cluster", &["stale"]),
    ("/cluster/dashboard", &["stale"]),
    ("/cluster/executors", &["from", "size", "stale"]),
    ("/cluster/events", &["from", "size", "lastSyncTime"]),
    ("/cluster/events/latest", &["size", "lastSyncTime"]),
    ("/cluster/events/summary", &["lastSyncTime"]),
    ("/cluster/events/watch", &["from", "type"]),
];

const NO_VALUES: [&str; 6] = ["x", "-1", "1.5", "%00", "99999999999999999999999999", "%F0%9F%A6%80"];

/// Calls that take a body, and need it to be right.
const WITH_BODY: [&str; 7] = [
    "/localservices/operations",
    "/localservices/validate/spec",
    "/localservices/placement",
    "/cluster/placement/simulate",
    "/cluster/controllers",
    "/cluster/executors/e/drain",
    "/cluster/executors/e/tags",
];

fn no_bodies() -> Vec<Vec<u8>> {
    let texts = [
        "nonsense",
        "{",
        "[]",
        "null",
        "7",
        "\"text\"",
        "{}}",
        "{\"type\":7}",
        "{\"type\":\"FLY\"}",
        "{\"type\":\"CREATE\",\"spec\":[],\"instancesPerHost\":1e400}",
        "{\"type\":\"CREATE\",\"spec\":{\"name\":{},\"exposedPorts\":7,\"resources\":[null]},\"instancesPerHost\":-1}",
        "{\"type\":\"STOP_INSTANCES\",\"serviceId\":7,\"instanceIds\":[[]]}",
        "{\"type\":\"ROLLBACK\",\"serviceId\":\"a\",\"generation\":\"x\"}",
        "{\"type\":\"RESTART\",\"serviceId\":\"a\",\"opSpec\":{\"timeout\":\"-5m\",\"parallelism\":0}}",
        "{\"timeout\":\"yesterday\",\"tags\":7,\"spec\":null,\"id\":-1}",
        "{\"spec\":{\"healthcheck\":{\"mode\":{\"type\":\"HTTP\",\"successCodes\":[99999]}}},\"tags\":[\"a b\"]}",
    ];
    let mut bodies: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    bodies.push(vec![0xff, 0xfe, 0x00]);
    bodies.push("[".repeat(100_000).into_bytes());
    bodies.push(format!("{{\"type\":\"{}\"}}", "x".repeat(500_000)).into_bytes());
    bodies.push(b"{\"type\":\"CREATE\",\"type\":\"DESTROY\"}".to_vec());
    bodies
}

/// Sends it; the status, after everything was checked that every answer must be.
async fn refused(cluster: &Cluster, method: &str, path: &str, body: Option<Vec<u8>>) -> u16 {
    let mut request = cluster
        .http
        .request(method.parse::<Method>().unwrap(), cluster.url(0, &format!("/apis/v1{path}")))
        .timeout(WITHIN);
    let shown = body.as_ref().map(|body| String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned());
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body);
    }
    let response = request.send().await.unwrap_or_else(|error| panic!("{method} {path} {shown:?}: {error}"));
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    assert!(status < 500, "{method} {path} {shown:?}: {status} {text}");
    if matches!(status, 404 | 405) && text.is_empty() {
        return status;
    }
    let answer: Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{method} {path}: {error}: {text}"));
    assert!(!text.contains(":null"), "{method} {path} {shown:?}: {text}");
    if status != 200 {
        assert_eq!(answer["status"], "FAILED", "{method} {path} {shown:?}: {text}");
        assert!(!answer["message"].as_str().unwrap().is_empty(), "{method} {path} {shown:?}: {text}");
        assert!(text.len() < 64 * 1024, "{method} {path} {shown:?}: an answer of {} bytes", text.len());
    }
    status
}

#[tokio::test]
async fn paths_that_name_nothing_are_refused() {
    let cluster = Cluster::start(1).await;
    let long = "x".repeat(3_000);
    for (method, path) in NAMED {
        for id in NO_IDS {
            let id = if id == "LONG" { &long } else { id };
            let status = refused(&cluster, method, &path.replace("{}", id), None).await;
            // Some clients resolve dots before they send, and so ask for something else.
            assert!(matches!(status, 200 | 400 | 404 | 405), "{method} {path} {id}: {status}");
        }
    }
    cluster.stop().await;
}

/// Sends a path as it stands: other clients resolve its dots first, and so ask for something else.
async fn get_as_it_stands(cluster: &Cluster, path: &str) -> (u16, Value) {
    let address = cluster.controllers[0].api_addr();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    timeout(WITHIN, stream.read_to_end(&mut answer)).await.expect("an answer").unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_default())
}

/// Of a service, an instance and a file that are there, and of what is beside them.
#[tokio::test]
async fn no_dots_lead_from_a_service_to_anything_else() {
    let cluster = Cluster::start(1).await;
    cluster.submit(0, json!({"type": "CREATE", "spec": spec("WEB"), "instancesPerHost": 1})).await;
    for path in ["localservices/WEB-1", "localservices/WEB-1/spec", "cluster"] {
        assert_eq!(get_as_it_stands(&cluster, &format!("/apis/v1/{path}")).await.0, 200, "{path} is there");
    }
    let no_service = |name: &str| (200, failed(&format!("Local service {name} not found")));
    let no_instance = |name: &str| (200, failed(&format!("No such local service instance WEB-1/{name}")));
    let (no_path, no_log) = ((404, Value::Null), (204, Value::Null));
    for (path, expected) in [
        ("localservices/..", no_service("..")),
        ("localservices/.", no_service(".")),
        ("localservices/%2e%2e", no_service("..")),
        ("localservices/%252e%252e", no_service("%2e%2e")),
        ("localservices/..%2fcluster", no_service("../cluster")),
        ("localservices/..%5ccluster", no_service("..\\cluster")),
        ("localservices/WEB-1%2fspec", no_service("WEB-1/spec")),
        ("localservices/../spec", no_service("..")),
        ("localservices/%2e%2e/spec", no_service("..")),
        ("localservices/../cluster", no_path.clone()),
        ("localservices/../../../etc/passwd", no_path.clone()),
        ("localservices/WEB-1/../WEB-1", no_path.clone()),
        ("localservices/WEB-1/instances/../spec", no_path.clone()),
        ("localservices/WEB-1/instances/..", no_instance("..")),
        ("localservices/WEB-1/instances/..%2fspec", no_instance("../spec")),
        ("localservices/%ff%fe", (400, invalid(&[UNDECODED]))),
        ("logfiles/localservices/WEB-1/../list", no_log.clone()),
        ("logfiles/localservices/../WEB-1/list", no_log.clone()),
        ("logfiles/localservices/WEB-1/..%2f..%2fjournal/read/output.log", no_log.clone()),
        ("logfiles/localservices/WEB-1/SI-1/read/../../key.pem", no_path.clone()),
        ("logfiles/localservices/WEB-1/SI-1/read/..%2f..%2fkey.pem", no_log.clone()),
        ("logfiles/localservices/WEB-1/SI-1/download/%2e%2e", no_log),
        ("../../etc/passwd", no_path),
    ] {
        assert_eq!(get_as_it_stands(&cluster, &format!("/apis/v1/{path}")).await, expected, "{path}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn parameters_that_cannot_be_are_named() {
    let cluster = Cluster::start(1).await;
    for (path, parameters) in QUERIES {
        for parameter in parameters {
            for value in NO_VALUES {
                // An event's place, which is no whole number.
                if path.starts_with("/cluster/events") && (*parameter, value) == ("from", "1.5") {
                    continue;
                }
                let query = format!("{path}?{parameter}={value}");
                let status = refused(&cluster, "GET", &query, None).await;
                assert_eq!(status, 400, "{query}");
            }
            if matches!(*parameter, "from" | "size" | "since" | "lastSyncTime") {
                let query = format!("{path}?{parameter}=1&{parameter}=2");
                assert_eq!(refused(&cluster, "GET", &query, None).await, 400, "{query}");
            }
        }
        let many = (0..100).map(|n| format!("x{n}=1")).collect::<Vec<_>>().join("&");
        assert_eq!(refused(&cluster, "GET", &format!("{path}?{many}"), None).await, 400, "{path}");
        assert_eq!(refused(&cluster, "DELETE", path, None).await, 405, "{path}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn bodies_that_cannot_be_are_refused_and_change_nothing() {
    let cluster = Cluster::start(1).await;
    for path in WITH_BODY {
        for body in no_bodies() {
            // What is said of an executor may be right, of one that is not there.
            let expected: &[u16] = if path.contains("/executors/") { &[200, 400] } else { &[400] };
            let status = refused(&cluster, "POST", path, Some(body)).await;
            assert!(expected.contains(&status), "{path}: {status}");
        }
    }
    let (_, services) = cluster.get(0, "/localservices").await;
    assert_eq!(services["data"], json!({}));
    let (_, controllers) = cluster.get(0, "/cluster/controllers").await;
    assert_eq!(controllers["data"].as_array().unwrap().len(), 1);
    cluster.stop().await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused_and_the_controller_goes_on() {
    let cluster = Cluster::start(1).await;
    let request = cluster.http.get(cluster.url(0, "/apis/v1/ping")).header("x-large", "x".repeat(200_000));
    // Refused, or cut off while it is still being sent.
    if let Ok(response) = request.timeout(WITHIN).send().await {
        assert_eq!(response.status().as_u16(), 431);
    }
    assert_eq!(cluster.get(0, "/ping").await.0, 200);
    cluster.stop().await;
}
