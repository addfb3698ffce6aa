//! Where containers are reached from this node without the engine's proxy.
//!
//! A container keeps its address unless somebody moves it to another network, so it is asked for once, and again
//! beside the checks when one of them is not answered there. What is known is kept until the instance is removed:
//! an engine that is away later makes no check fail.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, UdpSocket};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bollard::models::{ContainerInspectResponse, EndpointSettings};
use muster_common::id::InstanceId;

/// How soon the engine is asked again for an address that is in doubt: a service that comes up answers nobody either.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// What is known of living instances.
#[derive(Default)]
pub(super) struct Addresses(Mutex<BTreeMap<InstanceId, Known>>);

struct Known {
    reach: Reach,
    asked: Instant,
}

/// Whether a container is reached at an address of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// At this one.
    Own(IpAddr),
    /// Only through the ports that are published on the node.
    Published,
}

impl Reach {
    /// Its own address, if that is how it is reached.
    pub(super) fn own(self) -> Option<IpAddr> {
        match self {
            Self::Own(address) => Some(address),
            Self::Published => None,
        }
    }
}

impl Addresses {
    /// What is known, if it was ever asked.
    pub(super) fn get(&self, instance: &InstanceId) -> Option<Reach> {
        self.change(|known| known.get(instance).map(|known| known.reach))
    }

    /// Keeps what the engine says of a container that runs.
    pub(super) fn keep(&self, instance: &InstanceId, found: &ContainerInspectResponse) -> Reach {
        let reach = reach_of(found);
        self.change(|known| known.insert(instance.clone(), Known { reach, asked: Instant::now() }));
        reach
    }

    /// Whether it is time to ask again for an address that is in doubt. Who is told so asks.
    pub(super) fn shall_ask_again(&self, instance: &InstanceId) -> bool {
        let now = Instant::now();
        self.change(|known| match known.get_mut(instance) {
            Some(known) if now.duration_since(known.asked) >= ASK_AGAIN => {
                known.asked = now;
                true
            }
            _ => false,
        })
    }

    /// Keeps what the engine said when it was asked again, unless the instance is no more.
    pub(super) fn renew(&self, instance: &InstanceId, found: &ContainerInspectResponse) {
        let reach = reach_of(found);
        self.change(|known| {
            if let Some(known) = known.get_mut(instance) {
                known.reach = reach;
            }
        });
    }

    /// The instance is no more.
    pub(super) fn forget(&self, instance: &InstanceId) {
        self.change(|known| known.remove(instance));
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<InstanceId, Known>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn reach_of(found: &ContainerInspectResponse) -> Reach {
    let networks = found.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    networks.and_then(|networks| reachable(networks, is_local)).map_or(Reach::Published, Reach::Own)
}

/// The container's address in a network whose gateway is this node: a bridge. Others may lie behind an
/// engine in a machine or namespace of its own, or keep containers and their node apart (macvlan).
fn reachable(
    networks: &HashMap<String, EndpointSettings>,
    is_local: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    let parsed = |text: &Option<String>| text.as_deref()?.parse::<IpAddr>().ok();
    let bridged = networks.iter().filter_map(|(name, network)| {
        let address = parsed(&network.ip_address)?;
        is_local(parsed(&network.gateway)?).then_some((name, address))
    });
    // In several networks: the same one each time.
    bridged.min_by_key(|(name, _)| *name).map(|(_, address)| address)
}

/// Whether an address is one of this node's own: only those can be bound. Sends nothing.
fn is_local(address: IpAddr) -> bool {
    !address.is_unspecified() && UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str, gateway: &str) -> EndpointSettings {
        EndpointSettings {
            ip_address: Some(address.to_owned()),
            gateway: Some(gateway.to_owned()),
            ..EndpointSettings::default()
        }
    }

    #[test]
    fn only_a_network_that_this_node_is_the_gateway_of_is_reached() {
        let here: IpAddr = [172, 17, 0, 1].into();
        let seen = |networks: &[(&str, EndpointSettings)]| {
            let networks = networks.iter().map(|(name, network)| ((*name).to_owned(), network.clone()));
            reachable(&networks.collect(), |address| address == here).map(|address| address.to_string())
        };
        assert_eq!(seen(&[("bridge", network("172.17.0.9", "172.17.0.1"))]).as_deref(), Some("172.17.0.9"));
        assert_eq!(seen(&[("lan", network("192.0.2.9", "192.0.2.1"))]), None);
        // The node's own network, and a container that does not run.
        assert_eq!(seen(&[("host", network("", "")), ("none", EndpointSettings::default())]), None);
        let two = [("b", network("172.17.0.8", "172.17.0.1")), ("a", network("172.17.0.7", "172.17.0.1"))];
        assert_eq!(seen(&two).as_deref(), Some("172.17.0.7"));
    }

    #[test]
    fn this_node_knows_its_own_addresses() {
        assert!(is_local([127, 0, 0, 1].into()));
        // Kept for documentation (RFC 5737): nobody has it.
        assert!(!is_local([203, 0, 113, 77].into()));
        assert!(!is_local([0, 0, 0, 0].into()));
    }
}
