//! gRPC channels over mTLS that know whom they expect at the other end.

use std::io;
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use muster_common::id::ControllerId;
use muster_common::identity::Role;
use rustls::pki_types::ServerName;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::tls::peer::peer_of;
use crate::tls::{SERVER_NAME, TlsIdentity};
use crate::world::{Stream, World};

/// A machine that does not answer by then is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// For the TLS handshake of an executor, which may have to queue for it; controllers do not.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(4);
/// HTTP/2 pings, also while idle, so that a peer that vanished is noticed.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// A call over a [`channel`] that is open ends by then when its peer has vanished without a word.
pub const LOSS_NOTICED_WITHIN: Duration = KEEPALIVE_INTERVAL.saturating_add(KEEPALIVE_TIMEOUT);
/// As on the accepting side: snapshots must not be throttled by the default 64 KiB.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// Whom a channel accepts at its other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedPeer {
    /// This controller and no other.
    Controller(ControllerId),
    /// Any controller of the cluster.
    AnyController,
}

impl ExpectedPeer {
    fn accepts(self, role: &Role) -> bool {
        match (self, role) {
            (Self::Controller(expected), Role::Controller(found)) => expected == *found,
            (Self::AnyController, Role::Controller(_)) => true,
            (Self::Controller(_) | Self::AnyController, Role::Executor(_)) => false,
        }
    }
}

/// An address that is no `host:port`.
#[derive(Debug, thiserror::Error)]
#[error("'{address}' is not an address of the form host:port")]
pub struct InvalidAddress {
    address: String,
    source: tonic::transport::Error,
}

/// A channel to `address` (`host:port`). It connects when it is first used, and again after a loss; a
/// peer that is not `expected` is refused like a failed handshake.
pub fn channel(
    world: &World,
    tls: &TlsIdentity,
    address: &str,
    expected: ExpectedPeer,
) -> Result<Channel, InvalidAddress> {
    // The scheme is http because the connector below does TLS by itself.
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|source| InvalidAddress { address: address.to_owned(), source })?
        .connect_timeout(patience(tls))
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    let (world, tls, address) = (world.clone(), tls.clone(), address.to_owned());
    Ok(endpoint.connect_with_connector_lazy(service_fn(move |_: Uri| {
        let (world, tls, address) = (world.clone(), tls.clone(), address.clone());
        async move { connect(&world, &tls, &address, expected).await.map(TokioIo::new) }
    })))
}

/// For the TCP connection and the TLS handshake.
fn patience(tls: &TlsIdentity) -> Duration {
    match tls.identity().role {
        Role::Controller(_) => CONNECT_TIMEOUT,
        Role::Executor(_) => CONNECT_TIMEOUT + QUEUE_TIMEOUT,
    }
}

/// Why a call over a channel failed, down to its first cause.
#[must_use]
pub fn words_of(status: &Status) -> String {
    let mut why = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        why = format!("{why}: {error}");
        source = error.source();
    }
    why
}

async fn connect(
    world: &World,
    tls: &TlsIdentity,
    address: &str,
    expected: ExpectedPeer,
) -> io::Result<Stream> {
    let stream = timeout(CONNECT_TIMEOUT, world.network.connect(address)).await??;
    let name = ServerName::try_from(SERVER_NAME).map_err(io::Error::other)?;
    let stream = TlsConnector::from(tls.client_config()).connect(name, stream).await?;
    let peer =
        peer_of(stream.get_ref().1.peer_certificates(), &tls.identity().cluster).map_err(io::Error::other)?;
    if expected.accepts(&peer.0.role) {
        Ok(Box::new(stream))
    } else {
        Err(io::Error::other(format!("{address} is {}, expected {expected:?}", peer.0)))
    }
}
