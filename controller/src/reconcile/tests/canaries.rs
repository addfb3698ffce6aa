//! Canaries go first, and the rest waits for a promotion.

use muster_common::executor::Contact;
use muster_common::operation::SlotOutcome::{Away, Done, InProgress, Waiting};
use muster_common::operation::{Canary, ClusterOpSpec, OperationRequest, OperationState, Steer};

use super::rollout::{asked, content, outcomes, replaced, running, update, wide};
use crate::state::Refusal;

#[test]
fn canaries_go_first_and_the_rest_waits_for_a_promotion() {
    let mut fixture = running(4);
    let canary = Some(Canary::Percent(50));
    let operation = update(&mut fixture, "new", ClusterOpSpec { canary, ..wide() });
    assert_eq!(outcomes(&fixture, &operation), [InProgress, InProgress, Waiting, Waiting]);
    replaced(&mut fixture, "e1");
    assert_eq!(fixture.operation(&operation).state, OperationState::Running);
    replaced(&mut fixture, "e2");
    assert_eq!(fixture.operation(&operation).state, OperationState::AwaitingPromotion);
    // The operation's own time does not pass meanwhile.
    fixture.advance(3600);
    fixture.settle();
    assert_eq!(fixture.operation(&operation).state, OperationState::AwaitingPromotion);
    fixture.steer(&operation, Steer::Promote).unwrap();
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [Done, Done, InProgress, InProgress]);
    replaced(&mut fixture, "e3");
    replaced(&mut fixture, "e4");
    assert_eq!(fixture.operation(&operation).state, OperationState::Succeeded);
}

#[test]
fn who_is_away_promotes_nothing_and_resumes_nothing() {
    for steer in [None, Some(Steer::Pause)] {
        // Away before the canary is through, or after.
        for away_first in [false, true] {
            let mut fixture = running(2);
            let canary = Some(Canary::Percent(50));
            let operation = update(&mut fixture, "new", ClusterOpSpec { canary, ..wide() });
            if away_first {
                fixture.contact("e2", Contact::Unreachable);
            }
            if let Some(steer) = steer {
                fixture.steer(&operation, steer).unwrap();
            }
            replaced(&mut fixture, "e1");
            fixture.contact("e2", Contact::Unreachable);
            fixture.settle();
            let held =
                if steer.is_none() { OperationState::AwaitingPromotion } else { OperationState::Paused };
            assert_eq!(fixture.operation(&operation).state, held);
            fixture.contact("e2", Contact::Connected);
            fixture.settle();
            assert_eq!(asked(&fixture), ["new", "old"], "nobody said that it may go on");
        }
    }
}

#[test]
fn canaries_are_chosen_by_tag_and_somebody_must_have_it() {
    let mut fixture = running(3);
    let canary = |tag: &str| Some(Canary::Tag(tag.to_owned()));
    let spec = Box::new(content("new"));
    let op_spec = Some(ClusterOpSpec { canary: canary("nobody"), ..wide() });
    let refused = fixture.submit(OperationRequest::UpdateSpec { spec, stop_first: false, op_spec });
    assert_eq!(refused, Err(Refusal::NoCanary("nobody".to_owned())));
    let operation = update(&mut fixture, "new", ClusterOpSpec { canary: canary("e2.example.org"), ..wide() });
    assert_eq!(outcomes(&fixture, &operation), [Waiting, InProgress, Waiting]);
}

#[test]
fn canaries_that_nobody_promotes_fail_after_a_week() {
    let mut fixture = running(2);
    let canary = Some(Canary::Percent(50));
    let operation = update(&mut fixture, "new", ClusterOpSpec { canary, ..wide() });
    replaced(&mut fixture, "e1");
    fixture.advance(7 * 86_400);
    fixture.settle();
    let finished = fixture.operation(&operation);
    assert_eq!(finished.state, OperationState::Failed);
    assert!(finished.message.starts_with("nobody said how to go on while it was AWAITING_PROMOTION"));
}

#[test]
fn canaries_that_are_away_are_named_as_what_kept_the_rest() {
    let mut fixture = running(2);
    fixture.contact("e1", Contact::Unreachable);
    let canary = Some(Canary::Tag("e1.example.org".to_owned()));
    let operation = update(&mut fixture, "new", ClusterOpSpec { canary, ..wide() });
    assert_eq!(outcomes(&fixture, &operation), [Away, Waiting]);
    fixture.advance(900);
    fixture.settle();
    let finished = fixture.operation(&operation);
    assert_eq!(finished.state, OperationState::Failed);
    assert!(
        finished.message.contains("1 are away: e1/0")
            && finished.message.ends_with("the canaries are away, and the rest waits for them"),
        "{}",
        finished.message
    );
}

#[test]
fn what_is_not_to_run_the_new_spec_is_no_canary() {
    let mut fixture = running(2);
    fixture.tag("e1", &["first"]);
    fixture.tag("e2", &["second"]);
    let mut spec = serde_json::to_value(content("new")).unwrap();
    spec["placementPolicy"]["tags"] = serde_json::json!({"all": ["second"]});
    let spec: Box<_> = serde_json::from_value(spec).unwrap();
    let op_spec = Some(ClusterOpSpec { canary: Some(Canary::Tag("first".to_owned())), ..wide() });
    let refused = fixture.submit(OperationRequest::UpdateSpec { spec, stop_first: false, op_spec });
    assert_eq!(refused, Err(Refusal::NoCanary("first".to_owned())));
}

#[test]
fn a_canary_that_came_to_run_nothing_is_not_through() {
    let mut fixture = running(2);
    fixture.tag("e1", &["canary", "ssd"]);
    fixture.tag("e2", &["ssd"]);
    let mut spec = serde_json::to_value(content("new")).unwrap();
    spec["placementPolicy"]["tags"] = serde_json::json!({"all": ["ssd"]});
    let spec: Box<_> = serde_json::from_value(spec).unwrap();
    let op_spec = Some(ClusterOpSpec { canary: Some(Canary::Tag("canary".to_owned())), ..wide() });
    let operation =
        fixture.submit(OperationRequest::UpdateSpec { spec, stop_first: false, op_spec }).unwrap();
    // Before its turn comes it is none of those that the spec is for.
    fixture.tag("e1", &["canary"]);
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [Done, Waiting]);
    assert_eq!(fixture.operation(&operation).state, OperationState::Running, "there is nothing to look at");
    fixture.advance(900);
    fixture.settle();
    let finished = fixture.operation(&operation);
    assert_eq!(finished.state, OperationState::Failed);
    assert!(
        finished.message.ends_with("; no canary runs the new spec, and the rest waits for them"),
        "{}",
        finished.message
    );
}
