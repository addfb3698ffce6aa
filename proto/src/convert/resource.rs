//! Cores, memory and ports: what a node has and what an instance was given.

use std::collections::BTreeMap;

use muster_common::instance::{InstancePort, LocalInfo, ResourceAllocation};

use super::{Fields, Malformed};
use crate::v1;

/// More NUMA nodes than any machine has (Linux knows at most 1024).
const MAX_NUMA_NODES: usize = 1024;
/// More logical cores on one NUMA node than Linux supports in a whole machine (8192).
const MAX_CORES: usize = 8192;
/// Far more ports than a spec may expose.
const MAX_PORTS: usize = 1024;
/// The longest host or port name; a DNS name has at most 253 bytes.
pub(super) const MAX_NAME_BYTES: usize = 255;

impl From<&ResourceAllocation> for v1::Allocation {
    fn from(allocation: &ResourceAllocation) -> Self {
        use v1::allocation::Kind;
        let kind = match allocation {
            ResourceAllocation::Cpu { cores } => Kind::Cpu(v1::CpuAllocation { cores: cores_to_wire(cores) }),
            ResourceAllocation::Memory { memory_in_mb } => {
                Kind::Memory(v1::MemoryAllocation { memory: memory_to_wire(memory_in_mb) })
            }
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<v1::Allocation> for ResourceAllocation {
    type Error = Malformed;

    fn try_from(message: v1::Allocation) -> Result<Self, Malformed> {
        use v1::allocation::Kind;
        Ok(match Fields("Allocation").required("kind", message.kind)? {
            Kind::Cpu(cpu) => {
                Self::Cpu { cores: cores_from_wire(Fields("CpuAllocation"), "cores", cpu.cores)? }
            }
            Kind::Memory(memory) => Self::Memory {
                memory_in_mb: memory_from_wire(Fields("MemoryAllocation"), "memory", memory.memory)?,
            },
        })
    }
}

pub(super) fn cores_to_wire(cores: &BTreeMap<u32, Vec<u32>>) -> Vec<v1::NumaCores> {
    cores.iter().map(|(&node, cores)| v1::NumaCores { node, cores: cores.clone() }).collect()
}

pub(super) fn cores_from_wire(
    fields: Fields,
    field: &'static str,
    nodes: Vec<v1::NumaCores>,
) -> Result<BTreeMap<u32, Vec<u32>>, Malformed> {
    fields.at_most(field, nodes.len(), MAX_NUMA_NODES)?;
    let mut cores = BTreeMap::new();
    for node in nodes {
        fields.at_most(field, node.cores.len(), MAX_CORES)?;
        if cores.insert(node.node, node.cores).is_some() {
            return Err(fields.refuse(field, format_args!("NUMA node {} is there twice", node.node)));
        }
    }
    Ok(cores)
}

pub(super) fn memory_to_wire(memory: &BTreeMap<u32, u64>) -> Vec<v1::NumaMemory> {
    memory.iter().map(|(&node, &memory_mb)| v1::NumaMemory { node, memory_mb }).collect()
}

pub(super) fn memory_from_wire(
    fields: Fields,
    field: &'static str,
    nodes: Vec<v1::NumaMemory>,
) -> Result<BTreeMap<u32, u64>, Malformed> {
    fields.at_most(field, nodes.len(), MAX_NUMA_NODES)?;
    let mut memory = BTreeMap::new();
    for node in nodes {
        if memory.insert(node.node, node.memory_mb).is_some() {
            return Err(fields.refuse(field, format_args!("NUMA node {} is there twice", node.node)));
        }
    }
    Ok(memory)
}

impl From<&LocalInfo> for v1::LocalInfo {
    fn from(info: &LocalInfo) -> Self {
        let port = |(name, port): (&String, &InstancePort)| v1::InstancePort {
            name: name.clone(),
            container_port: port.container_port.into(),
            host_port: port.host_port.into(),
            port_type: port.port_type.to_string(),
        };
        Self { hostname: info.hostname.clone(), ports: info.ports.iter().map(port).collect() }
    }
}

impl TryFrom<v1::LocalInfo> for LocalInfo {
    type Error = Malformed;

    fn try_from(message: v1::LocalInfo) -> Result<Self, Malformed> {
        let fields = Fields("LocalInfo");
        fields.at_most("ports", message.ports.len(), MAX_PORTS)?;
        let mut ports = BTreeMap::new();
        for port in message.ports {
            let (name, port) = named_port(port)?;
            if let Some(twice) = ports.insert(name, port) {
                let problem =
                    format_args!("two ports of one name, the first on host port {}", twice.host_port);
                return Err(fields.refuse("ports", problem));
            }
        }
        Ok(Self { hostname: fields.text("hostname", message.hostname, MAX_NAME_BYTES)?, ports })
    }
}

fn named_port(message: v1::InstancePort) -> Result<(String, InstancePort), Malformed> {
    let fields = Fields("InstancePort");
    let port = InstancePort {
        container_port: fields.port("container_port", message.container_port)?,
        host_port: fields.port("host_port", message.host_port)?,
        port_type: fields.parse("port_type", &message.port_type)?,
    };
    Ok((fields.text("name", message.name, MAX_NAME_BYTES)?, port))
}
