//! Executors are blacklisted, drained, removed, and taken in again.

use std::time::Duration;

use muster_common::cluster::ClusterState;
use muster_common::event::EventType;
use muster_common::executor::{Contact, ExecutorState};
use muster_common::id::{Revision, SlotId};
use muster_common::instance::InstanceState;
use muster_common::reason::Reason;
use muster_common::spec::{DrainPolicy, LocalServiceSpec};

use crate::state::testing::*;
use crate::state::{Change, Command, Refusal, Reply, Retention, Wish, view};

const ID: &str = "web-1";
const DAY: Duration = Duration::from_secs(86_400);

fn running() -> Fixture {
    let mut fixture = Fixture::with_executors(2);
    fixture.running(spec("web"), 1);
    fixture
}

fn slots(fixture: &Fixture) -> Vec<String> {
    fixture.state.slots_of(&service_id(ID)).map(|(slot, _)| slot.executor.to_string()).collect()
}

fn stop(fixture: &mut Fixture, slot: &SlotId) {
    fixture.report_in(&name_in(slot), slot, &UP_AND_DOWN);
}

fn told_since(fixture: &Fixture, since: Revision) -> Vec<EventType> {
    let told = fixture.state.events_after(since).map(|(_, event)| event.what.kind());
    told.filter(|kind| *kind != EventType::LocalServiceInstanceStateChange).collect()
}

#[test]
fn services_leave_an_executor_in_the_order_of_their_drain_policies() {
    let mut fixture = Fixture::with_executors(2);
    for policy in [DrainPolicy::Keep, DrainPolicy::Last, DrainPolicy::First] {
        let name = policy.as_str().to_lowercase();
        fixture.running(LocalServiceSpec { drain_policy: Some(policy), ..spec(&name) }, 1);
    }
    fixture.running(spec("web"), 1);
    fixture.running(spec("unused"), 1);
    let left = |fixture: &Fixture| -> Vec<String> {
        let executor = executor_id("e1");
        fixture.state.slots_on(&executor).map(|(slot, _)| slot.service.to_string()).collect()
    };
    fixture.change_duty("e1", Wish::Drain { within: Duration::from_secs(60) }).unwrap();
    fixture.settle();
    assert_eq!(left(&fixture), ["keep-1", "last-1", "unused-1", "web-1"]);
    // What nobody wants any more goes at once.
    fixture.deactivate("last-1");
    fixture.settle();
    assert_eq!(left(&fixture), ["keep-1", "unused-1", "web-1"]);
    stop(&mut fixture, &slot_id("last-1", "e1", 0));
    for (gone, then) in [("first-1", vec!["keep-1"]), ("web-1", vec!["keep-1"]), ("unused-1", vec![])] {
        stop(&mut fixture, &slot_id(gone, "e1", 0));
        fixture.settle();
        assert_eq!(left(&fixture), then, "after {gone}");
    }
    stop(&mut fixture, &slot_id("keep-1", "e1", 0));
    fixture.settle();
    assert_eq!(fixture.shown_state("e1"), ExecutorState::Blacklisted);
    assert_eq!(fixture.state.slots_on(&executor_id("e2")).count(), 4, "nobody else is touched");
}

#[test]
fn a_blacklisted_executor_is_emptied_and_gets_its_slots_back_when_it_may_take_them_again() {
    let mut fixture = running();
    let since = fixture.state.revision();
    fixture.change_duty("e1", Wish::Blacklist).unwrap();
    fixture.settle();
    assert_eq!(slots(&fixture), ["e2"]);
    assert_eq!(fixture.shown_state("e1"), ExecutorState::BlacklistRequested, "its instance still runs");
    stop(&mut fixture, &slot_id(ID, "e1", 0));
    fixture.settle();
    assert_eq!(fixture.shown_state("e1"), ExecutorState::Blacklisted);
    let again = fixture.change_duty("e1", Wish::Blacklist);
    let message = again.clone().unwrap_err().to_string();
    assert_eq!(message, "Executor e1 is BLACKLISTED; unblacklist it first");
    assert_eq!(again, Err(Refusal::DutyHeld(executor_id("e1"), ExecutorState::Blacklisted)));

    fixture.change_duty("e1", Wish::Unblacklist).unwrap();
    fixture.settle();
    assert_eq!(slots(&fixture), ["e1", "e2"]);
    assert_eq!(fixture.shown_state("e1"), ExecutorState::Active);
    let expected = [
        EventType::ExecutorBlacklistRequested,
        EventType::ExecutorBlacklisted,
        EventType::ExecutorUnBlacklisted,
    ];
    assert_eq!(told_since(&fixture, since), expected);
}

#[test]
fn an_executor_that_is_not_heard_is_not_taken_for_empty() {
    let mut fixture = Fixture::with_executors(1);
    fixture.change_duty("e1", Wish::Blacklist).unwrap();
    for contact in [Contact::Unreachable, Contact::Lost] {
        fixture.contact("e1", contact);
        fixture.settle();
        assert_eq!(fixture.shown_state("e1"), ExecutorState::BlacklistRequested, "{contact:?}");
    }
    fixture.register("e1", Some(&[]));
    fixture.settle();
    assert_eq!(fixture.shown_state("e1"), ExecutorState::Blacklisted, "a restart keeps the duty");
}

#[test]
fn a_drain_that_takes_too_long_says_so_and_goes_on() {
    let mut fixture = running();
    fixture.change_duty("e1", Wish::Drain { within: Duration::from_secs(60) }).unwrap();
    fixture.settle();
    assert_eq!(
        (slots(&fixture), fixture.shown_state("e1")),
        (vec!["e2".to_owned()], ExecutorState::Draining)
    );
    fixture.advance(40);
    fixture.reconcile();
    // A new leader gives it what was left of its time, by its own clock.
    fixture.apply(&crate::state::Command::Plan { at: fixture.now, changes: Vec::new() });
    fixture.lead_at(muster_common::time::Timestamp(5_000_000));
    fixture.settle();
    let node = view::executor_node_data(&fixture.state, fixture.state.executor(&executor_id("e1")).unwrap());
    assert_eq!(node.drain_deadline, Some(fixture.now.plus(Duration::from_secs(20))));
    fixture.advance(19);
    assert_eq!(fixture.reconcile(), []);
    fixture.advance(1);
    assert_eq!(fixture.reconcile(), [Change::ExpireDrain { executor: executor_id("e1") }]);
    assert_eq!(fixture.shown_state("e1"), ExecutorState::BlacklistRequested);
    let (position, last) = fixture.state.events_after(Revision(0)).next_back().unwrap();
    let event = view::event::event(*position, last);
    assert_eq!(event.kind, EventType::ExecutorBlacklistRequested);
    assert_eq!(event.metadata["ERROR"], "timed out in DRAINING after 60 s; 1 instances are still there");
    stop(&mut fixture, &slot_id(ID, "e1", 0));
    fixture.settle();
    assert_eq!(fixture.shown_state("e1"), ExecutorState::Blacklisted);
}

#[test]
fn only_an_executor_that_is_not_heard_is_removed_and_it_is_a_newcomer_when_it_registers() {
    let mut fixture = running();
    let refused = fixture.change_duty("e1", Wish::Remove);
    assert_eq!(refused, Err(Refusal::StillHolds(executor_id("e1"), 1)));
    fixture.tag("e1", &["given"]);
    fixture.contact("e1", Contact::Unreachable);
    fixture.change_duty("e1", Wish::Remove).unwrap();
    fixture.settle();
    assert_eq!(slots(&fixture), ["e2"]);
    assert_eq!(fixture.shown_state("e1"), ExecutorState::Removed);
    let lost = fixture.state.old_instances(&service_id(ID)).next().unwrap();
    let lost = view::instance_info(&fixture.state, lost);
    assert_eq!((lost.state, lost.reason), (InstanceState::Lost, Some(Reason::ExecutorRemoved)));
    assert_eq!(lost.error_message, "executor e1 was removed by ann");

    let known = executor_record("e1");
    fixture.contact("e1", Contact::Connected);
    assert!(fixture.state.learns_from(&known, None), "who was removed is taken in again");
    fixture.register("e1", Some(&["web-1.e1.0"]));
    assert_eq!(fixture.shown_state("e1"), ExecutorState::Active);
    assert!(!fixture.state.executor(&executor_id("e1")).unwrap().has_tag("given"));
    fixture.settle();
    assert_eq!(slots(&fixture), ["e1", "e2"]);
    let found = fixture.state.instance(&instance_id("web-1.e1.0")).unwrap();
    assert_eq!(found.state(), InstanceState::Healthy);
}

#[test]
fn a_removed_executor_has_lost_its_slots_also_when_it_is_back_before_the_next_plan() {
    let mut fixture = running();
    let slot = slot_id(ID, "e1", 0);
    let before = fixture.state.slot(&slot).unwrap().epoch;
    fixture.contact("e1", Contact::Unreachable);
    fixture.change_duty("e1", Wish::Remove).unwrap();
    assert_eq!(slots(&fixture), ["e2"]);
    // What it held was forgotten meanwhile, and it has nothing to tell of it.
    fixture.register("e1", Some(&["web-1.e1.0"]));
    fixture.settle();
    assert!(fixture.state.slot(&slot).unwrap().epoch > before);
}

#[test]
fn a_removed_executor_is_shown_for_two_days() {
    let mut fixture = Fixture::with_executors(2);
    fixture.contact("e1", Contact::Lost);
    fixture.change_duty("e1", Wish::Remove).unwrap();
    let refused = fixture.change_duty("e2", Wish::Remove);
    assert_eq!(refused, Err(Refusal::StillHolds(executor_id("e2"), 0)), "it would register again");
    fixture.contact("e2", Contact::Unreachable);
    fixture.change_duty("e2", Wish::Remove).unwrap();
    fixture.contact("e2", Contact::Connected);
    fixture.advance(2 * 24 * 3600 - 1);
    fixture.settle();
    assert_eq!(fixture.state.executors().count(), 2);
    fixture.advance(1);
    fixture.settle();
    let left: Vec<_> = fixture.state.executors().map(|executor| executor.record.id.to_string()).collect();
    assert_eq!(left, ["e2"], "one that still speaks is not forgotten");
    assert_eq!(fixture.change_duty("e1", Wish::Blacklist), Err(Refusal::UnknownExecutor("e1".to_owned())));
}

#[test]
fn an_executor_that_stays_lost_is_removed_and_then_forgotten() {
    let mut fixture = running();
    let keep = |lost_executors_for| {
        vec![Change::Retain(Retention { lost_executors_for, records_for: DAY * 30, ..Retention::default() })]
    };
    fixture.apply(&Command::Plan { at: fixture.now, changes: keep(None) });
    fixture.contact("e1", Contact::Lost);
    let since = fixture.now;
    fixture.advance(10 * DAY.as_secs());
    fixture.settle();
    assert_eq!(slots(&fixture), ["e1", "e2"], "nobody said for how long");

    fixture.apply(&Command::Plan { at: fixture.now, changes: keep(Some(DAY * 11)) });
    let removal = Change::RemoveLost { executor: executor_id("e1") };
    let early = Command::Plan { at: fixture.now, changes: vec![removal.clone()] };
    assert_eq!(fixture.apply(&early), Reply::Planned { applied: 0, skipped: 1 });
    fixture.advance(DAY.as_secs() - 1);
    fixture.settle();
    assert_eq!(slots(&fixture), ["e1", "e2"]);
    fixture.advance(1);
    assert!(fixture.reconcile().contains(&removal));
    assert_eq!(slots(&fixture), ["e2"]);
    assert_eq!(fixture.shown_state("e1"), ExecutorState::Removed);
    let lost =
        view::instance_info(&fixture.state, fixture.state.instance(&instance_id("web-1.e1.0")).unwrap());
    assert_eq!(lost.reason, Some(Reason::ExecutorRemoved));
    let reason = format!("no contact with executor e1 since {since}");
    assert_eq!(lost.error_message, format!("executor e1 was removed: {reason}"));
    let told =
        fixture.state.events_after(Revision(0)).map(|(position, told)| view::event::event(*position, told));
    let removed = told.filter(|told| told.metadata.get("ERROR") == Some(&reason.as_str().into()));
    assert_eq!(removed.map(|told| told.kind).collect::<Vec<_>>(), [EventType::ExecutorRemoved]);

    fixture.advance(2 * DAY.as_secs());
    fixture.settle();
    assert_eq!(fixture.state.executors().count(), 1);
}

#[test]
fn an_executor_that_comes_back_in_time_is_not_removed() {
    let mut fixture = running();
    fixture.contact("e1", Contact::Lost);
    fixture.advance(7 * DAY.as_secs());
    fixture.contact("e1", Contact::Connected);
    let late = vec![Change::RemoveLost { executor: executor_id("e1") }];
    let late = Command::Plan { at: fixture.now, changes: late };
    assert_eq!(fixture.apply(&late), Reply::Planned { applied: 0, skipped: 1 });
    assert_eq!(fixture.shown_state("e1"), ExecutorState::Active);
}

#[test]
fn maintenance_refuses_every_change_of_duty() {
    let mut fixture = Fixture::with_executors(1);
    fixture.set_cluster_state(ClusterState::Maintenance);
    for wish in [Wish::Blacklist, Wish::Unblacklist, Wish::Remove] {
        assert_eq!(fixture.change_duty("e1", wish), Err(Refusal::Maintenance));
    }
}
