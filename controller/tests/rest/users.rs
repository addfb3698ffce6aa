//! Who may call the API (drove-wire.md §1.1, §1.2).

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
async fn each_user_may_what_its_role_may_and_is_named_as_who_did_it() {
    let cluster = with_users().await;
    let create = json!({"type": "CREATE", "spec": spec("WEB"), "instancesPerHost": 1}).to_string();
    let post = |path: &'static str| (Method::POST, path);
    let calls = [
        ((Method::GET, "/localservices"), "", ["root", "writer", "keeper", "reader"].as_slice()),
        (post("/localservices/validate/spec"), "{}", &["root", "writer", "keeper", "reader"]),
        (post("/localservices/operations"), "{}", &["root", "writer"]),
        (post("/localservices/operations/NONE-1/cancel"), "", &["root", "writer"]),
        (post("/cluster/executors/e/blacklist"), "", &["root", "keeper"]),
        (post("/cluster/executors/unblacklist?id=e"), "{}", &["root", "keeper"]),
        (post("/cluster/maintenance/unset"), "{}", &["root", "keeper"]),
        ((Method::GET, "/cluster/backup"), "", &["root"]),
        ((Method::DELETE, "/cluster/controllers/7"), "", &["root"]),
    ];
    for ((method, path), body, may) in calls {
        for (name, role) in USERS {
            let (status, answer) = as_user(&cluster, name, method.clone(), path, body).await;
            assert_eq!(status != 403, may.contains(&name), "{name} {path}: {status} {answer}");
            if status == 403 {
                let message = answer["message"].as_str().unwrap();
                assert!(message.starts_with(&format!("User {name} has the role {role}")), "{message}");
            }
        }
    }

    let (status, answer) =
        as_user(&cluster, "writer", Method::POST, "/localservices/operations", &create).await;
    assert_eq!(status, 200, "{answer}");
    let path = format!("/localservices/operations/{}", answer["data"]["operationId"].as_str().unwrap());
    let (_, answer) = as_user(&cluster, "reader", Method::GET, &path, "").await;
    assert_eq!(answer["data"]["by"], "writer", "{answer}");
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
