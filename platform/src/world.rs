//! All that a role touches of the machine. Production takes [`World::system`]; the simulation hands
//! in its own clock, seed and network, and runs disk work inline.
//!
//! Waiting and measuring go through `tokio::time`, which a simulation pauses and steps by itself;
//! [`Clock`] is only for the wall-clock times that people read.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use muster_common::time::Timestamp;
use rand::RngCore;
use tokio::io::{AsyncRead, AsyncWrite};
use uuid::Uuid;

use crate::stalled::TAKE_WITHIN;

/// Wall-clock time, for records that people read.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// Everything random: ids and jitter.
pub trait Entropy: Send + Sync {
    /// The next 64 random bits.
    fn next_u64(&self) -> u64;
}

/// A connection, whatever carries it.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// A boxed connection.
pub type Stream = Box<dyn Connection>;

/// A bound socket that hands out connections.
pub trait Listener: Send {
    /// The next connection.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>>;
    /// Where it is bound.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// How roles reach each other. Addresses are `host:port`.
pub trait Network: Send + Sync {
    /// Opens a connection. The caller sets the deadline.
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>>;
    /// Binds a socket.
    fn bind<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>>;
    /// Binds a UDP socket for a moment, to see that nobody else has it. A network without UDP has them all
    /// free.
    fn try_bind_udp<'a>(&'a self, _address: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Where blocking disk work runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// On threads of its own: nothing else waits for an fsync.
    Threads,
    /// In the caller: a simulation has one thread, and its order must not depend on the disk.
    Inline,
}

impl Disk {
    /// Runs `work`, which may block.
    pub async fn run<T, F>(self, work: F) -> io::Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        match self {
            Self::Inline => Ok(work()),
            Self::Threads => tokio::task::spawn_blocking(work).await.map_err(io::Error::other),
        }
    }
}

/// The machine, as a role sees it.
#[derive(Clone)]
pub struct World {
    /// Wall-clock time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The network.
    pub network: Arc<dyn Network>,
    /// Where blocking disk work runs.
    pub disk: Disk,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("disk", &self.disk).finish_non_exhaustive()
    }
}

impl World {
    /// The real machine.
    #[must_use]
    pub fn system() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            network: Arc::new(Tcp),
            disk: Disk::Threads,
        }
    }

    /// A fresh random (version 4) uuid.
    #[must_use]
    pub fn uuid(&self) -> Uuid {
        let bits = (u128::from(self.entropy.next_u64()) << 64) | u128::from(self.entropy.next_u64());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }

    /// `duration`, moved by up to ± `percent` of itself.
    #[must_use]
    pub fn jitter(&self, duration: Duration, percent: u32) -> Duration {
        let span = duration.saturating_mul(percent.min(100)) / 100;
        let wide = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX / 2).min(u64::MAX / 2) * 2;
        let moved = if wide == 0 { 0 } else { self.entropy.next_u64() % (wide + 1) };
        (duration + Duration::from_nanos(moved)).saturating_sub(span)
    }
}

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }
}

struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn next_u64(&self) -> u64 {
        rand::rng().next_u64()
    }
}

struct Tcp;

/// Connections that wait to be accepted. The kernel takes what it allows (`net.core.somaxconn`).
const BACKLOG: i32 = 16_384;

impl Network for Tcp {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move {
            let stream = tokio::net::TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Stream)
        })
    }

    fn bind<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listener = tokio::net::TcpListener::bind(address).await?;
            // Tokio's own number is 1,024: of a fleet that comes at once, the rest would be dropped and try again a
            // second later.
            rustix::net::listen(&listener, BACKLOG)?;
            Ok(Box::new(TcpListener(listener)) as Box<dyn Listener>)
        })
    }

    fn try_bind_udp<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<()>> {
        // Without SO_REUSEADDR, so that a socket of somebody else is a conflict.
        Box::pin(async move { tokio::net::UdpSocket::bind(address).await.map(drop) })
    }
}

struct TcpListener(tokio::net::TcpListener);

impl Listener for TcpListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>> {
        Box::pin(async move {
            let (stream, peer) = self.0.accept().await?;
            stream.set_nodelay(true)?;
            // Of who vanished the kernel would learn only after a quarter of an hour.
            let patience = u32::try_from(TAKE_WITHIN.as_millis()).map_err(io::Error::other)?;
            rustix::net::sockopt::set_tcp_user_timeout(&stream, patience)?;
            Ok((Box::new(stream) as Stream, peer))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u64);

    impl Entropy for Fixed {
        fn next_u64(&self) -> u64 {
            self.0
        }
    }

    #[test]
    fn jitter_stays_within_its_percentage() {
        for bits in [0, 1, u64::MAX, u64::MAX / 3] {
            let world = World { entropy: Arc::new(Fixed(bits)), ..World::system() };
            let moved = world.jitter(Duration::from_secs(10), 10);
            assert!((Duration::from_secs(9)..=Duration::from_secs(11)).contains(&moved), "{moved:?}");
        }
        let world = World { entropy: Arc::new(Fixed(7)), ..World::system() };
        assert_eq!(world.jitter(Duration::from_secs(1), 0), Duration::from_secs(1));
    }
}
