//! The slot keeper, by example here and by random lives in `lives`.

mod bench;
mod lives;

use std::sync::Arc;
use std::time::Duration;

use muster_common::id::{Epoch, Generation};
use muster_common::instance::InstanceState::*;
use muster_common::reason::Reason;
use muster_common::slot::{ReplaceMode, SlotPhase};
use muster_common::spec::{LocalServiceSpec, RestartPolicy};
use muster_common::time::Timestamp;

use self::bench::{Bench, become_state, row};
use super::policy::backoff;
use super::*;
use crate::machine::{Event, Now, step};
use crate::runner::{Exit, Found, Workload};

#[test]
fn a_drain_forgets_no_counter_and_no_version_comes_twice() {
    let mut bench = Bench::new(ReplaceMode::StartFirst);
    bench.keep();
    bench.becomes(Stopped);
    let crashed = bench.slot.clone().unwrap();
    assert_eq!((crashed.status.restarts, crashed.failures), (1, 1));
    let at = Timestamp(bench.now);
    let drained = keep(Wanted::Empty(Reason::Draining), Some(&crashed), &[], at, Duration::ZERO, &mut || 0);
    assert_eq!(drained.slot.as_ref(), Some(&crashed));
    // Taken away, or lost with a damaged record: what comes after is newer all the same.
    bench.row = None;
    bench.keep();
    assert_eq!(bench.slot, None);
    bench.now += 1000;
    bench.row = Some(row(1, ReplaceMode::StartFirst));
    bench.keep();
    assert!(bench.slot.as_ref().unwrap().status.version > crashed.status.version);
}

#[test]
fn a_slot_is_filled_and_a_crash_is_replaced_after_the_backoff() {
    let mut bench = Bench::new(ReplaceMode::StartFirst);
    assert_eq!(bench.keep().mint, Some(Epoch(1)));
    assert_eq!(bench.phase(), SlotPhase::Filling);
    bench.becomes(Healthy);
    assert_eq!(bench.phase(), SlotPhase::Filled);
    let mut waits = Vec::new();
    for _ in 0..4 {
        let decision = bench.becomes(Stopped);
        assert_eq!((decision.mint, bench.phase()), (None, SlotPhase::Backoff));
        let wait = decision.look_again_in.unwrap();
        waits.push(wait.as_secs());
        bench.now += u64::try_from(wait.as_millis()).unwrap() - 1;
        assert_eq!(bench.keep().mint, None);
        bench.now += 1;
        assert_eq!(bench.keep().mint, Some(Epoch(1)));
    }
    assert_eq!(waits, [1, 2, 5, 30]);
    // The budget is four: the fifth failure is the last.
    assert_eq!(bench.becomes(Stopped).mint, None);
    assert_eq!(bench.phase(), SlotPhase::Failed);
    assert_eq!(bench.slot.as_ref().unwrap().status.restarts, 5);
    assert_eq!(bench.slot.as_ref().unwrap().status.reason, Some(Reason::CrashLoop));
    bench.now += 10_000_000;
    assert_eq!(bench.keep(), bench.keep());
    assert_eq!(bench.phase(), SlotPhase::Failed);
    // A new epoch is a new chance.
    assert_eq!(bench.raise().mint, Some(Epoch(2)));
}

#[test]
fn a_policy_without_waits_waits_when_too_many_ends_are_confirmed_by_nobody() {
    assert_eq!([0, 999, 1000, 60_500].map(|ends| least_wait(ends).as_secs()), [0, 0, 1, 60]);
    let mut bench = Bench::new(ReplaceMode::StartFirst);
    let policy = br#"{"restartPolicy": {"backoff": ["0s"], "budget": "UNLIMITED"}}"#;
    let row = bench.row.as_mut().unwrap();
    row.spec = Arc::new(LocalServiceSpec::from_json(policy).unwrap());
    bench.keep();
    assert!(bench.becomes(Stopped).mint.is_some());
    bench.least_wait = least_wait(2500);
    for _ in 0..3 {
        let decision = bench.becomes(Stopped);
        assert_eq!((decision.mint, decision.look_again_in), (None, Some(Duration::from_secs(2))));
        bench.now += 2000;
        assert!(bench.keep().mint.is_some());
    }
    // Controllers are back, and have confirmed all of them.
    bench.becomes(Stopped);
    bench.least_wait = Duration::ZERO;
    assert!(bench.keep().mint.is_some());
}

#[test]
fn ten_minutes_of_health_start_the_count_anew() {
    let mut bench = Bench::new(ReplaceMode::StartFirst);
    bench.keep();
    for _ in 0..10 {
        bench.becomes(Healthy);
        bench.now += 600_000;
        bench.becomes(Stopped);
        assert_eq!(bench.slot.as_ref().unwrap().failures, 1);
        bench.now += 1000;
        assert!(bench.keep().mint.is_some());
    }
    assert_eq!(bench.slot.as_ref().unwrap().status.restarts, 10);
}

#[test]
fn health_goes_on_over_every_restart_of_the_executor() {
    let mut bench = Bench::new(ReplaceMode::StartFirst);
    bench.keep();
    for _ in 0..3 {
        bench.becomes(Healthy);
        for _ in 0..100 {
            bench.now += 6_001;
            let now = Now { wall: Timestamp(bench.now), mono: Duration::ZERO };
            let instance = bench.last();
            let (unknown, _) = step(instance, Event::Restarted { rebooted: false }, now);
            let workload = Workload::container("c");
            (*instance, _) = step(&unknown, Event::Found(Ok(Found::Running(workload))), now);
            bench.keep();
        }
        assert_eq!(bench.last().state(), Healthy);
        bench.becomes(Stopped);
        assert_eq!(bench.slot.as_ref().unwrap().failures, 1, "it was healthy for ten minutes");
        bench.now += 1000;
        assert!(bench.keep().mint.is_some());
    }
}

#[test]
fn health_is_over_when_the_workload_is_and_not_when_that_is_learnt() {
    let mut bench = Bench::new(ReplaceMode::StartFirst);
    bench.keep();
    for failures in 1..=3 {
        bench.becomes(Healthy);
        // It ends after five minutes; nobody looks for two hours.
        bench.last().record.finished = Some(Timestamp(bench.now + 300_000));
        bench.now += 7_200_000;
        bench.becomes(Stopped);
        assert_eq!(bench.slot.as_ref().unwrap().failures, failures);
        bench.now += 30_000;
        assert!(bench.keep().mint.is_some());
    }
}

#[test]
fn start_first_keeps_the_old_one_until_the_new_one_is_healthy() {
    let mut bench = Bench::new(ReplaceMode::StartFirst);
    bench.keep();
    bench.becomes(Healthy);
    let decision = bench.raise();
    assert_eq!((decision.mint, decision.stop.len()), (Some(Epoch(2)), 0));
    assert!(bench.becomes(Unready).stop.is_empty());
    let decision = bench.becomes(Healthy);
    assert_eq!(decision.stop[0].0.as_str(), "SI-1");
    assert_eq!(decision.stop[0].1.reason, Reason::Replaced);
    assert_eq!(bench.phase(), SlotPhase::Filled);
}

#[test]
fn when_the_replacement_fails_the_old_one_stays_and_the_slot_says_so() {
    let mut bench = Bench::new(ReplaceMode::StartFirst);
    bench.keep();
    bench.becomes(Healthy);
    bench.raise();
    bench.last().record.reason = Some(Reason::ReadinessCheckFailed);
    bench.last().record.error_message = "readiness check failed".to_owned();
    let decision = bench.becomes(Stopped);
    assert_eq!((decision.mint, decision.stop.len()), (None, 0));
    let status = bench.slot.clone().unwrap().status;
    assert_eq!((status.phase, status.epoch), (SlotPhase::KeptOld, Epoch(2)));
    assert_eq!(status.reason, Some(Reason::ReadinessCheckFailed));
    bench.now += 10_000_000;
    assert_eq!(bench.keep().mint, None, "one failure ends the replacement");
    // If the old one ends after all, the slot must be filled all the same.
    become_state(&mut bench.instances[0], Stopped, Timestamp(0));
    bench.now += 1_000;
    assert_eq!(bench.keep().mint, Some(Epoch(2)));
}

#[test]
fn stop_first_waits_until_the_old_one_is_gone() {
    let mut bench = Bench::new(ReplaceMode::StopFirst);
    bench.keep();
    bench.becomes(Healthy);
    let decision = bench.raise();
    assert_eq!((decision.mint, decision.stop.len()), (None, 1));
    assert_eq!(bench.becomes(Deprovisioning).mint, None);
    assert_eq!(bench.becomes(Stopped).mint, Some(Epoch(2)), "an end that was asked for needs no back-off");
}

#[test]
fn what_is_newer_than_restored_controllers_know_stays_until_they_ask_for_something_newer() {
    for mode in [ReplaceMode::StartFirst, ReplaceMode::StopFirst] {
        let mut bench = Bench::new(mode);
        bench.row = Some(row(5, mode));
        bench.keep();
        bench.becomes(Healthy);
        let decision = bench.go_back(3);
        assert_eq!((decision.mint, decision.stop.len()), (None, 0));
        let status = bench.slot.clone().unwrap().status;
        assert_eq!((status.phase, status.epoch), (SlotPhase::Filled, Epoch(3)), "in the controllers' words");
        // What a slot is given that is taken away and assigned again is newer than all that was.
        let decision = match mode {
            ReplaceMode::StartFirst => bench.go_back(6),
            ReplaceMode::StopFirst => {
                assert_eq!(bench.go_back(6).stop.len(), 1);
                bench.becomes(Stopped)
            }
        };
        assert_eq!(decision.mint, Some(Epoch(6)));
    }
}

#[test]
fn what_is_newer_than_its_row_and_ends_is_followed_by_what_the_row_says() {
    let mut bench = Bench::new(ReplaceMode::StartFirst);
    bench.row = Some(row(5, ReplaceMode::StartFirst));
    bench.keep();
    bench.becomes(Healthy);
    bench.go_back(3);
    let decision = bench.becomes(Stopped);
    assert_eq!((decision.mint, bench.slot.as_ref().unwrap().status.restarts), (Some(Epoch(3)), 1));
}

#[test]
fn a_replacement_that_restored_controllers_do_not_know_goes_on() {
    for is_good in [true, false] {
        let mut bench = Bench::new(ReplaceMode::StartFirst);
        bench.keep();
        bench.becomes(Healthy);
        bench.raise();
        let decision = bench.go_back(1);
        assert_eq!((decision.mint, decision.stop.len(), bench.phase()), (None, 0, SlotPhase::Filling));
        let decision = bench.becomes(if is_good { Healthy } else { Stopped });
        let stopped: Vec<&str> = decision.stop.iter().map(|(id, _)| id.as_str()).collect();
        let expected: &[&str] = if is_good { &["SI-1"] } else { &[] };
        assert_eq!((stopped.as_slice(), decision.mint, bench.phase()), (expected, None, SlotPhase::Filled));
    }
}

#[test]
fn the_next_one_does_not_wait_until_the_dead_one_is_cleared_away() {
    let mut bench = Bench::new(ReplaceMode::StopFirst);
    bench.keep();
    bench.becomes(Healthy);
    bench.raise();
    bench.last().exit = Some(Exit::default());
    assert_eq!(bench.becomes(Deprovisioning).mint, Some(Epoch(2)));
}

#[test]
fn a_slot_that_is_gone_from_the_table_is_emptied_and_forgotten() {
    let mut bench = Bench::new(ReplaceMode::StartFirst);
    bench.keep();
    bench.becomes(Healthy);
    bench.row = None;
    let decision = bench.keep();
    assert_eq!(decision.stop[0].1.reason, Reason::SlotRemoved);
    assert!(bench.slot.is_some());
    bench.becomes(Stopped);
    assert!(bench.slot.is_none());
}

#[test]
fn a_reboot_is_not_the_services_fault() {
    let mut bench = Bench::new(ReplaceMode::StartFirst);
    bench.keep();
    bench.becomes(Healthy);
    bench.last().record.reason = Some(Reason::Rebooted);
    assert_eq!(bench.becomes(Lost).mint, Some(Epoch(1)));
}

#[test]
fn while_an_instance_is_unknown_nothing_is_decided() {
    let mut bench = Bench::new(ReplaceMode::StartFirst);
    bench.keep();
    bench.becomes(Healthy);
    bench.becomes(Unknown);
    let decision = bench.raise();
    assert_eq!((decision.mint, decision.stop.len()), (None, 0));
}

#[test]
fn the_jitter_stays_within_its_percentage() {
    let policy = RestartPolicy { jitter: 10, ..RestartPolicy::default() };
    for random in [0, 1, 777, u64::MAX] {
        let wait = backoff(&policy, 3, random).as_millis();
        assert!((4500..=5500).contains(&wait), "{wait}");
    }
    assert!(backoff(&policy, 99, 0).as_secs() >= 270, "the last wait repeats");
}

#[test]
fn a_status_says_of_which_attempt_it_speaks() {
    let mut bench = Bench::new(ReplaceMode::StartFirst);
    bench.keep();
    for _ in 0..5 {
        bench.becomes(Stopped);
        bench.now += 3_600_000;
        bench.keep();
    }
    let said = |bench: &Bench| bench.slot.as_ref().unwrap().status.clone();
    let before = said(&bench);
    assert_eq!((before.phase, before.generation), (SlotPhase::Failed, Some(Generation(1))));

    // It is asked for again while it is being found out what runs: that tells nothing of the new attempt yet.
    bench.row.as_mut().unwrap().generation = Generation(2);
    bench.instances.last_mut().unwrap().record.state = Unknown;
    bench.keep();
    let asked = said(&bench);
    assert_eq!((asked.phase, asked.generation), (SlotPhase::Filling, Some(Generation(2))));
    assert_eq!((asked.reason, asked.message.as_str()), (None, ""));
    assert_eq!((asked.restarts, asked.version), (before.restarts, before.version + 1));
}

#[test]
fn a_filled_slot_that_is_asked_for_anew_is_filled_still() {
    let mut bench = Bench::new(ReplaceMode::StartFirst);
    bench.keep();
    bench.becomes(Healthy);
    let version = bench.slot.as_ref().unwrap().status.version;
    bench.row.as_mut().unwrap().generation = Generation(2);
    bench.keep();
    let status = &bench.slot.as_ref().unwrap().status;
    assert_eq!((status.phase, status.generation), (SlotPhase::Filled, Some(Generation(2))));
    assert_eq!(status.version, version + 1, "controllers are told");
}
