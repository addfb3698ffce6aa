//! What is kept, and for how long.

use muster_common::instance::InstanceState;
use muster_common::operation::OperationRequest;

use crate::state::instances::MAX_OLD_INSTANCES;
use crate::state::operations::MAX_FINISHED_OPERATIONS;
use crate::state::testing::*;
use crate::state::{Change, MAX_EVENTS};

#[test]
fn the_newest_hundred_old_instances_of_a_service_are_kept() {
    let mut fixture = Fixture::with_executors(1);
    let service = fixture.running(spec("web"), 1);
    let slot = slot_id("web-1", "e1", 0);
    for n in 0..MAX_OLD_INSTANCES + 20 {
        fixture.advance(1);
        fixture.report_in(&format!("i{n:03}"), &slot, &UP_AND_DOWN);
    }
    let old: Vec<_> = fixture.state.old_instances(&service).map(|old| old.record.id.to_string()).collect();
    assert_eq!(old.len(), MAX_OLD_INSTANCES);
    assert_eq!(old.first().unwrap(), "i119");
    assert_eq!(old.last().unwrap(), "i020");
    assert!(fixture.state.instance(&instance_id("i019")).is_none());
    assert_eq!(fixture.state.live_instances(&service).count(), 1);
}

#[test]
fn old_instances_survive_their_service_for_seven_days() {
    let mut fixture = Fixture::with_executors(1);
    let service = fixture.running(spec("web"), 1);
    fixture.deactivate("web-1");
    fixture.settle();
    fixture.report_in("web-1.e1.0", &slot_id("web-1", "e1", 0), &UP_AND_DOWN);
    fixture.settle();
    fixture.destroy("web-1");
    fixture.settle();
    assert!(fixture.state.service(&service).is_none());

    fixture.advance(7 * 24 * 3600);
    fixture.settle();
    assert_eq!(fixture.state.old_instances(&service).count(), 1);
    fixture.advance(61);
    let pruned = fixture.reconcile();
    assert!(matches!(pruned.as_slice(), [Change::Prune { .. }]), "{pruned:?}");
    assert_eq!(fixture.state.old_instances(&service).count(), 0);
    assert_eq!(fixture.state.operations_of(&service).count(), 0);
    assert!(fixture.reconcile().is_empty(), "pruning is proposed only when it does something");
}

#[test]
fn events_are_kept_for_an_hour_and_say_when_some_are_missing() {
    let mut fixture = Fixture::with_executors(1);
    fixture.create(spec("web"), 1);
    let told = fixture.state.revision();
    assert_eq!(fixture.state.events_compacted().0, 0);
    fixture.advance(3600 + 61);
    fixture.settle();
    assert_eq!(fixture.state.events_after(muster_common::id::Revision(0)).count(), 0);
    assert_eq!(fixture.state.events_compacted(), told);
}

#[test]
fn events_are_bounded_in_number_too() {
    let mut fixture = Fixture::with_executors(1);
    let slot = slot_id("web-1", "e1", 0);
    for n in 0..MAX_EVENTS / UP_AND_DOWN.len() + 10 {
        fixture.report_in(&format!("i{n}"), &slot, &UP_AND_DOWN);
    }
    assert_eq!(fixture.state.events_after(muster_common::id::Revision(0)).count(), MAX_EVENTS);
    assert!(fixture.state.events_compacted().0 > 0);
}

#[test]
fn the_newest_finished_operations_of_a_service_are_kept() {
    let mut fixture = Fixture::with_executors(0);
    fixture.create(spec("web"), 1);
    let service = service_id("web-1");
    for n in 0..u32::try_from(MAX_FINISHED_OPERATIONS).unwrap() + 10 {
        fixture.advance(1);
        let request = OperationRequest::UpdateInstanceCount {
            service_id: "web-1".to_owned(),
            instances_per_host: 1 + n % 200,
        };
        fixture.submit(request).unwrap();
        fixture.settle();
    }
    let kept: Vec<_> = fixture.state.operations_of(&service).collect();
    assert_eq!(kept.len(), MAX_FINISHED_OPERATIONS);
    assert!(kept.is_sorted_by(|newer, older| newer.created > older.created));
}

#[test]
fn a_lost_instance_that_was_forgotten_meanwhile_is_known_again_when_it_is_reported() {
    let mut fixture = Fixture::with_executors(1);
    let service = fixture.running(spec("web"), 1);
    fixture.contact("e1", muster_common::executor::Contact::Lost);
    fixture.advance(8 * 24 * 3600);
    fixture.settle();
    assert!(fixture.state.instance(&instance_id("web-1.e1.0")).is_none());
    fixture.register("e1", Some(&["web-1.e1.0"]));
    fixture.report_in("web-1.e1.0", &slot_id("web-1", "e1", 0), &UP);
    let live: Vec<_> = fixture.state.live_instances(&service).collect();
    assert_eq!(live[0].state(), InstanceState::Healthy);
}
