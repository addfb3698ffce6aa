//! Where a check's call goes.
//!
//! A container is called at its own address where the node can reach that: in front of the port that is
//! published on the node stands the engine's proxy, which takes every connection, also when nobody listens
//! behind it. Everything else is called on the node's loopback.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use muster_common::instance::InstancePort;
use tokio::net::TcpStream;

use super::{CALLED_NAME, ProbeError};
use crate::want::is_want;

/// An address to call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    address: SocketAddr,
    host_port: u16,
}

impl Target {
    /// A port of a workload, which may have an `own` address.
    pub(super) fn of(port: &InstancePort, own: Option<IpAddr>) -> Self {
        let address = match own {
            Some(own) => SocketAddr::from((own, port.container_port)),
            None => SocketAddr::from((Ipv4Addr::LOCALHOST, port.host_port)),
        };
        Self { address, host_port: port.host_port }
    }

    /// What the call names as its host, wherever it goes: Drove's checks call `localhost:<hostPort>`, and
    /// servers that choose by name rely on it.
    pub(super) fn authority(self) -> String {
        format!("{CALLED_NAME}:{}", self.host_port)
    }

    /// Where it is, for messages.
    pub(super) fn address(self) -> SocketAddr {
        self.address
    }

    /// Opens a connection.
    pub(super) async fn connect(self) -> Result<TcpStream, ProbeError> {
        TcpStream::connect(self.address).await.map_err(|error| {
            let why = format!("no connection to {}: {error}", self.address);
            if is_want(&error) { ProbeError::NotAsked(why) } else { ProbeError::NoAnswer(why) }
        })
    }
}

#[cfg(test)]
mod tests {
    use muster_common::spec::PortType;

    use super::*;

    #[test]
    fn an_own_address_goes_with_the_container_port() {
        let port = InstancePort { container_port: 80, host_port: 20001, port_type: PortType::Tcp };
        let own = Target::of(&port, Some([172, 17, 0, 5].into()));
        assert_eq!(
            (own.address().to_string().as_str(), own.authority().as_str()),
            ("172.17.0.5:80", "localhost:20001")
        );
        assert_eq!(Target::of(&port, None).address().to_string(), "127.0.0.1:20001");
    }
}
