//! Which ports and directories the roles have. Pure.

use std::ops::RangeInclusive;

use muster_common::exit::Exit;

use crate::error::CliError;

/// Distance from the port base to the controllers' cluster ports.
const CLUSTER_PORTS: u16 = 100;
/// Distance from the port base to the executors' api ports.
const EXECUTOR_PORTS: u16 = 200;
/// Distance from the port base to the ports that are given to instances.
const INSTANCE_PORTS: u16 = 1000;
/// How many ports each executor may give out.
const INSTANCE_PORTS_EACH: u16 = 200;

/// The ports of one cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) port_base: u16,
    pub(crate) controllers: u16,
    pub(crate) executors: u16,
}

impl Layout {
    /// Checks that every port is one.
    pub(crate) fn new(port_base: u16, controllers: u16, executors: u16) -> Result<Self, CliError> {
        let last = u32::from(port_base)
            + u32::from(INSTANCE_PORTS)
            + u32::from(INSTANCE_PORTS_EACH) * u32::from(executors)
            - 1;
        if last > u32::from(u16::MAX) {
            return Err(CliError::new(
                Exit::Usage,
                format!(
                    "{executors} executors above port base {port_base} would need ports up to {last}; choose a lower \
                     --port-base or fewer --executors"
                ),
            ));
        }
        Ok(Self { port_base, controllers, executors })
    }

    /// REST of controller `i`, counted from 1.
    pub(crate) fn controller_api(self, i: u16) -> u16 {
        self.port_base + i - 1
    }

    /// gRPC of controller `i`, counted from 1.
    pub(crate) fn controller_cluster(self, i: u16) -> u16 {
        self.port_base + CLUSTER_PORTS + i - 1
    }

    /// Metrics of executor `j`, counted from 1.
    pub(crate) fn executor_api(self, j: u16) -> u16 {
        self.port_base + EXECUTOR_PORTS + j - 1
    }

    /// What executor `j`, counted from 1, may give to instances.
    pub(crate) fn instance_ports(self, j: u16) -> RangeInclusive<u16> {
        let first = self.port_base + INSTANCE_PORTS + INSTANCE_PORTS_EACH * (j - 1);
        first..=first + INSTANCE_PORTS_EACH - 1
    }

    /// Every port that a role listens on.
    pub(crate) fn listening(self) -> impl Iterator<Item = u16> {
        let controllers =
            (1..=self.controllers).flat_map(move |i| [self.controller_api(i), self.controller_cluster(i)]);
        controllers.chain((1..=self.executors).map(move |j| self.executor_api(j)))
    }
}

/// An address on loopback.
pub(crate) fn loopback(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_port_is_given_out_twice() {
        let layout = Layout::new(4000, 9, 100).unwrap();
        let mut seen = BTreeSet::new();
        let instances = (1..=100).flat_map(|j| layout.instance_ports(j));
        for port in layout.listening().chain(instances) {
            assert!(seen.insert(port), "port {port} is used twice");
        }
        assert_eq!(layout.controller_api(1), 4000);
        assert_eq!(layout.controller_api(3), 4002);
    }

    #[test]
    fn ports_past_the_last_one_are_refused() {
        assert_eq!(
            Layout::new(64_000, 3, 2).unwrap(),
            Layout { port_base: 64_000, controllers: 3, executors: 2 }
        );
        assert_eq!(Layout::new(65_000, 3, 2).unwrap_err().exit, Exit::Usage);
    }
}
