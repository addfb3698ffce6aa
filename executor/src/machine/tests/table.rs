//! Which of the 15 × 15 transitions there are; no event in any reachable condition makes another one.

use std::collections::{BTreeMap, BTreeSet};

use muster_common::evidence::news;
use muster_common::instance::InstanceState::{self, *};

use super::fixture::{at, every_event, reachable, woken};
use crate::machine::*;

/// The whole table, written out. UNKNOWN stands for "journalled, executor restarted" on the
/// right and leads back to the state it had; a stop is honoured everywhere before DEPROVISIONING.
fn allowed(from: InstanceState) -> BTreeSet<InstanceState> {
    BTreeSet::from_iter(match from {
        Pending => vec![Provisioning, Stopping, Unknown],
        Provisioning => vec![Starting, ProvisioningFailed, Stopping, Unknown],
        Starting => vec![Unready, StartFailed, Stopping, Unknown],
        Unready => vec![Ready, ReadinessCheckFailed, Stopping, Unknown],
        Ready => vec![Healthy, Stopping, Unknown],
        Healthy => vec![Unhealthy, Stopping, Unknown],
        Unhealthy | ReadinessCheckFailed => vec![Deprovisioning, Stopping, Unknown],
        // Left in the same step that enters them, so that neither a stop nor a restart meets one.
        ProvisioningFailed | StartFailed => vec![Deprovisioning],
        Stopping => vec![Deprovisioning, Unknown],
        Deprovisioning => vec![Stopped, Unknown],
        Unknown => vec![
            Pending,
            Provisioning,
            Starting,
            Unready,
            Ready,
            Healthy, // the state it had
            Unhealthy,
            ReadinessCheckFailed,
            Deprovisioning,
            Stopping, // the state it had, or it ended
            Lost,
        ],
        Stopped | Lost => vec![],
    })
}

#[test]
fn exactly_the_transitions_of_the_table_can_be_made() {
    let conditions = reachable(14);
    let mut seen: BTreeMap<InstanceState, BTreeSet<InstanceState>> = BTreeMap::new();
    for (instance, now) in &conditions {
        for event in every_event() {
            let then = if event == Event::Woke { woken(instance, *now) } else { *now };
            let (after, _) = step(instance, event.clone(), then);
            let made = news(&after.record.timeline, &instance.record.timeline);
            for transition in made {
                assert!(
                    allowed(transition.from).contains(&transition.to),
                    "{event:?} made {} → {}",
                    transition.from,
                    transition.to
                );
                seen.entry(transition.from).or_default().insert(transition.to);
            }
            assert_eq!(made.last().map_or(instance.state(), |last| last.to), after.state());
        }
    }
    for &from in InstanceState::ALL {
        let made = seen.remove(&from).unwrap_or_default();
        assert_eq!(made, allowed(from), "from {from}: what can be made is not what the table says");
    }
    println!("{} conditions × {} events", conditions.len(), every_event().len());
}

#[test]
fn every_condition_that_is_not_final_and_not_steady_has_a_timer() {
    for (instance, _) in reachable(14) {
        match instance.state() {
            Stopped | Lost => assert_eq!(instance.next_wake(), None),
            // HEALTHY wakes for its next check.
            _ => assert!(instance.next_wake().is_some(), "{} {:?}", instance.state(), instance.descent),
        }
    }
}

#[test]
fn every_condition_ends_by_timers_alone_once_a_stop_was_asked_for_and_the_runner_answers() {
    for (instance, now) in reachable(14) {
        let intent = super::fixture::intent();
        let (mut instance, effects) = step(&instance, Event::StopRequested(intent), now);
        let mut pending = effects;
        let mut now = now;
        for _ in 0..40 {
            if instance.is_over() {
                break;
            }
            let event = pending.drain(..).rev().find_map(|effect| answer_of(&effect)).unwrap_or_else(|| {
                now = woken(&instance, now);
                Event::Woke
            });
            (instance, pending) = step(&instance, event, now);
        }
        assert!(instance.is_over(), "{:?} {:?}", instance.record.timeline, instance.descent);
    }
}

/// What a runner that works answers.
fn answer_of(effect: &Effect) -> Option<Event> {
    use crate::runner::{Exit, Found, LogEnd};
    Some(match effect {
        Effect::Find => Event::Found(Ok(Found::Ended(super::fixture::workload(), Exit::default()))),
        Effect::Stop { .. } => Event::Stopped(Ok(Exit::default())),
        Effect::CollectEvidence => Event::EvidenceCollected(Ok(LogEnd::kept(""))),
        Effect::CopyLog => Event::LogCopied(Ok(None)),
        Effect::Remove => Event::Removed(Ok(())),
        // Hooks hang: their deadline ends them.
        _ => return None,
    })
}

#[test]
fn a_stop_is_honoured_in_every_state_before_deprovisioning() {
    for (instance, now) in reachable(14) {
        if instance.is_over() || instance.stop.is_some() || instance.state() == Deprovisioning {
            continue;
        }
        let (after, _) = step(&instance, Event::StopRequested(super::fixture::intent()), now);
        let entered = after.record.timeline.iter().any(|transition| transition.to == Stopping);
        assert!(entered, "from {}", instance.state());
        assert!(matches!(after.state(), Stopping | Deprovisioning | Stopped), "{}", after.state());
    }
}

#[test]
fn the_version_grows_with_every_change_of_the_record_and_never_otherwise() {
    for (instance, now) in reachable(12) {
        for event in every_event() {
            let (after, _) = step(&instance, event.clone(), now);
            let mut unversioned = after.record.clone();
            unversioned.version = instance.record.version;
            unversioned.updated = instance.record.updated;
            unversioned.probes.clone_from(&instance.record.probes);
            if matches!(event, Event::Restarted { .. }) {
                let skips = after.record.version > instance.record.version + 1000;
                assert!(skips || instance.is_over());
            } else if unversioned == instance.record {
                assert!(after.record.version - instance.record.version <= 1);
            } else {
                assert_eq!(after.record.version, instance.record.version + 1);
            }
        }
    }
}

#[test]
fn an_instance_that_is_over_is_deaf() {
    for (instance, _) in reachable(14).into_iter().filter(|(instance, _)| instance.is_over()) {
        for event in every_event() {
            let (after, effects) = step(&instance, event, at(99_999_999));
            assert_eq!(after, instance);
            assert!(effects.is_empty());
        }
    }
}
