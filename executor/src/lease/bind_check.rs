//! Whether somebody outside Muster holds a port that was leased.

use std::io;

use muster_common::instance::LocalInfo;
use muster_common::spec::PortType;
use muster_platform::World;

/// Every interface, by either version of IP: a workload or the engine listens on both, and who holds a port
/// on one address holds it.
const ANYWHERE: [&str; 2] = ["0.0.0.0", "[::]"];

/// A leased port that cannot be bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("port {port} cannot be bound on this node: {why}")]
pub(crate) struct TakenPort {
    /// Which.
    pub port: u16,
    /// The system's own words.
    pub why: String,
}

/// Binds every leased port for a moment, TCP or UDP as it will be used.
pub(crate) async fn check_ports(world: &World, local_info: &LocalInfo) -> Result<(), TakenPort> {
    for leased in local_info.ports.values() {
        let port = leased.host_port;
        for address in ANYWHERE {
            let at = format!("{address}:{port}");
            let bound = match leased.port_type {
                PortType::Udp => world.network.try_bind_udp(&at).await,
                PortType::Http | PortType::Https | PortType::Tcp => world.network.bind(&at).await.map(drop),
            };
            match bound {
                Ok(()) => {}
                // A node without IPv6 cannot bind its wildcard, and nobody else can.
                Err(error) if address != ANYWHERE[0] && error.kind() != io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(TakenPort { port, why: error.to_string() }),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::{TcpListener, UdpSocket};

    use muster_common::instance::InstancePort;

    use super::*;

    async fn check(port: u16, port_type: PortType) -> Result<(), TakenPort> {
        let port = InstancePort { container_port: 80, host_port: port, port_type };
        let ports = BTreeMap::from([("main".to_owned(), port)]);
        check_ports(&World::system(), &LocalInfo { hostname: "here".to_owned(), ports }).await
    }

    #[tokio::test]
    async fn a_tcp_port_is_taken_by_whoever_listens_on_any_address() {
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0"] {
            // A node may be without IPv6.
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let port = listener.local_addr().unwrap().port();
            let taken = check(port, PortType::Http).await.unwrap_err();
            assert_eq!(taken.port, port, "{address}");
            assert!(taken.to_string().contains("in use"), "{taken}");
            // The port of the other protocol is another port.
            check(port, PortType::Udp).await.unwrap();
            drop(listener);
            check(port, PortType::Http).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_udp_port_is_taken_by_whoever_is_bound_to_it() {
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0"] {
            let Ok(socket) = UdpSocket::bind(address) else { continue };
            let port = socket.local_addr().unwrap().port();
            let taken = check(port, PortType::Udp).await.unwrap_err();
            assert_eq!(taken.port, port, "{address}");
            check(port, PortType::Tcp).await.unwrap();
            drop(socket);
            check(port, PortType::Udp).await.unwrap();
        }
    }
}
