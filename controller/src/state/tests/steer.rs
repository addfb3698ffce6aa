//! Operations are steered, and requests are repeated.

use muster_common::event::EventType;
use muster_common::id::OperationId;
use muster_common::operation::{
    Canary, ClusterOpSpec, FailureStrategy, OperationRequest, OperationState, Steer,
};
use muster_common::service::{ActivationState, ServiceState};
use muster_common::slot::SlotPhase;

use crate::state::codec::{read_snapshot, write_snapshot};
use crate::state::testing::*;
use crate::state::{Command, Refusal, Reply, Steered, view};

const ID: &str = "web-1";

fn running() -> Fixture {
    let mut fixture = Fixture::with_executors(2);
    fixture.running(spec("web"), 1);
    fixture
}

fn adjust(fixture: &mut Fixture) -> OperationId {
    fixture.submit(OperationRequest::AdjustInstances { service_id: ID.to_owned(), op_spec: None }).unwrap()
}

/// As Drove's users cancel: they know the service only.
fn cancel(fixture: &mut Fixture) -> Reply {
    let which = Steered::Service(service_id(ID));
    fixture.apply(&Command::SteerOperation {
        at: fixture.now,
        which,
        steer: Steer::Cancel,
        by: "ann".to_owned(),
    })
}

#[test]
fn a_cancelled_restart_leaves_what_it_did_and_frees_the_service() {
    let mut fixture = running();
    let operation = fixture.restart(ID, ClusterOpSpec::default(), false);
    fixture.settle();
    assert!(
        matches!(cancel(&mut fixture), Reply::Accepted { operation: cancelled, .. } if cancelled == operation)
    );
    let cancelled = fixture.operation(&operation);
    assert_eq!(cancelled.state, OperationState::Cancelled);
    assert_eq!(
        cancelled.message,
        "cancelled by ann; 1 slots were at work, and their executors go on with them"
    );
    assert_eq!(fixture.service(ID).state, ServiceState::Active);
    assert_eq!(cancel(&mut fixture), Reply::Refused(Refusal::NothingToCancel));
}

#[test]
fn in_another_history_what_goes_in_waves_waits_for_a_users_word() {
    let mut fixture = running();
    let operation = fixture.restart(ID, ClusterOpSpec::default(), false);
    fixture.settle();
    fixture.state = read_snapshot(&write_snapshot(&fixture.state)).unwrap();
    let paused = fixture.state.pause_waves(fixture.now);
    assert_eq!(paused.iter().map(|paused| &paused.id).collect::<Vec<_>>(), [&operation]);
    assert!(fixture.state.pause_waves(fixture.now).is_empty(), "it is so");
    let slots = |fixture: &Fixture| fixture.state.slots().map(|(_, slot)| slot.epoch).collect::<Vec<_>>();
    let before = slots(&fixture);
    // Even where the one that it began with went through.
    fixture.report_in("new", &slot_id(ID, "e1", 0), &UP);
    fixture.report_in("web-1.e1.0", &slot_id(ID, "e1", 0), &UP_AND_DOWN);
    fixture.settle();
    assert_eq!(fixture.operation(&operation).state, OperationState::Paused);
    assert_eq!(slots(&fixture), before);
    fixture.steer(&operation, Steer::Resume).unwrap();
    fixture.settle();
    assert_ne!(slots(&fixture), before, "it goes on");
}

#[test]
fn what_was_on_its_way_back_goes_on_back() {
    let mut fixture = running();
    let op_spec = ClusterOpSpec { failure_strategy: FailureStrategy::Rollback, ..ClusterOpSpec::default() };
    let mut new = spec("web");
    new.env.insert("CONTENT".to_owned(), "new".to_owned());
    let request =
        OperationRequest::UpdateSpec { spec: Box::new(new), stop_first: false, op_spec: Some(op_spec) };
    let operation = fixture.submit(request).unwrap();
    fixture.settle();
    fixture.report_status(&slot_id(ID, "e1", 0), SlotPhase::Failed, "it does not start");
    fixture.settle();
    assert_eq!(fixture.operation(&operation).state, OperationState::RollingBack);
    fixture.state.pause_waves(fixture.now);
    fixture.settle();
    assert_eq!(fixture.operation(&operation).state, OperationState::Paused);
    fixture.steer(&operation, Steer::Resume).unwrap();
    assert_eq!(fixture.operation(&operation).state, OperationState::RollingBack);
}

#[test]
fn a_cancelled_adjustment_deactivates_as_on_the_wire() {
    let mut fixture = running();
    fixture.register("e3", None);
    let operation = adjust(&mut fixture);
    assert_eq!(fixture.service(ID).state, ServiceState::AdjustingInstances);
    assert!(matches!(cancel(&mut fixture), Reply::Accepted { .. }));
    assert_eq!(fixture.operation(&operation).state, OperationState::Cancelled);
    let service = fixture.service(ID);
    assert_eq!((service.state, service.activation), (ServiceState::Inactive, ActivationState::Inactive));
    let follows = operation_id(&format!("{operation}-deactivation"));
    assert_eq!(fixture.operation(&follows).state, OperationState::Running);
}

#[test]
fn an_adjustment_ends_when_every_slot_is_filled() {
    let mut fixture = running();
    fixture.register("e3", None);
    let operation = adjust(&mut fixture);
    fixture.settle();
    assert_eq!(fixture.operation(&operation).state, OperationState::Running);
    fixture.report_in("web-1.e3.0", &slot_id(ID, "e3", 0), &UP);
    fixture.settle();
    assert_eq!(fixture.operation(&operation).state, OperationState::Succeeded);
    assert_eq!(fixture.service(ID).state, ServiceState::Active);
}

#[test]
fn a_test_instance_runs_on_one_executor_and_moves_when_that_goes() {
    let mut fixture = Fixture::with_executors(3);
    fixture.create(spec("web"), 2);
    let request = OperationRequest::DeployTestInstance { service_id: ID.to_owned() };
    let operation = fixture.submit(request).unwrap();
    fixture.settle();
    assert_eq!(fixture.service(ID).state, ServiceState::ConfigTesting);
    let slots: Vec<_> = fixture.state.slots().map(|(slot, _)| slot).collect();
    let [slot] = slots.as_slice() else { panic!("{slots:?}") };
    fixture.report_in("web-1.test", slot, &UP);
    fixture.settle();
    assert_eq!(fixture.operation(&operation).state, OperationState::Succeeded);
    // Activated, it stays where it is, and the others come.
    fixture.activate(ID);
    fixture.settle();
    assert_eq!(fixture.state.slots().count(), 6);
    assert!(fixture.state.slot(slot).is_some());
}

#[test]
fn a_test_without_an_executor_waits_for_one_and_then_says_so() {
    let mut fixture = Fixture::new();
    fixture.create(spec("web"), 1);
    let request = OperationRequest::DeployTestInstance { service_id: ID.to_owned() };
    let operation = fixture.submit(request).unwrap();
    fixture.settle();
    assert_eq!(fixture.operation(&operation).state, OperationState::Running);
    fixture.advance(300);
    fixture.settle();
    assert_eq!(fixture.operation(&operation).state, OperationState::Failed);
}

#[test]
fn an_id_that_comes_again_is_answered_as_the_first_time_unless_it_asks_for_something_else() {
    let mut fixture = running();
    let submit = |fixture: &mut Fixture, service_id: &str| {
        let request = Box::new(OperationRequest::Retry { service_id: service_id.to_owned() });
        let id = operation_id("OP-again");
        let (at, by) = (fixture.now, "ann".to_owned());
        fixture.apply(&Command::SubmitOperation { id, request, at, by, if_generation: None })
    };
    let first = submit(&mut fixture, ID);
    fixture.settle();
    let generation = fixture.service(ID).generation;
    assert_eq!(submit(&mut fixture, ID), first);
    assert_eq!(fixture.service(ID).generation, generation);
    assert_eq!(submit(&mut fixture, "other-1"), Reply::Refused(Refusal::KeyReused(operation_id("OP-again"))));
}

#[test]
fn a_retry_takes_the_place_of_the_one_before() {
    let mut fixture = running();
    fixture.register("e3", None);
    fixture.settle();
    let retry = |fixture: &mut Fixture| {
        let operation = fixture.submit(OperationRequest::Retry { service_id: ID.to_owned() }).unwrap();
        fixture.settle();
        operation
    };
    let (first, second) = (retry(&mut fixture), retry(&mut fixture));
    let superseded = fixture.operation(&first);
    assert_eq!(superseded.state, OperationState::Cancelled);
    assert_eq!(superseded.message, format!("superseded by RETRY {second}"));
    assert_eq!(fixture.state.running_operations().map(|running| &running.id).collect::<Vec<_>>(), [&second]);
}

#[test]
fn what_the_service_shows_is_cancelled_before_what_runs_beside_it() {
    let mut fixture = running();
    fixture.register("e3", None);
    fixture.settle();
    // Sorts first, and e3 is not filled.
    let beside = fixture.submit(OperationRequest::Retry { service_id: ID.to_owned() }).unwrap();
    fixture.settle();
    let shown = fixture.restart(ID, ClusterOpSpec::default(), false);
    fixture.settle();
    assert!(beside < shown);
    assert!(matches!(cancel(&mut fixture), Reply::Accepted { operation, .. } if operation == shown));
    assert_eq!(fixture.service(ID).state, ServiceState::Active);
    assert!(matches!(cancel(&mut fixture), Reply::Accepted { operation, .. } if operation == beside));
}

#[test]
fn what_is_proposed_again_is_answered_as_the_first_time() {
    let mut fixture = running();
    let operation = fixture.restart(ID, ClusterOpSpec::default(), false);
    for steer in [Steer::Pause, Steer::Resume, Steer::Cancel] {
        for _ in 0..2 {
            assert_eq!(fixture.steer(&operation, steer), Ok(()), "{steer}");
        }
    }
    assert_eq!(fixture.operation(&operation).message, "cancelled by tester");
    assert!(matches!(fixture.steer(&operation, Steer::Resume), Err(Refusal::OperationOver(..))));
}

#[test]
fn what_is_over_or_unknown_cannot_be_steered() {
    let mut fixture = running();
    let done = fixture.activate_again();
    assert!(matches!(fixture.steer(&done, Steer::Cancel), Err(Refusal::OperationOver(..))));
    assert!(matches!(
        fixture.steer(&operation_id("OP-none"), Steer::Pause),
        Err(Refusal::UnknownOperation(_))
    ));
    let destroyed = fixture.destroy_slowly();
    assert!(matches!(fixture.steer(&destroyed, Steer::Cancel), Err(Refusal::CannotSteer(..))));
}

impl Fixture {
    /// The ACTIVATE that is over.
    fn activate_again(&mut self) -> OperationId {
        let finished = self.state.operations_of(&service_id(ID)).next().unwrap();
        assert_eq!(finished.state, OperationState::Succeeded);
        finished.id.clone()
    }

    /// A DESTROY that waits for its last instance.
    fn destroy_slowly(&mut self) -> OperationId {
        self.deactivate(ID);
        self.settle();
        self.destroy(ID)
    }
}

#[test]
fn what_becomes_of_an_operation_is_told_as_events() {
    let mut fixture = running();
    let since = fixture.state.revision();
    let op_spec = ClusterOpSpec {
        failure_strategy: FailureStrategy::Rollback,
        canary: Some(Canary::Percent(50)),
        ..ClusterOpSpec::default()
    };
    let mut changed = spec("web");
    changed.env.insert("CONTENT".to_owned(), "new".to_owned());
    let request =
        OperationRequest::UpdateSpec { spec: Box::new(changed), stop_first: false, op_spec: Some(op_spec) };
    let operation = fixture.submit(request).unwrap();
    fixture.settle();
    for steer in [Steer::Pause, Steer::Pause, Steer::Resume] {
        fixture.steer(&operation, steer).unwrap();
    }
    fixture.report_status(&slot_id(ID, "e1", 0), SlotPhase::KeptOld, "readiness check failed");
    fixture.settle();
    fixture.steer(&operation, Steer::Cancel).unwrap();
    let events = fixture.state.events_after(since).map(|(at, event)| view::event::event(*at, event));
    let told: Vec<_> = events.filter(|event| event.kind == EventType::OperationStateChange).collect();
    let states: Vec<_> = told.iter().map(|event| event.metadata["STATE"].as_str().unwrap()).collect();
    assert_eq!(states, ["RUNNING", "PAUSED", "RUNNING", "ROLLING_BACK", "CANCELLED"]);
    let last = &told.last().unwrap().metadata;
    assert_eq!(last["OPERATION_ID"].as_str(), Some(operation.as_str()));
    assert_eq!((last["TYPE"].as_str(), last["SERVICE_ID"].as_str()), (Some("UPDATE_SPEC"), Some(ID)));
    let errors: Vec<_> = told.iter().filter_map(|event| event.metadata.get("ERROR")).collect();
    assert_eq!(errors.len(), 2, "only what did not go well has a reason: {told:?}");
    let chunks = write_snapshot(&fixture.state);
    let restored = read_snapshot(&chunks).unwrap();
    assert!(restored.events_after(since).eq(fixture.state.events_after(since)));
}

#[test]
fn operations_that_ended_are_told_from_two_states() {
    let mut fixture = running();
    let before = fixture.state.clone();
    let operation = adjust(&mut fixture);
    assert_eq!(fixture.state.operations_ended_since(&before).count(), 0);
    let running = fixture.state.clone();
    fixture.settle();
    for before in [&before, &running] {
        let ended: Vec<_> = fixture.state.operations_ended_since(before).map(|ended| &ended.id).collect();
        assert_eq!(ended, [&operation]);
    }
    assert_eq!(fixture.state.operations_ended_since(&fixture.state).count(), 0);
}

#[test]
fn what_is_refused_says_what_to_ask_for_instead() {
    let mut fixture = Fixture::with_executors(2);
    fixture.running(spec("web"), 1);
    let refused = |fixture: &mut Fixture, operation: &OperationId, steer| {
        fixture.steer(operation, steer).unwrap_err().to_string()
    };
    let canary = Some(Canary::Percent(50));
    let restart = fixture.restart("web-1", ClusterOpSpec { canary, ..ClusterOpSpec::default() }, false);
    let retry = OperationRequest::Retry { service_id: "web-1".to_owned() };
    let occupied = fixture.submit(retry).unwrap_err();
    assert_eq!(occupied.to_string(), "No operations allowed for web-1 as it is in REPLACING_INSTANCES state");
    assert_eq!(occupied.addition(), Some(format!("RESTART {restart} is at work on it")));
    fixture.steer(&restart, Steer::Pause).unwrap();
    assert_eq!(
        refused(&mut fixture, &restart, Steer::Promote),
        "PROMOTE is not possible for RESTART while it is PAUSED; what began with canaries can be promoted once it \
         is resumed"
    );
    fixture.steer(&restart, Steer::Cancel).unwrap();
    let off = fixture.deactivate("web-1");
    assert!(refused(&mut fixture, &off, Steer::Cancel).ends_with("; ask for ACTIVATE instead"));
    let gone = fixture.destroy("web-1");
    assert!(
        refused(&mut fixture, &gone, Steer::Cancel).ends_with("; what is destroyed can only be created anew")
    );
}
