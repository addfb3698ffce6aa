//! Reports may be repeated, late and out of order.

use std::collections::BTreeMap;

use muster_common::event::Event;
use muster_common::evidence::Repeats;
use muster_common::id::{Epoch, Generation, OperationId};
use muster_common::instance::{InstanceInfo, InstanceRecord, InstanceState};
use muster_common::operation::{OperationRequest, OperationState, SlotOutcome};
use muster_common::slot::{SlotPhase, SlotStatus};
use muster_common::time::Timestamp;
use proptest::prelude::*;

use crate::state::State;
use crate::state::testing::*;
use crate::state::view;

#[derive(Debug, PartialEq)]
struct Shown {
    active: Vec<InstanceInfo>,
    old: Vec<InstanceInfo>,
    slots: Vec<Option<SlotStatus>>,
    events: BTreeMap<String, Vec<Event>>,
}

/// All that the wire shows of instances and slots, but for when and in which order it was committed.
fn shown(state: &State) -> Shown {
    let service = service_id("web-1");
    let all = view::InstanceFilter::default();
    let active = view::active_instances(state, &service, &all, (0, 100), view::Detail::Whole).items;
    let mut old = view::old_instances(state, &service, &all, (0, usize::MAX)).items;
    old.sort_by(|a, b| a.instance_id.cmp(&b.instance_id));
    let slots = state.slots().map(|(_, slot)| slot.status.clone()).collect();
    let mut events = BTreeMap::<String, Vec<Event>>::new();
    for (position, record) in state.events_after(muster_common::id::Revision(0)) {
        let mut event = view::event::event(*position, record);
        if let Some(id) = event.metadata.get("INSTANCE_ID").and_then(|id| id.as_str()) {
            let id = id.to_owned();
            event.id.clear();
            event.revision = muster_common::id::Revision(0);
            event.time = Timestamp(0);
            // The place is told with whatever record brought the transition.
            event.metadata.retain(|tag, _| tag != "EXECUTOR_HOST" && tag != "PORTS");
            events.entry(id).or_default().push(event);
        }
    }
    Shown { active, old, slots, events }
}

/// Every version of the life of two instances, the second one replacing the first.
fn lives(fixture: &Fixture) -> Vec<(Option<InstanceRecord>, Option<SlotStatus>)> {
    let slot = slot_id("web-1", "e1", 0);
    let epoch = fixture.state.slot(&slot).unwrap().epoch;
    let mut reports = Vec::new();
    for (id, way) in [("a", &UP_AND_DOWN[..]), ("b", &UP[..])] {
        for step in 0..=way.len() {
            reports.push((Some(record(id, &slot, epoch, &way[..step])), None));
        }
    }
    for (version, phase) in
        [SlotPhase::Filling, SlotPhase::Backoff, SlotPhase::Filled].into_iter().enumerate()
    {
        let status = SlotStatus {
            service: slot.service.clone(),
            index: 0,
            epoch,
            generation: None,
            phase,
            restarts: version as u64,
            retry_at: None,
            reason: None,
            message: String::new(),
            version: version as u64 + 1,
        };
        reports.push((None, Some(status)));
    }
    reports
}

proptest! {
    #[test]
    fn any_order_and_repetition_of_reports_leads_to_the_same_state(
        order in proptest::collection::vec(any::<prop::sample::Index>(), 0..60)
    ) {
        let mut ready = Fixture::with_executors(1);
        ready.create(spec("web"), 1);
        ready.activate("web-1");
        ready.settle();
        let reports = lives(&ready);
        let mut in_order = ready.clone();
        for (instance, status) in &reports {
            in_order.report("e1", instance.iter().cloned().collect(), status.iter().cloned().collect());
        }
        let mut shuffled = ready;
        // Some of them, at random, and in the end the last of each: executors resend what is not
        // acknowledged.
        let some = order.iter().map(|index| index.get(&reports));
        let last = [&reports[UP_AND_DOWN.len()], &reports[reports.len() - 4], &reports[reports.len() - 1]];
        for (instance, status) in some.chain(last) {
            let ack = shuffled.report("e1", instance.iter().cloned().collect(), status.iter().cloned().collect());
            // What is acknowledged is at least what was said.
            for (record, (id, version)) in instance.iter().zip(&ack.instances) {
                prop_assert!(record.id == *id && record.version <= *version);
            }
        }
        prop_assert_eq!(shown(&in_order.state), shown(&shuffled.state));
    }
}

#[test]
fn an_executor_that_restarts_again_and_again_repeats_no_event_but_what_happened_again() {
    use InstanceState::{Healthy, Unknown};
    let mut fixture = Fixture::with_executors(1);
    fixture.running(spec("web"), 1);
    let slot = slot_id("web-1", "e1", 0);
    let epoch = fixture.state.slot(&slot).unwrap().epoch;
    let way = |more: &[InstanceState]| record("a", &slot, epoch, &[&UP[..], more].concat());
    let told = |fixture: &Fixture| shown(&fixture.state).events.get("a").map_or(0, Vec::len);
    fixture.report("e1", vec![way(&[Unknown, Healthy])], Vec::new());
    let before = told(&fixture);
    fixture.report("e1", vec![way(&[Unknown, Healthy, Unknown])], Vec::new());
    assert_eq!(told(&fixture), before + 1);
    let mut found = way(&[Unknown, Healthy]);
    for times in 2..5 {
        found.version += 10;
        let last = found.timeline.last_mut().unwrap();
        last.repeats = Some(Repeats { times, last: last.at });
        fixture.report("e1", vec![found.clone()], Vec::new());
        assert_eq!(told(&fixture), before + usize::try_from(times).unwrap());
    }
}

#[test]
fn an_executor_speaks_for_itself_alone() {
    let mut fixture = Fixture::with_executors(2);
    fixture.running(spec("web"), 1);
    let foreign = record("x", &slot_id("web-1", "e2", 0), Epoch(1), &UP);
    let moved = record("web-1.e2.0", &slot_id("web-1", "e1", 0), Epoch(1), &UP_AND_DOWN);
    let before = super::determinism::bytes(&fixture.state);
    let ack = fixture.report("e1", vec![foreign.clone(), moved.clone()], Vec::new());
    assert_eq!(ack.refused, [foreign.id, moved.id]);
    assert!(ack.instances.is_empty());
    let unknown = record("y", &slot_id("web-1", "nobody", 0), Epoch(1), &UP);
    assert_eq!(fixture.report("nobody", vec![unknown.clone()], Vec::new()).refused, [unknown.id]);
    fixture.assert_same_but_for_revision(&before);
}

#[test]
fn a_slot_that_is_not_assigned_any_more_is_acknowledged_and_forgotten() {
    let mut fixture = Fixture::with_executors(1);
    let status = SlotStatus {
        service: service_id("gone-1"),
        index: 3,
        epoch: Epoch(9),
        generation: None,
        phase: SlotPhase::Filling,
        restarts: 0,
        retry_at: None,
        reason: None,
        message: String::new(),
        version: 7,
    };
    let ack = fixture.report("e1", Vec::new(), vec![status]);
    assert_eq!(ack.slots, [(service_id("gone-1"), 3, 7)]);
}

#[test]
fn a_status_of_a_newer_epoch_is_newer_whatever_its_version() {
    let mut fixture = Fixture::with_executors(1);
    fixture.running(spec("web"), 1);
    let slot = slot_id("web-1", "e1", 0);
    let epoch = fixture.state.slot(&slot).unwrap().epoch;
    let status = |epoch: u64, version| SlotStatus {
        service: slot.service.clone(),
        index: 0,
        epoch: Epoch(epoch),
        generation: None,
        phase: SlotPhase::Filled,
        restarts: 0,
        retry_at: None,
        reason: None,
        message: String::new(),
        version,
    };
    for (said, stored) in [
        (status(epoch.0 - 1, 100), (epoch.0 - 1, 100)),
        (status(epoch.0, 1), (epoch.0, 1)),
        (status(epoch.0 - 1, 101), (epoch.0, 1)),
        (status(epoch.0, 2), (epoch.0, 2)),
        (status(epoch.0, 1), (epoch.0, 2)),
        // Of a table of another history: what is said of this one's is to be heard afterwards.
        (status(epoch.0 + 1, 500), (epoch.0, 2)),
        (status(epoch.0, 501), (epoch.0, 501)),
    ] {
        let ack = fixture.report("e1", Vec::new(), vec![said.clone()]);
        // Of two of one epoch the newer one is confirmed.
        let confirmed = if said.epoch.0 == stored.0 { stored.1 } else { said.version };
        assert_eq!(ack.slots, [(slot.service.clone(), 0, confirmed)]);
        let known = fixture.state.slot(&slot).unwrap().status.clone().unwrap();
        assert_eq!((known.epoch.0, known.version), stored);
    }
}

#[test]
fn what_ended_is_old_and_keeps_its_evidence() {
    let mut fixture = Fixture::with_executors(1);
    let service = fixture.running(spec("web"), 1);
    let slot = slot_id("web-1", "e1", 0);
    let mut ended = record("web-1.e1.0", &slot, fixture.state.slot(&slot).unwrap().epoch, &UP_AND_DOWN);
    ended.evidence = Some(muster_common::evidence::Evidence { signal: Some(9), ..Default::default() });
    fixture.report("e1", vec![ended], Vec::new());
    assert_eq!(fixture.state.live_instances(&service).count(), 0);
    let old = fixture.old_instances(service.as_str());
    assert_eq!(old.len(), 1);
    assert_eq!(old[0].state, InstanceState::Stopped);
    assert_eq!(old[0].evidence.as_ref().unwrap().signal, Some(9));
    assert_eq!(old[0].timeline.len(), UP_AND_DOWN.len());
}

/// A slot that gave up, and was asked for again; what its executor had said.
fn retried(generation: impl Fn(Generation) -> Option<Generation>) -> (Fixture, OperationId, SlotStatus) {
    let mut fixture = Fixture::with_executors(1);
    fixture.create(spec("web"), 1);
    fixture.activate("web-1");
    fixture.settle();
    let slot = slot_id("web-1", "e1", 0);
    fixture.report_status(&slot, SlotPhase::Failed, "no such image");
    fixture.settle();
    let asked = fixture.state.slot(&slot).unwrap().clone();
    let said = asked.status.clone().unwrap();
    let said = SlotStatus { generation: generation(asked.generation), version: said.version + 1, ..said };
    let operation = fixture.submit(OperationRequest::Retry { service_id: "web-1".to_owned() }).unwrap();
    fixture.settle();
    (fixture, operation, said)
}

#[test]
fn that_the_attempt_before_failed_does_not_end_the_new_one() {
    let (mut fixture, operation, late) = retried(Some);
    let slot = slot_id("web-1", "e1", 0);
    let ack = fixture.report("e1", Vec::new(), vec![late.clone()]);
    assert_eq!(ack.slots, [(late.service.clone(), 0, late.version)], "it need not be said again");
    fixture.settle();
    assert_eq!(fixture.operation(&operation).state, OperationState::Running);
    assert_eq!(fixture.operation(&operation).slots[0].outcome, SlotOutcome::InProgress);
    // The new attempt is heard, whatever its executor said of the one before.
    let generation = Some(fixture.state.slot(&slot).unwrap().generation);
    fixture.report("e1", Vec::new(), vec![SlotStatus { generation, version: late.version + 1, ..late }]);
    fixture.settle();
    assert_eq!(fixture.operation(&operation).state, OperationState::Failed);
}

#[test]
fn an_executor_that_does_not_say_of_which_attempt_it_speaks_is_believed() {
    let (mut fixture, operation, said) = retried(|_| None);
    fixture.report("e1", Vec::new(), vec![said]);
    fixture.settle();
    assert_eq!(fixture.operation(&operation).state, OperationState::Failed);
}

#[test]
fn what_backs_off_is_not_spoken_of_once_it_is_asked_for_anew() {
    let mut fixture = Fixture::with_executors(1);
    fixture.create(spec("web"), 1);
    fixture.activate("web-1");
    fixture.settle();
    let slot = slot_id("web-1", "e1", 0);
    fixture.report_status(&slot, SlotPhase::Backoff, "no such image");
    assert!(fixture.state.slot(&slot).unwrap().current_status().is_some());
    fixture.submit(OperationRequest::Retry { service_id: "web-1".to_owned() }).unwrap();
    let retried = fixture.state.slot(&slot).unwrap();
    assert_eq!(retried.current_status(), None);
    assert_eq!(retried.restarts(), 1, "how often it failed is not forgotten");
}
