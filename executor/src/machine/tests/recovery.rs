//! What a restart of the executor does to an instance: nothing, if it can be helped.

use std::time::Duration;

use muster_common::evidence::{ProbeKind, Repeats, news};
use muster_common::instance::InstanceState::{self, *};
use muster_common::reason::Reason;
use muster_common::time::Timestamp;

use super::fixture::{answer, at, exited, reachable, workload};
use crate::machine::*;
use crate::runner::{Exit, Found, LogEnd};

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
fn however_often_the_executor_restarts_a_timeline_keeps_its_beginning_and_counts() {
    let all = reachable(12);
    for state in [Pending, Provisioning, Starting, Unready, Ready, Healthy] {
        let restarted_before = |one: &Instance| one.record.timeline.iter().any(|step| step.to == Unknown);
        let fresh = all.iter().map(|(instance, _)| instance).filter(|one| one.state() == state);
        let fresh: Vec<_> = fresh.filter(|one| one.exit.is_none() && !restarted_before(one)).collect();
        assert!(!fresh.is_empty(), "{state}");
        for mut instance in fresh.into_iter().cloned() {
            let found = || if state.is_running() { Found::Running(workload()) } else { Found::NeverStarted };
            let before = instance.record.timeline.clone();
            for restart in 1..=100 {
                let (unknown, _) = step(&instance, Event::Restarted { rebooted: false }, at(restart * 10));
                (instance, _) = step(&unknown, Event::Found(Ok(found())), at(restart * 10 + 1));
                assert_eq!(instance.state(), state);
            }
            let (kept, added) = instance.record.timeline.split_at(before.len());
            assert_eq!(kept, before);
            let [asked, found] = added else { panic!("{added:#?}") };
            assert_eq!((asked.at, asked.from, asked.to), (at(10).wall, state, Unknown));
            assert_eq!((found.at, found.from, found.to), (at(11).wall, Unknown, state));
            assert_eq!(found.repeats, Some(Repeats { times: 100, last: at(1001).wall }));
        }
    }
}

#[test]
fn what_happens_between_two_restarts_is_told() {
    let instance = in_state(Unready).find(|one| one.exit.is_none()).unwrap();
    let (instance, _) = restarted(&instance, Found::Running(workload()), false);
    let passed = Event::Probed { kind: ProbeKind::Readiness, outcome: answer(true) };
    let (instance, _) = step(&instance, passed, at(2));
    let before = instance.record.timeline.clone();
    let (instance, _) = restarted(&instance, Found::Running(workload()), false);
    let told: Vec<_> = news(&instance.record.timeline, &before).iter().map(|step| step.to).collect();
    assert_eq!((instance.state(), told), (Ready, vec![Unknown, Ready]));
}

#[test]
fn a_workload_that_ended_meanwhile_leaves_its_exit_code() {
    for state in [Starting, Unready, Ready, Healthy, Unhealthy, ReadinessCheckFailed, Stopping] {
        for instance in in_state(state).filter(|instance| instance.exit.is_none()) {
            let (after, effects) = restarted(&instance, Found::Ended(workload(), exited(42)), false);
            assert_eq!(after.state(), Deprovisioning);
            assert_eq!(effects, [Effect::CollectEvidence]);
            let (after, _) = step(&after, Event::EvidenceCollected(Ok(LogEnd::kept("tail"))), at(2));
            assert_eq!(after.record.evidence.unwrap().exit_code, Some(42));
        }
    }
}

#[test]
fn trouble_on_the_way_down_does_not_become_why_it_went() {
    let instance = in_state(Healthy).find(|one| one.exit.is_none() && one.stop.is_none()).unwrap();
    let intent = StopIntent { reason: Reason::Replaced, message: "newer".to_owned() };
    let (mut stopping, _) = step(&instance, Event::StopRequested(intent), at(1));
    for index in 0..2 {
        (stopping, _) = step(&stopping, Event::HookDone { index, outcome: answer(true) }, at(2));
    }
    (stopping, _) = step(&stopping, Event::Woke, at(2_002));
    assert_eq!(stopping.descent, Some(Descent::Stop));
    let away = Trouble::Unavailable("the engine does not answer".to_owned());
    let (stopping, _) = step(&stopping, Event::Stopped(Err(away)), at(2_003));
    assert_eq!(stopping.record.reason, Some(Reason::RunnerUnavailable));

    let (ended, _) = restarted(&stopping, Found::Ended(workload(), exited(0)), false);
    let (kept, _) = step(&ended, Event::EvidenceCollected(Ok(LogEnd::kept(""))), at(2_005));
    let (over, _) = step(&kept, Event::Removed(Ok(())), at(2_006));
    for record in [ended.record, over.record] {
        assert_eq!((record.reason, record.error_message.as_str()), (Some(Reason::Replaced), "newer"));
        assert!(record.timeline.iter().all(|step| step.reason != Some(Reason::RunnerUnavailable)));
    }
}

#[test]
fn it_ended_when_it_did_and_not_when_that_was_learnt() {
    let instance = in_state(Healthy).find(|one| one.exit.is_none()).unwrap();
    let started = instance.record.started.unwrap();
    let (unknown, _) = step(&instance, Event::Restarted { rebooted: false }, at(7_200_000));
    for (seen, told) in [
        (Some(at(300_000).wall), at(300_000).wall),
        (None, at(7_200_001).wall),
        // A clock that jumped, either way.
        (Some(at(9_000_000).wall), at(7_200_001).wall),
        (Some(Timestamp(1)), started),
    ] {
        let found = Found::Ended(workload(), Exit { at: seen, ..exited(42) });
        let (after, _) = step(&unknown, Event::Found(Ok(found)), at(7_200_001));
        assert_eq!(after.record.finished, Some(told), "{seen:?}");
    }
}

#[test]
fn a_workload_that_the_boot_ended_has_not_failed_and_leaves_its_exit_code() {
    for state in [Starting, Unready, Ready, Healthy] {
        for instance in in_state(state).filter(|instance| instance.exit.is_none()) {
            let (after, _) = restarted(&instance, Found::Ended(workload(), exited(137)), true);
            assert_eq!((after.state(), after.record.reason), (Deprovisioning, Some(Reason::Rebooted)));
            let (after, _) = step(&after, Event::EvidenceCollected(Ok(LogEnd::kept("tail"))), at(2));
            assert_eq!(after.record.evidence.unwrap().exit_code, Some(137));
        }
    }
}

#[test]
fn a_workload_that_vanished_is_lost_and_a_boot_is_named() {
    for (rebooted, reason) in [(false, Reason::NotFound), (true, Reason::Rebooted)] {
        for instance in in_state(Healthy) {
            let (asking, effects) = restarted(&instance, Found::Nothing, rebooted);
            assert_eq!((asking.state(), effects), (Unknown, vec![Effect::CollectEvidence]));
            let (lost, effects) = step(&asking, Event::EvidenceCollected(Ok(LogEnd::kept("why"))), at(2));
            assert_eq!((lost.state(), lost.record.reason, lost.descent), (Lost, Some(reason), None));
            assert!(effects.is_empty() && lost.record.finished.is_some());
            assert_eq!(lost.record.evidence.unwrap().log_tail, "why");
            // Whoever cannot say is not waited for without end.
            let end = asking.deadline().unwrap().as_millis().try_into().unwrap();
            let away = || Event::EvidenceCollected(Err(Trouble::Unavailable("no engine".to_owned())));
            let gone = Event::EvidenceCollected(Err(Trouble::Failed("no file".to_owned())));
            let (waiting, _) = step(&asking, away(), at(2));
            let again = super::fixture::woken(&waiting, at(2));
            assert_eq!(step(&waiting, Event::Woke, again).1, [Effect::CollectEvidence]);
            for (after, words) in [
                (step(&waiting, Event::Woke, at(end)).0, "timed out in UNKNOWN"),
                (step(&asking, gone, at(2)).0, "no file"),
            ] {
                assert_eq!((after.state(), after.record.reason), (Lost, Some(reason)));
                assert!(after.record.evidence.unwrap().log_tail.contains(words));
            }
        }
    }
}

#[test]
fn one_that_vanished_is_asked_for_again_after_a_restart_and_leaves_evidence_when_it_is_to_stop() {
    for instance in in_state(Healthy) {
        let (asking, _) = restarted(&instance, Found::Nothing, true);
        let (unknown, effects) = step(&asking, Event::Restarted { rebooted: false }, at(2));
        assert_eq!((unknown.descent, effects), (None, vec![Effect::Find]));
        let (asking, _) = step(&unknown, Event::Found(Ok(Found::Nothing)), at(3));
        let (lost, _) = step(&asking, Event::EvidenceCollected(Ok(LogEnd::kept("why"))), at(4));
        assert_eq!((lost.state(), lost.record.reason), (Lost, Some(Reason::Rebooted)));

        let (stopping, effects) = step(&asking, Event::StopRequested(super::fixture::intent()), at(4));
        assert_eq!((stopping.state(), effects), (Stopping, vec![Effect::Find]));
        let (going, effects) = step(&stopping, Event::Found(Ok(Found::Nothing)), at(5));
        assert_eq!((going.state(), effects), (Deprovisioning, vec![Effect::CollectEvidence]));
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
    for mut instance in in_state(Healthy) {
        "what was said before".clone_into(&mut instance.record.error_message);
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
        // The trouble is over, and is told no more.
        assert_eq!(after.record.reason, instance.record.reason);
        assert_eq!(after.record.error_message, "what was said before");
        let (stopping, _) = step(&unknown, Event::StopRequested(super::fixture::intent()), now);
        assert_eq!(stopping.record.error_message, "what was said before");
    }
}

#[test]
fn a_workload_that_runs_although_the_journal_only_says_that_it_was_pulled_serves_on() {
    for instance in in_state(Provisioning).filter(|one| one.exit.is_none()) {
        let (after, _) = restarted(&instance, Found::Running(workload()), false);
        assert_eq!(after.state(), Unready);
        assert!(after.holds_lease() && after.workload == Some(workload()) && after.stop.is_none());
    }
}
