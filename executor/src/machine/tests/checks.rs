//! Checks: how an instance comes up by them, is given up for them, and when they are asked.

use std::time::Duration;

use muster_common::evidence::ProbeKind;
use muster_common::id::InstanceId;
use muster_common::instance::InstanceState::*;
use muster_common::reason::Reason;

use super::fixture::{answer, at, healthy, probed, script, spec, unready};
use crate::machine::*;
use crate::probe::ProbeOutcome;
use crate::runner::{Exit, LogEnd};

#[test]
fn up_to_healthy_without_waiting_for_a_period() {
    let (instance, _) = script(healthy(), &[]);
    let states: Vec<_> = instance.record.timeline.iter().map(|transition| transition.to).collect();
    assert_eq!(states, [Provisioning, Starting, Unready, Ready, Healthy]);
    assert_eq!(instance.record.started, Some(at(4).wall));
    assert_eq!(instance.record.error_message, "");
    let wake = instance.next_wake().unwrap();
    assert!((Duration::from_millis(6)..=Duration::from_millis(1006)).contains(&wake), "{wake:?}");
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
        (22_501, Event::EvidenceCollected(Ok(LogEnd::kept("bye\n"))), Deprovisioning),
        (22_502, Event::Removed(Ok(())), Stopped),
    ];
    let (instance, _) = script(instance, &steps);
    let evidence = instance.record.evidence.unwrap();
    assert_eq!((evidence.signal, evidence.log_tail.as_str()), (Some(15), "bye\n"));
    assert_eq!(instance.record.reason, Some(Reason::HealthCheckFailed));
}

/// When an instance is checked next, as a part of its second.
fn phase(instance: &Instance) -> u32 {
    instance.next_wake().unwrap().subsec_millis()
}

#[test]
fn checks_are_spread_and_stay_so_when_something_holds_all_of_them_up() {
    let of_id = |number: u32| {
        let mut instance = healthy();
        instance.record.id = InstanceId::new(format!("SI-{number}")).unwrap();
        // Asked for the first time once its id is known.
        let (instance, _) = step(&instance, Event::Woke, at(2_000));
        step(&instance, probed(ProbeKind::Health, true), at(2_001)).0
    };
    let instances: Vec<Instance> = (0..100).map(of_id).collect();
    let mut tenths = [0; 10];
    for instance in &instances {
        tenths[usize::try_from(phase(instance) / 100).unwrap()] += 1;
    }
    assert!(tenths.iter().all(|count| (1..=30).contains(count)), "{tenths:?}");
    for mut instance in instances {
        let own = phase(&instance);
        // Nothing for three seconds; then all are asked at once.
        for (now, expected) in [(5_500, own), (7_900, own)] {
            (instance, _) = step(&instance, Event::Woke, at(now));
            (instance, _) = step(&instance, probed(ProbeKind::Health, true), at(now + 10));
            assert_eq!(phase(&instance), expected);
            let next = instance.next_wake().unwrap().saturating_sub(at(now).mono);
            assert!((500..=1510).contains(&next.as_millis()), "{next:?}");
        }
    }
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
fn a_workload_that_comes_up_has_its_time_anew_when_nobody_could_ask_it() {
    let ready = script(unready(), &[(5, probed(ProbeKind::Readiness, true), Ready)]).0;
    for (coming, kind, next) in
        [(unready(), ProbeKind::Readiness, Ready), (ready, ProbeKind::Health, Healthy)]
    {
        let state = coming.state();
        let (mut instance, mut now) = (coming, 6);
        // The question that is open already is answered first; for an hour, longer than any of its limits.
        while now < 3_600_000 {
            let outcome = ProbeOutcome { asked: false, ..answer(false) };
            (instance, _) = step(&instance, Event::Probed { kind, outcome }, at(now));
            assert_eq!((instance.state(), instance.record.reason), (state, Some(Reason::RunnerUnavailable)));
            now = u64::try_from(instance.next_wake().unwrap().as_millis()).unwrap();
            let effects;
            (instance, effects) = step(&instance, Event::Woke, at(now));
            assert_eq!(effects, [Effect::Probe { kind }]);
        }
        assert!(instance.deadline().is_some());
        let (passed, _) = step(&instance, probed(kind, true), at(now));
        assert_eq!((passed.state(), passed.record.reason), (next, None));
        assert_eq!(passed.record.error_message, "");
        // Whether it is any good is learnt as ever: what was not asked has used nothing up.
        let (failed, _) = step(&instance, probed(kind, false), at(now));
        assert_eq!((failed.state(), failed.record.reason), (state, None));
    }
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
