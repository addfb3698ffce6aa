//! Which finished operations are kept.

use muster_common::id::OperationId;
use muster_common::operation::{
    Operation, OperationKind, OperationRequest, OperationState, SlotOutcome, SlotProgress,
};
use muster_common::slot::SlotPhase;
use muster_common::time::{LedTime, Timestamp};

use crate::state::codec::{read_snapshot, write_snapshot};
use crate::state::operations::{
    MAX_FINISHED_OPERATIONS, MAX_FINISHED_OPERATIONS_IN_ALL, MAX_FINISHED_SLOTS, MAX_FINISHED_SLOTS_IN_ALL,
    Operations,
};
use crate::state::testing::*;
use crate::state::view;

#[test]
fn the_finished_operations_of_a_service_have_so_many_slots_and_lists_name_a_few() {
    let mut fixture = Fixture::with_executors(1);
    let service = fixture.running(spec("web"), 1);
    let sample = fixture.state.operations_of(&service).next().unwrap().clone();
    let slot = |index, outcome| SlotProgress {
        outcome,
        ..SlotProgress::waiting(slot_id("web-1", "e1", index), None)
    };
    let mut operations = Operations::default();
    for (n, slots) in
        [(1, 10), (2, MAX_FINISHED_SLOTS / 2), (3, MAX_FINISHED_SLOTS / 2), (4, 2 * MAX_FINISHED_SLOTS)]
    {
        let kept: Vec<_> = operations.finished_of(&service).map(|kept| kept.id.to_string()).collect();
        // The sum counts, and not each for itself.
        assert_eq!(
            kept,
            [&[][..], &["OP-1"], &["OP-2", "OP-1"], &["OP-3", "OP-2"]][n - 1],
            "before the {n}th"
        );
        operations.put(Operation {
            id: operation_id(&format!("OP-{n}")),
            finished: Some(Timestamp(n as u64)),
            slots: (0..slots).map(|index| slot(u32::try_from(index).unwrap(), SlotOutcome::Done)).collect(),
            ..Operation::clone(&sample)
        });
    }
    let kept: Vec<_> = operations.finished_of(&service).map(|kept| kept.id.to_string()).collect();
    assert_eq!(kept, ["OP-4"], "the newest, however large");

    let failed = (0..30).map(|index| slot(index, SlotOutcome::Failed));
    let slots = failed.chain((30..100).map(|index| slot(index, SlotOutcome::Done))).collect();
    let summary = view::operation_summary(&fixture.state, &Operation { slots, ..Operation::clone(&sample) });
    assert_eq!(summary.outcomes, [(SlotOutcome::Done, 70), (SlotOutcome::Failed, 30)].into());
    assert_eq!(summary.operation.slots.len(), 20);
    let shown = serde_json::to_value(&summary).unwrap();
    assert_eq!((&shown["outcomes"]["FAILED"], &shown["kind"]), (&30.into(), &"ACTIVATE".into()));
}

/// Operations of many services, and what they are made of.
struct Many {
    operations: Operations,
    sample: Operation,
    put: u64,
}

impl Many {
    fn new() -> Self {
        let mut fixture = Fixture::with_executors(1);
        let service = fixture.running(spec("web"), 1);
        let sample = Operation::clone(fixture.state.operations_of(&service).next().unwrap());
        Self { operations: Operations::default(), sample, put: 0 }
    }

    /// Each ends a second after the one before.
    fn put(&mut self, service: &str, kind: OperationKind, slots: usize) -> OperationId {
        self.put += 1;
        let id = operation_id(&format!("OP-{}", self.put));
        let slot = SlotProgress::waiting(slot_id(service, "e1", 0), None);
        self.operations.put(Operation {
            id: id.clone(),
            service: service_id(service),
            kind,
            finished: Some(Timestamp(self.put * 1000)),
            finished_led: LedTime(self.put * 1000),
            slots: std::iter::repeat_n(slot, slots).collect(),
            ..self.sample.clone()
        });
        id
    }

    fn is_kept(&self, id: &OperationId) -> bool {
        self.operations.get(id).is_some()
    }

    fn finished(&self) -> (usize, usize) {
        let all = || self.operations.iter();
        (all().count(), all().map(|operation| operation.slots.len()).sum())
    }
}

#[test]
fn the_finished_operations_of_all_services_are_bounded_and_the_newest_of_each_goes_last() {
    let mut many = Many::new();
    let old = many.put("quiet-1", OperationKind::Create, 0);
    let newest = many.put("quiet-1", OperationKind::Activate, 0);
    let gone = many.put("gone-1", OperationKind::Destroy, 0);
    let fill = MAX_FINISHED_OPERATIONS_IN_ALL - 3;
    let filled: Vec<_> = (0..fill)
        .map(|n| many.put(&format!("s{}-1", n / MAX_FINISHED_OPERATIONS), OperationKind::Retry, 0))
        .collect();
    assert_eq!(many.finished().0, MAX_FINISHED_OPERATIONS_IN_ALL);
    assert!(many.is_kept(&old));
    // The oldest, then what is left of a service that is gone; the newest of one that is there is passed over.
    for (n, due) in [&old, &gone, &filled[0], &filled[1]].into_iter().enumerate() {
        assert!(many.is_kept(due), "{n}");
        let last = many.put(&format!("late{n}-1"), OperationKind::Create, 0);
        assert!(!many.is_kept(due) && many.is_kept(&last), "{n}");
        assert!(many.is_kept(&newest));
        assert_eq!(many.finished().0, MAX_FINISHED_OPERATIONS_IN_ALL);
    }
    // One that was the newest is not any more.
    many.put("quiet-1", OperationKind::Retry, 0);
    assert!(!many.is_kept(&newest));
    // Where each is the newest of its service the oldest goes all the same, and one that ends its service is told of first.
    for n in 0..MAX_FINISHED_OPERATIONS_IN_ALL {
        many.put(&format!("one{n}-1"), OperationKind::Create, 0);
    }
    let destroyed = many.put("late0-1", OperationKind::Destroy, 0);
    assert!(many.is_kept(&destroyed));
    many.put("another-1", OperationKind::Create, 0);
    assert!(!many.is_kept(&destroyed));
    assert_eq!(many.finished().0, MAX_FINISHED_OPERATIONS_IN_ALL);
}

#[test]
fn the_finished_operations_of_all_services_have_so_many_slots() {
    let mut many = Many::new();
    let all: Vec<_> = (0..MAX_FINISHED_SLOTS_IN_ALL / MAX_FINISHED_SLOTS)
        .map(|n| many.put(&format!("s{n}-1"), OperationKind::Restart, MAX_FINISHED_SLOTS))
        .collect();
    assert!(all.iter().all(|id| many.is_kept(id)));
    let none = many.put("none-1", OperationKind::Create, 0);
    assert!(many.is_kept(&all[0]), "the sum is the same");
    many.put("one-1", OperationKind::Create, 1);
    assert!(!many.is_kept(&all[0]) && many.is_kept(&all[1]) && many.is_kept(&none));
    let large = many.put("large-1", OperationKind::Restart, 2 * MAX_FINISHED_SLOTS_IN_ALL);
    assert_eq!(many.finished(), (1, 2 * MAX_FINISHED_SLOTS_IN_ALL));
    assert!(many.is_kept(&large), "the one that came last, however large");
    // What is forgotten because it is old counts no more.
    many.operations.prune(LedTime(u64::MAX));
    let last = many.put("s0-1", OperationKind::Restart, MAX_FINISHED_SLOTS);
    many.put("s1-1", OperationKind::Restart, MAX_FINISHED_SLOTS);
    assert!(many.is_kept(&last));
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
fn operations_that_found_all_as_asked_are_forgotten_before_those_that_explain_something() {
    let mut fixture = Fixture::with_executors(1);
    let service = fixture.running(spec("web"), 1);
    let explains: Vec<_> = fixture.state.operations_of(&service).map(|known| known.id.clone()).collect();
    let slot = slot_id("web-1", "e1", 0);
    let service_id = || "web-1".to_owned();
    let again = |n: usize| match n % 4 {
        0 => OperationRequest::UpdateSpec { spec: Box::new(spec("web")), stop_first: false, op_spec: None },
        1 => OperationRequest::AdjustInstances { service_id: service_id(), op_spec: None },
        2 => OperationRequest::UpdateInstanceCount { service_id: service_id(), instances_per_host: 1 },
        _ => OperationRequest::Retry { service_id: service_id() },
    };
    for n in 0..2 * MAX_FINISHED_OPERATIONS {
        fixture.advance(1);
        let newest = fixture.submit(again(n)).unwrap();
        fixture.settle();
        let newest = fixture.operation(&newest);
        assert_eq!((newest.state, newest.no_op), (OperationState::Succeeded, true), "{newest:?}");
    }
    assert_eq!(fixture.state.operations_of(&service).count(), MAX_FINISHED_OPERATIONS);
    assert!(explains.iter().all(|id| fixture.state.operation(id).is_some()));

    // One that had something to do takes the place of one that had not, and not that of an older explanation.
    fixture.report_status(&slot, SlotPhase::Failed, "no such image");
    fixture.report_in("web-1.e1.0", &slot, &UP_AND_DOWN);
    let retry = fixture.submit(again(3)).unwrap();
    assert!(!fixture.operation(&retry).no_op);
    fixture.report_in("second", &slot, &UP);
    fixture.settle();
    assert_eq!(fixture.operation(&retry).state, OperationState::Succeeded);
    for n in 0..u32::try_from(MAX_FINISHED_OPERATIONS).unwrap() - 4 {
        fixture.advance(1);
        let instances_per_host = 2 + n % 2;
        fixture
            .submit(OperationRequest::UpdateInstanceCount { service_id: service_id(), instances_per_host })
            .unwrap();
    }
    let no_ops =
        |fixture: &Fixture| fixture.state.operations_of(&service).filter(|known| known.no_op).count();
    assert!(explains.iter().chain([&retry]).all(|id| fixture.state.operation(id).is_some()));
    assert!(no_ops(&fixture) <= 2, "{}", no_ops(&fixture));
    // The newest is there to be asked for, though all others explain more.
    fixture.settle();
    let count = fixture.service("web-1").instances_per_host;
    for index in 0..count {
        let slot = slot_id("web-1", "e1", index);
        fixture.report_in(&format!("third-{index}"), &slot, &UP);
    }
    fixture.settle();
    let newest = fixture.submit(again(1)).unwrap();
    fixture.settle();
    assert!(fixture.operation(&newest).no_op);
    let copy = read_snapshot(&write_snapshot(&fixture.state)).unwrap();
    assert!(copy.operation(&newest).unwrap().no_op);
}

#[test]
fn a_spec_for_a_service_that_rests_is_an_explanation_though_no_slot_has_to_change() {
    let mut fixture = Fixture::with_executors(1);
    fixture.create(spec("web"), 1);
    let mut spec = spec("web");
    spec.tags.insert("team".to_owned(), "other".to_owned());
    let update = OperationRequest::UpdateSpec { spec: Box::new(spec), stop_first: false, op_spec: None };
    let operation = fixture.submit(update).unwrap();
    assert!(!fixture.operation(&operation).no_op);
}
