//! The ways up and down, one by one.

use std::time::Duration;

use muster_common::instance::InstanceState::*;
use muster_common::reason::Reason;

use super::fixture::{answer, at, exited, healthy, intent, lease, minted, script, spec, workload};
use crate::machine::*;
use crate::runner::{Exit, Found, LogEnd};

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
fn the_end_of_a_log_is_waited_for_while_its_keeper_is_away() {
    let away = || Event::EvidenceCollected(Err(Trouble::Unavailable("no engine answers".to_owned())));
    let (dead, _) = step(&healthy(), Event::Exited(exited(3)), at(50));
    let (mut instance, mut now) = (dead.clone(), 60);
    // Longer than one reading may take.
    while now < 60_000 {
        (instance, _) = step(&instance, away(), at(now));
        assert_eq!(instance.record.error_message, "no engine answers");
        now = u64::try_from(instance.next_wake().unwrap().as_millis()).unwrap();
        let effects;
        (instance, effects) = step(&instance, Event::Woke, at(now));
        assert_eq!(effects, [Effect::CollectEvidence]);
    }
    let found = [
        (now, Event::EvidenceCollected(Ok(LogEnd::kept("bye"))), Deprovisioning),
        (now, Event::Removed(Ok(())), Stopped),
    ];
    let (kept, _) = script(instance, &found);
    assert_eq!(kept.record.evidence.unwrap().log_tail, "bye");
    assert_eq!(
        (kept.record.reason, kept.record.error_message.contains("code 3")),
        (Some(Reason::Exited), true)
    );

    // One that stays away is not waited for without end, and one that has no log not at all.
    let (instance, _) = step(&dead, away(), at(60));
    let end = u64::try_from(instance.deadline().unwrap().as_millis()).unwrap();
    let (given_up, effects) = step(&instance, Event::Woke, at(end));
    assert_eq!(effects, [Effect::CopyLog]);
    // What could not be read may be copied all the same, and then it is known.
    for (log, kept) in [(Some("bye"), "bye"), (Some(""), ""), (None, "timed out")] {
        let copied = Event::LogCopied(Ok(log.map(str::to_owned)));
        let (copied, effects) = step(&given_up, copied, at(end + 1));
        let evidence = copied.record.evidence.unwrap();
        assert_eq!((effects, evidence.exit_code), (vec![Effect::Remove], Some(3)));
        assert!(evidence.log_tail.contains(kept), "{evidence:?}");
        assert_eq!(evidence.log_tail.contains("could not be read"), log.is_none(), "{evidence:?}");
    }
    let gone = Event::EvidenceCollected(Err(Trouble::Failed("it is gone".to_owned())));
    let (given_up, effects) = step(&dead, gone, at(60));
    assert_eq!(effects, [Effect::Remove]);
    assert!(given_up.record.evidence.unwrap().log_tail.contains("it is gone"));
}

#[test]
fn the_rest_of_a_log_is_copied_only_where_it_was_not_with_the_evidence_and_holds_no_lease() {
    let (dead, _) = step(&healthy(), Event::Exited(exited(3)), at(50));
    let end = |is_kept| Event::EvidenceCollected(Ok(LogEnd { text: "bye".to_owned(), is_kept }));
    let (kept, effects) = step(&dead, end(true), at(60));
    assert_eq!((effects, kept.holds_lease()), (vec![Effect::Remove], true));

    let (copying, effects) = step(&dead, end(false), at(60));
    assert_eq!((effects, copying.holds_lease()), (vec![Effect::CopyLog], false));
    assert!(copying.is_spent(), "another one may take its place");
    let (copied, effects) = step(&copying, Event::LogCopied(Ok(None)), at(70));
    assert_eq!(
        (effects, copied.holds_lease()),
        (vec![Effect::Remove], false),
        "it may be another one's by now"
    );
    let (unknown, _) = step(&copying, Event::Restarted { rebooted: false }, at(70));
    assert!(!unknown.holds_lease());
    assert_eq!(copying.state(), Deprovisioning);
    assert_eq!(copying.record.reason, Some(Reason::CopyingLog));
    assert!(copying.record.is_only_copied());
    assert_eq!(copying.record.evidence.as_ref().unwrap().log_tail, "bye");
    let away = || Event::LogCopied(Err(Trouble::Unavailable("no engine answers".to_owned())));
    let no_room = Event::LogCopied(Err(Trouble::Failed("the disk is full".to_owned())));
    // Whoever keeps the log, and whatever comes of it: in the end the container goes.
    let late = copying.deadline().unwrap();
    assert!(late >= Duration::from_secs(900), "{late:?}");
    let late = u64::try_from(late.as_millis()).unwrap();
    let copied = Event::LogCopied(Ok(Some("good bye".to_owned())));
    for (now, event) in [(70, copied), (70, no_room), (late, Event::Woke)] {
        let (removing, effects) = step(&copying, event, at(now));
        assert_eq!(effects, [Effect::Remove]);
        assert_eq!(removing.record.evidence.as_ref().unwrap().log_tail, "bye", "what was read stays");
        let (over, _) = step(&removing, Event::Removed(Ok(())), at(now));
        assert_eq!((over.state(), over.record.reason), (Stopped, Some(Reason::Exited)));
        assert_eq!(over.record.error_message, "the process exited with code 3");
    }
    // An engine that is away is waited for, within the same time.
    let (waiting, effects) = step(&copying, away(), at(70));
    assert_eq!((effects, waiting.deadline()), (vec![], copying.deadline()));
    assert_eq!(waiting.record.error_message, "no engine answers");
    assert!(waiting.record.is_only_copied(), "nobody waits for a log, whoever is away");
    let (again, effects) = step(&waiting, Event::Woke, at(1000));
    assert_eq!((effects, again.deadline()), (vec![Effect::CopyLog], copying.deadline()));

    // And an executor that restarts goes on with it.
    let (unknown, _) = step(&copying, Event::Restarted { rebooted: false }, at(80));
    let found = Event::Found(Ok(Found::Ended(workload(), exited(3))));
    let (found, effects) = step(&unknown, found, at(90));
    assert_eq!((found.state(), effects), (Deprovisioning, vec![Effect::CopyLog]));
    assert_eq!(found.record.reason, Some(Reason::CopyingLog));
}

#[test]
fn a_hook_that_fails_is_told_beside_why_the_instance_went() {
    let replaced = StopIntent { reason: Reason::Replaced, message: "epoch 2 is wanted".to_owned() };
    let away = Trouble::Unavailable("the engine does not answer".to_owned());
    let steps = [
        (50, Event::StopRequested(replaced), Stopping),
        (51, Event::HookDone { index: 0, outcome: answer(false) }, Stopping),
        (52, Event::HookDone { index: 1, outcome: answer(true) }, Stopping),
    ];
    let said = "epoch 2 is wanted; pre-shutdown hook 1 failed: hm";
    let (instance, _) = script(healthy(), &steps);
    assert_eq!(instance.record.error_message, said);
    let rest = [
        (2_052, Event::Woke, Stopping),
        (2_053, Event::Stopped(Err(away)), Stopping),
        (2_060, Event::Exited(exited(0)), Deprovisioning),
        (2_061, Event::EvidenceCollected(Ok(LogEnd::kept(""))), Deprovisioning),
        (2_062, Event::Removed(Ok(())), Stopped),
    ];
    let (instance, _) = script(instance, &rest);
    assert_eq!(
        (instance.record.reason, instance.record.error_message.as_str()),
        (Some(Reason::Replaced), said)
    );
}

#[test]
fn a_workload_has_its_whole_grace_however_long_its_runner_was_away() {
    let steps = [
        (50, Event::StopRequested(intent()), Stopping),
        (51, Event::HookDone { index: 0, outcome: answer(true) }, Stopping),
        (52, Event::HookDone { index: 1, outcome: answer(true) }, Stopping),
        (2_052, Event::Woke, Stopping),
    ];
    let (mut instance, _) = script(healthy(), &steps);
    let begged = [Effect::Stop { grace: Duration::from_secs(10) }];
    let mut now = 2_060;
    // Every try is answered, for an hour.
    while now < 3_600_000 {
        let away = Trouble::Unavailable("no engine answers".to_owned());
        (instance, _) = step(&instance, Event::Stopped(Err(away)), at(now));
        assert_eq!((instance.state(), instance.record.reason), (Stopping, Some(Reason::RunnerUnavailable)));
        now = u64::try_from(instance.next_wake().unwrap().as_millis()).unwrap();
        let effects;
        (instance, effects) = step(&instance, Event::Woke, at(now));
        assert_eq!(effects, begged);
    }
    // One that is not answered has had its grace, and one that cannot be done gets no more time.
    let end = u64::try_from(instance.deadline().unwrap().as_millis()).unwrap();
    let failed = Event::Stopped(Err(Trouble::Failed("not permitted".to_owned())));
    let (refused, _) = step(&instance, failed, at(end - 1));
    for stopping in [instance, refused] {
        let (killed, effects) = step(&stopping, Event::Woke, at(end));
        assert_eq!(killed.state(), Deprovisioning);
        assert_eq!(effects, [Effect::Stop { grace: Duration::ZERO }]);
    }
}

#[test]
fn a_workload_has_the_grace_that_its_spec_gives_it() {
    for (grace, expected) in [(None, 10), (Some("0s"), 0), (Some("5m"), 300)] {
        let mut healthy = healthy();
        let spec = std::sync::Arc::make_mut(&mut healthy.spec);
        let before = spec.pre_shutdown.as_mut().unwrap();
        (before.hooks, before.wait_before_kill) = (Vec::new(), "0s".parse().unwrap());
        before.grace = grace.map(|grace| grace.parse().unwrap());
        let (stopping, effects) = step(&healthy, Event::StopRequested(intent()), at(50));
        let grace = Duration::from_secs(expected);
        assert_eq!(effects, [Effect::Stop { grace }]);
        assert!(stopping.deadline().unwrap() > at(50).mono + grace + crate::limits::STOP_MARGIN);
    }
}

#[test]
fn an_engine_that_hangs_is_waited_for_until_it_is_said_to_hang() {
    let steps = [
        (50, Event::StopRequested(intent()), Stopping),
        (51, Event::HookDone { index: 0, outcome: answer(true) }, Stopping),
        (52, Event::HookDone { index: 1, outcome: answer(true) }, Stopping),
        (2_052, Event::Woke, Stopping),
        // The longest that a stop with a grace of 10 s takes until it is answered.
        (72_052, Event::Woke, Stopping),
        (72_052, Event::Stopped(Err(Trouble::Unavailable("no answer within 40s".to_owned()))), Stopping),
        (72_552, Event::Woke, Stopping),
    ];
    let (_, effects) = script(healthy(), &steps);
    assert_eq!(effects, [Effect::Stop { grace: Duration::from_secs(10) }]);
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
            (instance, _) = step(&instance, Event::EvidenceCollected(Ok(LogEnd::kept("bye"))), at(51));
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
            (instance, _) = step(&instance, Event::EvidenceCollected(Ok(LogEnd::kept("bye"))), at(54));
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
    let (instance, _) = step(&instance, Event::EvidenceCollected(Ok(LogEnd::kept(""))), at(51));
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
