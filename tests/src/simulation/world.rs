//! A [`World`] whose clock, randomness and network are turmoil's. Disk work runs inline.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use futures::future::BoxFuture;
use muster_common::time::Timestamp;
use muster_platform::{Clock, Disk, Entropy, Listener, Network, Stream, World};

/// The world of one simulated host, whose wall clock nobody sets. Two hosts with different seeds draw different numbers;
/// the same seed draws the same ones again.
#[must_use]
pub fn simulated_world(seed: u64) -> World {
    world_on(seed, WallClock::default())
}

/// The same with a clock that somebody may set.
pub(super) fn world_on(seed: u64, clock: WallClock) -> World {
    World {
        clock: Arc::new(clock),
        entropy: Arc::new(SeededEntropy(AtomicU64::new(seed))),
        network: Arc::new(SimulatedNetwork),
        disk: Disk::Inline,
    }
}

/// A host's wall clock: the simulation's own, until somebody sets it. It goes on while its host is down.
#[derive(Debug, Clone, Default)]
pub struct WallClock {
    /// How far it is from the simulation's.
    off_ms: Arc<AtomicI64>,
}

impl WallClock {
    /// Sets it so far ahead of what it shows, or back.
    pub fn set_by_ms(&self, ms: i64) {
        self.off_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let since_epoch = turmoil::since_epoch().unwrap_or_default();
        let ms = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
        Timestamp(ms.saturating_add_signed(self.off_ms.load(Ordering::Relaxed)))
    }
}

/// `SplitMix64` (Steele, Lea and Flood, 2014): a counter whose every value is mixed; tiny, and good
/// enough for ids and jitter.
struct SeededEntropy(AtomicU64);

impl Entropy for SeededEntropy {
    fn next_u64(&self) -> u64 {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut mixed = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// Names of turmoil's hosts resolve to their simulated addresses.
struct SimulatedNetwork;

impl Network for SimulatedNetwork {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move {
            let stream = turmoil::net::TcpStream::connect(address).await?;
            Ok(Box::new(stream) as Stream)
        })
    }

    fn bind<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            // A simulated host has one interface; turmoil wants the wildcard address.
            let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidInput, format!("no port in {address}"))
            })?;
            let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
            let listener = turmoil::net::TcpListener::bind(any).await?;
            Ok(Box::new(SimulatedListener(listener)) as Box<dyn Listener>)
        })
    }
}

struct SimulatedListener(turmoil::net::TcpListener);

impl Listener for SimulatedListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>> {
        Box::pin(async move {
            let (stream, peer) = self.0.accept().await?;
            Ok((Box::new(stream) as Stream, peer))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
