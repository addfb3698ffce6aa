//! Commands.

use std::sync::Arc;
use std::time::Duration;

use muster_common::executor::ExecutorRecord;
use muster_common::id::{ExecutorId, Generation, InstanceId};
use muster_common::instance::InstanceRecord;
use muster_common::slot::SlotStatus;
use muster_common::time::Timestamp;
use muster_proto::v1::state_command::Body;
use muster_proto::v1::steer_operation::Which;
use muster_proto::{Fields, Malformed, v1};

use super::no_body;
use crate::state::{Command, Contact, ExecNoted, ExecutorReport, Steered, Wish};

impl From<&Command> for v1::StateCommand {
    fn from(command: &Command) -> Self {
        let (at, body) = match command {
            Command::SubmitOperation { id, request, at, by, if_generation } => {
                let body = v1::SubmitOperation {
                    id: id.to_string(),
                    request_json: request.to_json().into(),
                    by: by.clone(),
                    if_generation: if_generation.map(|generation| generation.0),
                };
                (at, Body::SubmitOperation(body))
            }
            Command::SteerOperation { at, which, steer, by } => {
                let which = match which {
                    Steered::Operation(id) => Which::Operation(id.to_string()),
                    Steered::Service(id) => Which::Service(id.to_string()),
                };
                let body =
                    v1::SteerOperation { which: Some(which), steer: steer.to_string(), by: by.clone() };
                (at, Body::SteerOperation(body))
            }
            Command::Plan { at, changes } => {
                (at, Body::Plan(v1::Plan { changes: changes.iter().map(Into::into).collect() }))
            }
            Command::Reports { at, reports } => {
                (at, Body::Reports(v1::Reports { reports: reports.iter().map(Into::into).collect() }))
            }
            Command::RegisterExecutor { at, record, holds } => {
                let holds = holds.as_ref().map(|holds| v1::HeldInstances {
                    instances: holds.iter().map(ToString::to_string).collect(),
                });
                let body = v1::RegisterExecutor { executor: Some((&**record).into()), holds };
                (at, Body::RegisterExecutor(body))
            }
            Command::ExecutorContact { at, verdicts } => {
                let verdicts = verdicts.iter().map(|(executor, contact)| v1::ContactVerdict {
                    executor: executor.to_string(),
                    contact: contact.to_string(),
                });
                let body = v1::ExecutorContact { verdicts: verdicts.collect() };
                (at, Body::ExecutorContact(body))
            }
            Command::AnnounceLeader { at, address } => {
                (at, Body::AnnounceLeader(v1::AnnounceLeader { address: address.clone() }))
            }
            Command::SetClusterState { at, state, address } => {
                let body = v1::SetClusterState { state: state.to_string(), address: address.clone() };
                (at, Body::SetClusterState(body))
            }
            Command::ChangeDuty { at, wish, executors, by } => {
                let (wish, within) = write_wish(*wish);
                let body = v1::ChangeDuty {
                    wish: wish.to_owned(),
                    within_ms: u64::try_from(within.as_millis()).unwrap_or(u64::MAX),
                    executors: executors.iter().map(ToString::to_string).collect(),
                    by: by.clone(),
                };
                (at, Body::ChangeDuty(body))
            }
            Command::NoteSkews { at, skews } => {
                let skews = skews.iter().map(|(executor, skew_ms)| v1::ClockSkew {
                    executor: executor.to_string(),
                    skew_ms: *skew_ms,
                });
                (at, Body::NoteSkews(v1::NoteSkews { skews: skews.collect() }))
            }
            Command::NoteExec { at, exec } => (at, Body::NoteExec(exec.into())),
            Command::TagExecutor { at, executor, tags } => (
                at,
                Body::TagExecutor(v1::TagExecutor { executor: executor.to_string(), tags: tags.clone() }),
            ),
            Command::AmendTags { at, executor, remove, add } => {
                let (executor, remove, add) = (executor.to_string(), remove.clone(), add.clone());
                (at, Body::AmendTags(v1::AmendTags { executor, remove, add }))
            }
        };
        Self { at_ms: at.as_ms(), body: Some(body), term: 0 }
    }
}

impl TryFrom<v1::StateCommand> for Command {
    type Error = Malformed;

    fn try_from(message: v1::StateCommand) -> Result<Self, Malformed> {
        let at = Timestamp(message.at_ms);
        Ok(match message.body.ok_or_else(|| no_body(Fields("StateCommand")))? {
            Body::SubmitOperation(body) => {
                let fields = Fields("SubmitOperation");
                let request = muster_common::operation::OperationRequest::from_json(&body.request_json)
                    .map_err(|problem| fields.refuse("request_json", problem))?;
                Self::SubmitOperation {
                    id: fields.parse("id", &body.id)?,
                    request: Box::new(request),
                    at,
                    by: body.by,
                    if_generation: body.if_generation.map(Generation),
                }
            }
            Body::SteerOperation(body) => {
                let fields = Fields("SteerOperation");
                let which = match fields.required("which", body.which)? {
                    Which::Operation(id) => Steered::Operation(fields.parse("operation", &id)?),
                    Which::Service(id) => Steered::Service(fields.parse("service", &id)?),
                };
                Self::SteerOperation { at, which, steer: fields.parse("steer", &body.steer)?, by: body.by }
            }
            Body::Plan(body) => Self::Plan { at, changes: all(body.changes)? },
            Body::Reports(body) => Self::Reports { at, reports: all(body.reports)? },
            Body::RegisterExecutor(body) => {
                let fields = Fields("RegisterExecutor");
                let record = fields.required("executor", body.executor)?;
                Self::RegisterExecutor {
                    at,
                    record: Box::new(ExecutorRecord::try_from(record)?),
                    holds: body.holds.as_ref().map(held_instances).transpose()?,
                }
            }
            Body::ExecutorContact(body) => {
                let verdicts = body.verdicts.iter().map(verdict);
                Self::ExecutorContact { at, verdicts: verdicts.collect::<Result<_, _>>()? }
            }
            Body::AnnounceLeader(body) => Self::AnnounceLeader { at, address: body.address },
            Body::SetClusterState(body) => {
                let state = Fields("SetClusterState").parse("state", &body.state)?;
                Self::SetClusterState { at, state, address: body.address }
            }
            Body::NoteSkews(body) => {
                let skew = |skew: &v1::ClockSkew| {
                    Ok((Fields("ClockSkew").parse("executor", &skew.executor)?, skew.skew_ms))
                };
                Self::NoteSkews { at, skews: body.skews.iter().map(skew).collect::<Result<_, Malformed>>()? }
            }
            Body::TagExecutor(body) => {
                let executor = Fields("TagExecutor").parse("executor", &body.executor)?;
                Self::TagExecutor { at, executor, tags: body.tags }
            }
            Body::AmendTags(body) => {
                let executor = Fields("AmendTags").parse("executor", &body.executor)?;
                Self::AmendTags { at, executor, remove: body.remove, add: body.add }
            }
            Body::NoteExec(body) => Self::NoteExec { at, exec: body.try_into()? },
            Body::ChangeDuty(body) => {
                let fields = Fields("ChangeDuty");
                let executors = body.executors.iter().map(|id| fields.parse("executors", id));
                Self::ChangeDuty {
                    at,
                    wish: read_wish(fields, &body.wish, body.within_ms)?,
                    executors: executors.collect::<Result<_, _>>()?,
                    by: body.by,
                }
            }
        })
    }
}

impl From<&ExecNoted> for v1::ExecNoted {
    fn from(exec: &ExecNoted) -> Self {
        Self {
            service: exec.service.to_string(),
            instance: exec.instance.to_string(),
            executor: exec.executor.to_string(),
            program: exec.program.clone(),
            by: exec.by.clone(),
        }
    }
}

impl TryFrom<v1::ExecNoted> for ExecNoted {
    type Error = Malformed;

    fn try_from(message: v1::ExecNoted) -> Result<Self, Malformed> {
        let fields = Fields("ExecNoted");
        Ok(Self {
            service: fields.parse("service", &message.service)?,
            instance: fields.parse("instance", &message.instance)?,
            executor: fields.parse("executor", &message.executor)?,
            program: message.program,
            by: message.by,
        })
    }
}

const fn write_wish(wish: Wish) -> (&'static str, Duration) {
    match wish {
        Wish::Blacklist => ("BLACKLIST", Duration::ZERO),
        Wish::Unblacklist => ("UNBLACKLIST", Duration::ZERO),
        Wish::Drain { within } => ("DRAIN", within),
        Wish::Remove => ("REMOVE", Duration::ZERO),
    }
}

fn read_wish(fields: Fields, name: &str, within_ms: u64) -> Result<Wish, Malformed> {
    Ok(match name {
        "BLACKLIST" => Wish::Blacklist,
        "UNBLACKLIST" => Wish::Unblacklist,
        "DRAIN" => Wish::Drain { within: Duration::from_millis(within_ms) },
        "REMOVE" => Wish::Remove,
        other => return Err(fields.refuse("wish", format_args!("unknown wish '{other}'"))),
    })
}

impl From<&ExecutorReport> for v1::ExecutorReport {
    fn from(report: &ExecutorReport) -> Self {
        Self {
            executor: report.executor.to_string(),
            instances: report.instances.iter().map(|record| (&**record).into()).collect(),
            slots: report.slots.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::ExecutorReport> for ExecutorReport {
    type Error = Malformed;

    fn try_from(message: v1::ExecutorReport) -> Result<Self, Malformed> {
        Ok(Self {
            executor: Fields("ExecutorReport").parse("executor", &message.executor)?,
            instances: message
                .instances
                .into_iter()
                .map(|record| InstanceRecord::try_from(record).map(Arc::new))
                .collect::<Result<_, _>>()?,
            slots: all::<_, SlotStatus>(message.slots)?,
        })
    }
}

fn held_instances(message: &v1::HeldInstances) -> Result<Vec<InstanceId>, Malformed> {
    message.instances.iter().map(|id| Fields("HeldInstances").parse("instances", id)).collect()
}

fn verdict(message: &v1::ContactVerdict) -> Result<(ExecutorId, Contact), Malformed> {
    let fields = Fields("ContactVerdict");
    Ok((fields.parse("executor", &message.executor)?, fields.parse("contact", &message.contact)?))
}

/// What is in the log was bounded by whoever proposed it, so that lists are read whole.
fn all<M, T: TryFrom<M, Error = Malformed>>(messages: Vec<M>) -> Result<Vec<T>, Malformed> {
    messages.into_iter().map(T::try_from).collect()
}
