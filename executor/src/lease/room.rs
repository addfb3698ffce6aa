//! The pure allocator: what of the node is free, given what is held.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use muster_common::executor::NodeLayout;
use muster_common::instance::{InstancePort, LocalInfo, ResourceAllocation};
use muster_common::reason::Reason;
use muster_common::spec::{LocalServiceSpec, PortType};

use crate::machine::{Instance, Lease, NoRoom};

/// What the node has, as far as Muster may use it.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    /// The node's host name.
    pub hostname: String,
    /// Cores and memory.
    pub layout: NodeLayout,
    /// How often each core may be leased.
    pub core_overcommit: u32,
    /// Host ports for instances whose spec does not fix them.
    pub ports: RangeInclusive<u16>,
}

/// What is held by living instances.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    ports: BTreeSet<u16>,
    /// Core → how often it is pinned.
    pins: BTreeMap<u32, u32>,
    cpu_millis: u64,
    memory: BTreeMap<u32, u64>,
}

impl Held {
    /// What `instances` hold together.
    pub(crate) fn by<'a>(instances: impl Iterator<Item = &'a Instance>) -> Self {
        let mut held = Self::default();
        for instance in instances.filter(|instance| instance.holds_lease()) {
            let ports = instance.record.local_info.iter().flat_map(|info| info.ports.values());
            held.ports.extend(ports.map(|port| port.host_port));
            held.cpu_millis += instance.spec.cpu_count().as_millis();
            for allocation in &instance.record.resources {
                match allocation {
                    ResourceAllocation::Cpu { cores } => {
                        for core in cores.values().flatten() {
                            *held.pins.entry(*core).or_default() += 1;
                        }
                    }
                    ResourceAllocation::Memory { memory_in_mb } => {
                        for (node, mb) in memory_in_mb {
                            *held.memory.entry(*node).or_default() += mb;
                        }
                    }
                }
            }
        }
        held
    }
}

impl Room {
    /// Sets aside what `spec` asks, or says what is missing. The search for ports begins at `cursor`, so
    /// that a port that was just given back rests for a while; ports in `avoid` were found taken.
    pub(crate) fn lease(
        &self,
        spec: &LocalServiceSpec,
        held: &Held,
        cursor: u16,
        avoid: &BTreeSet<u16>,
    ) -> Result<Lease, NoRoom> {
        let cores = self.cores(spec, held)?;
        let memory = self.memory(spec, held, &cores)?;
        let ports = self.ports(spec, held, cursor, avoid)?;
        Ok(Lease {
            local_info: LocalInfo { hostname: self.hostname.clone(), ports },
            resources: vec![
                ResourceAllocation::Cpu { cores },
                ResourceAllocation::Memory { memory_in_mb: memory },
            ],
        })
    }

    /// Whole cores are pinned, on one NUMA node if one has enough, the least pinned first; a fraction is
    /// only counted.
    fn cores(&self, spec: &LocalServiceSpec, held: &Held) -> Result<BTreeMap<u32, Vec<u32>>, NoRoom> {
        let asked = spec.cpu_count();
        let all: u64 = self.layout.cores.values().map(|cores| cores.len() as u64).sum();
        let total = all * 1000 * u64::from(self.core_overcommit.max(1));
        let free = total.saturating_sub(held.cpu_millis);
        let short = |free: u64| {
            let free = muster_common::spec::CpuCount::from_millis(free);
            insufficient(format!("{asked} cores are asked for, {free} are free on this node"))
        };
        if asked.as_millis() > free {
            return Err(short(free));
        }
        let Some(whole) = asked.whole() else { return Ok(BTreeMap::new()) };
        let wanted = usize::try_from(whole).unwrap_or(usize::MAX);
        let pins = |core: &u32| held.pins.get(core).copied().unwrap_or(0);
        let usable: BTreeMap<u32, Vec<u32>> = self
            .layout
            .cores
            .iter()
            .map(|(&node, cores)| {
                let mut cores: Vec<u32> =
                    cores.iter().copied().filter(|core| pins(core) < self.core_overcommit.max(1)).collect();
                cores.sort_by_key(|core| (pins(core), *core));
                (node, cores)
            })
            .collect();
        let fits = usable.iter().filter(|(_, cores)| cores.len() >= wanted);
        // The node whose best cores are used least; the first one among equals.
        if let Some((&node, cores)) =
            fits.min_by_key(|(_, cores)| cores[..wanted].iter().map(pins).sum::<u32>())
        {
            return Ok(BTreeMap::from([(node, cores[..wanted].to_vec())]));
        }
        let mut left = wanted;
        let mut spread = BTreeMap::new();
        for (node, cores) in usable {
            let taken = cores.len().min(left);
            if taken > 0 {
                left -= taken;
                spread.insert(node, cores[..taken].to_vec());
            }
        }
        if left > 0 {
            return Err(short(u64::try_from(wanted - left).unwrap_or(0) * 1000));
        }
        Ok(spread)
    }

    /// From the NUMA nodes of the cores if they have enough, else wherever there is some.
    fn memory(
        &self,
        spec: &LocalServiceSpec,
        held: &Held,
        cores: &BTreeMap<u32, Vec<u32>>,
    ) -> Result<BTreeMap<u32, u64>, NoRoom> {
        let asked = spec.memory_mb();
        let free: BTreeMap<u32, u64> = self
            .layout
            .memory
            .iter()
            .map(|(node, total)| (*node, total.saturating_sub(held.memory.get(node).copied().unwrap_or(0))))
            .collect();
        let total: u64 = free.values().sum();
        if asked > total {
            return Err(insufficient(format!(
                "{asked} MB of memory are asked for, {total} MB are free on this node"
            )));
        }
        let near = free.iter().filter(|(node, _)| cores.contains_key(node));
        let far = free.iter().filter(|(node, _)| !cores.contains_key(node));
        let mut left = asked;
        let mut taken = BTreeMap::new();
        for (&node, &mb) in near.chain(far) {
            let share = mb.min(left);
            if share > 0 {
                taken.insert(node, share);
                left -= share;
            }
        }
        Ok(taken)
    }

    fn ports(
        &self,
        spec: &LocalServiceSpec,
        held: &Held,
        cursor: u16,
        avoid: &BTreeSet<u16>,
    ) -> Result<BTreeMap<String, InstancePort>, NoRoom> {
        let mut given = BTreeSet::new();
        let mut ports = BTreeMap::new();
        for port in &spec.exposed_ports {
            let container_port = u16::try_from(port.port).unwrap_or(0);
            let host_port = if spec.is_host_level() {
                if held.ports.contains(&container_port) {
                    return Err(port_in_use(format!("port {container_port} is held by another instance")));
                }
                container_port
            } else {
                let is_free =
                    |port: &u16| !held.ports.contains(port) && !given.contains(port) && !avoid.contains(port);
                self.ports_from(cursor).find(is_free).ok_or_else(|| {
                    let (first, last) = (self.ports.start(), self.ports.end());
                    port_in_use(format!("every port of this executor's range {first}-{last} is in use"))
                })?
            };
            given.insert(host_port);
            let port_type = port.port_type.unwrap_or(PortType::Tcp);
            ports.insert(port.name.clone(), InstancePort { container_port, host_port, port_type });
        }
        Ok(ports)
    }

    /// Every port of the range once, beginning at `cursor`.
    fn ports_from(&self, cursor: u16) -> impl Iterator<Item = u16> {
        let (first, last) = (*self.ports.start(), *self.ports.end());
        let start = if self.ports.contains(&cursor) { cursor } else { first };
        (start..=last).chain(first..start)
    }
}

fn insufficient(message: String) -> NoRoom {
    NoRoom { reason: Reason::InsufficientResources, message }
}

fn port_in_use(message: String) -> NoRoom {
    NoRoom { reason: Reason::PortInUse, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(cpu: &str, memory: u64, ports: usize, host_level: bool) -> LocalServiceSpec {
        let ports: Vec<String> = (0..ports)
            .map(|index| format!(r#"{{"name": "p{index}", "port": {}, "type": "TCP"}}"#, 8080 + index))
            .collect();
        serde_json::from_str(&format!(
            r#"{{"name": "a", "version": "1", "exposedPorts": [{}],
                "resources": [{{"type": "CPU", "count": {cpu}}}, {{"type": "MEMORY", "sizeInMB": {memory}}}],
                "placementPolicy": {{"type": "LOCAL", "hostLevel": {host_level}}}}}"#,
            ports.join(",")
        ))
        .unwrap()
    }

    fn room(overcommit: u32) -> Room {
        Room {
            hostname: "node".to_owned(),
            layout: NodeLayout {
                cores: BTreeMap::from([(0, vec![0, 1]), (1, vec![2, 3])]),
                memory: BTreeMap::from([(0, 100), (1, 100)]),
            },
            core_overcommit: overcommit,
            ports: 5000..=5003,
        }
    }

    /// Leases one after the other until there is no more room.
    fn fill(room: &Room, spec: &LocalServiceSpec) -> (Vec<Lease>, NoRoom) {
        let mut held = Held::default();
        let mut leases = Vec::new();
        loop {
            match room.lease(spec, &held, 5000, &BTreeSet::new()) {
                Ok(lease) => {
                    held.ports.extend(lease.local_info.ports.values().map(|port| port.host_port));
                    held.cpu_millis += spec.cpu_count().as_millis();
                    for allocation in &lease.resources {
                        match allocation {
                            ResourceAllocation::Cpu { cores } => {
                                cores.values().flatten().for_each(|core| {
                                    *held.pins.entry(*core).or_default() += 1;
                                });
                            }
                            ResourceAllocation::Memory { memory_in_mb } => {
                                for (node, mb) in memory_in_mb {
                                    *held.memory.entry(*node).or_default() += mb;
                                }
                            }
                        }
                    }
                    leases.push(lease);
                }
                Err(no_room) => return (leases, no_room),
            }
        }
    }

    fn pinned(lease: &Lease) -> Vec<u32> {
        match &lease.resources[0] {
            ResourceAllocation::Cpu { cores } => cores.values().flatten().copied().collect(),
            ResourceAllocation::Memory { .. } => unreachable!(),
        }
    }

    #[test]
    fn whole_cores_are_pinned_once_and_on_one_numa_node() {
        let (leases, no_room) = fill(&room(1), &spec("2", 10, 0, false));
        assert_eq!(leases.iter().map(pinned).collect::<Vec<_>>(), [vec![0, 1], vec![2, 3]]);
        assert_eq!(no_room.reason, Reason::InsufficientResources);
        assert_eq!(no_room.message, "2 cores are asked for, 0 are free on this node");
    }

    #[test]
    fn overcommit_multiplies_how_often_a_core_is_leased() {
        let (leases, _) = fill(&room(3), &spec("1", 1, 0, false));
        assert_eq!(leases.len(), 12);
        assert_eq!(leases[..4].iter().flat_map(pinned).collect::<BTreeSet<_>>().len(), 4, "spread first");
    }

    #[test]
    fn fractions_pin_nothing_but_count() {
        let (leases, _) = fill(&room(1), &spec("0.5", 1, 0, false));
        assert_eq!(leases.len(), 8);
        assert!(leases.iter().all(|lease| pinned(lease).is_empty()));
    }

    #[test]
    fn memory_and_ports_run_out_too() {
        let (leases, no_room) = fill(&room(16), &spec("1", 80, 0, false));
        assert_eq!((leases.len(), no_room.reason), (2, Reason::InsufficientResources));
        let (leases, no_room) = fill(&room(16), &spec("1", 1, 2, false));
        assert_eq!((leases.len(), no_room.reason), (2, Reason::PortInUse));
        let (leases, no_room) = fill(&room(16), &spec("1", 1, 1, true));
        assert_eq!(leases[0].local_info.ports["p0"].host_port, 8080);
        assert_eq!((leases.len(), no_room.message.as_str()), (1, "port 8080 is held by another instance"));
    }

    #[test]
    fn the_search_for_ports_goes_round_and_avoids_what_was_found_taken() {
        let lease = room(1).lease(&spec("1", 1, 2, false), &Held::default(), 5003, &BTreeSet::from([5000]));
        let ports: Vec<u16> = lease.unwrap().local_info.ports.values().map(|port| port.host_port).collect();
        assert_eq!(ports, [5003, 5001]);
    }
}
