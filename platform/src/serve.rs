//! The one accept path. The cluster port speaks mTLS and HTTP/2 (gRPC), the api port plain HTTP/1.1; both serve an axum
//! router, into which tonic's services are merged.
//!
//! The api port does not speak HTTP/2: there a client that answers pings and takes nothing holds all that its streams have
//! for it, thousands on each connection, and nobody can tell from the connection. In HTTP/1.1 who takes nothing stops the
//! connection, and that is seen (`stalled`). Browsers, curl, drove-cli and our own client speak no HTTP/2 without TLS. Who
//! comes with it is cut off at once. Only roles of the cluster come to the other port, and they speak nothing but gRPC.
//!
//! TLS is terminated here rather than by tonic, because certificates must be replaceable while the
//! role runs and the peer's identity must reach the handlers.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures::future::BoxFuture;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
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
/// On the cluster port. One leader serves every executor of the largest cluster (10,000), and its peers. When all come
/// anew, as after a partition, their old connections may be half dead and there for a while, and some come twice.
const MAX_PEERS: usize = 40_000;
/// Connections on the api port. Each may hold a head that never ends, for as long as that may take: a GiB in all.
const MAX_USERS: usize = 8_192;
/// Out of file descriptors, say: accepting again at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Many small gRPC messages share a connection; the default 64 KiB window would throttle snapshots.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
const MAX_STREAMS: u32 = 4096;
/// The most that a request's head may take; what is larger is answered 431. In HTTP/1.1 that is counted in whole buffers, so
/// that one of up to twice this size may still be read.
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

impl Security {
    const fn max_connections(&self) -> usize {
        match self {
            Self::Mutual(_) => MAX_PEERS,
            Self::Plain => MAX_USERS,
        }
    }
}

async fn accept_loop(
    mut listener: Box<dyn Listener>,
    security: Security,
    router: Router,
    shutdown: CancellationToken,
) {
    let open = TaskTracker::new();
    let room = Arc::new(Semaphore::new(security.max_connections()));
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = next_connection(&mut *listener, &room) => accepted,
        };
        match accepted {
            Ok((stream, address, permit)) => {
                let connection = serve_connection(stream, security.clone(), router.clone(), shutdown.clone());
                open.spawn(async move {
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
    open.close();
    if tokio::time::timeout(DRAIN_TIMEOUT, open.wait()).await.is_err() {
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
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

async fn serve_connection(
    stream: Stream,
    security: Security,
    router: Router,
    shutdown: CancellationToken,
) -> Result<(), ConnectionError> {
    let stream: Stream = Box::new(Unstalled::new(stream));
    match security {
        Security::Plain => serve_http1(stream, router, shutdown).await?,
        Security::Mutual(handshakes) => {
            let stream = handshakes.accept(stream).await?;
            let cluster = &handshakes.tls().identity().cluster;
            let peer = peer_of(stream.get_ref().1.peer_certificates(), cluster)?;
            serve_http2(Box::new(stream), router, peer, shutdown).await?;
        }
    }
    Ok(())
}

fn serve_http1(
    stream: Stream,
    router: Router,
    shutdown: CancellationToken,
) -> BoxFuture<'static, Result<(), hyper::Error>> {
    let service = router.map_request(|request: Request<Incoming>| request.map(Body::new));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES as usize) // and no more is buffered of what is sent
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .with_upgrades();
    Box::pin(to_its_end(connection, http1::UpgradeableConnection::graceful_shutdown, shutdown))
}

fn serve_http2(
    stream: Stream,
    router: Router,
    peer: PeerIdentity,
    shutdown: CancellationToken,
) -> BoxFuture<'static, Result<(), hyper::Error>> {
    let service = router.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        request.map(Body::new)
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .max_header_list_size(MAX_HEAD_BYTES)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_STREAMS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    Box::pin(to_its_end(connection, http2::Connection::graceful_shutdown, shutdown))
}

/// Drives a connection; at `shutdown` it is told to `finish`, which ends it after the requests that are open.
async fn to_its_end<C: Future>(
    connection: C,
    finish: fn(Pin<&mut C>),
    shutdown: CancellationToken,
) -> C::Output {
    let mut connection = pin!(connection);
    tokio::select! {
        ended = &mut connection => return ended,
        () = shutdown.cancelled() => finish(connection.as_mut()),
    }
    connection.await
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Mutex;

    use bytes::Bytes;
    use futures::stream;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::sync::oneshot;
    use tokio::sync::oneshot::error::TryRecvError;
    use tokio::task::JoinHandle;
    use tokio::time::{sleep, timeout};

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: here\r\n\r\n";

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

    /// The other end of a connection to the api port, which serves `router`.
    fn connect(router: Router) -> (DuplexStream, CancellationToken, JoinHandle<()>) {
        let (near, client) = duplex(64 * 1024);
        let shutdown = CancellationToken::new();
        let serving = serve_plain(Box::new(One(Some(Box::new(near)))), router, shutdown.clone());
        (client, shutdown, tokio::spawn(serving))
    }

    /// A router whose answer never ends; and what ends when that is given up.
    fn endless() -> (Router, oneshot::Receiver<Infallible>) {
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
        (Router::new().route("/", axum::routing::get(endless)), given_up)
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_reads_is_given_up_with_all_that_it_holds() {
        let (router, given_up) = endless();
        let (mut client, shutdown, serving) = connect(router);
        client.write_all(REQUEST).await.unwrap();
        let given_up = timeout(Duration::from_secs(3600), given_up).await;
        assert!(given_up.expect("it is given up").is_err(), "what it held is dropped");
        shutdown.cancel();
        serving.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn nor_does_it_help_to_take_a_byte_now_and_then() {
        let (router, mut given_up) = endless();
        let (mut client, _shutdown, _serving) = connect(router);
        client.write_all(REQUEST).await.unwrap();
        let mut taken = 0;
        while given_up.try_recv() == Err(TryRecvError::Empty) {
            sleep(Duration::from_secs(29)).await;
            client.read_u8().await.unwrap();
            taken += 1;
            assert!(taken < 100, "it is never given up");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_or_no_http_1_is_cut_off() {
        const HTTP_2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        for said in [&b""[..], b"PRI * HT", b"GET / HTTP/1.1\r\nhost: h", HTTP_2] {
            let (mut client, ..) = connect(endless().0);
            client.write_all(said).await.unwrap();
            let mut answer = Vec::new();
            let ended = timeout(Duration::from_secs(3600), client.read_to_end(&mut answer)).await;
            ended.expect("it is cut off").unwrap();
            assert!(answer.is_empty(), "{said:?}: {answer:?}");
        }
    }
}
