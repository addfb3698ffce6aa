//! How long old instances and executors that are lost are kept, and that this is replicated.

use std::time::Duration;

use muster_common::executor::{Contact, ExecutorState};
use muster_common::id::Revision;
use muster_common::instance::InstanceState;
use muster_common::operation::{OperationRequest, OperationState};
use muster_common::reason::Reason;
use muster_common::time::Timestamp;

use crate::state::codec::{read_snapshot, write_snapshot};
use crate::state::testing::*;
use crate::state::{Change, Reply, Retention, Wish, view};

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
fn the_old_instances_of_all_services_have_one_bound() {
    let mut fixture = Fixture::with_executors(1);
    let (web, db) = (fixture.running(spec("web"), 1), fixture.running(spec("db"), 1));
    fixture.retain(Retention { old_instances_in_all: 10, ..Retention::default() });
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
    fixture.retain(Retention { old_instances_in_all: 4, ..Retention::default() });
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
    fixture.retain(Retention { old_instances_in_all: 3, ..Retention::default() });
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
    fixture.contact("e1", Contact::Lost);
    fixture.change_duty("e1", Wish::Remove).unwrap();
    fixture.advance(8 * 24 * 3600);
    fixture.settle();
    assert!(fixture.state.instance(&instance_id("web-1.e1.0")).is_none());
    fixture.register("e1", Some(&["web-1.e1.0"]));
    fixture.report_in("web-1.e1.0", &slot_id("web-1", "e1", 0), &UP);
    let live: Vec<_> = fixture.state.live_instances(&service).collect();
    assert_eq!(live[0].state(), InstanceState::Healthy);
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
    assert_eq!(fixture.retain(less), Reply::Planned { applied: 1, skipped: 0 });
    assert_eq!(fixture.retain(less), Reply::Planned { applied: 0, skipped: 1 });
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
    fixture.contact("e2", Contact::Lost);
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
