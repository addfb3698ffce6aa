//! What an executor says of itself.

use muster_common::executor::{ExecutorRecord, NodeLayout};

use super::resource::{MAX_NAME_BYTES, cores_from_wire, cores_to_wire, memory_from_wire, memory_to_wire};
use super::{Fields, Malformed};
use crate::v1;

/// How many tags an executor may carry.
const MAX_TAGS: usize = 256;

impl From<&ExecutorRecord> for v1::ExecutorRecord {
    fn from(record: &ExecutorRecord) -> Self {
        Self {
            id: record.id.to_string(),
            hostname: record.hostname.clone(),
            api_port: record.api_port.into(),
            incarnation: record.incarnation,
            boot_id: record.boot_id.clone(),
            version: record.version.clone(),
            tags: record.tags.clone(),
            cores: cores_to_wire(&record.layout.cores),
            memory: memory_to_wire(&record.layout.memory),
            core_overcommit: record.core_overcommit,
        }
    }
}

impl TryFrom<v1::ExecutorRecord> for ExecutorRecord {
    type Error = Malformed;

    fn try_from(message: v1::ExecutorRecord) -> Result<Self, Malformed> {
        let fields = Fields("ExecutorRecord");
        fields.at_most("tags", message.tags.len(), MAX_TAGS)?;
        let tag = |tag| fields.text("tags", tag, MAX_NAME_BYTES);
        Ok(Self {
            id: fields.parse("id", &message.id)?,
            hostname: fields.text("hostname", message.hostname, MAX_NAME_BYTES)?,
            api_port: fields.port("api_port", message.api_port)?,
            incarnation: message.incarnation,
            boot_id: fields.text("boot_id", message.boot_id, MAX_NAME_BYTES)?,
            version: fields.text("version", message.version, MAX_NAME_BYTES)?,
            tags: message.tags.into_iter().map(tag).collect::<Result<_, _>>()?,
            layout: NodeLayout {
                cores: cores_from_wire(fields, "cores", message.cores)?,
                memory: memory_from_wire(fields, "memory", message.memory)?,
            },
            core_overcommit: message.core_overcommit,
        })
    }
}
