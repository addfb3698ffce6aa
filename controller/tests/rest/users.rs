//! Who may call the API (docs/drove-api.md §1.1, §1.2).

use std::collections::BTreeSet;

use muster_common::user::UserRole;
use muster_controller::{TokenDigest, UserConfig};
use muster_platform::World;
use reqwest::Method;
use serde_json::{Value, json};

use crate::common::{Cluster, spec};

const USERS: [(&str, UserRole); 4] = [
    ("root", UserRole::Root),
    ("writer", UserRole::ReadWrite),
    ("keeper", UserRole::Maintenance),
    ("reader", UserRole::ReadOnly),
];

fn token(name: &str) -> String {
    format!("token-of-{name}")
}

async fn with_users() -> Cluster {
    Cluster::start_configured(World::system(), 1, |config| {
        let user = |(name, role): (&str, UserRole)| UserConfig {
            name: name.to_owned(),
            role,
            token_sha256: TokenDigest::of(&token(name)),
        };
        config.users = USERS.map(user).to_vec();
    })
    .await
}

/// The status and the answer of a call with this `Authorization`.
async fn call(
    cluster: &Cluster,
    authorization: Option<&str>,
    method: Method,
    path: &str,
    body: &str,
) -> reqwest::Response {
    let mut request = cluster.http.request(method, cluster.url(0, &format!("/apis/v1{path}")));
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    if !body.is_empty() {
        request = request.header("content-type", "application/json").body(body.to_owned());
    }
    request.send().await.unwrap()
}

async fn as_user(cluster: &Cluster, name: &str, method: Method, path: &str, body: &str) -> (u16, Value) {
    let response = call(cluster, Some(&format!("Bearer {}", token(name))), method, path, body).await;
    (response.status().as_u16(), response.json().await.unwrap_or_default())
}

#[tokio::test]
async fn who_is_not_known_is_told_so_as_by_drove() {
    let cluster = with_users().await;
    let wrong = ["Bearer nobodys", "Basic d3JpdGVyOnRva2VuLW9mLXJlYWRlcg==", "Digest x", "token-of-root"];
    for authorization in wrong.map(Some).into_iter().chain([None]) {
        for (method, path) in [
            (Method::GET, "/ping"),
            (Method::GET, "/cluster/events/watch"),
            (Method::POST, "/localservices/operations"),
        ] {
            let response = call(&cluster, authorization, method, path, "").await;
            assert_eq!(response.status().as_u16(), 401, "{authorization:?} {path}");
            let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
            assert_eq!(header("www-authenticate"), "Basic realm=\"realm\"");
            assert!(header("content-type").starts_with("text/plain"));
            let body = response.text().await.unwrap();
            assert_eq!(body, "Credentials are required to access this resource.");
        }
    }
    cluster.stop().await;
}

#[tokio::test]
async fn every_scheme_and_role_is_recognised() {
    let cluster = with_users().await;
    let basic = reqwest::Client::new().get(cluster.url(0, "/apis/v1/whoami"));
    let basic = basic.basic_auth("keeper", Some(token("keeper"))).send().await.unwrap();
    let answer: Value = basic.json().await.unwrap();
    assert_eq!(answer["data"], json!({"name": "keeper", "role": "MAINTENANCE"}));
    for (scheme, name, role) in [("Bearer", "reader", "READ_ONLY"), ("O-Bearer", "writer", "READ_WRITE")] {
        let authorization = format!("{scheme} {}", token(name));
        let response = call(&cluster, Some(&authorization), Method::GET, "/whoami", "").await;
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer["data"], json!({"name": name, "role": role}));
    }
    cluster.stop().await;
}

#[tokio::test]
async fn who_did_something_is_named() {
    let cluster = with_users().await;
    let create = json!({"type": "CREATE", "spec": spec("WEB"), "instancesPerHost": 1}).to_string();
    let (status, answer) =
        as_user(&cluster, "writer", Method::POST, "/localservices/operations", &create).await;
    assert_eq!(status, 200, "{answer}");
    let path = format!("/localservices/operations/{}", answer["data"]["operationId"].as_str().unwrap());
    let (_, answer) = as_user(&cluster, "reader", Method::GET, &path, "").await;
    assert_eq!(answer["data"]["by"], "writer", "{answer}");
    cluster.stop().await;
}

/// Every call, by who may make it: whoever adds one says so here.
const CALLS: [(&[&str], &[&str]); 5] = [
    (
        &["root", "writer", "keeper", "reader"],
        &[
            "GET /ping",
            "GET /whoami",
            "GET /openapi.json",
            "GET /localservices",
            "POST /localservices/validate/spec",
            "GET /localservices/operations",
            "GET /localservices/operations/{operation}",
            "POST /localservices/placement",
            "GET /localservices/{service}",
            "GET /localservices/{service}/spec",
            "GET /localservices/{service}/slots",
            "GET /localservices/{service}/placement",
            "GET /localservices/{service}/generations",
            "GET /localservices/{service}/operations",
            "GET /localservices/{service}/instances",
            "GET /localservices/{service}/instances/old",
            "GET /localservices/{service}/instances/{instance}",
            "GET /instances",
            "GET /applications/{service}/instances",
            "GET /cluster",
            "GET /cluster/dashboard",
            "POST /cluster/placement/simulate",
            "GET /cluster/controllers",
            "GET /cluster/executors",
            "GET /cluster/executors/{executor}",
            "GET /cluster/events",
            "GET /cluster/events/latest",
            "GET /cluster/events/summary",
            "GET /cluster/events/watch",
            "GET /endpoints",
            "GET /endpoints/app/{app}",
        ],
    ),
    (
        &["root", "writer", "reader"],
        &[
            "GET /localservices/{service}/instances/{instance}/logs",
            "GET /localservices/{service}/instances/{instance}/logs/files",
            "GET /localservices/{service}/logs",
            "GET /logfiles/localservices/{service}/{instance}/list",
            "GET /logfiles/localservices/{service}/{instance}/read/{file}",
            "GET /logfiles/localservices/{service}/{instance}/download/{file}",
        ],
    ),
    (
        &["root", "writer"],
        &[
            "POST /localservices/operations",
            "POST /localservices/operations/{operation}/cancel",
            "POST /localservices/operations/{operation}/pause",
            "POST /localservices/operations/{operation}/resume",
            "POST /localservices/operations/{operation}/promote",
            "GET /localservices/{service}/instances/{instance}/exec",
            "POST /localservices/{service}/instances/{instance}/exec",
        ],
    ),
    (
        &["root", "keeper"],
        &[
            "POST /cluster/maintenance/set",
            "POST /cluster/maintenance/unset",
            "POST /cluster/executors/blacklist",
            "POST /cluster/executors/unblacklist",
            "POST /cluster/executors/{executor}/blacklist",
            "POST /cluster/executors/{executor}/unblacklist",
            "POST /cluster/executors/{executor}/drain",
            "POST /cluster/executors/{executor}/remove",
            "POST /cluster/executors/{executor}/tags",
        ],
    ),
    (
        &["root"],
        &["GET /cluster/backup", "POST /cluster/controllers", "DELETE /cluster/controllers/{controller}"],
    ),
];

/// Every call that the server describes.
async fn described(cluster: &Cluster) -> BTreeSet<String> {
    let response = call(cluster, Some("Bearer token-of-root"), Method::GET, "/openapi.json", "").await;
    let document: Value = response.json().await.unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    let calls = paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().keys();
        methods.map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    calls.collect()
}

#[tokio::test]
async fn every_call_is_for_its_roles_and_for_nobody_else() {
    let cluster = with_users().await;
    let told: BTreeSet<String> =
        CALLS.iter().flat_map(|(_, calls)| calls.iter()).map(ToString::to_string).collect();
    assert_eq!(told, described(&cluster).await, "of each call it is said who may make it");
    for (may, calls) in CALLS {
        for (method, path) in calls.iter().map(|call| call.split_once(' ').unwrap()) {
            // Nobody has such an id: of calls that are let in nothing comes but a refusal.
            let named =
                |part: &str| if part.starts_with('{') { "none-1".to_owned() } else { part.to_owned() };
            let asked = path.split('/').map(named).collect::<Vec<_>>().join("/");
            let method: Method = method.parse().unwrap();
            let stranger = call(&cluster, None, method.clone(), &asked, "").await;
            assert_eq!(stranger.status().as_u16(), 401, "{method} {path}");
            for (name, role) in USERS {
                let authorization = format!("Bearer {}", token(name));
                let response = call(&cluster, Some(&authorization), method.clone(), &asked, "").await;
                let status = response.status().as_u16();
                assert_eq!(status != 403, may.contains(&name), "{name} {method} {path}: {status}");
                assert_ne!(status, 401, "{name} {method} {path}");
                if status == 403 {
                    let answer: Value = response.json().await.unwrap();
                    let message = answer["message"].as_str().unwrap();
                    assert!(message.starts_with(&format!("User {name} has the role {role}")), "{message}");
                }
            }
        }
    }
    cluster.stop().await;
}

#[tokio::test]
async fn without_users_everybody_is_root_whatever_is_sent() {
    let cluster = Cluster::start(1).await;
    for authorization in [None, Some("Bearer x"), Some("nonsense")] {
        let response = call(&cluster, authorization, Method::GET, "/whoami", "").await;
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer["data"], json!({"name": "default-user", "role": "ROOT"}));
    }
    cluster.stop().await;
}
