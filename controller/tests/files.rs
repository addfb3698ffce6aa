//! Files that controllers fetch: real controllers, a fake executor's calls over mTLS, a server on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says so by failing

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::get;
use common::executor::{Session, register};
use common::{Cluster, spec};
use http::StatusCode;
use muster_common::spec::{MAX_CONTROLLER_FETCH_BYTES, SpecLimits};
use muster_controller::LivenessConfig;
use muster_platform::{ExpectedPeer, TlsIdentity, World, channel};
use muster_proto::v1;
use muster_proto::v1::fetch_file_response::Outcome;
use muster_proto::v1::files_client::FilesClient;
use serde_json::{Value, json};
use tonic::{Code, Status};

/// Answers on loopback, and counts how often it was asked.
async fn server() -> (u16, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let routes = Router::new()
        .route("/files/a", get(|| async { "content" }))
        .route("/files/most", get(|| async { vec![b'x'; MAX_CONTROLLER_FETCH_BYTES] }))
        .route("/files/more", get(|| async { vec![b'x'; MAX_CONTROLLER_FETCH_BYTES + 1] }))
        .route("/files/moved", get(|| async { (StatusCode::FOUND, [("location", "/secret")]) }))
        .layer(axum::middleware::map_request(move |request: axum::extract::Request| {
            count.fetch_add(1, Ordering::SeqCst);
            async { request }
        }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    (port, asked)
}

async fn cluster(allowed: &[String]) -> Cluster {
    let allowed_fetch_urls = allowed.iter().map(|url| url.parse().unwrap()).collect();
    let limits = SpecLimits { allowed_fetch_urls, ..SpecLimits::default() };
    Cluster::start_limited(World::system(), 1, LivenessConfig::default(), limits).await
}

/// A service `WEB-1` with one file for each path, and an inline one before them.
fn service(port: u16, paths: &[&str]) -> Value {
    let mut service = spec("WEB");
    for path in paths {
        let http = json!({"hostname": "127.0.0.1", "port": port, "path": path, "operationTimeout": "20s",
            "connectionTimeout": "20s"});
        let file = json!({"type": "CONTROLLER_HTTP_FETCH", "localFilename": path, "http": http});
        service["configs"].as_array_mut().unwrap().push(file);
    }
    json!({"type": "CREATE", "spec": service, "instancesPerHost": 1})
}

/// Has the service assigned to `e1`; the slot's generation.
async fn assigned(cluster: &Cluster, create: Value) -> u64 {
    let address = cluster.controllers[0].cluster_addr().to_string();
    let mut session = Session::open(&cluster.executor("e1"), &address, register("e1", 1, 0)).await.unwrap();
    session.welcome().await;
    session.table().await;
    cluster.submit(0, create).await;
    cluster.submit(0, json!({"type": "ACTIVATE", "serviceId": "WEB-1"})).await;
    let table = session.table().await;
    let [row] = table.rows.as_slice() else { panic!("{table:?}") };
    row.generation
}

async fn ask(cluster: &Cluster, tls: &TlsIdentity, generation: u64, file: u32) -> Result<Outcome, Status> {
    let address = cluster.controllers[0].cluster_addr().to_string();
    let channel = channel(&World::system(), tls, &address, ExpectedPeer::AnyController).unwrap();
    let request = v1::FetchFileRequest { service: "WEB-1".to_owned(), index: 0, generation, file };
    Ok(FilesClient::new(channel).fetch(request).await?.into_inner().outcome.unwrap())
}

fn refusal(answer: Result<Outcome, Status>) -> String {
    match answer.unwrap() {
        Outcome::Refusal(why) => why,
        Outcome::Content(content) => panic!("{} bytes", content.len()),
    }
}

#[tokio::test]
async fn a_controller_fetches_what_a_spec_of_the_executor_names() {
    let (port, _) = server().await;
    let cluster = cluster(&[format!("http://127.0.0.1:{port}/files/")]).await;
    let paths =
        ["/files/a?token=hush", "/files/most", "/files/more", "/files/moved", "/files/none?token=hush"];
    let generation = assigned(&cluster, service(port, &paths)).await;
    let e1 = cluster.executor("e1");
    let content = ask(&cluster, &e1, generation, 1).await.unwrap();
    assert_eq!(content, Outcome::Content("content".into()));
    let Outcome::Content(most) = ask(&cluster, &e1, generation, 2).await.unwrap() else { panic!("refused") };
    assert_eq!(most.len(), MAX_CONTROLLER_FETCH_BYTES, "the largest file fits one message");
    let why = refusal(ask(&cluster, &e1, generation, 3).await);
    assert!(why.contains(&format!("larger than {MAX_CONTROLLER_FETCH_BYTES} bytes")), "{why}");
    let why = refusal(ask(&cluster, &e1, generation, 4).await);
    assert!(why.contains("redirects are not followed"), "{why}");
    let why = refusal(ask(&cluster, &e1, generation, 5).await);
    assert!(why.contains("status 404") && why.contains("/files/none:") && !why.contains("hush"), "{why}");
    cluster.stop().await;
}

#[tokio::test]
async fn an_executor_gets_only_what_its_own_slots_need() {
    let (port, asked) = server().await;
    let cluster = cluster(&[format!("http://127.0.0.1:{port}")]).await;
    let generation = assigned(&cluster, service(port, &["/files/a"])).await;
    let code = async |tls: &TlsIdentity, generation, file| {
        ask(&cluster, tls, generation, file).await.unwrap_err().code()
    };
    let e1 = cluster.executor("e1");
    assert_eq!(code(&cluster.executor("e2"), generation, 1).await, Code::FailedPrecondition);
    assert_eq!(code(&e1, generation + 1, 1).await, Code::FailedPrecondition);
    assert_eq!(code(&e1, generation, 0).await, Code::InvalidArgument, "an inline file");
    assert_eq!(code(&e1, generation, 2).await, Code::InvalidArgument);
    assert_eq!(code(&cluster.controller_identity(), generation, 1).await, Code::PermissionDenied);
    assert_eq!(asked.load(Ordering::SeqCst), 0, "nothing was fetched for them");
    ask(&cluster, &e1, generation, 1).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    cluster.stop().await;
}

#[tokio::test]
async fn a_service_that_would_call_what_is_not_allowed_is_refused_with_the_field() {
    let (port, asked) = server().await;
    let refused = async |cluster: &Cluster| {
        let create = service(port, &["/files/a?token=hush"]).to_string();
        let (status, body) = cluster.post(0, "/localservices/operations", create).await;
        assert_eq!(status, 400, "{body}");
        let said = body["data"]["validationErrors"][0].as_str().unwrap().to_owned();
        assert!(said.starts_with("spec.configs[1].http - controllers may not fetch from"), "{said}");
        assert!(said.contains("specLimits.allowedFetchUrls") && !said.contains("hush"), "{said}");
    };
    // By default nothing is; and an entry is no more than it says.
    for allowed in [Vec::new(), vec![format!("http://127.0.0.1:{port}/other/")]] {
        let cluster = cluster(&allowed).await;
        refused(&cluster).await;
        cluster.stop().await;
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}
