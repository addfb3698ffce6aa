//! A registry on 127.0.0.1 (which engines speak plain HTTP to) with one image of the test program under any name.
//! It may ask for a password, hold its answers back, and counts what is fetched.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use uuid::Uuid;

use crate::docker_image::layer;

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// The registry; it ends when it is dropped.
pub struct Registry {
    address: String,
    digest: String,
    inner: Arc<Inner>,
    held: watch::Sender<bool>,
    server: tokio::task::JoinHandle<()>,
}

struct Inner {
    manifest: (String, Bytes),
    blobs: BTreeMap<String, Bytes>,
    layer: String,
    /// What the `Authorization` header must hold.
    authorization: Option<String>,
    layers_fetched: AtomicUsize,
    manifests_asked: AtomicUsize,
    waiting: AtomicUsize,
    most_waiting: AtomicUsize,
    held: watch::Receiver<bool>,
}

impl Registry {
    /// Serves on a free port. With `authorization`, only to who sends this header.
    pub async fn open(authorization: Option<&str>) -> anyhow::Result<Self> {
        let layer = layer()?;
        let config = json!({
            "architecture": "amd64", "os": "linux",
            "config": {"Entrypoint": ["/service"], "Labels": {"unique": Uuid::new_v4().to_string()}},
            "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
        })
        .to_string()
        .into_bytes();
        let part = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "size": bytes.len(), "digest": digest(bytes)});
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": part(CONFIG, &config), "layers": [part(LAYER, &layer)],
        })
        .to_string()
        .into_bytes();
        let (held, receiver) = watch::channel(false);
        let inner = Arc::new(Inner {
            manifest: (digest(&manifest), manifest.into()),
            layer: digest(&layer),
            blobs: BTreeMap::from([(digest(&config), config.into()), (digest(&layer), layer.into())]),
            authorization: authorization.map(str::to_owned),
            layers_fetched: AtomicUsize::new(0),
            manifests_asked: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            most_waiting: AtomicUsize::new(0),
            held: receiver,
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let router = Router::new()
            .route("/v2/", get(greet))
            .route("/v2/{name}/manifests/{reference}", get(manifest_of))
            .route("/v2/{name}/blobs/{digest}", get(blob))
            .with_state(Arc::clone(&inner));
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.context("serve").expect("the registry serves");
        });
        Ok(Self { address, digest: inner.manifest.0.clone(), inner, held, server })
    }

    /// `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The digest of the image's manifest.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// From now on manifests are held back, or (`false`) given.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// How many requests wait for a manifest that is held back.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inner.waiting.load(Ordering::SeqCst)
    }

    /// The most that ever waited together.
    #[must_use]
    pub fn most_waiting(&self) -> usize {
        self.inner.most_waiting.load(Ordering::SeqCst)
    }

    /// How often a manifest was asked for.
    #[must_use]
    pub fn manifests_asked(&self) -> usize {
        self.inner.manifests_asked.load(Ordering::SeqCst)
    }

    /// How often the image's layer was fetched.
    #[must_use]
    pub fn layers_fetched(&self) -> usize {
        self.inner.layers_fetched.load(Ordering::SeqCst)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(bytes))
}

impl Inner {
    fn refuse(&self, headers: &HeaderMap) -> Option<Response> {
        let wanted = self.authorization.as_deref()?;
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let words = json!({"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]});
        let ask = [(header::WWW_AUTHENTICATE, "Basic realm=\"test\"")];
        (given != Some(wanted)).then(|| (StatusCode::UNAUTHORIZED, ask, words.to_string()).into_response())
    }
}

/// Counts who waits, also when the engine goes away in between.
struct Waiting<'a>(&'a Inner);

impl<'a> Waiting<'a> {
    fn new(inner: &'a Inner) -> Self {
        let now = inner.waiting.fetch_add(1, Ordering::SeqCst) + 1;
        inner.most_waiting.fetch_max(now, Ordering::SeqCst);
        Self(inner)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn greet(State(inner): State<Arc<Inner>>, headers: HeaderMap) -> Response {
    inner.refuse(&headers).unwrap_or_else(|| "{}".into_response())
}

async fn manifest_of(State(inner): State<Arc<Inner>>, headers: HeaderMap) -> Response {
    if let Some(refusal) = inner.refuse(&headers) {
        return refusal;
    }
    inner.manifests_asked.fetch_add(1, Ordering::SeqCst);
    {
        let _waiting = Waiting::new(&inner);
        // An error means that the test is over.
        let _ = inner.held.clone().wait_for(|held| !held).await;
    }
    let (digest, bytes) = inner.manifest.clone();
    let headers = [("content-type", MANIFEST.to_owned()), ("docker-content-digest", digest)];
    (headers, bytes).into_response()
}

async fn blob(
    State(inner): State<Arc<Inner>>,
    Path((_name, digest)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = inner.refuse(&headers) {
        return refusal;
    }
    if digest == inner.layer {
        inner.layers_fetched.fetch_add(1, Ordering::SeqCst);
    }
    match inner.blobs.get(&digest) {
        Some(bytes) => bytes.clone().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
