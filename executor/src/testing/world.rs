//! A machine of its own, whose time goes with tokio's and who reaches nobody.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::BoxFuture;
use muster_common::time::Timestamp;
use muster_platform::{Clock, Disk, Entropy, Listener, Network, Stream, World};
use tokio::time::Instant;

use crate::fetched::{Fetcher, NotFetched, WantedFile};

/// Wall-clock time that goes with tokio's paused one.
struct TestClock(Instant);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_000_000).plus(self.0.elapsed())
    }
}

struct Counter(AtomicU64);

impl Entropy for Counter {
    fn next_u64(&self) -> u64 {
        self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed).rotate_left(17)
    }
}

/// Every port is free, nobody can be reached.
pub(super) struct Alone;

impl Network for Alone {
    fn connect<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) })
    }

    fn bind<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        struct Free;
        impl Listener for Free {
            fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, std::net::SocketAddr)>> {
                Box::pin(std::future::pending())
            }
            fn local_addr(&self) -> io::Result<std::net::SocketAddr> {
                Err(io::ErrorKind::Unsupported.into())
            }
        }
        Box::pin(async { Ok(Box::new(Free) as Box<dyn Listener>) })
    }
}

impl Fetcher for Alone {
    fn fetch<'a>(&'a self, _: &'a WantedFile) -> BoxFuture<'a, Result<Vec<u8>, NotFetched>> {
        Box::pin(async { Err(NotFetched::Unanswered("nobody can be reached".to_owned())) })
    }
}

/// A machine of its own, whose time goes with tokio's.
pub(crate) fn world() -> World {
    World {
        clock: Arc::new(TestClock(Instant::now())),
        entropy: Arc::new(Counter(AtomicU64::new(1))),
        network: Arc::new(Alone),
        disk: Disk::Inline,
    }
}
