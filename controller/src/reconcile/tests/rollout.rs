//! `UPDATE_SPEC` and ROLLBACK, step by step: what each slot is asked to run, and what is left when it fails.

use muster_common::executor::Contact;
use muster_common::id::{OperationId, SlotId};
use muster_common::operation::SlotOutcome::{Done, Failed, InProgress, RolledBack, RollingBack, Waiting};
use muster_common::operation::{
    Canary, ClusterOpSpec, FailureStrategy, OperationRequest, OperationState, Parallelism, SlotOutcome, Steer,
};
use muster_common::service::ServiceState;
use muster_common::slot::{ReplaceMode, SlotPhase};
use muster_common::spec::LocalServiceSpec;

use crate::reconcile;
use crate::state::testing::*;
use crate::state::view;
use crate::state::{Change, Command, Refusal, Reply, slot_table};

const ID: &str = "web-1";

pub(super) fn content(text: &str) -> LocalServiceSpec {
    let mut spec = spec("web");
    spec.env.insert("CONTENT".to_owned(), text.to_owned());
    spec
}

pub(super) fn running(executors: usize) -> Fixture {
    let mut fixture = Fixture::with_executors(executors);
    fixture.running(content("old"), 1);
    fixture
}

pub(super) fn wide() -> ClusterOpSpec {
    ClusterOpSpec { parallelism: Parallelism::Percent(100), ..ClusterOpSpec::default() }
}

pub(super) fn update(fixture: &mut Fixture, text: &str, op_spec: ClusterOpSpec) -> OperationId {
    let spec = Box::new(content(text));
    let request = OperationRequest::UpdateSpec { spec, stop_first: false, op_spec: Some(op_spec) };
    let operation = fixture.submit(request).unwrap();
    fixture.settle();
    operation
}

pub(super) fn roll_back(fixture: &mut Fixture, generation: Option<u64>) -> Result<OperationId, Refusal> {
    let service_id = ID.to_owned();
    let op_spec = Some(wide());
    fixture.submit(OperationRequest::Rollback { service_id, generation, stop_first: false, op_spec })
}

/// What the executor of each slot is told to run.
pub(super) fn asked(fixture: &Fixture) -> Vec<String> {
    let executors: Vec<_> = fixture.state.executors().map(|executor| executor.record.id.clone()).collect();
    let tables = executors.iter().map(|executor| slot_table(&fixture.state, executor));
    tables.flat_map(|table| table.rows).map(|row| row.spec.env["CONTENT"].clone()).collect()
}

pub(super) fn outcomes(fixture: &Fixture, operation: &OperationId) -> Vec<SlotOutcome> {
    fixture.operation(operation).slots.iter().map(|slot| slot.outcome).collect()
}

/// A new instance of the slot's epoch became HEALTHY, and all others in it went.
pub(super) fn replaced(fixture: &mut Fixture, executor: &str) {
    let slot = slot_id(ID, executor, 0);
    let epoch = fixture.state.slot(&slot).unwrap().epoch;
    let old: Vec<_> = fixture.state.live_instances_in(&slot).map(|old| old.record.clone()).collect();
    fixture.report_in(&format!("{}.{epoch}", name_in(&slot)), &slot, &UP);
    for old in old {
        let gone = record(old.id.as_str(), &slot, old.epoch, &UP_AND_DOWN);
        fixture.report(executor, vec![gone], Vec::new());
    }
    fixture.settle();
}

pub(super) fn kept_old(fixture: &mut Fixture, executor: &str) {
    let slot: SlotId = slot_id(ID, executor, 0);
    fixture.report_status(&slot, SlotPhase::KeptOld, "readiness check failed");
    fixture.settle();
}

#[test]
fn a_new_spec_reaches_slot_after_slot() {
    let mut fixture = running(2);
    let operation = update(&mut fixture, "new", ClusterOpSpec::default());
    assert_eq!(fixture.service(ID).state, ServiceState::ReplacingInstances);
    assert_eq!(asked(&fixture), ["new", "old"], "who has not had its turn refills with the old one");
    replaced(&mut fixture, "e1");
    assert_eq!(asked(&fixture), ["new", "new"]);
    replaced(&mut fixture, "e2");
    let finished = fixture.operation(&operation);
    assert_eq!(finished.state, OperationState::Succeeded);
    let service = fixture.service(ID);
    assert_eq!(Some(service.specs.stable()), finished.generation);
    assert_eq!(service.state, ServiceState::Active);
}

#[test]
fn the_same_spec_again_changes_nothing() {
    let mut fixture = running(2);
    update(&mut fixture, "new", wide());
    replaced(&mut fixture, "e1");
    replaced(&mut fixture, "e2");
    let before = fixture.state.clone();
    for _ in 0..2 * crate::state::MAX_SPECS {
        let operation = update(&mut fixture, "new", ClusterOpSpec::default());
        let finished = fixture.operation(&operation);
        assert_eq!(
            (finished.state, finished.message.as_str()),
            (OperationState::Succeeded, "no slot had to change")
        );
        assert_eq!(finished.generation, Some(fixture.service(ID).specs.wanted()));
    }
    assert!(fixture.state.slots().eq(before.slots()));
    assert!(fixture.state.executors().eq(before.executors()), "no table is sent");
    assert_eq!(Some(fixture.service(ID)), before.service(&service_id(ID)).map(|service| &**service));
    roll_back(&mut fixture, None).unwrap();
    fixture.settle();
    assert_eq!(asked(&fixture)[0], "old", "what there was before is still there to go back to");
}

#[test]
fn what_does_not_run_is_changed_at_once() {
    let mut fixture = Fixture::with_executors(2);
    fixture.create(content("old"), 1);
    let operation = update(&mut fixture, "new", ClusterOpSpec::default());
    assert_eq!(fixture.operation(&operation).state, OperationState::Succeeded);
    assert_eq!(fixture.service(ID).state, ServiceState::Inactive);
    fixture.activate(ID);
    fixture.settle();
    assert_eq!(asked(&fixture), ["new", "new"]);
}

#[test]
fn after_a_failure_the_rest_stays_as_it_is() {
    let mut fixture = running(3);
    let operation = update(&mut fixture, "new", ClusterOpSpec::default());
    replaced(&mut fixture, "e1");
    kept_old(&mut fixture, "e2");
    let finished = fixture.operation(&operation);
    assert_eq!(finished.state, OperationState::Failed);
    assert_eq!(outcomes(&fixture, &operation), [Done, Failed, Waiting]);
    assert_eq!(asked(&fixture), ["new", "new", "old"]);
    let problems = view::service_summary(&fixture.state, fixture.service(ID)).problems;
    assert!(problems[0].starts_with("2 of 3 slots were given generation"), "{problems:?}");
    // A node that joins gets what is known to work.
    fixture.register("e4", None);
    fixture.settle();
    assert_eq!(asked(&fixture)[3], "old");
}

#[test]
fn a_failure_is_rolled_back_where_the_strategy_says_so() {
    let mut fixture = running(4);
    let parallelism = Parallelism::Slots(2);
    let op_spec = ClusterOpSpec {
        failure_strategy: FailureStrategy::Rollback,
        parallelism,
        ..ClusterOpSpec::default()
    };
    let operation = update(&mut fixture, "new", op_spec);
    replaced(&mut fixture, "e1");
    kept_old(&mut fixture, "e2");
    assert_eq!(fixture.operation(&operation).state, OperationState::RollingBack);
    assert_eq!(outcomes(&fixture, &operation), [RollingBack, RollingBack, RollingBack, Waiting]);
    assert_eq!(asked(&fixture), ["new", "old", "old", "old"], "two at a time, what is down first");
    for executor in ["e2", "e3", "e1"] {
        replaced(&mut fixture, executor);
    }
    let finished = fixture.operation(&operation);
    assert_eq!(outcomes(&fixture, &operation), [RolledBack, RolledBack, RolledBack, Waiting]);
    assert_eq!(finished.state, OperationState::Failed);
    assert!(finished.message.contains("e2/0 (readiness check failed)"), "{}", finished.message);
    assert!(finished.message.contains("3 of 4 slots were rolled back"), "{}", finished.message);
    assert_eq!(asked(&fixture), ["old"; 4]);
    assert_eq!(fixture.service(ID).spec().env["CONTENT"], "old");
    assert_eq!(fixture.service(ID).state, ServiceState::Active);
}

#[test]
fn a_rollback_brings_back_the_spec_before_or_a_named_one() {
    let mut fixture = running(1);
    let first = fixture.service(ID).specs.wanted();
    for text in ["second", "third"] {
        update(&mut fixture, text, wide());
        replaced(&mut fixture, "e1");
    }
    let operation = roll_back(&mut fixture, None).unwrap();
    fixture.settle();
    assert_eq!(asked(&fixture), ["second"]);
    replaced(&mut fixture, "e1");
    assert_eq!(fixture.operation(&operation).state, OperationState::Succeeded);
    roll_back(&mut fixture, Some(first.0)).unwrap();
    fixture.settle();
    assert_eq!(asked(&fixture), ["old"]);
    let unknown = roll_back(&mut Fixture::clone(&fixture), Some(3)).unwrap_err();
    assert!(matches!(unknown, Refusal::NotAllowed(..) | Refusal::NothingAllowed(..)), "{unknown:?}");
    replaced(&mut fixture, "e1");
    let unknown = roll_back(&mut fixture, Some(3)).unwrap_err();
    assert!(matches!(unknown, Refusal::UnknownGeneration(_, 3, _)), "{unknown:?}");
}

#[test]
fn a_service_that_never_changed_cannot_go_back() {
    let mut fixture = running(1);
    assert_eq!(roll_back(&mut fixture, None), Err(Refusal::NoEarlierSpec(service_id(ID))));
}

#[test]
fn after_a_failed_rollout_a_rollback_touches_only_what_has_the_new_spec() {
    let mut fixture = running(3);
    update(&mut fixture, "new", ClusterOpSpec::default());
    replaced(&mut fixture, "e1");
    kept_old(&mut fixture, "e2");
    let operation = roll_back(&mut fixture, None).unwrap();
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [InProgress, InProgress, Done]);
    assert_eq!(asked(&fixture), ["old"; 3]);
}

#[test]
fn who_is_away_gets_what_proved_itself_when_it_comes_back() {
    let mut fixture = running(2);
    fixture.contact("e2", Contact::Unreachable);
    let operation = update(&mut fixture, "new", wide());
    assert_eq!(asked(&fixture), ["new", "old"]);
    replaced(&mut fixture, "e1");
    assert_eq!(fixture.operation(&operation).state, OperationState::Succeeded);
    assert_eq!(asked(&fixture), ["new", "old"]);
    fixture.contact("e2", Contact::Connected);
    fixture.settle();
    assert_eq!(asked(&fixture), ["new", "new"]);
}

#[test]
fn what_no_slot_has_run_is_not_taken_for_good() {
    for failure_strategy in [FailureStrategy::Stop, FailureStrategy::Rollback] {
        let mut fixture = running(2);
        let stable = fixture.service(ID).specs.stable();
        for executor in ["e1", "e2"] {
            fixture.contact(executor, Contact::Unreachable);
        }
        let operation = update(&mut fixture, "new", ClusterOpSpec { failure_strategy, ..wide() });
        assert_eq!(
            fixture.operation(&operation).state,
            OperationState::Running,
            "they may come back in time"
        );
        fixture.advance(600);
        fixture.settle();
        let finished = fixture.operation(&operation);
        assert_eq!(finished.state, OperationState::Failed);
        assert!(finished.message.contains("0 of 2 slots are done; 2 are away"), "{}", finished.message);
        for executor in ["e1", "e2"] {
            fixture.contact(executor, Contact::Connected);
        }
        fixture.settle();
        assert_eq!(fixture.service(ID).specs.stable(), stable);
        assert_eq!(asked(&fixture), ["old", "old"]);
    }
}

#[test]
fn who_joins_in_the_middle_has_its_turn() {
    let mut fixture = running(1);
    let operation = update(&mut fixture, "new", ClusterOpSpec::default());
    fixture.register("e0", None);
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [Waiting, InProgress]);
    assert_eq!(asked(&fixture), ["old", "new"]);
    replaced(&mut fixture, "e1");
    replaced(&mut fixture, "e0");
    assert_eq!(fixture.operation(&operation).state, OperationState::Succeeded);
}

#[test]
fn a_paused_operation_finishes_what_it_began_and_begins_nothing() {
    let mut fixture = running(3);
    let operation = update(&mut fixture, "new", ClusterOpSpec::default());
    fixture.advance(200);
    fixture.steer(&operation, Steer::Pause).unwrap();
    replaced(&mut fixture, "e1");
    assert_eq!(outcomes(&fixture, &operation), [Done, Waiting, Waiting]);
    fixture.advance(86_400);
    fixture.settle();
    assert_eq!(fixture.operation(&operation).state, OperationState::Paused);
    fixture.steer(&operation, Steer::Resume).unwrap();
    fixture.settle();
    assert_eq!(outcomes(&fixture, &operation), [Done, InProgress, Waiting]);
    assert_eq!(
        fixture.steer(&operation, Steer::Promote).unwrap_err().to_string(),
        "PROMOTE is not possible for UPDATE_SPEC while it is RUNNING; only what began with canaries can be promoted"
    );
}

#[test]
fn a_wave_that_was_planned_before_a_pause_is_not_begun_after_it() {
    let mut fixture = running(2);
    let spec = Box::new(content("new"));
    let op_spec = Some(ClusterOpSpec { canary: Some(Canary::Percent(50)), ..wide() });
    let request = OperationRequest::UpdateSpec { spec, stop_first: false, op_spec };
    let operation = fixture.submit(request).unwrap();
    let mut made_before = reconcile::plan(&fixture.state, fixture.now).changes;
    fixture.steer(&operation, Steer::Pause).unwrap();
    made_before.retain(|change| matches!(change, Change::RaiseSlot { .. }));
    let [Change::RaiseSlot { slot, mode, spec, .. }] = made_before.as_slice() else {
        panic!("{made_before:?}")
    };
    // Whose turn is after the promotion.
    let follower = Change::RaiseSlot {
        operation: operation.clone(),
        slot: slot_id(ID, "e2", 0),
        epoch: fixture.state.slot(&slot_id(ID, "e2", 0)).unwrap().epoch,
        mode: *mode,
        spec: *spec,
    };
    assert_eq!(slot.executor.as_str(), "e1");
    let applied = |fixture: &mut Fixture, changes: Vec<Change>| {
        let reply = fixture.apply(&Command::Plan { at: fixture.now, changes });
        let Reply::Planned { applied, .. } = reply else { panic!("{reply:?}") };
        applied
    };
    assert_eq!(applied(&mut fixture, made_before.clone()), 0, "it is PAUSED");
    fixture.steer(&operation, Steer::Resume).unwrap();
    assert_eq!(applied(&mut fixture, vec![follower.clone()]), 0, "nobody promoted it");
    assert_eq!(applied(&mut fixture, made_before), 1);
    fixture.steer(&operation, Steer::Promote).unwrap();
    assert_eq!(applied(&mut fixture, vec![follower]), 1);
}

#[test]
fn fixed_ports_of_either_spec_stop_the_old_one_first() {
    let mut fixture = Fixture::with_executors(1);
    fixture.running(spec_with("web", true), 1);
    let spec = Box::new(spec("web"));
    fixture.submit(OperationRequest::UpdateSpec { spec, stop_first: false, op_spec: None }).unwrap();
    let changes = fixture.reconcile();
    assert!(
        changes.iter().any(|change| matches!(change, Change::RaiseSlot { mode: ReplaceMode::StopFirst, .. })),
        "{changes:?}"
    );
}
