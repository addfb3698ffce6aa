//! The count of instances is changed: what serves stays until what is to stay serves.

use muster_common::executor::Contact;
use muster_common::id::OperationId;
use muster_common::instance::InstanceState;
use muster_common::operation::{OperationRequest, OperationState};
use muster_common::reason::Reason;
use muster_common::slot::SlotPhase;

use crate::state::testing::*;

const ID: &str = "web-1";

fn count(fixture: &mut Fixture, instances_per_host: u32) -> OperationId {
    let service_id = ID.to_owned();
    let operation =
        fixture.submit(OperationRequest::UpdateInstanceCount { service_id, instances_per_host }).unwrap();
    fixture.settle();
    operation
}

fn indexes(fixture: &Fixture) -> Vec<u32> {
    fixture.state.slots_of(&service_id(ID)).map(|(slot, _)| slot.index).collect()
}

/// Two instances on one executor, the first of which is down; there is to be one.
fn fewer() -> (Fixture, OperationId) {
    let mut fixture = Fixture::with_executors(1);
    fixture.running(spec("web"), 2);
    fixture.report_in("web-1.e1.0", &slot_id(ID, "e1", 0), &UP_AND_DOWN);
    fixture.report_status(&slot_id(ID, "e1", 0), SlotPhase::Failed, "it ends at once");
    let operation = count(&mut fixture, 1);
    (fixture, operation)
}

#[test]
fn what_serves_is_not_taken_away_before_what_stays_serves() {
    let (mut fixture, operation) = fewer();
    assert_eq!(indexes(&fixture), [0, 1]);
    let running = fixture.operation(&operation);
    assert_eq!(running.state, OperationState::Running);
    assert_eq!(running.slots[1].message, "it goes when e1/0 is filled");
    fixture.report_in("new", &slot_id(ID, "e1", 0), &UP);
    fixture.settle();
    assert_eq!(indexes(&fixture), [0]);
    fixture.report_in("web-1.e1.1", &slot_id(ID, "e1", 1), &UP_AND_DOWN);
    fixture.settle();
    assert_eq!(fixture.operation(&operation).state, OperationState::Succeeded);
}

#[test]
fn what_serves_is_taken_away_when_the_time_is_over() {
    let (mut fixture, operation) = fewer();
    fixture.advance(300);
    fixture.settle();
    let finished = fixture.operation(&operation);
    assert_eq!(finished.state, OperationState::Failed);
    assert!(finished.message.contains("e1/1 (it goes when e1/0 is filled)"), "{}", finished.message);
    assert_eq!(indexes(&fixture), [0]);
}

#[test]
fn what_is_down_or_out_of_sight_is_taken_away_at_once() {
    for contact in [Contact::Connected, Contact::Unreachable] {
        let mut fixture = Fixture::with_executors(1);
        fixture.running(spec("web"), 2);
        fixture.report_in("web-1.e1.0", &slot_id(ID, "e1", 0), &UP_AND_DOWN);
        if contact == Contact::Connected {
            fixture.report_in("web-1.e1.1", &slot_id(ID, "e1", 1), &UP_AND_DOWN);
        }
        fixture.contact("e1", contact);
        count(&mut fixture, 1);
        assert_eq!(indexes(&fixture), [0], "{contact:?}");
    }
}

/// All that is left of the instance in a slot is a log that is copied.
fn copies(fixture: &mut Fixture, index: u32) {
    let slot = slot_id(ID, "e1", index);
    let epoch = fixture.state.live_instances_in(&slot).next().unwrap().record.epoch;
    let mut copied = record(&name_in(&slot), &slot, epoch, &UP_AND_DOWN[..7]);
    assert_eq!(copied.state, InstanceState::Deprovisioning);
    copied.reason = Some(Reason::CopyingLog);
    fixture.report("e1", vec![copied], Vec::new());
    fixture.settle();
}

#[test]
fn nothing_but_a_destroy_waits_for_a_log_to_be_copied() {
    let mut fixture = Fixture::with_executors(1);
    fixture.running(spec("web"), 2);
    let fewer = count(&mut fixture, 1);
    copies(&mut fixture, 1);
    assert_eq!(fixture.operation(&fewer).state, OperationState::Succeeded);
    let off = fixture.deactivate(ID);
    fixture.settle();
    assert_eq!(fixture.operation(&off).state, OperationState::Running);
    copies(&mut fixture, 0);
    assert_eq!(fixture.operation(&off).state, OperationState::Succeeded);
    let gone = fixture.destroy(ID);
    fixture.settle();
    assert_eq!(fixture.operation(&gone).state, OperationState::Running);
    for index in [0, 1] {
        fixture.report_in(&format!("web-1.e1.{index}"), &slot_id(ID, "e1", index), &UP_AND_DOWN);
    }
    fixture.settle();
    assert_eq!(fixture.operation(&gone).state, OperationState::Succeeded);
}
