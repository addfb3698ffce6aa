//! Activation, deactivation, count, destruction.

use muster_common::executor::Contact;
use muster_common::operation::{OperationRequest, OperationState, SlotOutcome};
use muster_common::service::ServiceState;
use muster_common::slot::{ReplaceMode, SlotPhase};
use muster_common::time::Timestamp;

use crate::reconcile::plan;
use crate::state::testing::*;
use crate::state::{Change, slot_table};

const ID: &str = "web-1";

#[test]
fn an_active_service_gets_its_slots_on_every_executor_also_on_one_that_comes_later() {
    let mut fixture = Fixture::with_executors(2);
    fixture.create(spec("web"), 2);
    assert!(fixture.reconcile().is_empty(), "nothing runs before activation");
    fixture.activate(ID);
    let changes = fixture.reconcile();
    let assigned = changes.iter().filter(|change| matches!(change, Change::AssignSlot { .. }));
    assert_eq!(assigned.count(), 4);
    fixture.register("e3", None);
    fixture.settle();
    let slots: Vec<String> =
        fixture.state.slots_of(&service_id(ID)).map(|(slot, _)| slot.to_string()).collect();
    assert_eq!(slots, ["web-1@e1/0", "web-1@e1/1", "web-1@e2/0", "web-1@e2/1", "web-1@e3/0", "web-1@e3/1"]);
    let table = slot_table(&fixture.state, &executor_id("e3"));
    assert!(table.rows.iter().all(|row| row.mode == ReplaceMode::StartFirst));
    assert!(table.rows.iter().all(|row| row.generation == fixture.service(ID).generation));
}

#[test]
fn fixed_host_ports_force_stop_first() {
    let mut fixture = Fixture::with_executors(1);
    fixture.create(spec_with("web", true), 1);
    fixture.activate(ID);
    fixture.settle();
    assert_eq!(slot_table(&fixture.state, &executor_id("e1")).rows[0].mode, ReplaceMode::StopFirst);
}

#[test]
fn activation_is_over_when_every_slot_is_filled() {
    let mut fixture = Fixture::with_executors(2);
    fixture.create(spec("web"), 1);
    let operation = fixture.activate(ID);
    assert_eq!(fixture.service(ID).state, ServiceState::Active, "it does not block the service");
    fixture.settle();
    fixture.report_in("a", &slot_id(ID, "e1", 0), &UP);
    fixture.report_in("b", &slot_id(ID, "e2", 0), &UP[..3]);
    fixture.settle();
    let running = fixture.operation(&operation);
    assert_eq!(running.state, OperationState::Running);
    let outcomes: Vec<_> = running.slots.iter().map(|slot| slot.outcome).collect();
    assert_eq!(outcomes, [SlotOutcome::Done, SlotOutcome::InProgress]);
    fixture.report_in("b", &slot_id(ID, "e2", 0), &UP);
    fixture.settle();
    let finished = fixture.operation(&operation);
    assert_eq!(
        (finished.state, finished.message.as_str()),
        (OperationState::Succeeded, "2 of 2 slots are done")
    );
}

#[test]
fn a_slot_that_gave_up_fails_the_activation_with_its_reason() {
    let mut fixture = Fixture::with_executors(2);
    fixture.create(spec("web"), 1);
    let operation = fixture.activate(ID);
    fixture.settle();
    fixture.report_in("a", &slot_id(ID, "e1", 0), &UP);
    fixture.report_status(&slot_id(ID, "e2", 0), SlotPhase::Failed, "no such image");
    fixture.settle();
    let finished = fixture.operation(&operation);
    assert_eq!(finished.state, OperationState::Failed);
    assert_eq!(finished.message, "1 of 2 slots are done; 1 failed: e2/0 (no such image)");
    assert_eq!(fixture.service(ID).state, ServiceState::Active, "it is still wanted");
}

#[test]
fn executors_that_are_away_do_not_hold_up_an_activation() {
    let mut fixture = Fixture::with_executors(2);
    fixture.contact("e2", Contact::Unreachable);
    fixture.create(spec("web"), 1);
    let operation = fixture.activate(ID);
    fixture.settle();
    fixture.report_in("a", &slot_id(ID, "e1", 0), &UP);
    fixture.settle();
    let finished = fixture.operation(&operation);
    assert_eq!(finished.state, OperationState::Succeeded);
    assert_eq!(
        finished.message,
        "1 of 2 slots are done; 1 are away: e2/0 (EXECUTOR_UNREACHABLE: no contact with executor e2 since \
         1970-01-01T00:16:40.000Z)"
    );
}

#[test]
fn an_operation_that_is_not_over_by_its_deadline_has_timed_out() {
    let mut fixture = Fixture::with_executors(1);
    fixture.create(spec("web"), 1);
    let operation = fixture.activate(ID);
    fixture.settle();
    let wake = plan(&fixture.state, fixture.now).wake.unwrap();
    assert_eq!(Some(wake), fixture.operation(&operation).deadline);
    fixture.now = Timestamp(wake.0 - 1);
    assert!(fixture.reconcile().is_empty());
    fixture.now = wake;
    fixture.settle();
    let finished = fixture.operation(&operation);
    assert_eq!(finished.state, OperationState::Failed);
    assert_eq!(
        finished.message,
        "timed out in ACTIVATE after 300 seconds; 1 of 1 slots are not there yet: e1/0"
    );
}

#[test]
fn fewer_instances_take_the_surplus_slots_away() {
    let mut fixture = Fixture::with_executors(1);
    fixture.running(spec("web"), 3);
    let request = OperationRequest::UpdateInstanceCount { service_id: ID.to_owned(), instances_per_host: 1 };
    let operation = fixture.submit(request).unwrap();
    fixture.settle();
    let indexes: Vec<_> = fixture.state.slots_of(&service_id(ID)).map(|(slot, _)| slot.index).collect();
    assert_eq!(indexes, [0]);
    assert_eq!(fixture.operation(&operation).state, OperationState::Running, "two still run");
    for index in [1, 2] {
        fixture.report_in(&format!("web-1.e1.{index}"), &slot_id(ID, "e1", index), &UP_AND_DOWN);
    }
    fixture.settle();
    assert_eq!(fixture.operation(&operation).state, OperationState::Succeeded);
}

#[test]
fn a_slot_that_is_assigned_again_has_a_higher_epoch() {
    let mut fixture = Fixture::with_executors(1);
    fixture.running(spec("web"), 1);
    let slot = slot_id(ID, "e1", 0);
    let first = fixture.state.slot(&slot).unwrap().epoch;
    fixture.deactivate(ID);
    fixture.settle();
    assert!(fixture.state.slot(&slot).is_none());
    fixture.activate(ID);
    fixture.settle();
    assert!(fixture.state.slot(&slot).unwrap().epoch > first);
}

#[test]
fn a_service_is_destroyed_only_when_its_last_instance_is_gone() {
    let mut fixture = Fixture::with_executors(2);
    fixture.running(spec("web"), 1);
    fixture.deactivate(ID);
    fixture.settle();
    let operation = fixture.destroy(ID);
    fixture.report_in("web-1.e1.0", &slot_id(ID, "e1", 0), &UP_AND_DOWN);
    fixture.contact("e2", Contact::Unreachable);
    fixture.settle();
    assert_eq!(
        fixture.service(ID).state,
        ServiceState::DestroyRequested,
        "what is out of sight still counts"
    );
    let too_early = Change::FinishOperation {
        operation: operation.clone(),
        state: OperationState::Succeeded,
        message: String::new(),
    };
    let reply = fixture.apply(&crate::state::Command::Plan { at: fixture.now, changes: vec![too_early] });
    assert_eq!(reply, crate::state::Reply::Planned { applied: 0, skipped: 1 });

    fixture.contact("e2", Contact::Lost);
    fixture.settle();
    assert!(fixture.state.service(&service_id(ID)).is_none());
    let finished = fixture.operation(&operation);
    assert_eq!(finished.state, OperationState::Succeeded);
    let message = finished.message;
    assert!(
        message.starts_with("1 of 2 slots are done; 1 are away: e2/0"),
        "it may still run there: {message}"
    );
    assert_eq!(fixture.state.old_instances(&service_id(ID)).count(), 2, "the records survive");
}

#[test]
fn a_destruction_that_takes_too_long_leaves_the_service_as_it_was() {
    let mut fixture = Fixture::with_executors(1);
    fixture.running(spec("web"), 1);
    fixture.deactivate(ID);
    fixture.settle();
    let operation = fixture.destroy(ID);
    fixture.settle();
    fixture.advance(45 * 60);
    fixture.settle();
    assert_eq!(fixture.operation(&operation).state, OperationState::Failed);
    assert_eq!(
        fixture.operation(&operation).message,
        "timed out in DESTROY after 2700 seconds; 1 of 1 slots are not there yet: e1/0 (web-1.e1.0 is HEALTHY)"
    );
    assert_eq!(fixture.service(ID).state, ServiceState::Inactive);
    fixture.destroy(ID);
}

#[test]
fn a_slot_that_gave_up_is_judged_anew_when_it_may_try_again() {
    let mut fixture = Fixture::with_executors(1);
    fixture.create(spec("web"), 1);
    fixture.activate(ID);
    fixture.settle();
    let slot = slot_id(ID, "e1", 0);
    fixture.report_status(&slot, SlotPhase::Failed, "no such image");
    fixture.settle();
    let request = OperationRequest::UpdateInstanceCount { service_id: ID.to_owned(), instances_per_host: 1 };
    let operation = fixture.submit(request).unwrap();
    fixture.settle();
    assert_eq!(fixture.operation(&operation).state, OperationState::Running, "it was only just told to");
    fixture.report_status(&slot, SlotPhase::Failed, "still no such image");
    fixture.settle();
    let finished = fixture.operation(&operation);
    assert_eq!(finished.state, OperationState::Failed);
    assert!(finished.message.contains("still no such image"), "{}", finished.message);
}

#[test]
fn a_test_whose_executor_falls_silent_is_no_success() {
    let mut fixture = Fixture::with_executors(1);
    fixture.create(spec("web"), 1);
    let operation =
        fixture.submit(OperationRequest::DeployTestInstance { service_id: ID.to_owned() }).unwrap();
    fixture.settle();
    fixture.contact("e1", Contact::Unreachable);
    fixture.settle();
    assert_eq!(fixture.operation(&operation).state, OperationState::Running);
    fixture.advance(300);
    fixture.settle();
    assert_eq!(fixture.operation(&operation).state, OperationState::Failed);
}

#[test]
fn what_no_executor_takes_says_where_to_look_on() {
    let mut fixture = Fixture::with_executors(1);
    fixture.create(spec_for("web", &serde_json::json!({"all": ["mistyped"]})), 1);
    let test = fixture.submit(OperationRequest::DeployTestInstance { service_id: ID.to_owned() }).unwrap();
    fixture.settle();
    fixture.advance(300);
    fixture.settle();
    let why = "there was nothing to do: no executor takes it, and its placement says of each why not";
    let tested = fixture.operation(&test);
    assert_eq!(tested.state, OperationState::Failed);
    assert_eq!(tested.message, format!("timed out in DEPLOY_TEST_INSTANCE after 300 seconds; {why}"));
    let activation = fixture.activate(ID);
    fixture.settle();
    let activated = fixture.operation(&activation);
    assert_eq!((activated.state, activated.message.as_str()), (OperationState::Succeeded, why));
}
