//! Instances in every condition, and every event.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use muster_common::evidence::ProbeKind;
use muster_common::id::{Epoch, ExecutorId, Generation, InstanceId, ServiceId, SlotId};
use muster_common::instance::InstanceState::{self, *};
use muster_common::instance::LocalInfo;
use muster_common::reason::Reason;
use muster_common::slot::{ReplaceMode, SlotAssignment};
use muster_common::spec::LocalServiceSpec;
use muster_common::time::Timestamp;

use crate::machine::*;
use crate::probe::ProbeOutcome;
use crate::runner::{Exit, Found, LogEnd, Workload};

/// A spec with everything the machine cares for: both checks, one hook, a pause, a grace of 10 s.
pub(super) fn spec() -> LocalServiceSpec {
    serde_json::from_str(
        r#"{
          "name": "web", "version": "1", "type": "LOCAL_SERVICE",
          "executable": {"type": "PROCESS", "command": ["/bin/web"]},
          "exposedPorts": [{"name": "http", "port": 8080, "type": "HTTP"}],
          "resources": [{"type": "CPU", "count": 1}, {"type": "MEMORY", "sizeInMB": 64}],
          "placementPolicy": {"type": "LOCAL"},
          "readiness": {"mode": {"type": "TCP", "portName": "http"}, "timeout": "1s", "interval": "1s", "attempts": 3},
          "healthcheck": {"mode": {"type": "TCP", "portName": "http"}, "timeout": "1s", "interval": "1s", "attempts": 3},
          "preShutdown": {"hooks": [{"type": "CMD", "command": "drain"}, {"type": "CMD", "command": "flush"}],
                          "waitBeforeKill": "2s"},
          "grace": "10s"
        }"#,
    )
    .unwrap()
}

/// The same without grace, and with checks so close together that each one counts.
fn hasty() -> LocalServiceSpec {
    let mut spec = spec();
    spec.grace = Some("0s".parse().unwrap());
    for check in [&mut spec.readiness, &mut spec.healthcheck].into_iter().flatten() {
        check.interval = "10ms".parse().unwrap();
    }
    spec
}

pub(super) fn at(millis: u64) -> Now {
    Now { wall: Timestamp(1_000_000 + millis), mono: Duration::from_millis(millis) }
}

pub(super) fn minted(spec: LocalServiceSpec) -> Instance {
    let service = ServiceId::new("web-1").unwrap();
    let row = SlotAssignment {
        service: service.clone(),
        index: 0,
        epoch: Epoch(1),
        generation: Generation(1),
        mode: ReplaceMode::StartFirst,
        spec: Arc::new(spec),
    };
    let slot = SlotId { service, executor: ExecutorId::new("e1").unwrap(), index: 0 };
    Instance::minted(InstanceId::new("SI-1").unwrap(), slot, &row, at(0))
}

pub(super) fn lease() -> Lease {
    let local_info = LocalInfo { hostname: "node".to_owned(), ports: BTreeMap::new() };
    Lease { local_info, resources: Vec::new() }
}

pub(super) fn workload() -> Workload {
    Workload::Process { shim_pid: 10, shim_start_ticks: 1, pid: 11, start_ticks: 2, warnings: Vec::new() }
}

pub(super) fn answer(passed: bool) -> ProbeOutcome {
    ProbeOutcome {
        passed,
        asked: true,
        latency: Duration::from_millis(1),
        code: None,
        answer: "hm".to_owned(),
    }
}

pub(super) fn intent() -> StopIntent {
    StopIntent { reason: Reason::SlotRemoved, message: String::new() }
}

pub(super) fn exited(code: i32) -> Exit {
    Exit { code: Some(code), ..Exit::default() }
}

/// Every event, with every kind of answer.
pub(super) fn every_event() -> Vec<Event> {
    let unavailable = || Trouble::Unavailable("no engine".to_owned());
    let failed = || Trouble::Failed("no such thing".to_owned());
    let no_room = NoRoom { reason: Reason::InsufficientResources, message: "no cores".to_owned() };
    let taken = NoRoom { reason: Reason::PortInUse, message: "port 1 is taken".to_owned() };
    let killed = Exit { signal: Some(9), ..Exit::default() };
    let oom = Exit { signal: Some(9), oom_killed: true, ..Exit::default() };
    let mut events = vec![
        Event::Leased(Ok(lease())),
        Event::Leased(Err(no_room)),
        Event::PortsChecked(Ok(())),
        Event::PortsChecked(Err(taken)),
        Event::RoomFreed,
        Event::StoodStill,
        Event::Provisioned(Ok(())),
        Event::Provisioned(Err(unavailable())),
        Event::Provisioned(Err(failed())),
        Event::Started(Ok(workload())),
        Event::Started(Err(unavailable())),
        Event::Started(Err(failed())),
        Event::Exited(exited(3)),
        Event::Exited(killed),
        Event::Exited(oom),
        Event::Stopped(Ok(exited(0))),
        Event::Stopped(Err(unavailable())),
        Event::EvidenceCollected(Ok(LogEnd::kept("bye"))),
        Event::EvidenceCollected(Ok(LogEnd { text: "by".to_owned(), is_kept: false })),
        Event::EvidenceCollected(Err(unavailable())),
        Event::EvidenceCollected(Err(failed())),
        Event::LogCopied(Ok(Some("bye".to_owned()))),
        Event::LogCopied(Ok(None)),
        Event::LogCopied(Err(unavailable())),
        Event::LogCopied(Err(failed())),
        Event::Removed(Ok(())),
        Event::Removed(Err(unavailable())),
        Event::StopRequested(intent()),
        Event::Restarted { rebooted: false },
        Event::Restarted { rebooted: true },
        Event::Found(Ok(Found::Running(workload()))),
        Event::Found(Ok(Found::Ended(workload(), exited(3)))),
        Event::Found(Ok(Found::NeverStarted)),
        Event::Found(Ok(Found::Nothing)),
        Event::Found(Err(unavailable())),
        Event::Woke,
    ];
    for passed in [true, false] {
        for kind in [ProbeKind::Readiness, ProbeKind::Health] {
            events.push(Event::Probed { kind, outcome: answer(passed) });
        }
        for index in 0..3 {
            events.push(Event::HookDone { index, outcome: answer(passed) });
        }
    }
    for kind in [ProbeKind::Readiness, ProbeKind::Health] {
        events.push(Event::Probed { kind, outcome: ProbeOutcome { asked: false, ..answer(false) } });
    }
    events
}

/// Every condition that some sequence of at most `depth` events leads to, each with the time at which
/// it was reached: time passes to the next timer, or by a minute, before each [`Event::Woke`].
pub(super) fn reachable(depth: usize) -> Vec<(Instance, Now)> {
    let mut seen: Vec<(Instance, Now)> = Vec::new();
    let mut keys = std::collections::BTreeSet::new();
    let mut frontier = vec![(minted(hasty()), at(0))];
    for _ in 0..=depth {
        let mut next = Vec::new();
        for (instance, now) in frontier {
            if !keys.insert(condition(&instance)) {
                continue;
            }
            for event in every_event() {
                let then = if event == Event::Woke { woken(&instance, now) } else { now };
                let (after, _) = step(&instance, event, then);
                next.push((after, then));
            }
            seen.push((instance, now));
        }
        frontier = next;
    }
    seen
}

/// The time at which the next timer of `instance` fires.
pub(super) fn woken(instance: &Instance, now: Now) -> Now {
    let mono = instance.next_wake().unwrap_or(now.mono + Duration::from_secs(60)).max(now.mono);
    let millis = u64::try_from(mono.as_micros().div_ceil(1000)).unwrap();
    at(millis)
}

/// What makes two instances behave alike.
fn condition(instance: &Instance) -> String {
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {} {} {} {} {} {}",
        instance.state(),
        instance.descent,
        instance.resume.as_ref().map(|resume| (resume.state, resume.reason, resume.descent, resume.rebooted)),
        instance.stop.is_some(),
        instance.exit.is_some(),
        instance.workload.is_some(),
        instance.record.started.is_some(),
        instance.record.local_info.is_some(),
        instance.record.evidence.is_some(),
        instance.pace.probe.failures,
        instance.pace.probe.asked.is_some(),
        instance.pace.retry.is_some(),
    )
}

/// Runs events one after the other and checks the state after each.
pub(super) fn script(
    mut instance: Instance,
    steps: &[(u64, Event, InstanceState)],
) -> (Instance, Vec<Effect>) {
    let mut effects = Vec::new();
    for (millis, event, expected) in steps {
        let (after, asked) = step(&instance, event.clone(), at(*millis));
        assert_eq!(after.state(), *expected, "after {event:?} at {millis} ms");
        instance = after;
        effects = asked;
    }
    (instance, effects)
}

pub(super) fn probed(kind: ProbeKind, passed: bool) -> Event {
    Event::Probed { kind, outcome: answer(passed) }
}

pub(super) fn unready() -> Instance {
    let steps = [
        (0, Event::Woke, Pending),
        (1, Event::Leased(Ok(lease())), Pending),
        (2, Event::PortsChecked(Ok(())), Provisioning),
        (3, Event::Provisioned(Ok(())), Starting),
        (4, Event::Started(Ok(workload())), Unready),
    ];
    script(minted(spec()), &steps).0
}

pub(super) fn healthy() -> Instance {
    let steps =
        [(5, probed(ProbeKind::Readiness, true), Ready), (6, probed(ProbeKind::Health, true), Healthy)];
    script(unready(), &steps).0
}
