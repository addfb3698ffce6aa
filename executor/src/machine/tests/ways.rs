//! The ways up and down, one by one.

use std::time::Duration;

use muster_common::evidence::ProbeKind;
use muster_common::instance::InstanceState::*;
use muster_common::reason::Reason;

use super::fixture::{answer, at, exited, intent, lease, minted, script, spec, workload};
use crate::machine::*;
use crate::probe::ProbeOutcome;
use crate::runner::Exit;

fn probed(kind: ProbeKind, passed: bool) -> Event {
    Event::Probed { kind, outcome: answer(passed) }
}

fn unready() -> Instance {
    let steps = [
        (0, Event::Woke, Pending),
        (1, Event::Leased(Ok(lease())), Pending),
        (2, Event::PortsChecked(Ok(())), Provisioning),
        (3, Event::Provisioned(Ok(())), Starting),
        (4, Event::Started(Ok(workload())), Unready),
    ];
    script(minted(spec()), &steps).0
}

fn healthy() -> Instance {
    let steps =
        [(5, probed(ProbeKind::Readiness, true), Ready), (6, probed(ProbeKind::Health, true), Healthy)];
    script(unready(), &steps).0
}

#[test]
fn up_to_healthy_without_waiting_for_a_period() {
    let (instance, _) = script(healthy(), &[]);
    let states: Vec<_> = instance.record.timeline.iter().map(|transition| transition.to).collect();
    assert_eq!(states, [Provisioning, Starting, Unready, Ready, Healthy]);
    assert_eq!(instance.record.started, Some(at(4).wall));
    assert_eq!(instance.record.error_message, "");
    let wake = instance.next_wake().unwrap();
    assert!((Duration::from_millis(500)..=Duration::from_millis(1006)).contains(&wake), "{wake:?}");
}

#[test]
fn checks_of_an_instance_that_comes_up_start_close_together_and_double() {
    let mut instance = unready();
    let mut now = 4;
    let mut gaps = Vec::new();
    for _ in 0..9 {
        (instance, _) = step(&instance, probed(ProbeKind::Readiness, false), at(now));
        let next = u64::try_from(instance.next_wake().unwrap().as_millis()).unwrap();
        gaps.push(next - now);
        now = next;
        let (after, effects) = step(&instance, Event::Woke, at(now));
        assert_eq!(effects, [Effect::Probe { kind: ProbeKind::Readiness }]);
        instance = after;
    }
    assert_eq!(gaps, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
}

/// Fails every readiness check until something other than UNREADY is reached.
fn fail_readiness(mut instance: Instance) -> (Instance, u64) {
    let mut now = 4;
    while instance.state() == Unready {
        (instance, _) = step(&instance, probed(ProbeKind::Readiness, false), at(now));
        if instance.state() == Unready {
            now = u64::try_from(instance.next_wake().unwrap().as_millis()).unwrap();
            (instance, _) = step(&instance, Event::Woke, at(now));
        }
    }
    (instance, now)
}

#[test]
fn readiness_is_given_up_when_attempts_and_grace_are_both_used_up() {
    // Three attempts a second apart, ten seconds of grace: the grace is the longer one.
    let (instance, now) = fail_readiness(unready());
    assert_eq!(instance.state(), ReadinessCheckFailed);
    assert!((10_000..11_100).contains(&now), "{now}");
    assert_eq!(instance.record.reason, Some(Reason::ReadinessCheckFailed));
    assert!(instance.record.error_message.contains("readiness check failed"));
    assert_eq!(instance.record.probes.len(), 10);

    // Without grace three attempts are three attempts, however many quick checks lie between.
    let mut hasty = unready();
    let mut spec = spec();
    spec.grace = Some("0s".parse().unwrap());
    hasty.spec = std::sync::Arc::new(spec);
    let (instance, now) = fail_readiness(hasty);
    assert_eq!(instance.state(), ReadinessCheckFailed);
    assert!((2_000..4_000).contains(&now), "{now}");
}

#[test]
fn three_failures_in_a_row_make_a_healthy_instance_unhealthy_and_hooks_run_in_order() {
    let mut instance = healthy();
    for passed in [false, false, true, false, false, false] {
        assert_eq!(instance.state(), Healthy);
        let now = u64::try_from(instance.next_wake().unwrap().as_millis()).unwrap() + 1;
        (instance, _) = step(&instance, Event::Woke, at(now));
        (instance, _) = step(&instance, probed(ProbeKind::Health, passed), at(now));
    }
    assert_eq!(instance.state(), Unhealthy);
    assert_eq!(instance.record.reason, Some(Reason::HealthCheckFailed));
    assert_eq!(instance.descent, Some(Descent::Hook(0)));
    let (instance, effects) = script(
        instance,
        &[
            (20_000, Event::HookDone { index: 0, outcome: answer(false) }, Unhealthy),
            (20_001, Event::HookDone { index: 1, outcome: answer(true) }, Unhealthy),
        ],
    );
    assert!(effects.is_empty(), "waitBeforeKill passes first");
    assert_eq!(instance.next_wake(), Some(Duration::from_millis(22_001)));
    let (instance, effects) = step(&instance, Event::Woke, at(22_001));
    assert!(matches!(effects[..], [Effect::Stop { .. }]));
    let steps = [
        (22_500, Event::Stopped(Ok(Exit { signal: Some(15), ..Exit::default() })), Deprovisioning),
        (22_501, Event::EvidenceCollected(Ok("bye\n".to_owned())), Deprovisioning),
        (22_502, Event::Removed(Ok(())), Stopped),
    ];
    let (instance, _) = script(instance, &steps);
    let evidence = instance.record.evidence.unwrap();
    assert_eq!((evidence.signal, evidence.log_tail.as_str()), (Some(15), "bye\n"));
    assert_eq!(instance.record.reason, Some(Reason::HealthCheckFailed));
}

#[test]
fn checks_that_nobody_could_ask_count_neither_way() {
    let mut instance = healthy();
    let ask = |instance: &Instance, outcome: ProbeOutcome| {
        let now = u64::try_from(instance.next_wake().unwrap().as_millis()).unwrap() + 1;
        let (asked, _) = step(instance, Event::Woke, at(now));
        step(&asked, Event::Probed { kind: ProbeKind::Health, outcome }, at(now)).0
    };
    instance = ask(&instance, answer(false));
    instance = ask(&instance, answer(false));
    for _ in 0..10 {
        instance = ask(&instance, ProbeOutcome { asked: false, ..answer(false) });
        assert_eq!(instance.state(), Healthy);
        assert!(!instance.record.probes.last().unwrap().passed, "it is said all the same");
    }
    // What was learnt before holds: one more that fails is the third.
    assert_eq!(ask(&instance, answer(false)).state(), Unhealthy);
}

#[test]
fn an_exit_skips_the_hooks_and_keeps_its_code() {
    let (instance, effects) = step(&healthy(), Event::Exited(exited(3)), at(50));
    assert_eq!(instance.state(), Deprovisioning);
    assert_eq!(effects, [Effect::CollectEvidence]);
    let last: Vec<_> = instance.record.timeline.iter().rev().take(2).collect();
    assert_eq!((last[1].from, last[1].to, last[1].reason), (Healthy, Stopping, Some(Reason::Exited)));
    assert_eq!(instance.record.error_message, "the process exited with code 3");
    assert_eq!(instance.record.finished, Some(at(50).wall));
}

#[test]
fn an_exit_ends_the_wait_for_the_stop() {
    let steps = [
        (50, Event::StopRequested(intent()), Stopping),
        (51, Event::HookDone { index: 0, outcome: answer(true) }, Stopping),
        (52, Event::HookDone { index: 1, outcome: answer(true) }, Stopping),
        (2_052, Event::Woke, Stopping),
        (2_060, Event::Exited(exited(0)), Deprovisioning),
    ];
    let (instance, effects) = script(healthy(), &steps);
    assert_eq!(effects, [Effect::CollectEvidence]);
    assert_eq!(instance.record.reason, Some(Reason::SlotRemoved));
    // The stop's own answer comes too late to matter.
    let (after, effects) = step(&instance, Event::Stopped(Ok(exited(0))), at(2_100));
    assert!(effects.is_empty() && after.same_on_disk(&instance));
}

#[test]
fn a_second_word_about_an_end_adds_to_the_first_and_takes_nothing_away() {
    let killed = Exit { signal: Some(9), ..Exit::default() };
    let oom = Exit { oom_killed: true, ..killed.clone() };
    for sealed in [false, true] {
        let (mut instance, _) = step(&healthy(), Event::Exited(killed.clone()), at(50));
        assert_eq!(instance.record.reason, Some(Reason::Signaled));
        if sealed {
            (instance, _) = step(&instance, Event::EvidenceCollected(Ok("bye".to_owned())), at(51));
        }
        let version = instance.record.version;
        let (mut instance, effects) = step(&instance, Event::Exited(oom.clone()), at(52));
        assert!(effects.is_empty(), "what is under way goes on");
        assert_eq!(instance.record.version, version + 1);
        for lesser in [killed.clone(), exited(1), Exit::default()] {
            let (after, _) = step(&instance, Event::Exited(lesser), at(53));
            assert!(after.same_on_disk(&instance));
        }
        if !sealed {
            (instance, _) = step(&instance, Event::EvidenceCollected(Ok("bye".to_owned())), at(54));
        }
        let (instance, _) = step(&instance, Event::Removed(Ok(())), at(55));
        let record = &instance.record;
        assert_eq!((record.state, record.reason), (Stopped, Some(Reason::OomKilled)));
        assert!(record.error_message.contains("want of memory"), "{}", record.error_message);
        assert_eq!(record.finished, Some(at(50).wall));
        let evidence = record.evidence.as_ref().unwrap();
        assert!(evidence.oom_killed && evidence.signal == Some(9) && evidence.log_tail == "bye");
        assert!(record.timeline.iter().all(|step| step.reason != Some(Reason::Signaled)));
    }
}

#[test]
fn a_runner_that_is_away_for_long_is_no_fault_of_the_service() {
    let away = || Trouble::Unavailable("no engine answers".to_owned());
    let starting = [
        (0, Event::Woke, Pending),
        (1, Event::Leased(Ok(lease())), Pending),
        (2, Event::PortsChecked(Ok(())), Provisioning),
        (3, Event::Provisioned(Ok(())), Starting),
    ];
    for (steps, state) in [(&starting[..3], Provisioning), (&starting[..], Starting)] {
        let (mut instance, _) = script(minted(spec()), steps);
        let mut now = 10;
        // Every try is answered, for an hour: longer than any of its deadlines.
        while now < 3_600_000 {
            let answer = match state {
                Provisioning => Event::Provisioned(Err(away())),
                _ => Event::Started(Err(away())),
            };
            (instance, _) = step(&instance, answer, at(now));
            assert_eq!((instance.state(), instance.record.reason), (state, Some(Reason::RunnerUnavailable)));
            assert_eq!(instance.record.error_message, "no engine answers");
            now = u64::try_from(instance.next_wake().unwrap().as_millis()).unwrap();
            let effects;
            (instance, effects) = step(&instance, Event::Woke, at(now));
            assert!(matches!(effects[..], [Effect::Provision | Effect::Start]), "{effects:?}");
        }
        // One that is never answered is given up.
        now = u64::try_from(instance.deadline().unwrap().as_millis()).unwrap();
        let (instance, _) = step(&instance, Event::Woke, at(now));
        assert_eq!((instance.state(), instance.record.reason), (Deprovisioning, Some(Reason::TimedOut)));
    }
}

#[test]
fn an_exit_that_overtakes_the_answer_to_the_start_is_not_lost() {
    let steps = [
        (0, Event::Woke, Pending),
        (1, Event::Leased(Ok(lease())), Pending),
        (2, Event::PortsChecked(Ok(())), Provisioning),
        (3, Event::Provisioned(Ok(())), Starting),
        (4, Event::Exited(exited(7)), Starting),
        (5, Event::Started(Ok(workload())), Deprovisioning),
    ];
    let (instance, effects) = script(minted(spec()), &steps);
    assert_eq!(effects, [Effect::CollectEvidence]);
    assert_eq!(instance.record.error_message, "the process exited with code 7");
}

#[test]
fn a_stop_during_the_start_waits_for_what_the_start_made() {
    let steps = [
        (0, Event::Woke, Pending),
        (1, Event::Leased(Ok(lease())), Pending),
        (2, Event::PortsChecked(Ok(())), Provisioning),
        (3, Event::Provisioned(Ok(())), Starting),
        (4, Event::StopRequested(intent()), Stopping),
        (5, Event::Started(Ok(workload())), Stopping),
    ];
    let (instance, effects) = script(minted(spec()), &steps);
    assert!(matches!(effects[..], [Effect::Stop { .. }]));
    assert_eq!(instance.record.reason, Some(Reason::SlotRemoved));
}

#[test]
fn a_stop_cancels_a_pull_at_once() {
    let steps = [
        (0, Event::Woke, Pending),
        (1, Event::Leased(Ok(lease())), Pending),
        (2, Event::PortsChecked(Ok(())), Provisioning),
        (3, Event::StopRequested(intent()), Deprovisioning),
    ];
    let (instance, effects) = script(minted(spec()), &steps);
    assert_eq!(effects, [Effect::Cancel, Effect::Remove]);
    assert!(instance.holds_lease(), "held until the runner says that nothing is left");
}

#[test]
fn a_wait_that_takes_too_long_says_what_it_waited_for() {
    let steps = [
        (0, Event::Woke, Pending),
        (1, Event::Leased(Ok(lease())), Pending),
        (2, Event::PortsChecked(Ok(())), Provisioning),
        (30_002, Event::Woke, Deprovisioning),
    ];
    let (instance, effects) = script(minted(spec()), &steps);
    assert_eq!(effects, [Effect::Cancel, Effect::Remove]);
    assert_eq!(
        instance.record.error_message,
        "timed out in PROVISIONING after 30 s; last action: fetching /bin/web"
    );
    assert_eq!(instance.record.reason, Some(Reason::TimedOut));
}

#[test]
fn no_room_is_shown_and_tried_again_when_something_is_given_back() {
    let no_room = NoRoom { reason: Reason::InsufficientResources, message: "no cores".to_owned() };
    let steps = [(0, Event::Woke, Pending), (1, Event::Leased(Err(no_room)), Pending)];
    let (instance, _) = script(minted(spec()), &steps);
    assert_eq!(instance.record.reason, Some(Reason::InsufficientResources));
    assert_eq!(instance.next_wake(), Some(Duration::from_millis(5001)));
    let (_, effects) = step(&instance, Event::RoomFreed, at(2));
    assert_eq!(effects, [Effect::Lease]);
    let (_, effects) = step(&instance, Event::Woke, at(5001));
    assert_eq!(effects, [Effect::Lease]);
}

#[test]
fn a_workload_that_cannot_be_removed_keeps_its_lease_and_says_so() {
    let (instance, _) = step(&healthy(), Event::Exited(exited(0)), at(50));
    let (instance, _) = step(&instance, Event::EvidenceCollected(Ok(String::new())), at(51));
    let trouble = Trouble::Unavailable("the engine does not answer".to_owned());
    let (instance, _) = step(&instance, Event::Removed(Err(trouble)), at(52));
    assert_eq!(instance.state(), Deprovisioning);
    assert!(instance.holds_lease());
    assert_eq!(instance.record.error_message, "the engine does not answer");
    let (instance, effects) = step(&instance, Event::Woke, at(552));
    assert_eq!(effects, [Effect::Remove]);
    let (instance, _) = step(&instance, Event::Removed(Ok(())), at(553));
    assert_eq!(instance.state(), Stopped);
    // What is kept is why it ended, not who was away meanwhile.
    assert_eq!(instance.record.reason, Some(Reason::Exited));
    assert_eq!(instance.record.error_message, "the process exited with code 0");
}

#[test]
fn a_passing_check_is_neither_written_down_nor_reported() {
    let mut instance = healthy();
    for _ in 0..5 {
        let now = u64::try_from(instance.next_wake().unwrap().as_millis()).unwrap() + 1;
        let (asked, _) = step(&instance, Event::Woke, at(now));
        let (after, _) = step(&asked, probed(ProbeKind::Health, true), at(now));
        assert!(after.same_on_disk(&instance));
        instance = after;
    }
}
