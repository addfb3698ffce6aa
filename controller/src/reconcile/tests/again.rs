//! A rollout that did not succeed is asked for again: what it left proves nothing before it is HEALTHY.

use muster_common::executor::Contact;
use muster_common::id::OperationId;
use muster_common::operation::SlotOutcome::{Away, Done, InProgress, Waiting};
use muster_common::operation::{Canary, ClusterOpSpec, OperationRequest, OperationState};
use muster_common::slot::SlotPhase;

use super::rollout::{asked, content, kept_old, outcomes, replaced, running, update, wide};
use crate::state::testing::*;

const ID: &str = "web-1";

fn apply(fixture: &mut Fixture, stop_first: bool) -> OperationId {
    let (spec, op_spec) = (Box::new(content("new")), Some(ClusterOpSpec::default()));
    let operation = fixture.submit(OperationRequest::UpdateSpec { spec, stop_first, op_spec }).unwrap();
    fixture.settle();
    operation
}

/// The first of the slots was begun, and not filled when the time was over.
fn timed_out(slots: usize, stop_first: bool, phase: Option<SlotPhase>) -> Fixture {
    let mut fixture = running(slots);
    let operation = apply(&mut fixture, stop_first);
    let slot = slot_id(ID, "e1", 0);
    if stop_first {
        let old = fixture.state.live_instances_in(&slot).next().unwrap().record.clone();
        let gone = record(old.id.as_str(), &slot, old.epoch, &UP_AND_DOWN);
        fixture.report("e1", vec![gone], Vec::new());
    }
    if let Some(phase) = phase {
        fixture.report_status(&slot, phase, "it is not there yet");
    }
    fixture.advance(300);
    fixture.settle();
    assert_eq!(fixture.operation(&operation).state, OperationState::Failed);
    fixture
}

#[test]
fn what_is_not_filled_yet_is_awaited_and_nothing_else_is_begun_meanwhile() {
    for stop_first in [true, false] {
        for phase in [None, Some(SlotPhase::Filling), Some(SlotPhase::Backoff)] {
            let mut fixture = timed_out(2, stop_first, phase);
            let stable = fixture.service(ID).specs.stable();
            let operation = apply(&mut fixture, stop_first);
            assert_eq!(outcomes(&fixture, &operation), [InProgress, Waiting], "{stop_first} {phase:?}");
            assert_eq!(asked(&fixture), ["new", "old"]);
            assert_eq!(fixture.service(ID).specs.stable(), stable);
            replaced(&mut fixture, "e1");
            assert_eq!(outcomes(&fixture, &operation), [Done, InProgress]);
            replaced(&mut fixture, "e2");
            assert_eq!(fixture.operation(&operation).state, OperationState::Succeeded);
            assert_eq!(fixture.service(ID).specs.stable(), fixture.service(ID).specs.wanted());
        }
    }
}

#[test]
fn what_never_was_healthy_is_never_stable_however_often_it_is_asked_for() {
    let mut fixture = timed_out(1, true, Some(SlotPhase::Backoff));
    let stable = fixture.service(ID).specs.stable();
    for _ in 0..3 {
        let operation = apply(&mut fixture, true);
        assert_eq!(fixture.operation(&operation).state, OperationState::Running);
        fixture.advance(300);
        fixture.settle();
        let finished = fixture.operation(&operation);
        assert_eq!(finished.state, OperationState::Failed);
        assert!(finished.message.contains("no slot showed") || finished.message.contains("1 failed"));
        assert_eq!(fixture.service(ID).specs.stable(), stable);
    }
}

#[test]
fn what_was_taken_down_out_of_sight_keeps_its_place() {
    let mut fixture = timed_out(2, true, Some(SlotPhase::Backoff));
    fixture.contact("e1", Contact::Unreachable);
    // The way that it was begun decides whether it may be down.
    apply(&mut fixture, false);
    assert_eq!(asked(&fixture), ["new", "old"]);
}

#[test]
fn what_gave_up_out_of_sight_keeps_its_place_whatever_is_asked_for_next() {
    for phase in [SlotPhase::Failed, SlotPhase::Backoff] {
        for next in ["new", "newer", "old"] {
            let mut fixture = timed_out(3, true, Some(phase));
            let untouched = asked(&fixture)[1..].to_vec();
            fixture.contact("e1", Contact::Unreachable);
            let (spec, op_spec) = (Box::new(content(next)), Some(ClusterOpSpec::default()));
            let request = OperationRequest::UpdateSpec { spec, stop_first: true, op_spec };
            let operation = fixture.submit(request).unwrap();
            fixture.settle();
            let epochs = |fixture: &Fixture| {
                let service = service_id(ID);
                let slots = fixture.state.slots_of(&service);
                slots.skip(1).map(|(_, slot)| slot.epoch).collect::<Vec<_>>()
            };
            let before = epochs(&fixture);
            assert_eq!(asked(&fixture)[1..], untouched, "{phase:?} {next}");
            if next == "old" {
                continue; // the others run it already
            }
            if fixture.operation(&operation).slots[0].outcome == Away && phase == SlotPhase::Failed {
                let why = &fixture.operation(&operation).slots[1].message;
                assert_eq!(why, "the wave waits for what it may have taken down: e1/0, which is away");
            }
            // Who may never come back is not waited for.
            fixture.contact("e1", Contact::Lost);
            fixture.settle();
            if phase == SlotPhase::Failed || next == "newer" {
                assert_ne!(epochs(&fixture), before, "{phase:?} {next}");
            }
        }
    }
}

#[test]
fn who_joins_a_rollout_that_has_no_canaries_waits_for_none() {
    for canary in [Canary::Percent(30), Canary::Tag("e1.example.org".to_owned())] {
        let mut fixture = timed_out(1, false, Some(SlotPhase::Filling));
        let operation = update(&mut fixture, "new", ClusterOpSpec { canary: Some(canary), ..wide() });
        assert_eq!(outcomes(&fixture, &operation), [InProgress]);
        fixture.register("e2", None);
        fixture.settle();
        assert_eq!(outcomes(&fixture, &operation), [InProgress, InProgress]);
        replaced(&mut fixture, "e1");
        replaced(&mut fixture, "e2");
        assert_eq!(fixture.operation(&operation).state, OperationState::Succeeded);
    }
}

#[test]
fn what_is_well_out_of_sight_takes_no_place() {
    let mut fixture = running(3);
    let operation = apply(&mut fixture, true);
    replaced(&mut fixture, "e1");
    fixture.report_status(&slot_id(ID, "e2", 0), SlotPhase::Failed, "no such image");
    fixture.settle();
    assert_eq!(fixture.operation(&operation).state, OperationState::Failed);
    fixture.contact("e1", Contact::Unreachable);
    let (spec, op_spec) = (Box::new(content("newer")), Some(ClusterOpSpec::default()));
    let operation = fixture.submit(OperationRequest::UpdateSpec { spec, stop_first: true, op_spec }).unwrap();
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [Away, InProgress, Waiting]);
}

#[test]
fn a_lost_executor_makes_no_new_generation_of_what_is_stable() {
    let mut fixture = running(2);
    let before = fixture.service(ID).generation;
    fixture.contact("e2", Contact::Lost);
    let (spec, op_spec) = (Box::new(content("old")), None);
    let operation =
        fixture.submit(OperationRequest::UpdateSpec { spec, stop_first: false, op_spec }).unwrap();
    assert_eq!(fixture.operation(&operation).state, OperationState::Succeeded);
    assert_eq!(fixture.service(ID).generation, before);
}

/// A rollout failed in the second of two slots, and a user had that tried again.
fn retried() -> Fixture {
    let mut fixture = running(2);
    let operation = apply(&mut fixture, false);
    replaced(&mut fixture, "e1");
    kept_old(&mut fixture, "e2");
    assert_eq!(fixture.operation(&operation).state, OperationState::Failed);
    fixture.submit(OperationRequest::Retry { service_id: ID.to_owned() }).unwrap();
    fixture.settle();
    fixture
}

#[test]
fn what_came_to_run_everywhere_is_stable() {
    let mut fixture = retried();
    let specs = |fixture: &Fixture| {
        let specs = &fixture.service(ID).specs;
        (specs.stable(), specs.wanted())
    };
    let (stable, wanted) = specs(&fixture);
    assert_ne!(stable, wanted);
    replaced(&mut fixture, "e2");
    assert_eq!(specs(&fixture), (wanted, wanted));
    fixture.register("e3", None);
    fixture.settle();
    assert_eq!(asked(&fixture), ["new"; 3], "who joins runs what all run");
}

#[test]
fn what_runs_in_some_slots_only_is_not_stable_when_they_are_counted_anew() {
    let mut fixture = retried();
    let stable = fixture.service(ID).specs.stable();
    let service_id = ID.to_owned();
    fixture.submit(OperationRequest::UpdateInstanceCount { service_id, instances_per_host: 2 }).unwrap();
    fixture.settle();
    assert_eq!(asked(&fixture), ["new", "old", "new", "old"]);
    assert_eq!(fixture.service(ID).specs.stable(), stable);
}

#[test]
fn who_is_switched_off_and_on_again_runs_what_is_wanted() {
    for request in [
        OperationRequest::Activate { service_id: ID.to_owned() },
        OperationRequest::DeployTestInstance { service_id: ID.to_owned() },
    ] {
        let mut fixture = timed_out(2, true, Some(SlotPhase::Backoff));
        fixture.deactivate(ID);
        fixture.settle();
        fixture.submit(request).unwrap();
        fixture.settle();
        let asked = asked(&fixture);
        assert!(!asked.is_empty() && asked.iter().all(|spec| spec == "new"), "{asked:?}");
    }
}

#[test]
fn what_came_to_be_for_nobody_is_not_taken_for_good() {
    let mut fixture = running(2);
    fixture.tag("e2", &["ssd"]);
    let stable = fixture.service(ID).specs.stable();
    let mut spec = serde_json::to_value(content("new")).unwrap();
    spec["placementPolicy"]["tags"] = serde_json::json!({"all": ["ssd"]});
    let (spec, op_spec) = (Box::new(serde_json::from_value(spec).unwrap()), None);
    let operation =
        fixture.submit(OperationRequest::UpdateSpec { spec, stop_first: false, op_spec }).unwrap();
    fixture.tag("e2", &[]);
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [Done, Done]);
    fixture.advance(600);
    fixture.settle();
    let finished = fixture.operation(&operation);
    assert_eq!(finished.state, OperationState::Failed);
    assert!(finished.message.contains("no slot showed that the new spec is good"), "{}", finished.message);
    assert_eq!(fixture.service(ID).specs.stable(), stable);
    assert_eq!(asked(&fixture), ["old"; 2], "it would have left all at once");
}
