//! Operations are steered, and requests are repeated.

use muster_common::id::OperationId;
use muster_common::operation::{OperationRequest, OperationState, Steer};
use muster_common::service::{ActivationState, ServiceState};

use crate::state::testing::*;
use crate::state::{Command, Refusal, Reply, Steered};

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
    let operation = fixture.restart(ID, muster_common::operation::ClusterOpSpec::default(), false);
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
        fixture.apply(&Command::SubmitOperation { id, request, at: fixture.now, by: "ann".to_owned() })
    };
    let first = submit(&mut fixture, ID);
    fixture.settle();
    let generation = fixture.service(ID).generation;
    assert_eq!(submit(&mut fixture, ID), first);
    assert_eq!(fixture.service(ID).generation, generation);
    assert_eq!(submit(&mut fixture, "other-1"), Reply::Refused(Refusal::KeyReused(operation_id("OP-again"))));
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
