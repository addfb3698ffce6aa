//! The time that a rollout, and each of its slots, has, whoever leads meanwhile.

use muster_common::cluster::ClusterState;
use muster_common::duration::DroveDuration;
use muster_common::executor::Contact;
use muster_common::operation::SlotOutcome::{Away, Done, Failed, InProgress, RollingBack, Settling, Waiting};
use muster_common::operation::{
    ClusterOpSpec, FailureStrategy, OperationRequest, OperationState, Parallelism, Steer,
};
use muster_common::reason::Reason;
use muster_common::slot::SlotPhase;

use super::rollout::{content, outcomes, replaced, running, update, wide};
use crate::reconcile;
use crate::state::codec::{read_snapshot, write_snapshot};
use crate::state::testing::*;
use crate::state::{Command, Reply};

const ID: &str = "web-1";

#[test]
fn a_slot_is_done_when_its_instance_stayed_healthy() {
    let mut fixture = running(2);
    let settle = DroveDuration::from_secs(10);
    let operation = update(&mut fixture, "new", ClusterOpSpec { settle, ..ClusterOpSpec::default() });
    replaced(&mut fixture, "e1");
    assert_eq!(outcomes(&fixture, &operation), [Settling, Waiting]);
    fixture.advance(9);
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [Settling, Waiting]);
    fixture.advance(1);
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [Done, InProgress]);
    replaced(&mut fixture, "e2");
    let slot = slot_id(ID, "e2", 0);
    let epoch = fixture.state.slot(&slot).unwrap().epoch;
    fixture.report_in(&format!("{}.{epoch}", name_in(&slot)), &slot, &UP_AND_DOWN);
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [Done, Failed]);
    assert_eq!(fixture.operation(&operation).state, OperationState::Failed);
}

#[test]
fn what_did_not_stay_healthy_long_enough_by_the_deadline_has_timed_out() {
    let mut fixture = running(2);
    let settle = DroveDuration::from_secs(10);
    for executor in ["e1", "e2"] {
        fixture.contact(executor, Contact::Unreachable);
    }
    let operation = update(&mut fixture, "new", ClusterOpSpec { settle, ..ClusterOpSpec::default() });
    fixture.advance(615);
    fixture.contact("e1", Contact::Connected);
    fixture.settle();
    replaced(&mut fixture, "e1");
    fixture.advance(5);
    fixture.settle();
    let finished = fixture.operation(&operation);
    assert_eq!(outcomes(&fixture, &operation), [Failed, Away]);
    assert_eq!(finished.slots[0].reason, Some(Reason::TimedOut));
    assert_eq!(
        finished.slots[0].message,
        "timed out in UPDATE_SPEC after 620 seconds; it was HEALTHY, but not yet for 10 seconds"
    );
    assert!(
        finished.message.starts_with("timed out in UPDATE_SPEC after 620 seconds; ")
            && finished.message.contains("1 failed: e1/0 (TIMED_OUT: ")
            && finished.message.contains("1 are away: e2/0"),
        "{}",
        finished.message
    );
}

#[test]
fn what_the_deadline_of_a_way_back_leaves_is_named() {
    let mut fixture = running(2);
    let op_spec = ClusterOpSpec {
        failure_strategy: FailureStrategy::Rollback,
        parallelism: Parallelism::Slots(1),
        ..wide()
    };
    let (spec, op_spec) = (Box::new(content("new")), Some(op_spec));
    let request = OperationRequest::UpdateSpec { spec, stop_first: true, op_spec };
    let operation = fixture.submit(request).unwrap();
    fixture.settle();
    replaced(&mut fixture, "e1");
    fixture.report_status(&slot_id(ID, "e2", 0), SlotPhase::Failed, "readiness check failed");
    fixture.settle();
    assert_eq!(fixture.operation(&operation).state, OperationState::RollingBack);
    // It may be down, and keeps its place until its time is over; the other one waits for it.
    fixture.contact("e2", Contact::Unreachable);
    fixture.advance(299);
    fixture.settle();
    assert_eq!(fixture.operation(&operation).finished, None);
    fixture.advance(1);
    fixture.settle();
    let finished = fixture.operation(&operation);
    assert_eq!(outcomes(&fixture, &operation), [RollingBack, Failed]);
    assert!(finished.message.contains("1 were not rolled back: e1/0"), "{}", finished.message);
}

#[test]
fn each_slot_has_the_whole_timeout_for_itself() {
    let mut fixture = running(3);
    let operation = update(&mut fixture, "new", ClusterOpSpec::default());
    for executor in ["e1", "e2"] {
        fixture.advance(299);
        fixture.settle();
        replaced(&mut fixture, executor);
    }
    fixture.lead_at(fixture.now);
    fixture.settle();
    fixture.advance(299);
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [Done, Done, InProgress], "by the clock of one leader");
    fixture.advance(1);
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [Done, Done, Failed]);
    let finished = fixture.operation(&operation);
    assert_eq!(finished.state, OperationState::Failed);
    assert!(finished.slots[2].message.starts_with("timed out in UPDATE_SPEC after 300 seconds; "));
}

#[test]
fn a_new_leader_gives_what_was_left_whatever_its_clock_shows() {
    for skew in [-86_400_000_i64, 86_400_000] {
        let mut fixture = running(1);
        let operation = update(&mut fixture, "new", ClusterOpSpec::default());
        fixture.advance(200);
        fixture.contact("e1", Contact::Unreachable);
        fixture.contact("e1", Contact::Connected);
        let there = fixture.now.0.saturating_add_signed(skew.max(-i64::try_from(fixture.now.0).unwrap()));
        fixture.lead_at(muster_common::time::Timestamp(there));
        fixture.settle();
        assert_eq!(fixture.operation(&operation).state, OperationState::Running);
        fixture.advance(99);
        fixture.settle();
        assert_eq!(fixture.operation(&operation).state, OperationState::Running);
        fixture.advance(1);
        fixture.settle();
        assert_eq!(fixture.operation(&operation).state, OperationState::Failed, "300 s in all");
    }
}

#[test]
fn the_time_to_wait_for_a_users_word_does_not_begin_anew() {
    const DAY: u64 = 86_400;
    let mut fixture = running(2);
    let operation = update(&mut fixture, "new", ClusterOpSpec::default());
    // What a leader proposes tells the log the time.
    let note_time = |fixture: &mut Fixture| {
        fixture.apply(&Command::Plan { at: fixture.now, changes: Vec::new() });
    };
    fixture.steer(&operation, Steer::Pause).unwrap();
    replaced(&mut fixture, "e1");
    fixture.advance(6 * DAY);
    note_time(&mut fixture);
    // Each time that it is held it has the whole time.
    fixture.steer(&operation, Steer::Resume).unwrap();
    fixture.steer(&operation, Steer::Pause).unwrap();
    fixture.settle();
    fixture.advance(3 * DAY);
    note_time(&mut fixture);
    fixture.lead_at(muster_common::time::Timestamp(fixture.now.0 + 1_000 * 40 * DAY));
    fixture.settle();
    fixture.state = read_snapshot(&write_snapshot(&fixture.state)).unwrap();
    fixture.advance(3 * DAY);
    note_time(&mut fixture);
    fixture.set_cluster_state(ClusterState::Maintenance);
    fixture.advance(30 * DAY);
    fixture.set_cluster_state(ClusterState::Normal);
    fixture.settle();
    fixture.advance(DAY - 1);
    fixture.settle();
    assert_eq!(fixture.operation(&operation).state, OperationState::Paused);
    fixture.advance(1);
    fixture.settle();
    let finished = fixture.operation(&operation);
    assert_eq!(finished.state, OperationState::Failed, "held for 3, 3 and 1 days");
    assert!(finished.message.starts_with("nobody said how to go on while it was PAUSED"));
}

#[test]
fn under_a_new_leader_a_slot_has_to_stay_healthy_for_the_whole_time_again() {
    let mut fixture = running(1);
    let settle = DroveDuration::from_secs(10);
    let operation = update(&mut fixture, "new", ClusterOpSpec { settle, ..ClusterOpSpec::default() });
    replaced(&mut fixture, "e1");
    // Its clock is a day ahead.
    let there = fixture.now.0 + 86_400_000;
    fixture.lead_at(muster_common::time::Timestamp(there));
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [Settling]);
    fixture.advance(9);
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [Settling]);
    fixture.advance(1);
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [Done]);
}

#[test]
fn what_a_leader_says_out_of_its_term_moves_no_clock_and_changes_nothing() {
    let mut fixture = running(1);
    let spec = Box::new(content("new"));
    let request = OperationRequest::UpdateSpec { spec, stop_first: false, op_spec: None };
    let operation = fixture.submit(request).unwrap();
    fixture.lead_in_term(2);
    let mut early = fixture.now;
    early.0 += 86_400_000;
    let verdicts = vec![(executor_id("e1"), Contact::Connected)];
    let made_before = reconcile::plan(&fixture.state, early).changes;
    let skipped = u32::try_from(made_before.len()).unwrap();
    let reply = fixture.apply_in_term(1, &Command::Plan { at: early, changes: made_before });
    assert_eq!(reply, Reply::Planned { applied: 0, skipped });
    assert_eq!(fixture.operation(&operation).deadline, None);
    fixture.settle();
    let deadline = fixture.operation(&operation).deadline;
    // The next leader's sessions are open before it is announced.
    fixture.apply_in_term(3, &Command::ExecutorContact { at: early, verdicts });
    fixture.lead_in_term(3);
    fixture.settle();
    assert_eq!(fixture.operation(&operation).deadline, deadline, "nothing of its time is lost");
}
