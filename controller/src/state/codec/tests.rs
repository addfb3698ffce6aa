//! What is written is read back.

use std::time::Duration;

use muster_common::cluster::ClusterState;
use muster_common::executor::{Contact, ExecutorState};
use muster_common::id::{Epoch, Generation, InstanceId};
use muster_common::operation::{OperationKind, OperationState, SlotOutcome, Steer};
use muster_common::reason::Reason;
use muster_common::service::ServiceState;
use muster_common::slot::ReplaceMode;
use muster_common::time::{LedTime, Timestamp};

use crate::state::testing::*;
use crate::state::{Change, Command, ExecNoted, Refusal, Reply, ReportAck, Retention, Steered, Wish};

/// A command of every kind.
pub(super) fn commands() -> Vec<Command> {
    let at = Timestamp(7);
    let operation = operation_id("OP-1");
    let slot = slot_id("web-1", "e1", 3);
    let changes = vec![
        Change::AssignSlot { slot: slot.clone() },
        Change::RemoveSlot { slot: slot.clone(), epoch: Epoch(4) },
        Change::RaiseSlot {
            operation: operation.clone(),
            slot: slot.clone(),
            epoch: Epoch(5),
            mode: ReplaceMode::StopFirst,
            spec: None,
        },
        Change::RaiseSlot {
            operation: operation.clone(),
            slot: slot.clone(),
            epoch: Epoch(5),
            mode: ReplaceMode::StartFirst,
            spec: Some(Generation(6)),
        },
        Change::CatchUp { slot: slot.clone(), epoch: Epoch(7), mode: ReplaceMode::StopFirst },
        Change::PlaceTest { service: service_id("web-1"), executor: executor_id("e1") },
        Change::StartClock { operation: operation.clone() },
        Change::AwaitPromotion { operation: operation.clone() },
        Change::RollBack { operation: operation.clone(), message: "1 failed".to_owned() },
        Change::SettleSlot {
            operation: operation.clone(),
            slot: slot.clone(),
            from: SlotOutcome::InProgress,
            outcome: SlotOutcome::Failed,
            reason: Some(Reason::TimedOut),
            message: "late".to_owned(),
        },
        Change::FinishOperation {
            operation: operation.clone(),
            state: OperationState::Failed,
            message: "late".to_owned(),
        },
        Change::ExecutorEmptied { executor: executor_id("e1") },
        Change::StartDrain { executor: executor_id("e1") },
        Change::ExpireDrain { executor: executor_id("e1") },
        Change::ForgetExecutor { executor: executor_id("e1") },
        Change::RemoveLost { executor: executor_id("e1") },
        Change::Retain(Retention { old_instances: 7, old_instances_in_all: 8, ..Retention::default() }),
        Change::Retain(Retention { lost_executors_for: None, ..Retention::default() }),
        Change::Prune { records_before: LedTime(1), events_before: LedTime(2) },
    ];
    let verdicts = Contact::ALL.iter().map(|contact| (executor_id("e1"), *contact)).collect::<Vec<_>>();
    let steered = [Steered::Operation(operation), Steered::Service(service_id("web-1"))];
    let steers = Steer::ALL.iter().flat_map(|steer| {
        let by = "root".to_owned();
        steered.clone().map(|which| Command::SteerOperation { at, which, steer: *steer, by: by.clone() })
    });
    let within = Duration::from_millis(1500);
    let wishes = [Wish::Blacklist, Wish::Unblacklist, Wish::Drain { within }, Wish::Remove];
    let duties = wishes.map(|wish| Command::ChangeDuty {
        at,
        wish,
        executors: vec![executor_id("e1"), executor_id("e2")],
        by: "root".to_owned(),
    });
    let others = [
        Command::Plan { at, changes },
        Command::ExecutorContact { at, verdicts },
        Command::AnnounceLeader { at, address: "127.0.0.1:4000".to_owned() },
        Command::NoteSkews { at, skews: vec![(executor_id("e1"), -1500), (executor_id("e2"), 0)] },
        Command::NoteExec {
            at,
            exec: ExecNoted {
                service: service_id("web-1"),
                instance: InstanceId::new("SI-1").unwrap(),
                executor: executor_id("e1"),
                program: "sh".to_owned(),
                by: "ann".to_owned(),
            },
        },
        Command::TagExecutor { at, executor: executor_id("e1"), tags: vec!["zone=a".to_owned()] },
        Command::AmendTags {
            at,
            executor: executor_id("e1"),
            remove: vec!["zone".to_owned()],
            add: vec!["gpu".to_owned(), "ssd".to_owned()],
        },
        Command::SetClusterState {
            at,
            state: ClusterState::Maintenance,
            address: "127.0.0.1:4000".to_owned(),
        },
        Command::RegisterExecutor { at, record: Box::new(executor_record("e1")), holds: None },
        Command::RegisterExecutor { at, record: Box::new(executor_record("e1")), holds: Some(Vec::new()) },
        Command::RegisterExecutor {
            at,
            record: Box::new(executor_record("e1")),
            holds: Some(vec![instance_id("SI-1")]),
        },
    ];
    steers.chain(duties).chain(others).collect()
}

#[test]
fn every_command_survives_its_bytes() {
    for command in commands() {
        assert_eq!(Command::decode(&command.encode()).unwrap(), command);
    }
}

/// A reply of every kind.
pub(super) fn replies() -> Vec<Reply> {
    let service = service_id("web-1");
    let ids = vec!["a".to_owned(), "b".to_owned()];
    let refusals = [
        Refusal::Maintenance,
        Refusal::NoServiceId,
        Refusal::InvalidServiceId("bad".to_owned()),
        Refusal::UnknownService("x".to_owned()),
        Refusal::NothingAllowed(service.clone(), ServiceState::DestroyRequested, None),
        Refusal::NothingAllowed(
            service.clone(),
            ServiceState::ReplacingInstances,
            Some((OperationKind::Restart, operation_id("OP-9"))),
        ),
        Refusal::NotAllowed(service.clone(), ServiceState::Inactive),
        Refusal::AlreadyExists(service.clone()),
        Refusal::InstanceCount,
        Refusal::GenerationMoved(service.clone(), Generation(3), Generation(7)),
        Refusal::NothingToMatch("web-2".to_owned(), Generation(3)),
        Refusal::HostLevelCount,
        Refusal::HostLevelFixed,
        Refusal::NotReplaceable(ids.clone()),
        Refusal::NotStoppable(ids.clone()),
        Refusal::UnknownOperation("OP-9".to_owned()),
        Refusal::OperationOver(operation_id("OP-9"), OperationState::Cancelled),
        Refusal::CannotSteer(Steer::Pause, OperationKind::Activate, OperationState::Running),
        Refusal::NothingToCancel,
        Refusal::KeyReused(operation_id("OP-9")),
        Refusal::UnknownGeneration(service.clone(), 3, ids),
        Refusal::NoEarlierSpec(service.clone()),
        Refusal::NoCommonPlace(service.clone()),
        Refusal::NoCanary("canary".to_owned()),
        Refusal::UnknownExecutor("e9".to_owned()),
        Refusal::DutyHeld(executor_id("e1"), ExecutorState::Draining),
        Refusal::StillHolds(executor_id("e1"), 3),
        Refusal::TooManyTags(executor_id("e1"), 65),
    ];
    let acks = vec![
        ReportAck {
            instances: vec![(instance_id("SI-1"), 4)],
            slots: vec![(service.clone(), 2, 9)],
            refused: vec![instance_id("SI-2")],
        },
        ReportAck::default(),
    ];
    let others = [
        Reply::Accepted { operation: operation_id("OP-1"), service },
        Reply::Planned { applied: 3, skipped: 4 },
        Reply::Reported(acks),
        Reply::Duties {
            changed: vec![executor_id("e1")],
            refused: vec![(executor_id("e2"), Refusal::UnknownExecutor("e2".to_owned()))],
        },
        Reply::Done,
    ];
    refusals.map(Reply::Refused).into_iter().chain(others).collect()
}

#[test]
fn every_reply_survives_its_bytes() {
    for reply in replies() {
        assert_eq!(Reply::decode(&reply.encode()).unwrap(), reply);
    }
}

#[test]
fn bytes_that_mean_nothing_are_refused_by_name() {
    assert!(Command::decode(&[0xff, 0xff, 0xff]).is_err());
    let empty = Command::decode(&[]).unwrap_err().to_string();
    assert_eq!(empty, "StateCommand.body: is missing or of a kind that this version does not know");
}
