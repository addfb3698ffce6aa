//! What holds a rollout up: what was through and went down again, a way back that fails too, a pause; and what becomes
//! of slots that come and go meanwhile.

use muster_common::executor::Contact;
use muster_common::operation::SlotOutcome::{
    Away, Done, Failed, InProgress, RolledBack, RollingBack, Waiting,
};
use muster_common::operation::{
    ClusterOpSpec, FailureStrategy, OperationRequest, OperationState, Parallelism, Steer,
};
use muster_common::slot::SlotPhase;
use serde_json::json;

use super::rollout::{asked, content, kept_old, outcomes, replaced, running, update, wide};
use crate::state::Refusal;
use crate::state::testing::*;

const ID: &str = "web-1";

fn back() -> ClusterOpSpec {
    ClusterOpSpec { failure_strategy: FailureStrategy::Rollback, ..ClusterOpSpec::default() }
}

/// The instance of the slot's present epoch ended by itself.
fn crash(fixture: &mut Fixture, executor: &str) {
    let slot = slot_id(ID, executor, 0);
    let epoch = fixture.state.slot(&slot).unwrap().epoch;
    fixture.report_in(&format!("{}.{epoch}", name_in(&slot)), &slot, &UP_AND_DOWN);
    fixture.report_status(&slot, SlotPhase::Backoff, "exit code 1");
    fixture.settle();
}

#[test]
fn a_spec_that_nothing_has_run_is_not_stable_for_want_of_a_slot_in_between() {
    let tags = json!({"all": ["ssd"]});
    let mut fixture = Fixture::with_executors(2);
    fixture.tag("e1", &["ssd"]);
    fixture.running(spec_for("web", &tags), 1);
    let before = fixture.service(ID).specs.stable();
    let mut spec = Box::new(spec_for("web", &tags));
    spec.env.insert("CONTENT".to_owned(), "new".to_owned());
    let request = OperationRequest::UpdateSpec { spec, stop_first: true, op_spec: None };
    let operation = fixture.submit(request).unwrap();
    fixture.settle();
    // Its only slot goes, and while that is planned another executor matches that is not heard any more.
    fixture.tag("e1", &[]);
    fixture.reconcile();
    assert_eq!(fixture.state.slots_of(&service_id(ID)).count(), 0);
    fixture.tag("e2", &["ssd"]);
    fixture.contact("e2", Contact::Unreachable);
    fixture.settle();
    assert_eq!(fixture.state.slots_of(&service_id(ID)).count(), 1);
    assert_eq!(fixture.operation(&operation).state, OperationState::Running);
    assert_eq!(fixture.service(ID).specs.stable(), before);
    // Who comes back in time shows it.
    fixture.contact("e2", Contact::Connected);
    fixture.settle();
    replaced(&mut fixture, "e2");
    assert_eq!(fixture.operation(&operation).state, OperationState::Succeeded);
    assert!(fixture.service(ID).specs.stable() > before);
}

#[test]
fn what_was_healthy_for_a_moment_does_not_get_everywhere() {
    let mut fixture = running(3);
    let operation = update(&mut fixture, "new", ClusterOpSpec::default());
    let slot = slot_id(ID, "e1", 0);
    let epoch = fixture.state.slot(&slot).unwrap().epoch;
    // It is through, and gone before the next one is begun.
    fixture.report_in(&format!("{}.{epoch}", name_in(&slot)), &slot, &UP);
    fixture.report_in(&name_in(&slot), &slot, &UP_AND_DOWN);
    let changes = crate::reconcile::plan(&fixture.state, fixture.now).changes;
    assert_eq!(changes.len(), 2, "e1 is through and e2 begun: {changes:?}");
    fixture.settle();
    crash(&mut fixture, "e1");
    replaced(&mut fixture, "e2");
    assert_eq!(outcomes(&fixture, &operation), [Done, Done, Waiting], "e1 has its place again");
    fixture.report_in("again", &slot, &UP);
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [Done, Done, InProgress]);
    fixture.report_in("again", &slot, &UP_AND_DOWN);
    fixture.report_status(&slot, SlotPhase::Failed, "failed 4 times in a row");
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [Failed, Done, InProgress]);
    replaced(&mut fixture, "e3");
    let finished = fixture.operation(&operation);
    assert_eq!(finished.state, OperationState::Failed);
    assert_eq!(finished.slots[0].message, "it was HEALTHY, and is not any more: failed 4 times in a row");
}

#[test]
fn a_way_back_that_fails_takes_down_nothing_that_works() {
    let mut fixture = Fixture::new();
    for (executor, zone) in [("e1", "a"), ("e2", "b"), ("e3", "c"), ("e4", "d")] {
        fixture.register_in_zone(executor, zone);
    }
    fixture.running(content("old"), 1);
    let op_spec = Some(ClusterOpSpec { parallelism: Parallelism::Slots(1), ..back() });
    let spec = Box::new(content("new"));
    let operation = fixture.submit(OperationRequest::UpdateSpec { spec, stop_first: true, op_spec }).unwrap();
    fixture.settle();
    replaced(&mut fixture, "e1");
    replaced(&mut fixture, "e2");
    let broken = slot_id(ID, "e3", 0);
    fixture.report_in(&name_in(&broken), &broken, &UP_AND_DOWN);
    for expected in
        [[RollingBack, RollingBack, RollingBack, Waiting], [RollingBack, RollingBack, Failed, Waiting]]
    {
        fixture.report_status(&broken, SlotPhase::Failed, "no such file");
        fixture.settle();
        assert_eq!(outcomes(&fixture, &operation), expected);
    }
    assert_eq!(fixture.operation(&operation).state, OperationState::Failed);
    assert_eq!(asked(&fixture), ["new", "new", "old", "old"], "what works is left as it is");
}

#[test]
fn a_paused_rollout_does_not_even_go_back() {
    let mut fixture = running(2);
    let operation = update(&mut fixture, "new", back());
    fixture.steer(&operation, Steer::Pause).unwrap();
    kept_old(&mut fixture, "e1");
    assert_eq!(fixture.operation(&operation).state, OperationState::Paused);
    assert_eq!(outcomes(&fixture, &operation), [Failed, Waiting]);
    fixture.steer(&operation, Steer::Resume).unwrap();
    fixture.settle();
    assert_eq!(fixture.operation(&operation).state, OperationState::RollingBack);
}

#[test]
fn nobody_comes_back_to_a_spec_that_was_rolled_back() {
    let mut fixture = running(3);
    let operation =
        update(&mut fixture, "new", ClusterOpSpec { parallelism: Parallelism::Slots(2), ..back() });
    fixture.contact("e1", Contact::Unreachable);
    kept_old(&mut fixture, "e2");
    replaced(&mut fixture, "e2");
    let finished = fixture.operation(&operation);
    assert_eq!(finished.state, OperationState::Failed);
    assert_eq!(outcomes(&fixture, &operation)[..2], [Away, RolledBack]);
    assert_eq!(asked(&fixture), ["new", "old", "old"]);
    fixture.contact("e1", Contact::Connected);
    fixture.settle();
    assert_eq!(asked(&fixture), ["old"; 3]);
}

#[test]
fn a_slot_that_is_assigned_anew_has_its_turn_again() {
    let mut fixture = running(2);
    let operation = update(&mut fixture, "new", ClusterOpSpec::default());
    replaced(&mut fixture, "e1");
    fixture.change_duty("e1", crate::state::Wish::Blacklist).unwrap();
    fixture.settle();
    fixture.change_duty("e1", crate::state::Wish::Unblacklist).unwrap();
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [Waiting, InProgress]);
    replaced(&mut fixture, "e2");
    replaced(&mut fixture, "e1");
    assert_eq!(fixture.operation(&operation).state, OperationState::Succeeded);
    assert_eq!(asked(&fixture), ["new"; 2]);
}

#[test]
fn a_rollout_for_other_executors_takes_nothing_away_before_it_is_through() {
    let mut fixture = running(3);
    for executor in ["e1", "e2"] {
        fixture.tag(executor, &["ssd"]);
    }
    let spec = Box::new(spec_for("web", &json!({"all": ["ssd"]})));
    let op_spec = Some(wide());
    let operation =
        fixture.submit(OperationRequest::UpdateSpec { spec, stop_first: false, op_spec }).unwrap();
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [InProgress, InProgress, Done]);
    assert_eq!(
        fixture.operation(&operation).slots[2].message,
        "the new spec is not for its executor, and it is taken away at the end: it lacks the tag ssd"
    );
    kept_old(&mut fixture, "e1");
    replaced(&mut fixture, "e2");
    assert_eq!(fixture.operation(&operation).state, OperationState::Failed);
    assert_eq!(fixture.state.slots_of(&service_id(ID)).count(), 3, "it failed: all have what they had");
    let spec = Box::new(spec_for("web", &json!({"all": ["ssd"]})));
    let again = fixture.submit(OperationRequest::UpdateSpec { spec, stop_first: false, op_spec: None });
    fixture.settle();
    replaced(&mut fixture, "e1");
    assert_eq!(fixture.operation(&again.unwrap()).state, OperationState::Succeeded);
    assert_eq!(fixture.state.slots_of(&service_id(ID)).count(), 2);
}

#[test]
fn a_rollout_that_would_leave_all_executors_at_once_is_refused() {
    let mut fixture = running(2);
    fixture.register("e3", None);
    fixture.settle();
    fixture.report_in("web-1.e3.0", &slot_id(ID, "e3", 0), &UP);
    let elsewhere = |tag: &str| {
        let spec = Box::new(spec_for("web", &json!({"all": [tag]})));
        OperationRequest::UpdateSpec { spec, stop_first: false, op_spec: None }
    };
    let before = fixture.service(ID).clone();
    assert_eq!(fixture.submit(elsewhere("ssd")), Err(Refusal::NoCommonPlace(service_id(ID))));
    assert_eq!(*fixture.service(ID), before);
    fixture.submit(elsewhere("e3.example.org")).unwrap();
}

#[test]
fn what_fails_again_and_again_has_failed_though_its_executor_goes_on() {
    let mut fixture = running(2);
    let slot = slot_id(ID, "e1", 0);
    // What failed before counts for nothing.
    for _ in 0..5 {
        fixture.report_status(&slot, SlotPhase::Backoff, "exit code 1");
    }
    let spec = Box::new(content("new"));
    let op_spec = Some(back());
    let operation = fixture.submit(OperationRequest::UpdateSpec { spec, stop_first: true, op_spec }).unwrap();
    fixture.settle();
    for _ in 0..2 {
        fixture.report_status(&slot, SlotPhase::Backoff, "exit code 1");
        fixture.settle();
        assert_eq!(outcomes(&fixture, &operation), [InProgress, Waiting]);
    }
    fixture.report_status(&slot, SlotPhase::Backoff, "exit code 1");
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [RollingBack, Waiting]);
    replaced(&mut fixture, "e1");
    let finished = fixture.operation(&operation);
    assert_eq!(finished.state, OperationState::Failed);
    assert!(finished.message.contains("1 failed: e1/0 (exit code 1)"), "{}", finished.message);
}
