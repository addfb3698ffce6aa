//! Executors fall silent and come back.

use muster_common::executor::{Contact, ExecutorState};
use muster_common::instance::InstanceState;
use muster_common::reason::Reason;
use muster_common::slot::SlotPhase;

use crate::state::testing::*;
use crate::state::{Change, Command, Happening, Retention, Wish, view};

const INSTANCE: &str = "web-1.e1.0";

fn running() -> Fixture {
    let mut fixture = Fixture::with_executors(2);
    fixture.running(spec("web"), 1);
    fixture
}

fn states_told(fixture: &Fixture) -> Vec<InstanceState> {
    let events = fixture.state.events_after(muster_common::id::Revision(0));
    let told = events.filter_map(|(_, event)| match &event.what {
        Happening::Instance { instance, state, .. } if instance.as_str() == INSTANCE => Some(*state),
        _ => None,
    });
    told.collect()
}

#[test]
fn without_contact_instances_are_shown_as_unknown_and_nothing_is_changed() {
    let mut fixture = running();
    let stored = fixture.state.instance(&instance_id(INSTANCE)).cloned();
    fixture.contact("e1", Contact::Unreachable);
    assert_eq!(fixture.state.instance(&instance_id(INSTANCE)).cloned(), stored);
    let info = view::instance_info(&fixture.state, stored.as_ref().unwrap());
    assert_eq!(info.state, InstanceState::Unknown);
    assert_eq!(info.reason, Some(Reason::ExecutorUnreachable));
    assert_eq!(info.error_message, "no contact with executor e1 since 1970-01-01T00:16:40.000Z");
    assert_eq!(fixture.state.executor(&executor_id("e1")).unwrap().shown_state(), ExecutorState::Unready);
    let active = fixture.active_instances("web-1");
    assert_eq!(active.iter().map(|info| info.executor_id.as_str()).collect::<Vec<_>>(), ["e2"]);
    assert_eq!(fixture.old_instances("web-1")[0].instance_id, INSTANCE);
    let summary = view::service_summary(&fixture.state, fixture.service("web-1"));
    assert_eq!((summary.healthy_instances, summary.away_instances, summary.failed_instances), (1, 1, 0));
    assert!(summary.problems[0].starts_with("e1/0: no contact with executor e1"), "{:?}", summary.problems);
    // In a list they are as each by itself.
    assert_eq!(view::service_summaries(&fixture.state, view::WHOLE).items, [summary]);
    let dashboard = view::dashboard(&fixture.state, None, fixture.now);
    assert_eq!(dashboard.service_stats.total_healthy_instances, 1);
    // Its slots stay assigned, and nothing is planned because of it.
    assert!(fixture.reconcile().is_empty());

    fixture.contact("e1", Contact::Connected);
    let info = view::instance_info(&fixture.state, stored.as_ref().unwrap());
    assert_eq!((info.state, info.error_message.as_str()), (InstanceState::Healthy, ""));
}

#[test]
fn after_a_long_silence_instances_are_lost_and_a_report_finds_them_again() {
    let mut fixture = running();
    fixture.contact("e1", Contact::Unreachable);
    fixture.advance(600);
    fixture.contact("e1", Contact::Lost);
    let info = view::instance_info(&fixture.state, fixture.state.instance(&instance_id(INSTANCE)).unwrap());
    assert_eq!(info.state, InstanceState::Lost);
    assert_eq!(info.reason, Some(Reason::ExecutorUnreachable));
    assert_eq!(info.error_message, "no contact with executor e1");
    assert_eq!(info.timeline.last().unwrap().to, InstanceState::Lost);
    assert_eq!(fixture.state.live_instances(&service_id("web-1")).count(), 1);

    fixture.advance(61);
    fixture.register("e1", None);
    let slot = slot_id("web-1", "e1", 0);
    fixture.report_in(INSTANCE, &slot, &UP);
    let info = view::instance_info(&fixture.state, fixture.state.instance(&instance_id(INSTANCE)).unwrap());
    assert_eq!(info.state, InstanceState::Healthy);
    assert_eq!(info.reason, Some(Reason::FoundAgain));
    assert_eq!(info.error_message, "");
    let found = info.timeline.iter().find(|transition| transition.reason == Some(Reason::FoundAgain));
    assert_eq!(found.unwrap().message, "found again after 61 s");
    assert_eq!(fixture.state.live_instances(&service_id("web-1")).count(), 2);
    assert_eq!(fixture.old_instances("web-1"), []);
    assert_eq!(states_told(&fixture)[UP.len()..], [InstanceState::Lost, InstanceState::Healthy]);
}

#[test]
fn an_instance_that_ended_out_of_sight_brings_its_end_along() {
    let mut fixture = running();
    fixture.contact("e1", Contact::Lost);
    fixture.register("e1", None);
    fixture.report_in(INSTANCE, &slot_id("web-1", "e1", 0), &UP_AND_DOWN);
    let instance = fixture.state.instance(&instance_id(INSTANCE)).unwrap();
    assert_eq!((instance.state(), instance.lost), (InstanceState::Stopped, None));
    assert_eq!(fixture.old_instances("web-1").len(), 1);
}

#[test]
fn an_inventory_finds_and_loses_without_further_reports() {
    let mut fixture = running();
    fixture.report_in("second", &slot_id("web-1", "e1", 0), &UP);
    fixture.contact("e1", Contact::Lost);
    fixture.register("e1", Some(&[INSTANCE]));
    let state_of = |id| fixture.state.instance(&instance_id(id)).unwrap().state();
    assert_eq!(state_of(INSTANCE), InstanceState::Healthy);
    assert_eq!(state_of("second"), InstanceState::Lost);

    // A wiped disk.
    fixture.register("e1", Some(&[]));
    let info = view::instance_info(&fixture.state, fixture.state.instance(&instance_id(INSTANCE)).unwrap());
    assert_eq!((info.state, info.reason), (InstanceState::Lost, Some(Reason::NotFound)));
    // Nothing of another executor is touched.
    assert!(fixture.state.instance(&instance_id("web-1.e2.0")).unwrap().is_live());
}

#[test]
fn verdicts_that_say_nothing_new_change_nothing() {
    let mut fixture = running();
    fixture.contact("e1", Contact::Lost);
    let before = super::determinism::bytes(&fixture.state);
    fixture.advance(10);
    fixture.contact("e1", Contact::Lost);
    fixture.contact("nobody", Contact::Unreachable);
    fixture.assert_same_but_for_revision(&before);
}

#[test]
fn registering_is_worth_a_command_only_when_it_tells_something() {
    let mut fixture = running();
    let record = executor_record("e1");
    fixture.register("e1", Some(&[INSTANCE]));
    let held = [instance_id(INSTANCE)];
    assert!(!fixture.state.learns_from(&record, Some(&held)));
    assert!(!fixture.state.learns_from(&record, None));
    assert!(fixture.state.learns_from(&record, Some(&[])), "its disk was wiped");
    assert!(fixture.state.learns_from(&executor_record("new"), None));

    fixture.contact("e1", Contact::Lost);
    assert!(fixture.state.learns_from(&record, Some(&held)), "it is in contact again");
}

#[test]
fn a_slot_that_gave_up_is_known_to_have_when_its_executor_starts_again() {
    let mut fixture = Fixture::with_executors(1);
    fixture.create(spec("web"), 1);
    fixture.activate("web-1");
    fixture.settle();
    fixture.report_status(&slot_id("web-1", "e1", 0), SlotPhase::Failed, "no such image");
    let problems =
        |fixture: &Fixture| view::service_summary(&fixture.state, fixture.service("web-1")).problems;
    let before = problems(&fixture);
    assert_eq!(before.len(), 1);
    assert_eq!(view::service_summary(&fixture.state, fixture.service("web-1")).failed_instances, 1);
    // What it held is acknowledged and forgotten, so it has nothing to say.
    fixture.register("e1", Some(&[]));
    assert_eq!(problems(&fixture), before);
}

#[test]
fn who_may_come_back_is_not_forgotten_however_many_and_however_long() {
    let mut fixture = Fixture::with_executors(4);
    fixture.running(spec("web"), 2);
    let kept = Retention { old_instances: 3, lost_executors_for: None, ..fixture.state.retention() };
    fixture.apply(&Command::Plan { at: fixture.now, changes: vec![Change::Retain(kept)] });
    for executor in ["e1", "e2", "e3"] {
        fixture.contact(executor, Contact::Lost);
    }
    fixture.advance(30 * 86_400);
    fixture.settle();
    let id = service_id("web-1");
    assert_eq!(fixture.state.old_instances(&id).count(), 6);
    // One has them all, one has lost them, and one never comes back.
    fixture.register("e1", Some(&["web-1.e1.0", "web-1.e1.1"]));
    fixture.register("e2", Some(&[]));
    fixture.change_duty("e3", Wish::Remove).unwrap();
    fixture.settle();
    assert_eq!(fixture.state.live_instances(&id).count(), 4, "on e1 and e4");
    assert_eq!(fixture.state.old_instances(&id).count(), 3);
    fixture.advance(30 * 86_400);
    fixture.settle();
    assert_eq!(fixture.state.old_instances(&id).count(), 0);
}

#[test]
fn a_newcomer_is_told_of_its_slots_with_its_first_table() {
    let mut fixture = running();
    fixture.register("e3", Some(&["of-before-the-backup"]));
    let rows = crate::state::slot_table(&fixture.state, &executor_id("e3")).rows;
    assert_eq!(rows.iter().map(|row| row.service.as_str()).collect::<Vec<_>>(), ["web-1"]);
    assert!(fixture.reconcile().is_empty(), "nothing is left to plan");
    fixture.set_cluster_state(muster_common::cluster::ClusterState::Maintenance);
    fixture.register("e4", None);
    assert_eq!(crate::state::slot_table(&fixture.state, &executor_id("e4")).rows.len(), 0);
}

#[test]
fn a_verdict_that_a_registration_overtook_loses_nothing() {
    let mut fixture = running();
    fixture.contact("e1", Contact::Unreachable);
    fixture.advance(600);
    fixture.register("e1", Some(&[INSTANCE]));
    let verdicts = vec![(executor_id("e1"), Contact::Lost)];
    fixture.apply(&Command::ExecutorContact { at: fixture.now, verdicts });
    let info = view::instance_info(&fixture.state, fixture.state.instance(&instance_id(INSTANCE)).unwrap());
    assert_eq!(info.state, InstanceState::Healthy);
    assert_eq!(fixture.state.executor(&executor_id("e1")).unwrap().contact, Contact::Connected);
}
