//! The ports that a workload opens.

use std::collections::BTreeMap;

use super::form;
use crate::problem::Place;
use crate::spec::{PortSpec, PortType};

const MAX_PORTS: usize = 256;
const MAX_NAME_BYTES: usize = 64;

pub(super) fn check(spec_at: Place<'_>, ports: &[PortSpec]) {
    let place = spec_at.member("exposedPorts");
    if place.require(!ports.is_empty(), "- Port specifications are needed")
        && form::at_most(place, ports.len(), MAX_PORTS)
    {
        for (index, port) in ports.iter().enumerate() {
            single(place.element(index), port);
        }
        distinct(place, ports);
    }
}

fn single(place: Place<'_>, spec: &PortSpec) {
    form::name(place.member("name"), &spec.name, "- Specify a name for the port", MAX_NAME_BYTES);
    let number = place.member("port");
    number.require(spec.port > 0, "- Port cannot be negative or 0");
    number.require(spec.port <= i64::from(u16::MAX), "- Port cannot be more than 65K");
    place.member("type").require(spec.port_type.is_some(), "- Please specify port type [HTTP/TCP/UDP]");
}

/// Names differ also as environment variables, and numbers differ among ports of one transport.
fn distinct(place: Place<'_>, ports: &[PortSpec]) {
    let mut variables = BTreeMap::new();
    let mut numbers = BTreeMap::new();
    for (index, port) in ports.iter().enumerate() {
        let at = place.element(index);
        let name = at.member("name");
        match variables.insert(port.name.replace('-', "_"), &port.name) {
            Some(other) if *other == port.name => {
                name.require(port.name.is_empty(), format_args!("- Port name '{other}' is given twice"));
            }
            Some(other) => name.refuse(format_args!(
                "- '{other}' and '{}' would share the variable PORT_{}",
                port.name,
                port.name.replace('-', "_")
            )),
            None => {}
        }
        let transport = (port.port, port.port_type == Some(PortType::Udp));
        if let Some(other) = numbers.insert(transport, &port.name) {
            at.member("port").refuse(format_args!("- Port {} is already exposed as '{other}'", port.port));
        }
    }
}
