//! RESTART, `REPLACE_INSTANCES`, `STOP_INSTANCES`, step by step.

use muster_common::duration::DroveDuration;
use muster_common::executor::Contact;
use muster_common::id::{OperationId, SlotId};
use muster_common::instance::InstanceRecord;
use muster_common::operation::SlotOutcome::{Away, Done, Failed, InProgress, Settling, Waiting};
use muster_common::operation::{
    ClusterOpSpec, FailureStrategy, OperationRequest, OperationState, Parallelism, SlotOutcome, Steer,
};
use muster_common::reason::Reason;
use muster_common::service::ServiceState;
use muster_common::slot::{ReplaceMode, SlotPhase};

use crate::state::testing::*;
use crate::state::{Change, Command, Reply};

const ID: &str = "web-1";

fn at_a_time(parallelism: u32) -> ClusterOpSpec {
    ClusterOpSpec { parallelism: Parallelism::Slots(parallelism), ..ClusterOpSpec::default() }
}

fn outcomes(fixture: &Fixture, operation: &OperationId) -> Vec<SlotOutcome> {
    fixture.operation(operation).slots.iter().map(|slot| slot.outcome).collect()
}

/// The replacement in `slot` became healthy and the old one went.
fn replaced(fixture: &mut Fixture, slot: &SlotId) {
    fixture.report_in(&format!("{}.new", name_in(slot)), slot, &UP);
    fixture.report_in(&name_in(slot), slot, &UP_AND_DOWN);
    fixture.settle();
}

#[test]
fn a_restart_goes_through_the_slots_in_waves() {
    let mut fixture = Fixture::with_executors(3);
    fixture.running(spec("web"), 1);
    let operation = fixture.restart(ID, at_a_time(2), false);
    assert_eq!(fixture.service(ID).state, ServiceState::ReplacingInstances);
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [InProgress, InProgress, Waiting]);
    replaced(&mut fixture, &slot_id(ID, "e2", 0));
    assert_eq!(outcomes(&fixture, &operation), [InProgress, Done, InProgress]);
    replaced(&mut fixture, &slot_id(ID, "e1", 0));
    replaced(&mut fixture, &slot_id(ID, "e3", 0));
    let finished = fixture.operation(&operation);
    assert_eq!(
        (finished.state, finished.message.as_str()),
        (OperationState::Succeeded, "3 of 3 slots are done")
    );
    assert_eq!(fixture.service(ID).state, ServiceState::Active);
}

#[test]
fn the_old_instance_does_not_count_as_the_new_one() {
    let mut fixture = Fixture::with_executors(1);
    fixture.running(spec("web"), 1);
    let slot = slot_id(ID, "e1", 0);
    let before = fixture.state.slot(&slot).unwrap().epoch;
    let operation = fixture.restart(ID, at_a_time(1), false);
    fixture.settle();
    let after = fixture.state.slot(&slot).unwrap();
    assert!(after.epoch > before);
    assert_eq!(after.mode, ReplaceMode::StartFirst);
    assert_eq!(outcomes(&fixture, &operation), [InProgress], "the old one is still HEALTHY");
}

#[test]
fn named_instances_alone_are_replaced() {
    let mut fixture = Fixture::with_executors(2);
    fixture.running(spec("web"), 1);
    let request = OperationRequest::ReplaceInstances {
        service_id: ID.to_owned(),
        instance_ids: vec!["web-1.e2.0".to_owned()],
        stop_first: true,
        op_spec: None,
    };
    let operation = fixture.submit(request).unwrap();
    let changes = fixture.reconcile();
    let [Change::StartClock { .. }, Change::RaiseSlot { slot, mode, .. }] = changes.as_slice() else {
        panic!("{changes:?}")
    };
    assert_eq!((slot, *mode), (&slot_id(ID, "e2", 0), ReplaceMode::StopFirst));
    replaced(&mut fixture, &slot_id(ID, "e2", 0));
    assert_eq!(fixture.operation(&operation).state, OperationState::Succeeded);
}

#[test]
fn stopping_is_over_when_the_instance_is_gone() {
    let mut fixture = Fixture::with_executors(1);
    fixture.running(spec("web"), 2);
    let request = OperationRequest::StopInstances {
        service_id: ID.to_owned(),
        instance_ids: vec!["web-1.e1.0".to_owned(), "web-1.e1.1".to_owned()],
        op_spec: Some(at_a_time(1)),
    };
    let operation = fixture.submit(request).unwrap();
    assert_eq!(fixture.service(ID).state, ServiceState::StoppingInstances);
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [InProgress, Waiting]);
    assert_eq!(fixture.state.slot(&slot_id(ID, "e1", 0)).unwrap().mode, ReplaceMode::StopFirst);
    // The other one ends by itself: it need not be stopped any more.
    fixture.report_in("web-1.e1.1", &slot_id(ID, "e1", 1), &UP_AND_DOWN);
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [InProgress, Done]);
    fixture.report_in("web-1.e1.0", &slot_id(ID, "e1", 0), &UP_AND_DOWN);
    fixture.settle();
    assert_eq!(fixture.operation(&operation).state, OperationState::Succeeded);
    assert_eq!(fixture.service(ID).state, ServiceState::Active);
}

/// Both instances of a service are to be stopped; the first is being.
fn stopping_one_after_the_other() -> (Fixture, OperationId) {
    let mut fixture = Fixture::with_executors(2);
    fixture.running(spec("web"), 1);
    let request = OperationRequest::StopInstances {
        service_id: ID.to_owned(),
        instance_ids: vec!["web-1.e1.0".to_owned(), "web-1.e2.0".to_owned()],
        op_spec: Some(at_a_time(1)),
    };
    let operation = fixture.submit(request).unwrap();
    fixture.settle();
    (fixture, operation)
}

#[test]
fn the_next_is_stopped_when_the_slot_of_the_one_before_is_filled_again() {
    let (mut fixture, operation) = stopping_one_after_the_other();
    let slot = slot_id(ID, "e1", 0);
    fixture.report_in("web-1.e1.0", &slot, &UP_AND_DOWN);
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [Done, Waiting], "nothing serves on e1 yet");
    fixture.report_in("web-1.e1.new", &slot, &UP);
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [Done, InProgress]);
}

#[test]
fn what_an_operation_before_began_and_left_counts_among_what_is_at_work() {
    let mut fixture = Fixture::with_executors(3);
    fixture.running(spec("web"), 1);
    let first = fixture.restart(ID, at_a_time(1), true);
    fixture.settle();
    assert_eq!(outcomes(&fixture, &first), [InProgress, Waiting, Waiting]);
    let left = slot_id(ID, "e1", 0);
    fixture.report_in("web-1.e1.0", &left, &UP_AND_DOWN);
    fixture.steer(&first, Steer::Cancel).unwrap();
    let second = fixture.restart(ID, at_a_time(1), true);
    fixture.settle();
    assert_eq!(outcomes(&fixture, &second), [Waiting, Waiting], "e1 is down by our doing");
    let why = &fixture.operation(&second).slots[0].message;
    assert_eq!(why, "the wave waits for what was begun before it: e1/0");
    fixture.report_in("web-1.e1.new", &left, &UP);
    fixture.settle();
    assert_eq!(outcomes(&fixture, &second), [InProgress, Waiting]);
}

#[test]
fn who_is_lost_is_told_of_though_nothing_can_be_done_there() {
    let mut fixture = Fixture::with_executors(2);
    fixture.running(spec("web"), 1);
    fixture.contact("e2", Contact::Lost);
    let operation = fixture.restart(ID, at_a_time(1), false);
    fixture.settle();
    replaced(&mut fixture, &slot_id(ID, "e1", 0));
    let finished = fixture.operation(&operation);
    assert_eq!(outcomes(&fixture, &operation), [Done, Away]);
    assert!(finished.message.starts_with("1 of 2 slots are done; 1 are away: e2/0"), "{}", finished.message);
    assert_eq!(finished.state, OperationState::Succeeded);
}

#[test]
fn a_slot_has_no_less_time_than_its_spec_allows_an_instance() {
    let mut fixture = Fixture::with_executors(1);
    let mut slow = spec("web");
    slow.grace = Some(DroveDuration::from_secs(1800));
    let longest = slow.longest_replacement();
    fixture.running(slow, 1);
    let short = ClusterOpSpec { timeout: DroveDuration::from_secs(1), ..ClusterOpSpec::default() };
    let operation = fixture.restart(ID, short, false);
    assert_eq!(fixture.operation(&operation).op_spec.timeout.as_duration(), longest);
}

#[test]
fn nobody_waits_for_a_log_that_is_still_copied() {
    let down = &UP_AND_DOWN[..UP_AND_DOWN.len() - 1];
    for reason in [None, Some(Reason::CopyingLog)] {
        let mut fixture = Fixture::with_executors(1);
        fixture.running(spec("web"), 1);
        let slot = slot_id(ID, "e1", 0);
        let old = fixture.state.live_instances_in(&slot).next().unwrap().record.clone();
        let operation = fixture.restart(ID, at_a_time(1), false);
        fixture.settle();
        fixture.report_in("web-1.e1.0.new", &slot, &UP);
        let going = InstanceRecord { reason, ..record(old.id.as_str(), &slot, old.epoch, down) };
        fixture.report("e1", vec![going], Vec::new());
        fixture.settle();
        let state = fixture.operation(&operation).state;
        assert_eq!(state == OperationState::Succeeded, reason.is_some(), "{reason:?}: {state}");
    }
}

#[test]
fn a_failed_slot_ends_the_operation_and_leaves_the_rest() {
    let mut fixture = Fixture::with_executors(3);
    fixture.running(spec("web"), 1);
    let op_spec = ClusterOpSpec { failure_strategy: FailureStrategy::Rollback, ..at_a_time(2) };
    let operation = fixture.restart(ID, op_spec, false);
    fixture.settle();
    fixture.report_status(&slot_id(ID, "e1", 0), SlotPhase::KeptOld, "readiness check failed");
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [Failed, InProgress, Waiting], "what was begun is awaited");
    assert_eq!(fixture.operation(&operation).state, OperationState::Running);
    replaced(&mut fixture, &slot_id(ID, "e2", 0));
    let finished = fixture.operation(&operation);
    assert_eq!(finished.state, OperationState::Failed);
    assert_eq!(outcomes(&fixture, &operation), [Failed, Done, Waiting]);
    assert_eq!(
        finished.message,
        "1 of 3 slots are done; 1 failed: e1/0 (readiness check failed); 1 were not touched: e3/0; nothing had \
         to be rolled back: a failed slot keeps its old instance, and all run the same spec"
    );
    assert_eq!(fixture.service(ID).state, ServiceState::Active);
}

#[test]
fn a_status_of_an_earlier_epoch_says_nothing_about_this_operation() {
    let mut fixture = Fixture::with_executors(1);
    fixture.running(spec("web"), 1);
    let slot = slot_id(ID, "e1", 0);
    fixture.report_status(&slot, SlotPhase::KeptOld, "an old story");
    let operation = fixture.restart(ID, at_a_time(1), false);
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [InProgress]);
}

#[test]
fn nodes_that_are_away_are_passed_over_and_counted_apart() {
    let mut fixture = Fixture::with_executors(3);
    fixture.running(spec("web"), 1);
    fixture.contact("e1", Contact::Unreachable);
    let operation = fixture.restart(ID, at_a_time(1), false);
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [Away, InProgress, Waiting]);
    // One falls silent while it is at work: with start-first it is not down, the wave goes on.
    fixture.contact("e2", Contact::Unreachable);
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [Away, Away, InProgress]);
    // One comes back in time.
    fixture.contact("e2", Contact::Connected);
    replaced(&mut fixture, &slot_id(ID, "e2", 0));
    replaced(&mut fixture, &slot_id(ID, "e3", 0));
    let finished = fixture.operation(&operation);
    assert_eq!(finished.state, OperationState::Succeeded);
    assert_eq!(outcomes(&fixture, &operation), [Away, Done, Done]);
    assert!(finished.message.starts_with("2 of 3 slots are done; 1 are away: e1/0"), "{}", finished.message);
}

#[test]
fn with_stop_first_a_silent_node_keeps_its_place_in_the_wave() {
    let mut fixture = Fixture::with_executors(2);
    fixture.running(spec("web"), 1);
    let operation = fixture.restart(ID, at_a_time(1), true);
    fixture.settle();
    fixture.contact("e1", Contact::Unreachable);
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [Away, Waiting]);
    assert_eq!(fixture.operation(&operation).state, OperationState::Running);
    fixture.advance(300);
    fixture.settle();
    let finished = fixture.operation(&operation);
    assert_eq!(finished.state, OperationState::Failed);
    assert_eq!(outcomes(&fixture, &operation), [Failed, Waiting]);
}

#[test]
fn with_stop_first_a_lost_node_holds_up_nobody_and_fails_nothing() {
    for (phase, settle, passed) in [
        (None, 0, 0),
        (Some(SlotPhase::Filling), 0, 0),
        (Some(SlotPhase::Backoff), 0, 200),
        (None, 60, 0),
        (None, 60, 200),
    ] {
        let mut fixture = Fixture::with_executors(2);
        fixture.running(spec("web"), 1);
        let op_spec = ClusterOpSpec { settle: DroveDuration::from_secs(settle), ..at_a_time(1) };
        let operation = fixture.restart(ID, op_spec, true);
        fixture.settle();
        let slot = slot_id(ID, "e1", 0);
        match phase {
            Some(phase) => fixture.report_status(&slot, phase, "it is not there yet"),
            None if settle > 0 => replaced(&mut fixture, &slot),
            None => {}
        }
        fixture.contact("e1", Contact::Unreachable);
        fixture.settle();
        assert_eq!(outcomes(&fixture, &operation), [Away, Waiting], "it may come back");
        fixture.advance(passed);
        fixture.contact("e1", Contact::Lost);
        fixture.settle();
        let case = format!("{phase:?} {settle} {passed}");
        assert_eq!(outcomes(&fixture, &operation), [Away, InProgress], "{case}");
        let lost = &fixture.operation(&operation).slots[0];
        assert_eq!(lost.reason, Some(Reason::ExecutorUnreachable));
        assert!(lost.message.starts_with("its executor is lost: no contact with"), "{}", lost.message);
        // The time of what is lost passes, and says nothing about it.
        fixture.advance(299);
        replaced(&mut fixture, &slot_id(ID, "e2", 0));
        fixture.advance(settle);
        fixture.settle();
        let finished = fixture.operation(&operation);
        assert_eq!(finished.state, OperationState::Succeeded, "{case}: {}", finished.message);
        assert_eq!(outcomes(&fixture, &operation), [Away, Done], "{case}");
        assert!(finished.message.starts_with("1 of 2 slots are done; 1 are away: e1/0"), "{case}");
    }
}

#[test]
fn nobody_knows_whether_what_was_lost_was_stopped() {
    let (mut fixture, operation) = stopping_one_after_the_other();
    fixture.contact("e1", Contact::Lost);
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [Away, InProgress]);
    fixture.report_in("web-1.e2.0", &slot_id(ID, "e2", 0), &UP_AND_DOWN);
    fixture.settle();
    let finished = fixture.operation(&operation);
    assert_eq!((finished.state, finished.slots[0].outcome), (OperationState::Succeeded, Away));
}

#[test]
fn what_is_not_through_by_the_deadline_has_timed_out() {
    let mut fixture = Fixture::with_executors(2);
    fixture.running(spec("web"), 1);
    let operation = fixture.restart(ID, at_a_time(1), false);
    fixture.settle();
    fixture.report_status(&slot_id(ID, "e1", 0), SlotPhase::Filling, "pulling the image");
    fixture.advance(300);
    fixture.settle();
    let finished = fixture.operation(&operation);
    assert_eq!(finished.state, OperationState::Failed);
    assert_eq!(
        finished.slots[0].message,
        "timed out in RESTART after 300 seconds; it was FILLING pulling the image"
    );
    assert_eq!(outcomes(&fixture, &operation), [Failed, Waiting]);
    assert_eq!(fixture.service(ID).state, ServiceState::Active);
}

#[test]
fn a_restart_of_nothing_is_over_at_once() {
    let mut fixture = Fixture::with_executors(0);
    fixture.create(spec("web"), 1);
    fixture.activate(ID);
    let operation = fixture.restart(ID, at_a_time(1), false);
    fixture.settle();
    let finished = fixture.operation(&operation);
    assert_eq!(finished.state, OperationState::Succeeded);
    assert_eq!(
        finished.message,
        "there was nothing to do: none of its instances is HEALTHY; RETRY has slots that gave up try again"
    );
}

#[test]
fn a_plan_that_is_applied_twice_or_late_changes_nothing_more() {
    let mut fixture = Fixture::with_executors(2);
    fixture.running(spec("web"), 1);
    fixture.restart(ID, at_a_time(1), false);
    let mut plans = vec![fixture.reconcile()];
    for executor in ["e1", "e2"] {
        let slot = slot_id(ID, executor, 0);
        fixture.report_in(&format!("{}.new", name_in(&slot)), &slot, &UP);
        fixture.report_in(&name_in(&slot), &slot, &UP_AND_DOWN);
        plans.push(fixture.reconcile());
    }
    assert!(fixture.reconcile().is_empty());
    for changes in plans {
        let skipped = u32::try_from(changes.len()).unwrap();
        assert!(skipped > 0);
        let reply = fixture.apply(&Command::Plan { at: fixture.now, changes });
        assert_eq!(reply, Reply::Planned { applied: 0, skipped });
    }
}

#[test]
fn who_was_away_for_longer_than_a_slot_may_take_has_its_time_again() {
    let mut fixture = Fixture::with_executors(3);
    fixture.running(spec("web"), 1);
    let op_spec = ClusterOpSpec { settle: DroveDuration::from_secs(60), ..at_a_time(1) };
    let operation = fixture.restart(ID, op_spec, false);
    fixture.settle();
    fixture.contact("e1", Contact::Unreachable);
    fixture.settle();
    fixture.advance(400);
    fixture.contact("e1", Contact::Connected);
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation)[0], InProgress, "its executor has said nothing yet");
    replaced(&mut fixture, &slot_id("web-1", "e1", 0));
    assert_eq!(outcomes(&fixture, &operation)[0], Settling);
    fixture.contact("e1", Contact::Unreachable);
    fixture.advance(100);
    fixture.contact("e1", Contact::Connected);
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation)[0], Settling, "nobody saw whether it stayed HEALTHY");
    fixture.advance(60);
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation)[0], Done);
}
