//! Conversions between what the executor keeps and the messages that hold it on disk.

use std::sync::Arc;

use muster_common::id::{Epoch, Generation};
use muster_common::instance::InstanceRecord;
use muster_common::slot::SlotStatus;
use muster_common::spec::LocalServiceSpec;
use muster_common::time::Timestamp;
use muster_proto::{Fields, Malformed, v1};

use crate::machine::{Descent, Instance, Resume, StopIntent};
use crate::runner::{Exit, Workload};
use crate::slots::Slot;

impl From<&Instance> for v1::JournalInstance {
    fn from(instance: &Instance) -> Self {
        Self {
            record: Some((&instance.record).into()),
            workload: instance.workload.as_ref().map(Into::into),
            exit: instance.exit.as_ref().map(|exit| v1::JournalExit {
                code: exit.code,
                signal: exit.signal,
                oom_killed: exit.oom_killed,
                removed: exit.removed,
                at_ms: exit.at.map(Timestamp::as_ms),
            }),
            stop: instance.stop.as_ref().map(|stop| v1::JournalStop {
                reason: stop.reason.to_string(),
                message: stop.message.clone(),
            }),
            resume: instance.resume.as_ref().map(|resume| v1::JournalResume {
                state: resume.state.to_string(),
                reason: resume.reason.map(|reason| reason.to_string()).unwrap_or_default(),
                descent: resume.descent.map(Into::into),
                rebooted: resume.rebooted,
                message: resume.message.clone(),
            }),
            descent: instance.descent.map(Into::into),
            accounted: instance.accounted,
            ended: instance.ended,
            gave_lease_back: instance.gave_lease_back,
        }
    }
}

/// The instance that `message` and its spec hold.
pub(super) fn read_instance(
    message: v1::JournalInstance,
    spec: LocalServiceSpec,
) -> Result<Instance, Malformed> {
    let fields = Fields("JournalInstance");
    let record: InstanceRecord = fields.required("record", message.record)?.try_into()?;
    Ok(Instance {
        workload: message.workload.map(read_workload).transpose()?,
        exit: message.exit.map(|exit| Exit {
            code: exit.code,
            signal: exit.signal,
            oom_killed: exit.oom_killed,
            removed: exit.removed,
            at: exit.at_ms.map(Timestamp),
        }),
        stop: message.stop.map(read_stop).transpose()?,
        resume: message.resume.as_ref().map(read_resume).transpose()?,
        descent: message.descent.as_ref().map(read_descent).transpose()?,
        accounted: message.accounted,
        ended: message.ended,
        gave_lease_back: message.gave_lease_back,
        ..Instance::of(record, Arc::new(spec))
    })
}

impl From<&Workload> for v1::JournalWorkload {
    fn from(workload: &Workload) -> Self {
        use v1::journal_workload::Kind;
        let kind = match workload {
            Workload::Docker { container_id, warnings } => {
                Kind::Container(v1::JournalContainer { id: container_id.clone(), warnings: warnings.clone() })
            }
            Workload::Process { shim_pid, shim_start_ticks, pid, start_ticks, warnings } => {
                Kind::Process(v1::JournalProcess {
                    shim_pid: *shim_pid,
                    shim_start_ticks: *shim_start_ticks,
                    pid: *pid,
                    start_ticks: *start_ticks,
                    warnings: warnings.clone(),
                })
            }
        };
        Self { kind: Some(kind) }
    }
}

fn read_workload(message: v1::JournalWorkload) -> Result<Workload, Malformed> {
    use v1::journal_workload::Kind;
    Ok(match Fields("JournalWorkload").required("kind", message.kind)? {
        Kind::Container(container) => {
            Workload::Docker { container_id: container.id, warnings: container.warnings }
        }
        Kind::Process(process) => Workload::Process {
            shim_pid: process.shim_pid,
            shim_start_ticks: process.shim_start_ticks,
            pid: process.pid,
            start_ticks: process.start_ticks,
            warnings: process.warnings,
        },
    })
}

fn read_stop(message: v1::JournalStop) -> Result<StopIntent, Malformed> {
    let reason = Fields("JournalStop").parse("reason", &message.reason)?;
    Ok(StopIntent { reason, message: message.message })
}

fn read_resume(message: &v1::JournalResume) -> Result<Resume, Malformed> {
    let fields = Fields("JournalResume");
    Ok(Resume {
        state: fields.parse("state", &message.state)?,
        reason: fields.parse_optional("reason", &message.reason)?,
        descent: message.descent.as_ref().map(read_descent).transpose()?,
        rebooted: message.rebooted,
        message: message.message.clone(),
    })
}

impl From<Descent> for v1::JournalDescent {
    fn from(descent: Descent) -> Self {
        let (step, hook) = match descent {
            Descent::Settle => ("SETTLE", 0),
            Descent::Find => ("FIND", 0),
            Descent::Hook(index) => ("HOOK", u32::try_from(index).unwrap_or(u32::MAX)),
            Descent::Pause => ("PAUSE", 0),
            Descent::Stop => ("STOP", 0),
            Descent::Evidence => ("EVIDENCE", 0),
            Descent::Copy => ("COPY", 0),
            Descent::Remove => ("REMOVE", 0),
        };
        Self { step: step.to_owned(), hook }
    }
}

fn read_descent(message: &v1::JournalDescent) -> Result<Descent, Malformed> {
    Ok(match message.step.as_str() {
        "SETTLE" => Descent::Settle,
        "FIND" => Descent::Find,
        "HOOK" => Descent::Hook(usize::try_from(message.hook).unwrap_or(usize::MAX)),
        "PAUSE" => Descent::Pause,
        "STOP" => Descent::Stop,
        "EVIDENCE" => Descent::Evidence,
        "COPY" => Descent::Copy,
        "REMOVE" => Descent::Remove,
        other => return Err(Fields("JournalDescent").refuse("step", format_args!("unknown step '{other}'"))),
    })
}

impl From<&Slot> for v1::JournalSlot {
    fn from(slot: &Slot) -> Self {
        Self {
            status: Some((&slot.status).into()),
            generation: slot.status.generation.unwrap_or_default().0,
            failures: slot.failures,
            kept_old: slot.kept_old.map(|epoch| epoch.0),
        }
    }
}

/// The slot that `message` holds.
pub(super) fn read_slot(message: v1::JournalSlot) -> Result<Slot, Malformed> {
    let mut status: SlotStatus = Fields("JournalSlot").required("status", message.status)?.try_into()?;
    // Journals of before say it beside the status alone.
    status.generation.get_or_insert(Generation(message.generation));
    Ok(Slot { status, failures: message.failures, kept_old: message.kept_old.map(Epoch) })
}
