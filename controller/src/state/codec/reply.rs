//! Replies.

use muster_common::id::{Generation, ServiceId};
use muster_common::service::ServiceState;
use muster_proto::v1::state_reply::Body;
use muster_proto::{Fields, Malformed, v1};

use super::no_body;
use crate::state::{Refusal, Reply, ReportAck};

impl From<&Reply> for v1::StateReply {
    fn from(reply: &Reply) -> Self {
        let body = match reply {
            Reply::Accepted { operation, service } => Body::Accepted(v1::Accepted {
                operation: operation.to_string(),
                service: service.to_string(),
            }),
            Reply::Refused(refusal) => Body::Refused(refusal.into()),
            Reply::Planned { applied, skipped } => {
                Body::Planned(v1::Planned { applied: *applied, skipped: *skipped })
            }
            Reply::Reported(acks) => {
                Body::Reported(v1::Reported { reports: acks.iter().map(Into::into).collect() })
            }
            Reply::Duties { changed, refused } => Body::Duties(v1::Duties {
                changed: changed.iter().map(ToString::to_string).collect(),
                refused: refused
                    .iter()
                    .map(|(executor, refusal)| v1::RefusedDuty {
                        executor: executor.to_string(),
                        refused: Some(refusal.into()),
                    })
                    .collect(),
            }),
            Reply::Done => Body::Done(v1::Done {}),
        };
        Self { body: Some(body) }
    }
}

impl TryFrom<v1::StateReply> for Reply {
    type Error = Malformed;

    fn try_from(message: v1::StateReply) -> Result<Self, Malformed> {
        Ok(match message.body.ok_or_else(|| no_body(Fields("StateReply")))? {
            Body::Accepted(body) => {
                let fields = Fields("Accepted");
                Self::Accepted {
                    operation: fields.parse("operation", &body.operation)?,
                    service: fields.parse("service", &body.service)?,
                }
            }
            Body::Refused(body) => Self::Refused(body.try_into()?),
            Body::Planned(body) => Self::Planned { applied: body.applied, skipped: body.skipped },
            Body::Reported(body) => {
                let acks = body.reports.into_iter().map(ReportAck::try_from);
                Self::Reported(acks.collect::<Result<_, _>>()?)
            }
            Body::Duties(body) => {
                let changed = body.changed.iter().map(|id| Fields("Duties").parse("changed", id));
                let refused = body.refused.into_iter().map(|one| {
                    let fields = Fields("RefusedDuty");
                    let refusal = fields.required("refused", one.refused)?.try_into()?;
                    Ok((fields.parse("executor", &one.executor)?, refusal))
                });
                Self::Duties {
                    changed: changed.collect::<Result<_, Malformed>>()?,
                    refused: refused.collect::<Result<_, Malformed>>()?,
                }
            }
            Body::Done(v1::Done {}) => Self::Done,
        })
    }
}

impl From<&ReportAck> for v1::CommittedReport {
    fn from(ack: &ReportAck) -> Self {
        let instances = ack.instances.iter();
        let slots = ack.slots.iter();
        Self {
            instances: instances
                .map(|(id, version)| v1::CommittedInstance { id: id.to_string(), version: *version })
                .collect(),
            slots: slots
                .map(|(service, index, version)| v1::CommittedSlot {
                    service: service.to_string(),
                    index: *index,
                    version: *version,
                })
                .collect(),
            refused: ack.refused.iter().map(ToString::to_string).collect(),
        }
    }
}

impl TryFrom<v1::CommittedReport> for ReportAck {
    type Error = Malformed;

    fn try_from(message: v1::CommittedReport) -> Result<Self, Malformed> {
        let fields = Fields("CommittedReport");
        let instances =
            message.instances.iter().map(|ack| Ok((fields.parse("instances", &ack.id)?, ack.version)));
        let slots = message
            .slots
            .iter()
            .map(|ack| Ok((fields.parse("slots", &ack.service)?, ack.index, ack.version)));
        let refused = message.refused.iter().map(|id| fields.parse("refused", id));
        Ok(Self {
            instances: instances.collect::<Result<_, Malformed>>()?,
            slots: slots.collect::<Result<_, Malformed>>()?,
            refused: refused.collect::<Result<_, Malformed>>()?,
        })
    }
}

impl From<&Refusal> for v1::Refused {
    fn from(refusal: &Refusal) -> Self {
        let code = refusal.code().to_owned();
        let plain = Self { code, ..Self::default() };
        match refusal {
            Refusal::Maintenance
            | Refusal::NoServiceId
            | Refusal::InstanceCount
            | Refusal::HostLevelCount
            | Refusal::HostLevelFixed
            | Refusal::NothingToCancel => plain,
            Refusal::InvalidServiceId(text)
            | Refusal::UnknownService(text)
            | Refusal::UnknownOperation(text)
            | Refusal::NoCanary(text)
            | Refusal::UnknownExecutor(text) => Self { texts: vec![text.clone()], ..plain },
            Refusal::NotAllowed(service, state) => {
                Self { service: service.to_string(), state: state.to_string(), ..plain }
            }
            Refusal::NothingAllowed(service, state, occupier) => {
                let texts = occupier.iter().flat_map(|(kind, id)| [kind.to_string(), id.to_string()]);
                let texts = texts.collect();
                Self { service: service.to_string(), state: state.to_string(), texts, ..plain }
            }
            Refusal::AlreadyExists(service)
            | Refusal::NoEarlierSpec(service)
            | Refusal::NoCommonPlace(service) => Self { service: service.to_string(), ..plain },
            Refusal::NotReplaceable(ids) | Refusal::NotStoppable(ids) => Self { texts: ids.clone(), ..plain },
            Refusal::OperationOver(id, state) => {
                Self { texts: vec![id.to_string(), state.to_string()], ..plain }
            }
            Refusal::CannotSteer(steer, kind, state) => {
                Self { texts: vec![steer.to_string(), kind.to_string(), state.to_string()], ..plain }
            }
            Refusal::KeyReused(id) => Self { texts: vec![id.to_string()], ..plain },
            Refusal::UnknownGeneration(service, generation, kept) => {
                let texts = std::iter::once(generation.to_string()).chain(kept.iter().cloned()).collect();
                Self { service: service.to_string(), texts, ..plain }
            }
            Refusal::GenerationMoved(service, expected, is) => {
                let texts = vec![expected.to_string(), is.to_string()];
                Self { service: service.to_string(), texts, ..plain }
            }
            Refusal::NothingToMatch(service, expected) => {
                Self { texts: vec![service.clone(), expected.to_string()], ..plain }
            }
            Refusal::DutyHeld(executor, duty) => {
                Self { texts: vec![executor.to_string(), duty.to_string()], ..plain }
            }
            Refusal::StillHolds(executor, count) | Refusal::TooManyTags(executor, count) => {
                Self { texts: vec![executor.to_string(), count.to_string()], ..plain }
            }
        }
    }
}

impl TryFrom<v1::Refused> for Refusal {
    type Error = Malformed;

    fn try_from(message: v1::Refused) -> Result<Self, Malformed> {
        let fields = Fields("Refused");
        let service = || fields.parse::<ServiceId>("service", &message.service);
        let state = || fields.parse::<ServiceState>("state", &message.state);
        let text = || message.texts.first().cloned().unwrap_or_default();
        let nth = |place: usize| message.texts.get(place).map(String::as_str).unwrap_or_default();
        Ok(match message.code.as_str() {
            "MAINTENANCE" => Self::Maintenance,
            "NO_SERVICE_ID" => Self::NoServiceId,
            "INVALID_SERVICE_ID" => Self::InvalidServiceId(text()),
            "UNKNOWN_SERVICE" => Self::UnknownService(text()),
            "NOTHING_ALLOWED" => {
                let occupier = match message.texts.as_slice() {
                    [] => None,
                    _ => Some((fields.parse("texts", nth(0))?, fields.parse("texts", nth(1))?)),
                };
                Self::NothingAllowed(service()?, state()?, occupier)
            }
            "NOT_ALLOWED" => Self::NotAllowed(service()?, state()?),
            "ALREADY_EXISTS" => Self::AlreadyExists(service()?),
            "INSTANCE_COUNT" => Self::InstanceCount,
            "HOST_LEVEL_COUNT" => Self::HostLevelCount,
            "HOST_LEVEL_FIXED" => Self::HostLevelFixed,
            "NOT_REPLACEABLE" => Self::NotReplaceable(message.texts),
            "NOT_STOPPABLE" => Self::NotStoppable(message.texts),
            "UNKNOWN_OPERATION" => Self::UnknownOperation(text()),
            "OPERATION_OVER" => {
                Self::OperationOver(fields.parse("texts", nth(0))?, fields.parse("texts", nth(1))?)
            }
            "CANNOT_STEER" => Self::CannotSteer(
                fields.parse("texts", nth(0))?,
                fields.parse("texts", nth(1))?,
                fields.parse("texts", nth(2))?,
            ),
            "NOTHING_TO_CANCEL" => Self::NothingToCancel,
            "KEY_REUSED" => Self::KeyReused(fields.parse("texts", nth(0))?),
            "UNKNOWN_GENERATION" => {
                let kept = message.texts.iter().skip(1).cloned().collect();
                Self::UnknownGeneration(service()?, fields.parse("texts", nth(0))?, kept)
            }
            "NO_EARLIER_SPEC" => Self::NoEarlierSpec(service()?),
            "NO_COMMON_PLACE" => Self::NoCommonPlace(service()?),
            "GENERATION_MOVED" => Self::GenerationMoved(
                service()?,
                Generation(fields.parse("texts", nth(0))?),
                Generation(fields.parse("texts", nth(1))?),
            ),
            "NOTHING_TO_MATCH" => Self::NothingToMatch(text(), Generation(fields.parse("texts", nth(1))?)),
            "NO_CANARY" => Self::NoCanary(text()),
            "UNKNOWN_EXECUTOR" => Self::UnknownExecutor(text()),
            "DUTY_HELD" => Self::DutyHeld(fields.parse("texts", nth(0))?, fields.parse("texts", nth(1))?),
            "STILL_HOLDS" => Self::StillHolds(fields.parse("texts", nth(0))?, fields.parse("texts", nth(1))?),
            "TOO_MANY_TAGS" => {
                Self::TooManyTags(fields.parse("texts", nth(0))?, fields.parse("texts", nth(1))?)
            }
            other => return Err(fields.refuse("code", format_args!("unknown refusal '{other}'"))),
        })
    }
}
