//! Ports for servers of tests that listen there again and again. The kernel gives its ephemeral ports (32768 and up) to
//! whoever asks for any: one of those that was let go for a moment can be somebody else's by then. So these are below.

use std::net::{TcpListener, UdpSocket};
use std::ops::Range;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};

/// Port bases of whole clusters, a cluster's width apart. Instances have their ports among these, too.
const FIRST_BASE: u16 = 10_000;
const BASE_STEP: u16 = 1_500;
/// How many there are.
pub(crate) const BASES: u16 = 14;

/// Single ports.
const SINGLE: Range<u16> = 31_000..32_700;

/// A port at which nothing listens, and which no other caller gets while this process lives.
#[must_use]
pub fn free_port() -> u16 {
    /// What says so to other processes: nobody speaks UDP there.
    static TAKEN: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());
    let take = |port: u16| {
        let mark = UdpSocket::bind(("127.0.0.1", port)).ok()?;
        TcpListener::bind(("127.0.0.1", port)).ok()?;
        TAKEN.lock().unwrap_or_else(PoisonError::into_inner).push(mark);
        Some(port)
    };
    SINGLE.into_iter().find_map(take).expect("a free port")
}

/// A port base at which nothing listens now, for a cluster that a test starts by itself.
#[must_use]
pub fn free_port_base() -> u16 {
    let is_free = |base: &u16| {
        let ports = (0..3).chain(100..103).chain(200..202).map(|offset| base + offset);
        ports.into_iter().all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok())
    };
    (0..BASES).map(|_| next_base()).find(is_free).expect("a free port base")
}

/// A port base that no other cluster of this process was given.
pub(crate) fn next_base() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let offset = u16::try_from(std::process::id() % u32::from(BASES)).unwrap_or_default();
    let turn = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(offset) % BASES;
    FIRST_BASE + BASE_STEP * turn
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_port_is_given_twice_nor_one_of_the_kernels() {
        let given: BTreeSet<u16> = (0..20).map(|_| free_port()).collect();
        assert_eq!(given.len(), 20);
        assert!(given.iter().all(|&port| port < 32_768 && UdpSocket::bind(("127.0.0.1", port)).is_err()));
    }
}
