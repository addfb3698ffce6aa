//! Whether somebody outside Muster holds a port that was leased.

use muster_common::instance::LocalInfo;
use muster_common::spec::PortType;
use muster_platform::World;

/// A leased port that cannot be bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("port {port} cannot be bound on this node: {why}")]
pub(crate) struct TakenPort {
    /// Which.
    pub port: u16,
    /// The system's own words.
    pub why: String,
}

/// Binds every leased TCP port for a moment. UDP ports are left to the workload: a UDP socket that is
/// bound says nothing of who else may share the port.
pub(crate) async fn check_ports(world: &World, local_info: &LocalInfo) -> Result<(), TakenPort> {
    for port in local_info.ports.values().filter(|port| port.port_type != PortType::Udp) {
        let port = port.host_port;
        match world.network.bind(&format!("0.0.0.0:{port}")).await {
            Ok(listener) => drop(listener),
            Err(error) => return Err(TakenPort { port, why: error.to_string() }),
        }
    }
    Ok(())
}
