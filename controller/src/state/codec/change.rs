//! The changes of a plan.

use std::time::Duration;

use muster_common::id::{Epoch, ExecutorId, Generation, SlotId};
use muster_common::time::LedTime;
use muster_proto::v1::plan_change::Body;
use muster_proto::{Fields, Malformed, v1};

use super::{name_or_empty, no_body};

use crate::state::{Change, Retention, as_ms};

impl Change {
    /// How much room it takes in a command, in bytes.
    pub(crate) fn encoded_len(&self) -> usize {
        prost::Message::encoded_len(&v1::PlanChange::from(self))
    }
}

impl From<&Change> for v1::PlanChange {
    fn from(change: &Change) -> Self {
        let body = match change {
            Change::AssignSlot { slot } => Body::AssignSlot(v1::AssignSlot { slot: Some(slot.into()) }),
            Change::RemoveSlot { slot, epoch } => {
                Body::RemoveSlot(v1::RemoveSlot { slot: Some(slot.into()), epoch: epoch.0 })
            }
            Change::PlaceTest { service, executor } => Body::PlaceTest(v1::PlaceTest {
                service: service.to_string(),
                executor: executor.to_string(),
            }),
            Change::StartClock { operation } => {
                Body::StartClock(v1::StartClock { operation: operation.to_string() })
            }
            Change::AwaitPromotion { operation } => {
                Body::AwaitPromotion(v1::AwaitPromotion { operation: operation.to_string() })
            }
            Change::RollBack { operation, message } => {
                Body::RollBack(v1::RollBack { operation: operation.to_string(), message: message.clone() })
            }
            Change::RaiseSlot { operation, slot, epoch, mode, spec } => Body::RaiseSlot(v1::RaiseSlot {
                operation: operation.to_string(),
                slot: Some(slot.into()),
                epoch: epoch.0,
                mode: mode.to_string(),
                spec: spec.map(|spec| spec.0),
            }),
            Change::CatchUp { slot, epoch, mode } => {
                Body::CatchUp(v1::CatchUp { slot: Some(slot.into()), epoch: epoch.0, mode: mode.to_string() })
            }
            Change::SettleSlot { operation, slot, from, outcome, reason, message } => {
                Body::SettleSlot(v1::SettleSlot {
                    operation: operation.to_string(),
                    slot: Some(slot.into()),
                    from: from.to_string(),
                    outcome: outcome.to_string(),
                    reason: name_or_empty(*reason),
                    message: message.clone(),
                })
            }
            Change::FinishOperation { operation, state, message } => {
                Body::FinishOperation(v1::FinishOperation {
                    operation: operation.to_string(),
                    state: state.to_string(),
                    message: message.clone(),
                })
            }
            Change::ExecutorEmptied { executor } => Body::ExecutorEmptied(about(executor)),
            Change::StartDrain { executor } => Body::StartDrain(about(executor)),
            Change::ExpireDrain { executor } => Body::ExpireDrain(about(executor)),
            Change::ForgetExecutor { executor } => Body::ForgetExecutor(about(executor)),
            Change::RemoveLost { executor } => Body::RemoveLost(about(executor)),
            Change::Retain(retention) => Body::Retain((*retention).into()),
            Change::Prune { records_before, events_before } => Body::Prune(v1::Prune {
                records_before_ms: records_before.as_ms(),
                events_before_ms: events_before.as_ms(),
            }),
        };
        Self { body: Some(body) }
    }
}

impl TryFrom<v1::PlanChange> for Change {
    type Error = Malformed;

    fn try_from(message: v1::PlanChange) -> Result<Self, Malformed> {
        Ok(match message.body.ok_or_else(|| no_body(Fields("PlanChange")))? {
            Body::AssignSlot(body) => Self::AssignSlot { slot: slot(Fields("AssignSlot"), body.slot)? },
            Body::RemoveSlot(body) => {
                Self::RemoveSlot { slot: slot(Fields("RemoveSlot"), body.slot)?, epoch: Epoch(body.epoch) }
            }
            Body::RaiseSlot(body) => {
                let fields = Fields("RaiseSlot");
                Self::RaiseSlot {
                    operation: fields.parse("operation", &body.operation)?,
                    slot: slot(fields, body.slot)?,
                    epoch: Epoch(body.epoch),
                    mode: fields.parse("mode", &body.mode)?,
                    spec: body.spec.map(Generation),
                }
            }
            Body::PlaceTest(body) => {
                let fields = Fields("PlaceTest");
                Self::PlaceTest {
                    service: fields.parse("service", &body.service)?,
                    executor: fields.parse("executor", &body.executor)?,
                }
            }
            Body::StartClock(body) => {
                Self::StartClock { operation: Fields("StartClock").parse("operation", &body.operation)? }
            }
            Body::AwaitPromotion(body) => Self::AwaitPromotion {
                operation: Fields("AwaitPromotion").parse("operation", &body.operation)?,
            },
            Body::RollBack(body) => {
                let operation = Fields("RollBack").parse("operation", &body.operation)?;
                Self::RollBack { operation, message: body.message }
            }
            Body::CatchUp(body) => {
                let fields = Fields("CatchUp");
                Self::CatchUp {
                    slot: slot(fields, body.slot)?,
                    epoch: Epoch(body.epoch),
                    mode: fields.parse("mode", &body.mode)?,
                }
            }
            Body::SettleSlot(body) => {
                let fields = Fields("SettleSlot");
                Self::SettleSlot {
                    operation: fields.parse("operation", &body.operation)?,
                    slot: slot(fields, body.slot)?,
                    from: fields.parse("from", &body.from)?,
                    outcome: fields.parse("outcome", &body.outcome)?,
                    reason: fields.parse_optional("reason", &body.reason)?,
                    message: body.message,
                }
            }
            Body::FinishOperation(body) => {
                let fields = Fields("FinishOperation");
                Self::FinishOperation {
                    operation: fields.parse("operation", &body.operation)?,
                    state: fields.parse("state", &body.state)?,
                    message: body.message,
                }
            }
            Body::ExecutorEmptied(body) => Self::ExecutorEmptied { executor: executor(&body)? },
            Body::StartDrain(body) => Self::StartDrain { executor: executor(&body)? },
            Body::ExpireDrain(body) => Self::ExpireDrain { executor: executor(&body)? },
            Body::ForgetExecutor(body) => Self::ForgetExecutor { executor: executor(&body)? },
            Body::RemoveLost(body) => Self::RemoveLost { executor: executor(&body)? },
            Body::Retain(body) => Self::Retain(body.into()),
            Body::Prune(body) => Self::Prune {
                records_before: LedTime(body.records_before_ms),
                events_before: LedTime(body.events_before_ms),
            },
        })
    }
}

impl From<Retention> for v1::Retention {
    fn from(retention: Retention) -> Self {
        Self {
            old_instances: retention.old_instances,
            records_for_ms: as_ms(retention.records_for),
            events: retention.events,
            events_for_ms: as_ms(retention.events_for),
            lost_after_ms: Some(as_ms(retention.lost_after)),
            lost_executors_for_ms: retention.lost_executors_for.map_or(0, as_ms),
            old_instances_in_all: Some(retention.old_instances_in_all),
        }
    }
}

impl From<v1::Retention> for Retention {
    fn from(message: v1::Retention) -> Self {
        let default = Self::default();
        Self {
            old_instances: message.old_instances,
            old_instances_in_all: message.old_instances_in_all.unwrap_or(default.old_instances_in_all),
            records_for: Duration::from_millis(message.records_for_ms),
            events: message.events,
            events_for: Duration::from_millis(message.events_for_ms),
            lost_after: message.lost_after_ms.map_or(Self::default().lost_after, Duration::from_millis),
            lost_executors_for: Some(Duration::from_millis(message.lost_executors_for_ms))
                .filter(|time| !time.is_zero()),
        }
    }
}

fn about(executor: &ExecutorId) -> v1::ExecutorChange {
    v1::ExecutorChange { executor: executor.to_string() }
}

fn executor(message: &v1::ExecutorChange) -> Result<ExecutorId, Malformed> {
    Fields("ExecutorChange").parse("executor", &message.executor)
}

fn slot(fields: Fields, slot: Option<v1::SlotId>) -> Result<SlotId, Malformed> {
    fields.required("slot", slot)?.try_into()
}
