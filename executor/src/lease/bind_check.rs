//! Whether a port that was leased can be had: somebody outside Muster may hold it, or nobody may bind it.

use std::io;

use muster_common::instance::{LocalInfo, RunnerKind};
use muster_common::reason::Reason;
use muster_common::spec::PortType;
use muster_platform::World;

use crate::machine::NoRoom;

/// Every interface, by either version of IP: a workload or the engine listens on both, and who holds a port
/// on one address holds it.
const ANYWHERE: [&str; 2] = ["0.0.0.0", "[::]"];

/// Below it, Linux lets only privileged processes bind unless it was told otherwise.
const FIRST_FREE_PORT: u16 = 1024;

/// Why a leased port cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PortError {
    /// Somebody outside Muster holds it.
    #[error("port {port} cannot be bound on this node: {why}")]
    InUse {
        /// The port.
        port: u16,
        /// The system's own words.
        why: String,
    },
    /// Nobody need hold it; the executor may not bind it, and neither may what it starts.
    #[error("port {port} may not be bound on this node: {why}")]
    Refused {
        /// The port.
        port: u16,
        /// The system's own words, and what helps.
        why: String,
    },
}

impl PortError {
    /// The port.
    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::InUse { port, .. } | Self::Refused { port, .. } => *port,
        }
    }

    /// What is said to the instance that was to have it.
    pub(crate) fn no_room(&self) -> NoRoom {
        let reason = match self {
            Self::InUse { .. } => Reason::PortInUse,
            Self::Refused { .. } => Reason::PortRefused,
        };
        NoRoom { reason, message: self.to_string() }
    }
}

/// Binds every leased port for a moment, TCP or UDP as it will be used. Those of a container are bound by the
/// engine, which may bind what the executor may not: there only a port in use is in the way.
pub(crate) async fn check_ports(
    world: &World,
    local_info: &LocalInfo,
    runner: RunnerKind,
) -> Result<(), PortError> {
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
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    return Err(PortError::InUse { port, why: error.to_string() });
                }
                // A node without IPv6 cannot bind its wildcard, and nobody else can.
                Err(_) if address != ANYWHERE[0] || runner == RunnerKind::Docker => {}
                Err(error) => return Err(PortError::Refused { port, why: refusal(port, &error) }),
            }
        }
    }
    Ok(())
}

fn refusal(port: u16, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::PermissionDenied && port < FIRST_FREE_PORT {
        format!(
            "{error}; ports below {FIRST_FREE_PORT} need CAP_NET_BIND_SERVICE, or a lower \
             net.ipv4.ip_unprivileged_port_start"
        )
    } else {
        error.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::{TcpListener, UdpSocket};
    use std::sync::Arc;

    use futures::future::BoxFuture;
    use muster_common::instance::InstancePort;
    use muster_platform::{Listener, Network, Stream};

    use super::*;

    async fn check(port: u16, port_type: PortType) -> Result<(), PortError> {
        check_in(&World::system(), port, port_type, RunnerKind::Process).await
    }

    async fn check_in(
        world: &World,
        port: u16,
        port_type: PortType,
        runner: RunnerKind,
    ) -> Result<(), PortError> {
        let port = InstancePort { container_port: 80, host_port: port, port_type };
        let ports = BTreeMap::from([("main".to_owned(), port)]);
        check_ports(world, &LocalInfo { hostname: "here".to_owned(), ports }, runner).await
    }

    #[tokio::test]
    async fn a_tcp_port_is_taken_by_whoever_listens_on_any_address() {
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0"] {
            // A node may be without IPv6.
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let port = listener.local_addr().unwrap().port();
            let taken = check(port, PortType::Http).await.unwrap_err();
            assert_eq!((taken.port(), taken.no_room().reason), (port, Reason::PortInUse), "{address}");
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
            assert_eq!((taken.port(), taken.no_room().reason), (port, Reason::PortInUse), "{address}");
            check(port, PortType::Tcp).await.unwrap();
            drop(socket);
            check(port, PortType::Udp).await.unwrap();
        }
    }

    /// Where binding fails in one way, whatever is bound.
    struct Refuses(io::ErrorKind);

    impl Network for Refuses {
        fn connect<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
            Box::pin(std::future::ready(Err(self.0.into())))
        }

        fn bind<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
            Box::pin(std::future::ready(Err(self.0.into())))
        }
    }

    #[tokio::test]
    async fn a_port_that_may_not_be_bound_is_not_in_use_and_is_the_engines_business_for_containers() {
        let ask = async |kind, port, runner| {
            let world = World { network: Arc::new(Refuses(kind)), ..World::system() };
            check_in(&world, port, PortType::Http, runner).await.map_err(|error| error.no_room())
        };
        let denied = io::ErrorKind::PermissionDenied;
        let refused = ask(denied, 80, RunnerKind::Process).await.unwrap_err();
        assert_eq!(refused.reason, Reason::PortRefused);
        assert!(refused.message.contains("CAP_NET_BIND_SERVICE"), "{}", refused.message);
        let refused = ask(denied, 8080, RunnerKind::Process).await.unwrap_err();
        assert!(!refused.message.contains("CAP_NET_BIND_SERVICE"), "{}", refused.message);
        ask(denied, 80, RunnerKind::Docker).await.unwrap();
        for runner in [RunnerKind::Process, RunnerKind::Docker] {
            let taken = ask(io::ErrorKind::AddrInUse, 80, runner).await.unwrap_err();
            assert_eq!(taken.reason, Reason::PortInUse);
        }
    }
}
