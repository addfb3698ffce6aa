//! The one accept path. The cluster port speaks mTLS and HTTP/2 (gRPC), the api port plain HTTP/1 and
//! HTTP/2; both serve an axum router, into which tonic's services are merged.
//!
//! TLS is terminated here rather than by tonic, because certificates must be replaceable while the
//! role runs and the peer's identity must reach the handlers.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::handshake::{Crowd, HandshakeError, Handshakes};
use crate::stalled::Unstalled;
use crate::tls::peer::{PeerError, peer_of};
use crate::tls::{PeerIdentity, TlsIdentity};
use crate::world::{Listener, Stream};

/// How long a client may take to send its request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long open requests may take to end once the role shuts down.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);
/// HTTP/2 pings, so that a peer that vanished is noticed.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// One leader serves every executor of the largest cluster (10,000), and its peers. When all come anew, as after a
/// partition, their old connections may be half dead and there for a while, and some come twice.
const MAX_CONNECTIONS: usize = 40_000;
/// Out of file descriptors, say: accepting again at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Many small gRPC messages share a connection; the default 64 KiB window would throttle snapshots.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
const MAX_STREAMS: u32 = 4096;
/// The most that a request's head may take; what is larger is answered 431.
const MAX_HEAD_BYTES: u32 = 64 * 1024;

/// Serves `router` over mTLS until `shutdown`. Every request carries its [`PeerIdentity`]; `crowd` is told who has to
/// wait.
pub async fn serve_cluster(
    listener: Box<dyn Listener>,
    tls: TlsIdentity,
    crowd: Crowd,
    router: Router,
    shutdown: CancellationToken,
) {
    accept_loop(listener, Security::Mutual(Handshakes::new(tls, crowd)), router, shutdown).await;
}

/// Serves `router` without TLS until `shutdown`.
pub async fn serve_plain(listener: Box<dyn Listener>, router: Router, shutdown: CancellationToken) {
    accept_loop(listener, Security::Plain, router, shutdown).await;
}

#[derive(Clone)]
enum Security {
    Mutual(Handshakes),
    Plain,
}

async fn accept_loop(
    mut listener: Box<dyn Listener>,
    security: Security,
    router: Router,
    shutdown: CancellationToken,
) {
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = next_connection(&mut *listener, &room) => accepted,
        };
        match accepted {
            Ok((stream, address, permit)) => {
                let connection =
                    serve_connection(stream, security.clone(), router.clone(), graceful.watcher());
                tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%address, %error, "connection ended");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection; trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::debug!("requests were still open at shutdown; they end with the program");
    }
}

async fn next_connection(
    listener: &mut dyn Listener,
    room: &Arc<Semaphore>,
) -> io::Result<(Stream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = room.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    Ok((stream, address, permit))
}

/// Why a connection ended early. Seen in debug logs only: the other end knows its own part.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error("{0}")]
    Http(#[source] Box<dyn std::error::Error + Send + Sync>),
}

async fn serve_connection(
    stream: Stream,
    security: Security,
    router: Router,
    watcher: Watcher,
) -> Result<(), ConnectionError> {
    let stream: Stream = Box::new(Unstalled::new(stream));
    match security {
        Security::Plain => serve_http(stream, router, None, watcher).await,
        Security::Mutual(handshakes) => {
            let stream = handshakes.accept(stream).await?;
            let cluster = &handshakes.tls().identity().cluster;
            let peer = peer_of(stream.get_ref().1.peer_certificates(), cluster)?;
            serve_http(Box::new(stream), router, Some(peer), watcher).await
        }
    }
}

async fn serve_http(
    stream: Stream,
    router: Router,
    peer: Option<PeerIdentity>,
    watcher: Watcher,
) -> Result<(), ConnectionError> {
    let service = router.map_request(move |mut request: Request<Incoming>| {
        if let Some(peer) = &peer {
            request.extensions_mut().insert(peer.clone());
        }
        request.map(Body::new)
    });
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES as usize); // and no more is buffered of what is sent
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .max_header_list_size(MAX_HEAD_BYTES)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_STREAMS);
    let connection =
        server.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(service));
    watcher.watch(connection.into_owned()).await.map_err(ConnectionError::Http)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Mutex;

    use bytes::Bytes;
    use futures::future::BoxFuture;
    use futures::stream;
    use tokio::io::{AsyncWriteExt as _, duplex};
    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;

    /// Hands out one connection.
    struct One(Option<Stream>);

    impl Listener for One {
        fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>> {
            let stream = self.0.take();
            Box::pin(async move {
                match stream {
                    Some(stream) => Ok((stream, SocketAddr::from(([127, 0, 0, 1], 1)))),
                    None => std::future::pending().await,
                }
            })
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            Ok(SocketAddr::from(([127, 0, 0, 1], 1)))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_reads_is_given_up_with_all_that_it_holds() {
        let (held, given_up) = oneshot::channel::<Infallible>();
        let held = Arc::new(Mutex::new(Some(held)));
        let endless = move || {
            let held = held.lock().unwrap().take();
            async move {
                Body::from_stream(stream::repeat_with(move || {
                    let _ = &held;
                    Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 1024]))
                }))
            }
        };
        let (near, mut client) = duplex(64 * 1024);
        let router = Router::new().route("/", axum::routing::get(endless));
        let shutdown = CancellationToken::new();
        let serving =
            tokio::spawn(serve_plain(Box::new(One(Some(Box::new(near)))), router, shutdown.clone()));
        client.write_all(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
        let given_up = timeout(Duration::from_secs(3600), given_up).await;
        assert!(given_up.expect("it is given up").is_err(), "what it held is dropped");
        shutdown.cancel();
        serving.await.unwrap();
    }
}
