//! The cluster port and its channels, over real sockets on loopback.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

use std::error::Error as _;
use std::time::Duration;

use axum::routing::get;
use axum::{Extension, Router};
use http::Request;
use muster_common::id::{ClusterId, ControllerId, ExecutorId};
use muster_common::identity::{Identity, Role};
use muster_platform::{
    Authority, Crowd, ExpectedPeer, PeerIdentity, TlsError, TlsFiles, TlsIdentity, World, bind, channel,
    serve_cluster,
};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::ServiceExt as _;

fn cluster(name: &str) -> ClusterId {
    ClusterId::new(name).unwrap()
}

fn controller(cluster_name: &str, id: u64) -> Identity {
    Identity { cluster: cluster(cluster_name), role: Role::Controller(ControllerId(id)) }
}

fn executor(cluster_name: &str, id: &str) -> Identity {
    Identity { cluster: cluster(cluster_name), role: Role::Executor(ExecutorId::new(id).unwrap()) }
}

fn identity(authority: &Authority, identity: &Identity) -> TlsIdentity {
    let issued = authority.issue(identity).unwrap();
    TlsIdentity::from_pem(&authority.ca_pem(), &issued.cert_pem, &issued.key_pem, identity).unwrap()
}

/// A server that answers with the name of whoever asks, until the token is cancelled.
async fn server(tls: TlsIdentity) -> (String, CancellationToken, tokio::task::JoinHandle<()>) {
    let listener = bind(&World::system(), "a test", "127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let router = Router::new()
        .route("/whoami", get(|Extension(peer): Extension<PeerIdentity>| async move { peer.0.to_string() }));
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(serve_cluster(listener, tls, Crowd::default(), router, shutdown.clone()));
    (address, shutdown, task)
}

async fn whoami(tls: &TlsIdentity, address: &str, expected: ExpectedPeer) -> Result<String, String> {
    let channel = channel(&World::system(), tls, address, expected).unwrap();
    let request = Request::get("http://peer/whoami").body(Body::empty()).unwrap();
    let answer = channel.oneshot(request).await.map_err(|error| {
        let mut chain = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            chain = format!("{chain}: {cause}");
            source = cause.source();
        }
        chain
    })?;
    let bytes = axum::body::to_bytes(axum::body::Body::new(answer.into_body()), 1024).await;
    bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(|error| error.to_string())
}

#[tokio::test]
async fn peers_know_each_other_by_their_certificates() {
    let authority = Authority::new(&cluster("one")).unwrap();
    let (address, shutdown, task) = server(identity(&authority, &controller("one", 1))).await;
    let client = identity(&authority, &executor("one", "ex-1"));

    let any = whoami(&client, &address, ExpectedPeer::AnyController).await;
    assert_eq!(any.as_deref(), Ok("muster://one/executor/ex-1"));
    let right = whoami(&client, &address, ExpectedPeer::Controller(ControllerId(1))).await;
    assert_eq!(right.as_deref(), Ok("muster://one/executor/ex-1"));
    let wrong = whoami(&client, &address, ExpectedPeer::Controller(ControllerId(2))).await.unwrap_err();
    assert!(wrong.contains("muster://one/controller/1"), "{wrong}");

    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(10), task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_server_that_is_an_executor_is_not_taken_for_a_controller() {
    let authority = Authority::new(&cluster("one")).unwrap();
    let (address, _shutdown, _task) = server(identity(&authority, &executor("one", "ex-1"))).await;
    let client = identity(&authority, &controller("one", 1));
    whoami(&client, &address, ExpectedPeer::AnyController).await.unwrap_err();
}

#[tokio::test]
async fn strangers_are_refused() {
    let authority = Authority::new(&cluster("one")).unwrap();
    let (address, _shutdown, _task) = server(identity(&authority, &controller("one", 1))).await;

    // Of the same name, from another authority.
    let forged = identity(&Authority::new(&cluster("one")).unwrap(), &controller("one", 2));
    whoami(&forged, &address, ExpectedPeer::AnyController).await.unwrap_err();

    // From the same authority, of another cluster: each side refuses the other.
    let foreign = identity(&authority, &controller("two", 2));
    let error = whoami(&foreign, &address, ExpectedPeer::AnyController).await.unwrap_err();
    assert!(error.contains("cluster 'one'"), "{error}");
}

#[tokio::test]
async fn a_client_without_certificate_is_refused() {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, ServerName};

    let authority = Authority::new(&cluster("one")).unwrap();
    let (address, _shutdown, _task) = server(identity(&authority, &controller("one", 1))).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.ca_pem().as_bytes()).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let stream = tokio::net::TcpStream::connect(&address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    // TLS 1.3 lets a client believe the handshake over before the server refuses it: the first read tells.
    let refused = match connector.connect(ServerName::try_from("muster.internal").unwrap(), stream).await {
        Err(_) => true,
        Ok(mut stream) => tokio::io::AsyncReadExt::read_u8(&mut stream).await.is_err(),
    };
    assert!(refused);
}

#[test]
fn a_certificate_that_is_not_ours_is_refused_before_it_is_used() {
    let authority = Authority::new(&cluster("one")).unwrap();
    let other = Authority::new(&cluster("one")).unwrap();
    let me = controller("one", 1);
    let issued = authority.issue(&me).unwrap();
    let load = |ca: &str, cert: &str, key: &str, expected: &Identity| {
        TlsIdentity::from_pem(ca, cert, key, expected).unwrap_err()
    };

    let ca = authority.ca_pem();
    let error = load(&ca, &issued.cert_pem, &issued.key_pem, &controller("two", 1));
    assert_eq!(
        error.to_string(),
        "the certificate is for muster://one/controller/1, but this process is muster://two/controller/1; use the \
         certificate issued for it"
    );
    let for_executor = load(&ca, &issued.cert_pem, &issued.key_pem, &executor("one", "1"));
    assert!(matches!(for_executor, TlsError::SomebodyElse { .. }));
    let of_other_ca = load(&other.ca_pem(), &issued.cert_pem, &issued.key_pem, &me);
    assert!(matches!(of_other_ca, TlsError::Unusable { .. }));
    let stranger = authority.issue(&controller("one", 2)).unwrap();
    let wrong_key = load(&ca, &issued.cert_pem, &stranger.key_pem, &me);
    assert!(matches!(wrong_key, TlsError::Unusable { .. }));
    assert!(matches!(load(&ca, "nonsense", &issued.key_pem, &me), TlsError::Pem { .. }));
    assert!(matches!(load(&ca, &issued.cert_pem, "nonsense", &me), TlsError::Pem { .. }));
}

#[tokio::test]
async fn certificates_are_replaced_while_the_server_runs() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let files = TlsFiles { ca: path("ca.pem"), cert: path("cert.pem"), key: path("key.pem") };
    let write = |authority: &Authority| {
        let issued = authority.issue(&controller("one", 1)).unwrap();
        std::fs::write(&files.ca, authority.ca_pem()).unwrap();
        std::fs::write(&files.cert, issued.cert_pem).unwrap();
        std::fs::write(&files.key, issued.key_pem).unwrap();
    };
    let (first, second) =
        (Authority::new(&cluster("one")).unwrap(), Authority::new(&cluster("one")).unwrap());
    write(&first);
    let tls = TlsIdentity::load(&files, &controller("one", 1)).unwrap();
    let (address, _shutdown, _task) = server(tls.clone()).await;
    let old_client = identity(&first, &executor("one", "ex-1"));
    let new_client = identity(&second, &executor("one", "ex-1"));
    whoami(&new_client, &address, ExpectedPeer::AnyController).await.unwrap_err();

    // Bad files change nothing.
    std::fs::write(&files.cert, "nonsense").unwrap();
    tls.reload(&files).unwrap_err();
    whoami(&old_client, &address, ExpectedPeer::AnyController).await.unwrap();

    write(&second);
    tls.reload(&files).unwrap();
    whoami(&new_client, &address, ExpectedPeer::AnyController).await.unwrap();
    whoami(&old_client, &address, ExpectedPeer::AnyController).await.unwrap_err();
}
