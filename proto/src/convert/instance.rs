//! The record of one instance.

use muster_common::evidence::{
    Evidence, MAX_MESSAGE_BYTES, MAX_PROBE_RECORDS, MAX_TIMELINE, MAX_WARNINGS, ProbeRecord, Transition,
    head, newest,
};
use muster_common::id::{Epoch, Generation};
use muster_common::instance::{InstanceRecord, LocalInfo, ResourceAllocation};
use muster_common::time::Timestamp;

use super::evidence::reason_name;
use super::resource::MAX_NAME_BYTES;
use super::{Fields, Malformed};
use crate::v1;

/// CPU and memory, with room for a resource that a later version may add.
const MAX_ALLOCATIONS: usize = 16;

impl From<&InstanceRecord> for v1::InstanceRecord {
    fn from(record: &InstanceRecord) -> Self {
        Self {
            id: record.id.to_string(),
            slot: Some((&record.slot).into()),
            service_name: record.service_name.clone(),
            epoch: record.epoch.0,
            generation: record.generation.0,
            version: record.version,
            state: record.state.to_string(),
            reason: reason_name(record.reason),
            error_message: head(&record.error_message, MAX_MESSAGE_BYTES).to_owned(),
            runner: record.runner.to_string(),
            local_info: record.local_info.as_ref().map(Into::into),
            resources: record.resources.iter().map(Into::into).collect(),
            created_ms: record.created.as_ms(),
            updated_ms: record.updated.as_ms(),
            started_ms: record.started.map(Timestamp::as_ms),
            finished_ms: record.finished.map(Timestamp::as_ms),
            timeline: newest(&record.timeline, MAX_TIMELINE).iter().map(Into::into).collect(),
            probes: newest(&record.probes, MAX_PROBE_RECORDS).iter().map(Into::into).collect(),
            evidence: record.evidence.as_ref().map(Into::into),
            warnings: bounded(&record.warnings),
        }
    }
}

fn bounded(warnings: &[String]) -> Vec<String> {
    warnings.iter().take(MAX_WARNINGS).map(|text| head(text, MAX_MESSAGE_BYTES).to_owned()).collect()
}

impl TryFrom<v1::InstanceRecord> for InstanceRecord {
    type Error = Malformed;

    fn try_from(message: v1::InstanceRecord) -> Result<Self, Malformed> {
        let fields = Fields("InstanceRecord");
        fields.at_most("warnings", message.warnings.len(), MAX_WARNINGS)?;
        let warning = |text| fields.text("warnings", text, MAX_MESSAGE_BYTES);
        Ok(Self {
            warnings: message.warnings.into_iter().map(warning).collect::<Result<_, _>>()?,
            id: fields.parse("id", &message.id)?,
            slot: fields.required("slot", message.slot)?.try_into()?,
            service_name: fields.text("service_name", message.service_name, MAX_NAME_BYTES)?,
            epoch: Epoch(message.epoch),
            generation: Generation(message.generation),
            version: message.version,
            state: fields.parse("state", &message.state)?,
            reason: fields.parse_optional("reason", &message.reason)?,
            error_message: fields.text("error_message", message.error_message, MAX_MESSAGE_BYTES)?,
            runner: fields.parse("runner", &message.runner)?,
            local_info: message.local_info.map(LocalInfo::try_from).transpose()?,
            resources: fields.list::<_, ResourceAllocation, _>(
                "resources",
                message.resources,
                MAX_ALLOCATIONS,
            )?,
            created: Timestamp(message.created_ms),
            updated: Timestamp(message.updated_ms),
            started: message.started_ms.map(Timestamp),
            finished: message.finished_ms.map(Timestamp),
            timeline: fields.list::<_, Transition, _>("timeline", message.timeline, MAX_TIMELINE)?,
            probes: fields.list::<_, ProbeRecord, _>("probes", message.probes, MAX_PROBE_RECORDS)?,
            evidence: message.evidence.map(Evidence::try_from).transpose()?,
        })
    }
}
