//! What is kept, and for how long.

use std::time::Duration;

use muster_common::event::EventType;
use muster_common::executor::{Contact, ExecutorState};
use muster_common::id::{OperationId, Revision};
use muster_common::instance::InstanceState;
use muster_common::operation::{
    Operation, OperationKind, OperationRequest, OperationState, SlotOutcome, SlotProgress,
};
use muster_common::reason::Reason;
use muster_common::slot::SlotPhase;
use muster_common::time::{LedTime, Timestamp};

use crate::state::codec::{read_snapshot, write_snapshot};
use crate::state::operations::{
    MAX_FINISHED_OPERATIONS, MAX_FINISHED_OPERATIONS_IN_ALL, MAX_FINISHED_SLOTS, MAX_FINISHED_SLOTS_IN_ALL,
    Operations,
};
use crate::state::testing::*;
use crate::state::{Change, Command, EventPosition, Reply, Retention, Wish, view};

#[test]
fn the_newest_hundred_old_instances_of_a_service_are_kept() {
    let mut fixture = Fixture::with_executors(1);
    let service = fixture.running(spec("web"), 1);
    let slot = slot_id("web-1", "e1", 0);
    for n in 0..120 {
        fixture.advance(1);
        fixture.report_in(&format!("i{n:03}"), &slot, &UP_AND_DOWN);
    }
    let old: Vec<_> = fixture.state.old_instances(&service).map(|old| old.record.id.to_string()).collect();
    assert_eq!(old.len(), 100);
    assert_eq!(old.first().unwrap(), "i119");
    assert_eq!(old.last().unwrap(), "i020");
    assert!(fixture.state.instance(&instance_id("i019")).is_none());
    assert_eq!(fixture.state.live_instances(&service).count(), 1);
}

#[test]
fn what_ends_under_a_leader_whose_clock_is_behind_is_the_newest_all_the_same() {
    let mut fixture = Fixture::with_executors(1);
    let service = fixture.running(spec("web"), 1);
    let slot = slot_id("web-1", "e1", 0);
    fixture.lead_at(fixture.now.plus(Duration::from_secs(3600)));
    for n in 0..100 {
        fixture.report_in(&format!("before-{n:03}"), &slot, &UP_AND_DOWN);
        fixture.deactivate("web-1");
        fixture.activate("web-1");
    }
    fixture.lead_at(Timestamp(fixture.now.0 - 3_600_000));
    for id in ["a-first", "a-second"] {
        fixture.report_in(id, &slot, &UP_AND_DOWN);
    }
    let old: Vec<_> = fixture.state.old_instances(&service).map(|old| old.record.id.to_string()).collect();
    assert_eq!(old.len(), 100);
    assert_eq!(old[..3], ["a-second", "a-first", "before-099"]);
    let newest = fixture.deactivate("web-1");
    fixture.activate("web-1");
    let known = fixture.state.operations_of(&service).find(|known| known.finished.is_some()).unwrap();
    assert_eq!(known.id, newest);
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
    const MAX_EVENTS: usize = 1_000;
    let mut fixture = Fixture::with_executors(1);
    retain(&mut fixture, Retention { events: 1_000, ..Retention::default() });
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

#[test]
fn the_old_instances_of_all_services_have_one_bound() {
    let mut fixture = Fixture::with_executors(1);
    let (web, db) = (fixture.running(spec("web"), 1), fixture.running(spec("db"), 1));
    retain(&mut fixture, Retention { old_instances_in_all: 10, ..Retention::default() });
    for n in 0..20 {
        fixture.advance(1);
        let slot = slot_id(if n % 2 == 0 { "web-1" } else { "db-1" }, "e1", 0);
        fixture.report_in(&format!("i{n:03}"), &slot, &UP_AND_DOWN);
    }
    let old = |fixture: &Fixture| -> Vec<String> {
        let all =
            [&web, &db].map(|service| fixture.state.old_instances(service).collect::<Vec<_>>()).concat();
        let mut ids: Vec<String> = all.iter().map(|old| old.record.id.to_string()).collect();
        ids.sort();
        ids
    };
    let expected = |range: std::ops::Range<u32>| range.map(|n| format!("i{n:03}")).collect::<Vec<_>>();
    assert_eq!(old(&fixture), expected(10..20));
    retain(&mut fixture, Retention { old_instances_in_all: 4, ..Retention::default() });
    assert_eq!(old(&fixture), expected(16..20), "less forgets at once");
    let copy = read_snapshot(&write_snapshot(&fixture.state)).unwrap();
    assert_eq!(copy.retention().old_instances_in_all, 4);
}

#[test]
fn what_an_operation_at_work_names_is_not_forgotten_for_others() {
    let mut fixture = Fixture::with_executors(1);
    fixture.running(spec("web"), 1);
    fixture.running(spec("db"), 1);
    let named = "web-1.e1.0";
    let request = OperationRequest::ReplaceInstances {
        service_id: "web-1".to_owned(),
        instance_ids: vec![named.to_owned()],
        stop_first: true,
        op_spec: None,
    };
    let operation = fixture.submit(request).unwrap();
    fixture.settle();
    let epoch = fixture.state.instance(&instance_id(named)).unwrap().record.epoch;
    let slot = slot_id("web-1", "e1", 0);
    let ended = record(named, &slot, epoch, &UP_AND_DOWN);
    fixture.report("e1", vec![ended], Vec::new());
    retain(&mut fixture, Retention { old_instances_in_all: 3, ..Retention::default() });
    for n in 0..5 {
        fixture.advance(1);
        fixture.report_in(&format!("i{n}"), &slot_id("db-1", "e1", 0), &UP_AND_DOWN);
    }
    assert!(fixture.state.instance(&instance_id(named)).is_some(), "it is the oldest, and named");
    assert_eq!(fixture.state.old_instances(&service_id("db-1")).count(), 2);
    fixture.report_in("replacement", &slot, &UP);
    fixture.settle();
    assert_eq!(fixture.operation(&operation).state, OperationState::Succeeded);
    fixture.report_in("i9", &slot_id("db-1", "e1", 0), &UP_AND_DOWN);
    assert!(fixture.state.instance(&instance_id(named)).is_none());
}

#[test]
fn an_instance_of_a_removed_executor_that_was_forgotten_is_known_again_when_it_is_reported() {
    let mut fixture = Fixture::with_executors(1);
    let service = fixture.running(spec("web"), 1);
    fixture.contact("e1", muster_common::executor::Contact::Lost);
    fixture.change_duty("e1", Wish::Remove).unwrap();
    fixture.advance(8 * 24 * 3600);
    fixture.settle();
    assert!(fixture.state.instance(&instance_id("web-1.e1.0")).is_none());
    fixture.register("e1", Some(&["web-1.e1.0"]));
    fixture.report_in("web-1.e1.0", &slot_id("web-1", "e1", 0), &UP);
    let live: Vec<_> = fixture.state.live_instances(&service).collect();
    assert_eq!(live[0].state(), InstanceState::Healthy);
}

fn retain(fixture: &mut Fixture, retention: Retention) -> Reply {
    fixture.apply(&Command::Plan { at: fixture.now, changes: vec![Change::Retain(retention)] })
}

#[test]
fn how_much_is_kept_is_replicated_and_less_forgets_at_once() {
    let mut fixture = Fixture::with_executors(1);
    let service = fixture.running(spec("web"), 1);
    let slot = slot_id("web-1", "e1", 0);
    for n in 0..20 {
        fixture.advance(1);
        fixture.report_in(&format!("i{n:03}"), &slot, &UP_AND_DOWN);
    }
    let less = Retention {
        old_instances: 5,
        records_for: Duration::from_secs(200),
        events: 10,
        events_for: Duration::from_secs(50),
        ..Retention::default()
    };
    assert_eq!(retain(&mut fixture, less), Reply::Planned { applied: 1, skipped: 0 });
    assert_eq!(retain(&mut fixture, less), Reply::Planned { applied: 0, skipped: 1 });
    assert_eq!(fixture.state.old_instances(&service).count(), 5);
    assert_eq!(fixture.state.events_after(Revision(0)).count(), 10);
    let copy = read_snapshot(&write_snapshot(&fixture.state)).unwrap();
    assert_eq!(copy.retention(), less);

    fixture.advance(111);
    fixture.settle();
    assert_eq!(fixture.state.oldest_event(), None);
    assert_eq!(fixture.state.old_instances(&service).count(), 5);
    fixture.advance(150);
    fixture.settle();
    assert_eq!(fixture.state.old_instances(&service).count(), 0);
}

#[test]
fn old_instances_are_narrowed_by_state_executor_reason_and_time() {
    let mut fixture = Fixture::with_executors(2);
    let service = fixture.running(spec("web"), 1);
    let before = fixture.now;
    fixture.report_in("web-1.e1.0", &slot_id("web-1", "e1", 0), &UP_AND_DOWN);
    fixture.advance(60);
    fixture.contact("e2", muster_common::executor::Contact::Lost);
    let at_loss = fixture.now;
    let ids = |filter: view::InstanceFilter| -> Vec<String> {
        let old = view::old_instances(&fixture.state, &service, &filter, (0, usize::MAX));
        old.items.into_iter().map(|info| info.instance_id).collect()
    };
    let stopped = ["web-1.e1.0"];
    let lost = ["web-1.e2.0"];
    let all = view::InstanceFilter::default;
    assert_eq!(ids(all()).len(), 2);
    assert_eq!(ids(view::InstanceFilter { states: vec![InstanceState::Stopped], ..all() }), stopped);
    assert_eq!(ids(view::InstanceFilter { executors: vec!["e2".to_owned()], ..all() }), lost);
    assert_eq!(ids(view::InstanceFilter { reasons: vec![Reason::ExecutorUnreachable], ..all() }), lost);
    // The end and the loss are the controllers' to date: an executor that is lost said nothing of it.
    assert_eq!(ids(view::InstanceFilter { since: before, ..all() }).len(), 2);
    assert_eq!(ids(view::InstanceFilter { since: at_loss, ..all() }), lost);
    let later = at_loss.plus(Duration::from_millis(1));
    assert_eq!(ids(view::InstanceFilter { since: later, ..all() }), [""; 0]);
    // The page is one of what is left.
    let page = |from, size| {
        let filter = view::InstanceFilter { states: vec![InstanceState::Lost], ..all() };
        let page = view::old_instances(&fixture.state, &service, &filter, (from, size));
        (page.items.len(), page.total)
    };
    assert_eq!((page(0, 0), page(0, 1), page(1, 1)), ((0, 1), (1, 1), (0, 1)));
}

#[test]
fn events_are_resumed_where_nothing_is_missing() {
    let mut fixture = Fixture::with_executors(1);
    let slot = slot_id("web-1", "e1", 0);
    for n in 0..10 {
        fixture.report_in(&format!("i{n}"), &slot, &UP_AND_DOWN);
    }
    assert!(fixture.state.can_resume(EventPosition::end_of(Revision(0))));
    let seen = *fixture.state.events_after(Revision(0)).nth(12).unwrap().0;
    assert!(fixture.state.can_resume(seen), "also in the middle of a revision");
    assert_eq!(
        *fixture.state.events_behind(seen).next().unwrap().0,
        EventPosition::new(seen.revision, seen.n + 1)
    );

    retain(&mut fixture, Retention { events: 20, ..Retention::default() });
    let compacted = fixture.state.events_compacted();
    assert!(!fixture.state.can_resume(seen));
    assert!(
        !fixture.state.can_resume(EventPosition::new(compacted, 0)),
        "the rest of that revision may be missing"
    );
    assert!(fixture.state.can_resume(EventPosition::end_of(compacted)));
    let now = fixture.state.revision();
    assert!(fixture.state.can_resume(EventPosition::end_of(now)));
    assert!(!fixture.state.can_resume(EventPosition::end_of(now.next())), "that did not happen here");
}

#[test]
fn in_another_history_nobody_goes_on_from_before_and_revisions_do_not_go_back() {
    let mut fixture = Fixture::with_executors(1);
    let slot = slot_id("web-1", "e1", 0);
    fixture.report_in("i0", &slot, &UP_AND_DOWN);
    let kept = fixture.state.clone();
    fixture.report_in("i1", &slot, &UP_AND_DOWN);
    let lost = fixture.state.revision();

    let begin = Revision(1_000_000);
    let mut state = kept.clone();
    state.begin_history(begin, "restored".to_owned());
    let mut state = read_snapshot(&write_snapshot(&state)).unwrap();
    assert_eq!((state.revision(), state.history()), (begin, "restored"));
    for seen in [Revision(0), kept.revision(), lost] {
        assert!(kept.revision() < lost && !state.can_resume(EventPosition::end_of(seen)), "{seen:?}");
    }
    assert!(state.can_resume(EventPosition::end_of(begin)));
    assert!(!state.can_resume(EventPosition::end_of(begin.next())));
    // What happened before is still told to whoever asks for the events by their time.
    assert_eq!(state.events_after(Revision(0)).count(), kept.events_after(Revision(0)).count());
    state.apply(begin.next(), &Command::AnnounceLeader { at: fixture.now, address: "c1:4000".to_owned() });
    let news = state.events_behind(EventPosition::end_of(begin)).map(|(at, _)| at.revision);
    assert_eq!(news.collect::<Vec<_>>(), [begin.next()]);
    // What is forgotten of before brings nobody back.
    let forget = Change::Retain(Retention { events: 1, ..Retention::default() });
    state.apply(begin.next().next(), &Command::Plan { at: fixture.now, changes: vec![forget] });
    assert!(!state.can_resume(EventPosition::end_of(lost)));
}

#[test]
fn who_was_lost_long_ago_in_a_backup_has_its_time_anew() {
    let mut fixture = Fixture::with_executors(2);
    let service = fixture.running(spec("web"), 1);
    fixture.contact("e1", Contact::Lost);
    let lost_for = fixture.state.retention().lost_executors_for.unwrap();
    fixture.state.begin_history(fixture.state.revision(), "restored".to_owned());
    // The backup is older than that.
    fixture.now = fixture.now.plus(2 * lost_for);
    fixture.lead_at(fixture.now);
    fixture.settle();
    assert_eq!(fixture.shown_state("e1"), ExecutorState::Unready);
    // This group misses it as well; that is what counts.
    fixture.contact("e1", Contact::Lost);
    fixture.now = fixture.now.plus(lost_for.saturating_sub(Duration::from_secs(1)));
    fixture.settle();
    assert_eq!(fixture.shown_state("e1"), ExecutorState::Unready);
    assert_eq!(fixture.state.slots_of(&service).count(), 2, "what it runs is wanted still");
    fixture.advance(1);
    fixture.settle();
    assert_eq!(fixture.shown_state("e1"), ExecutorState::Removed);
}

#[test]
fn a_leader_that_follows_another_tells_of_both() {
    let mut fixture = Fixture::new();
    let mut lead = |address: &str| {
        let since = fixture.state.revision();
        fixture.apply(&Command::AnnounceLeader { at: fixture.now, address: address.to_owned() });
        let told = fixture.state.events_after(since);
        told.map(|(_, event)| event.what.kind()).collect::<Vec<_>>()
    };
    assert_eq!(lead("c1:4000"), [EventType::LeadershipAcquired]);
    assert_eq!(lead("c2:4000"), [EventType::LeadershipLost, EventType::LeadershipAcquired]);
    assert_eq!(lead("c2:4000"), [EventType::LeadershipAcquired]);
}
