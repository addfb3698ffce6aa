//! What a restart of the executor does to an instance: nothing, if it can be helped.

use std::time::Duration;

use muster_common::instance::InstanceState::{self, *};
use muster_common::reason::Reason;

use super::fixture::{at, exited, reachable, workload};
use crate::machine::*;
use crate::runner::Found;

fn restarted(instance: &Instance, found: Found, rebooted: bool) -> (Instance, Vec<Effect>) {
    let (unknown, effects) = step(instance, Event::Restarted { rebooted }, at(0));
    if instance.is_over() {
        return (unknown, effects);
    }
    assert_eq!(unknown.state(), Unknown);
    assert_eq!(effects, [Effect::Find]);
    step(&unknown, Event::Found(Ok(found)), at(1))
}

fn in_state(state: InstanceState) -> impl Iterator<Item = Instance> {
    reachable(12).into_iter().map(|(instance, _)| instance).filter(move |instance| instance.state() == state)
}

#[test]
fn a_workload_that_still_runs_is_in_the_state_it_had() {
    for state in [Unready, Ready, Healthy] {
        for instance in in_state(state).filter(|instance| instance.exit.is_none()) {
            let (after, effects) = restarted(&instance, Found::Running(workload()), false);
            assert_eq!(after.state(), state);
            assert_eq!(after.record.reason, instance.record.reason);
            assert_eq!(after.record.timeline.last().unwrap().reason, Some(Reason::FoundAgain));
            assert!(!effects.iter().any(Effect::is_action), "{effects:?}");
        }
    }
}

#[test]
fn a_workload_that_ended_meanwhile_leaves_its_exit_code() {
    for state in [Starting, Unready, Ready, Healthy, Unhealthy, ReadinessCheckFailed, Stopping] {
        for instance in in_state(state).filter(|instance| instance.exit.is_none()) {
            let (after, effects) = restarted(&instance, Found::Ended(workload(), exited(42)), false);
            assert_eq!(after.state(), Deprovisioning);
            assert_eq!(effects, [Effect::CollectEvidence]);
            let (after, _) = step(&after, Event::EvidenceCollected(Ok("tail".to_owned())), at(2));
            assert_eq!(after.record.evidence.unwrap().exit_code, Some(42));
        }
    }
}

#[test]
fn a_workload_that_the_boot_ended_has_not_failed_and_leaves_its_exit_code() {
    for state in [Starting, Unready, Ready, Healthy] {
        for instance in in_state(state).filter(|instance| instance.exit.is_none()) {
            let (after, _) = restarted(&instance, Found::Ended(workload(), exited(137)), true);
            assert_eq!((after.state(), after.record.reason), (Deprovisioning, Some(Reason::Rebooted)));
            let (after, _) = step(&after, Event::EvidenceCollected(Ok("tail".to_owned())), at(2));
            assert_eq!(after.record.evidence.unwrap().exit_code, Some(137));
        }
    }
}

#[test]
fn a_workload_that_vanished_is_lost_and_a_boot_is_named() {
    for (rebooted, reason) in [(false, Reason::NotFound), (true, Reason::Rebooted)] {
        for instance in in_state(Healthy) {
            let (after, effects) = restarted(&instance, Found::Nothing, rebooted);
            assert_eq!((after.state(), after.record.reason), (Lost, Some(reason)));
            assert!(effects.is_empty());
        }
    }
}

#[test]
fn what_was_not_started_yet_goes_on() {
    for (state, expected) in [(Provisioning, Effect::Provision), (Starting, Effect::Start)] {
        for instance in in_state(state) {
            let (after, effects) = restarted(&instance, Found::Nothing, false);
            if instance.exit.is_some() {
                // Its start was not heard of, but its end was: it is not started a second time.
                assert_eq!((after.state(), effects), (Deprovisioning, vec![Effect::Remove]));
                continue;
            }
            assert_eq!(after.state(), state);
            assert_eq!(effects, std::slice::from_ref(&expected));
        }
    }
}

#[test]
fn two_restarts_in_a_row_forget_nothing() {
    for (instance, _) in reachable(12) {
        if instance.is_over() || instance.state() == Unknown {
            continue;
        }
        let (once, _) = step(&instance, Event::Restarted { rebooted: true }, at(0));
        let (twice, _) = step(&once, Event::Restarted { rebooted: false }, at(0));
        assert_eq!(once.resume, twice.resume);
    }
}

#[test]
fn a_stop_that_was_asked_for_while_unknown_runs_its_hooks_however_many_restarts_come_first() {
    for state in [Unready, Ready, Healthy, Unhealthy, ReadinessCheckFailed] {
        for instance in in_state(state).filter(|one| one.exit.is_none() && one.stop.is_none()) {
            let expected = match (instance.descent, state) {
                (Some(Descent::Hook(index)), _) => Some(Effect::RunHook { index }),
                (Some(Descent::Pause), _) => None,
                (None, Unready | Ready | Healthy) => Some(Effect::RunHook { index: 0 }),
                (Some(_), _) => Some(Effect::Stop { grace: Duration::from_secs(10) }),
                (None, _) => panic!("{state} and on no way down"),
            };
            for restarts in 1..=3 {
                let (unknown, _) = step(&instance, Event::Restarted { rebooted: false }, at(0));
                let intent = StopIntent { reason: Reason::Replaced, message: "newer".to_owned() };
                let (mut stopping, _) = step(&unknown, Event::StopRequested(intent), at(0));
                assert_eq!((stopping.state(), stopping.descent), (Stopping, Some(Descent::Find)));
                for _ in 1..restarts {
                    (stopping, _) = step(&stopping, Event::Restarted { rebooted: false }, at(0));
                }
                let (after, effects) = step(&stopping, Event::Found(Ok(Found::Running(workload()))), at(1));
                assert_eq!(after.state(), Stopping, "{restarts} restarts in {state}");
                assert_eq!(effects, expected.as_slice(), "{restarts} restarts in {state}");
            }
        }
    }
}

#[test]
fn while_the_runner_cannot_be_asked_nothing_is_decided() {
    for instance in in_state(Healthy) {
        let (mut unknown, _) = step(&instance, Event::Restarted { rebooted: false }, at(0));
        let mut now = at(0);
        for _ in 0..20 {
            let trouble = Trouble::Unavailable("the engine does not answer".to_owned());
            (unknown, _) = step(&unknown, Event::Found(Err(trouble)), now);
            assert_eq!(unknown.state(), Unknown);
            assert_eq!(unknown.record.reason, Some(Reason::RunnerUnavailable));
            now = super::fixture::woken(&unknown, now);
            (unknown, _) = step(&unknown, Event::Woke, now);
        }
        let (after, _) = step(&unknown, Event::Found(Ok(Found::Running(workload()))), now);
        assert_eq!(after.state(), Healthy);
    }
}
