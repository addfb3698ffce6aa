//! A rollout that failed is undone, or what it left catches up: what runs the stable spec already stays as it is.

use muster_common::executor::Contact;
use muster_common::id::Epoch;
use muster_common::operation::SlotOutcome::{
    Away, Done, Failed, InProgress, RolledBack, RollingBack, Waiting,
};
use muster_common::operation::{Canary, ClusterOpSpec, FailureStrategy, OperationRequest, OperationState};
use muster_common::slot::SlotPhase;

use super::rollout::{asked, content, kept_old, outcomes, replaced, roll_back, running, update, wide};
use crate::state::codec::{read_snapshot, write_snapshot};
use crate::state::testing::*;

const ID: &str = "web-1";

fn epochs(fixture: &Fixture) -> Vec<Epoch> {
    fixture.state.slots_of(&service_id(ID)).map(|(_, slot)| slot.epoch).collect()
}

/// Three slots: a rollout got through in the first and failed in the second.
fn half_way() -> Fixture {
    let mut fixture = running(3);
    update(&mut fixture, "new", ClusterOpSpec::default());
    replaced(&mut fixture, "e1");
    kept_old(&mut fixture, "e2");
    fixture
}

#[test]
fn slots_that_run_the_same_spec_are_not_replaced_when_a_rollback_is_undone() {
    let mut fixture = half_way();
    let op_spec = Some(ClusterOpSpec { failure_strategy: FailureStrategy::Rollback, ..wide() });
    let request = OperationRequest::Rollback {
        service_id: ID.to_owned(),
        generation: None,
        stop_first: false,
        op_spec,
    };
    let operation = fixture.submit(request).unwrap();
    fixture.settle();
    replaced(&mut fixture, "e2");
    assert_eq!(outcomes(&fixture, &operation), [InProgress, Done, Done]);
    let before = epochs(&fixture);
    kept_old(&mut fixture, "e1");
    assert_eq!(outcomes(&fixture, &operation), [RollingBack, RolledBack, RolledBack]);
    let now = epochs(&fixture);
    assert!(now[0] > before[0], "it holds something else");
    assert_eq!(now[1..], before[1..], "they run what is given back");
    replaced(&mut fixture, "e1");
    assert_eq!(fixture.operation(&operation).state, OperationState::Failed);
    assert_eq!(epochs(&fixture), now);
    let stable = fixture.service(ID).specs.stable();
    assert!(fixture.state.slots_of(&service_id(ID)).all(|(_, slot)| slot.spec == stable));
}

/// A cluster made of a backup of when `e2` was away, and had missed a rollout.
fn restored() -> Fixture {
    let mut fixture = running(2);
    fixture.contact("e2", Contact::Unreachable);
    update(&mut fixture, "new", ClusterOpSpec::default());
    replaced(&mut fixture, "e1");
    fixture.state.begin_history(fixture.state.revision(), "restored".to_owned());
    fixture.state = read_snapshot(&write_snapshot(&fixture.state)).unwrap();
    fixture.lead_at(fixture.now);
    fixture.contact("e2", Contact::Connected);
    fixture.settle();
    fixture
}

#[test]
fn what_runs_when_a_cluster_is_restored_stays_until_users_ask() {
    for by_restart in [true, false] {
        let mut fixture = restored();
        assert_eq!(asked(&fixture), ["new", "old"], "it may have caught up since the backup, or may not");
        let before = epochs(&fixture);
        if by_restart {
            fixture.restart(ID, wide(), false);
        } else {
            update(&mut fixture, "new", wide());
        }
        fixture.settle();
        let now = epochs(&fixture);
        assert_eq!(asked(&fixture), ["new", "new"]);
        replaced(&mut fixture, "e1");
        replaced(&mut fixture, "e2");
        assert_eq!(epochs(&fixture), now, "each is replaced once");
        assert_eq!(now[0] > before[0], by_restart);
        assert!(now[1] > before[1]);
        // From then on it catches up like any other.
        fixture.contact("e2", Contact::Unreachable);
        update(&mut fixture, "newer", ClusterOpSpec::default());
        replaced(&mut fixture, "e1");
        fixture.contact("e2", Contact::Connected);
        fixture.settle();
        assert_eq!(asked(&fixture), ["newer", "newer"]);
    }
}

#[test]
fn slots_that_run_the_same_spec_are_not_replaced_to_catch_up() {
    let mut fixture = half_way();
    roll_back(&mut fixture, None).unwrap();
    fixture.settle();
    replaced(&mut fixture, "e2");
    kept_old(&mut fixture, "e1");
    let op_spec = ClusterOpSpec { failure_strategy: FailureStrategy::Rollback, ..ClusterOpSpec::default() };
    let operation = update(&mut fixture, "third", op_spec);
    let before = epochs(&fixture);
    kept_old(&mut fixture, "e1");
    replaced(&mut fixture, "e1");
    assert_eq!(fixture.operation(&operation).state, OperationState::Failed);
    assert_eq!(asked(&fixture), ["old"; 3]);
    assert_eq!(epochs(&fixture)[1..], before[1..], "they ran it all the time");
    let stable = fixture.service(ID).specs.stable();
    assert!(fixture.state.slots_of(&service_id(ID)).all(|(_, slot)| slot.spec == stable));
}

#[test]
fn what_a_rollback_began_with_the_same_spec_goes_on_when_it_is_undone() {
    let mut fixture = half_way();
    let op_spec = Some(ClusterOpSpec { failure_strategy: FailureStrategy::Rollback, ..wide() });
    let request =
        OperationRequest::Rollback { service_id: ID.to_owned(), generation: None, stop_first: true, op_spec };
    let operation = fixture.submit(request).unwrap();
    fixture.settle();
    let before = epochs(&fixture);
    fixture.report_status(&slot_id(ID, "e1", 0), SlotPhase::Failed, "it ends at once");
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [RollingBack, RollingBack, RolledBack]);
    assert_eq!(epochs(&fixture)[1], before[1], "it is on its way");
    fixture.report_status(&slot_id(ID, "e2", 0), SlotPhase::Failed, "it ends at once");
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [RollingBack, Failed, RolledBack]);
}

#[test]
fn a_lost_node_holds_up_no_way_back() {
    let mut fixture = running(3);
    let op_spec =
        Some(ClusterOpSpec { failure_strategy: FailureStrategy::Rollback, ..ClusterOpSpec::default() });
    let request = OperationRequest::UpdateSpec { spec: Box::new(content("new")), stop_first: true, op_spec };
    let operation = fixture.submit(request).unwrap();
    fixture.settle();
    replaced(&mut fixture, "e1");
    fixture.report_status(&slot_id(ID, "e2", 0), SlotPhase::Failed, "it ends at once");
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [RollingBack, RollingBack, Waiting]);
    assert_eq!(asked(&fixture), ["new", "old", "old"], "what is down goes first");
    fixture.contact("e2", Contact::Unreachable);
    fixture.settle();
    assert_eq!(asked(&fixture), ["new", "old", "old"], "it may be down by our doing");
    fixture.contact("e2", Contact::Lost);
    fixture.settle();
    assert_eq!(asked(&fixture), ["old"; 3]);
    replaced(&mut fixture, "e1");
    let finished = fixture.operation(&operation);
    assert_eq!(finished.state, OperationState::Failed);
    assert_eq!(outcomes(&fixture, &operation), [RolledBack, Away, Waiting]);
}

#[test]
fn what_is_lost_is_no_proof() {
    let mut fixture = running(1);
    let request =
        OperationRequest::UpdateSpec { spec: Box::new(content("new")), stop_first: true, op_spec: None };
    let operation = fixture.submit(request).unwrap();
    let stable = fixture.service(ID).specs.stable();
    fixture.settle();
    fixture.contact("e1", Contact::Lost);
    fixture.advance(600);
    fixture.settle();
    let finished = fixture.operation(&operation);
    assert_eq!((finished.state, finished.slots[0].outcome), (OperationState::Failed, Away));
    assert!(finished.message.contains("no slot showed that the new spec is good"), "{}", finished.message);
    assert_eq!(fixture.service(ID).specs.stable(), stable);
}

#[test]
fn a_way_back_says_whose_time_was_over() {
    let mut fixture = running(2);
    let op_spec = ClusterOpSpec { failure_strategy: FailureStrategy::Rollback, ..wide() };
    let operation = update(&mut fixture, "new", op_spec);
    fixture.advance(300);
    fixture.settle();
    let message = fixture.operation(&operation).message;
    assert!(
        message.starts_with(
            "0 of 2 slots are done; 2 failed: e1/0 (TIMED_OUT: timed out in UPDATE_SPEC after 300 s"
        ),
        "{message}"
    );
    replaced(&mut fixture, "e1");
    replaced(&mut fixture, "e2");
    let finished = fixture.operation(&operation);
    assert_eq!(finished.state, OperationState::Failed);
    assert!(
        finished.message.starts_with("0 of 2 slots are done; 2 failed: e1/0 (TIMED_OUT: "),
        "{}",
        finished.message
    );
}

#[test]
fn a_way_back_says_that_nobody_promoted_it() {
    let mut fixture = running(2);
    let canary = Some(Canary::Percent(50));
    let op_spec = ClusterOpSpec { failure_strategy: FailureStrategy::Rollback, canary, ..wide() };
    let operation = update(&mut fixture, "new", op_spec);
    replaced(&mut fixture, "e1");
    fixture.advance(7 * 86_400);
    fixture.settle();
    let known = fixture.operation(&operation);
    assert_eq!(known.state, OperationState::RollingBack);
    assert!(known.message.starts_with("nobody said how to go on while it was AWAITING_PROMOTION; "));
}
