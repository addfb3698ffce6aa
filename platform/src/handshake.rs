//! The accepting half of mTLS handshakes. When a leader is lost, thousands of executors come at once. A handshake is
//! work for the processor: were all of them done at once, each would end after its peer has given up. So a few are done
//! at a time, in the order in which they came. Controllers do not queue: the next leader waits for them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::server::{Acceptor, ClientHello};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::tls::{CONTROLLER_PROTOCOL, TlsIdentity};
use crate::world::Stream;

/// Handshakes of executors at once.
const AT_ONCE: usize = 64;
/// A peer that has not said anything by then is not one of ours.
const HELLO_WITHIN: Duration = Duration::from_secs(5);
/// Nor is one that does not finish what it began.
const FINISH_WITHIN: Duration = Duration::from_secs(2);
/// A peer that waits longer for its turn is turned away. Peers give up by themselves (`QUEUE_TIMEOUT` in `channel.rs`): the first
/// in a queue that is longer than that would always be one that is gone, and nobody would get in. What is left of their
/// time is for the handshake.
const TURN_WITHIN: Duration = Duration::from_secs(3);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("it said nothing for {HELLO_WITHIN:?}")]
    Silent,
    #[error("too many others came before it: its turn did not come within {TURN_WITHIN:?}")]
    Queued,
    #[error("the handshake took longer than {FINISH_WITHIN:?}")]
    Slow,
    #[error("handshake: {0}")]
    Failed(#[from] io::Error),
}

/// Whether more come than can be served at once, for whoever would blame them for their silence. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Crowd(Arc<AtomicU64>);

impl Crowd {
    /// How often somebody found others before him or was turned away, so far.
    #[must_use]
    pub fn signs(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn note(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Does handshakes. Clones share one queue.
#[derive(Clone)]
pub(crate) struct Handshakes {
    tls: TlsIdentity,
    turns: Arc<Semaphore>,
    crowd: Crowd,
}

impl Handshakes {
    pub(crate) fn new(tls: TlsIdentity, crowd: Crowd) -> Self {
        Self { tls, turns: Arc::new(Semaphore::new(AT_ONCE)), crowd }
    }

    /// Whose certificate is used.
    pub(crate) const fn tls(&self) -> &TlsIdentity {
        &self.tls
    }

    pub(crate) async fn accept(&self, stream: Stream) -> Result<TlsStream<Stream>, HandshakeError> {
        let hello = timeout(HELLO_WITHIN, LazyConfigAcceptor::new(Acceptor::default(), stream));
        let hello = hello.await.map_err(|_| HandshakeError::Silent)??;
        let _turn = if is_urgent(&hello.client_hello()) { None } else { Some(self.turn().await?) };
        let rest = timeout(FINISH_WITHIN, hello.into_stream(self.tls.server_config()));
        Ok(rest.await.map_err(|_| HandshakeError::Slow)??)
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, HandshakeError> {
        if let Ok(turn) = self.turns.try_acquire() {
            return Ok(turn);
        }
        self.crowd.note();
        let turn = timeout(TURN_WITHIN, self.turns.acquire()).await.map_err(|_| {
            self.crowd.note();
            HandshakeError::Queued
        })?;
        Ok(turn.map_err(io::Error::other)?)
    }
}

/// Whether the peer says that it is a controller. Nobody believes it before its certificate says so; until then it is
/// only a place in the queue.
fn is_urgent(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|mut protocols| protocols.any(|protocol| protocol == CONTROLLER_PROTOCOL))
}

#[cfg(test)]
mod tests {
    use muster_common::id::{ClusterId, ControllerId, ExecutorId};
    use muster_common::identity::{Identity, Role};
    use rustls::pki_types::ServerName;
    use tokio::time::Instant;
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::tls::{Authority, SERVER_NAME};

    /// What became of it at either end: at the accepting one why not, at the other one whether.
    async fn come(handshakes: &Handshakes, peer: &TlsIdentity) -> (Option<HandshakeError>, bool) {
        let (near, far) = tokio::io::duplex(1 << 16);
        let name = ServerName::try_from(SERVER_NAME).unwrap();
        let connector = TlsConnector::from(peer.client_config());
        let (accepted, connected) =
            tokio::join!(handshakes.accept(Box::new(near)), connector.connect(name, far));
        (accepted.err(), connected.is_ok())
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_turn_longer_than_it_is_of_use() {
        let cluster = ClusterId::new("one").unwrap();
        let authority = Authority::new(&cluster).unwrap();
        let identity = |role| {
            let identity = Identity { cluster: cluster.clone(), role };
            let issued = authority.issue(&identity).unwrap();
            TlsIdentity::from_pem(&authority.ca_pem(), &issued.cert_pem, &issued.key_pem, &identity).unwrap()
        };
        let controller = identity(Role::Controller(ControllerId(1)));
        let executor = identity(Role::Executor(ExecutorId::new("e1").unwrap()));
        let crowd = Crowd::default();
        let handshakes = Handshakes::new(controller.clone(), crowd.clone());
        assert!(matches!(come(&handshakes, &executor).await, (None, true)));
        assert_eq!(crowd.signs(), 0);

        let others = handshakes.turns.acquire_many(u32::try_from(AT_ONCE).unwrap()).await.unwrap();
        let begun = Instant::now();
        let (why, connected) = come(&handshakes, &executor).await;
        assert!(matches!(why, Some(HandshakeError::Queued)), "{why:?}");
        assert!(!connected, "it need not wait for the end of its own patience");
        assert_eq!(begun.elapsed(), TURN_WITHIN);
        assert_eq!(crowd.signs(), 2, "it found others before it, and was turned away");
        assert!(matches!(come(&handshakes, &controller).await, (None, true)), "controllers do not queue");
        assert_eq!(crowd.signs(), 2);

        drop(others);
        assert!(matches!(come(&handshakes, &executor).await, (None, true)));
    }
}
