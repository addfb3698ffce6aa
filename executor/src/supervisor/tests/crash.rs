//! An exhaustive search over crash points: the supervisor's mind, its journal and a runner, stepped one
//! by one without any clock or task. Every life is lived once without a crash; then again and again with one
//! (and with two) at every step of it: before the journal is written, after it but before any effect, and after
//! an effect whose answer was never heard.
//!
//! Checked all the way: never two live workloads of one slot and epoch; no condition that waits for nothing;
//! and at the end, that every workload that was ever started has its end told with the right exit status.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use muster_common::id::{Epoch, ExecutorId, InstanceId};
use muster_common::instance::{InstanceRecord, InstanceState};
use muster_common::slot::{ReplaceMode, SlotTable};
use muster_common::time::Timestamp;

use super::{room, whole_disk};
use crate::journal::{Contents, Drawers};
use crate::machine::{Effect, Event, Now, Trouble};
use crate::probe::ProbeOutcome;
use crate::runner::{Exit, Found, LogEnd, Workload};
use crate::slots::SlotKey;
use crate::supervisor::Core;
use crate::testing::table;

/// What happens to a node from outside.
#[derive(Debug, Clone)]
enum Act {
    Table(SlotTable),
    /// The first workload that runs ends by itself.
    Exit,
    /// Workloads of this epoch never pass a check.
    Unwell(u64),
    /// Provisioning fails from now on.
    NoImage,
}

/// Where a crash happens in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    BeforeCommit,
    AfterCommit,
    AfterEffect,
}

/// What outlives the supervisor.
#[derive(Default)]
struct Outside {
    /// What the journal holds, and what a crash leaves of it.
    disk: Drawers,
    durable: Drawers,
    /// By instance: its slot and epoch, and how it ended once it has.
    workloads: BTreeMap<InstanceId, (SlotKey, Epoch, Option<Exit>)>,
    /// Every workload that was ever started, with its own exit status if it ended by itself.
    started: BTreeMap<InstanceId, Option<Exit>>,
    /// What controllers were told.
    told: BTreeMap<InstanceId, InstanceRecord>,
    /// Who was ever told to be READY.
    ready: BTreeSet<InstanceId>,
    table: SlotTable,
    unwell: BTreeSet<u64>,
    no_image: bool,
    clock: Duration,
    random: u64,
}

impl Outside {
    fn now(&self) -> Now {
        let millis = u64::try_from(self.clock.as_millis()).unwrap();
        Now { wall: Timestamp(1_000_000 + millis), mono: self.clock }
    }

    fn boot(&self) -> Core {
        let (contents, aside) = Contents::read(self.disk.clone());
        assert!(aside.is_undamaged());
        let mut core = Core::new(ExecutorId::new("e1").unwrap(), room(), contents, false);
        // The session sends the table again; a repeated one changes nothing.
        core.take_table(1, self.table.clone());
        core
    }

    /// What the runner does, and answers.
    fn perform(&mut self, core: &Core, id: &InstanceId, effect: &Effect) -> Option<Event> {
        let workload = || Workload::container(id.as_str());
        Some(match effect {
            Effect::Lease | Effect::Cancel | Effect::HoldStart => return None,
            Effect::CheckPorts => Event::PortsChecked(Ok(())),
            Effect::Provision if self.no_image => {
                Event::Provisioned(Err(Trouble::Failed("no such image".to_owned())))
            }
            Effect::Provision => Event::Provisioned(Ok(())),
            Effect::Start => {
                let instance = core.instance(id)?;
                let slot = &instance.record.slot;
                let key = SlotKey { service: slot.service.clone(), index: slot.index };
                let epoch = instance.epoch();
                self.workloads.entry(id.clone()).or_insert((key, epoch, None));
                self.started.entry(id.clone()).or_insert(None);
                self.assert_no_twins();
                Event::Started(Ok(workload()))
            }
            Effect::Find => Event::Found(Ok(match self.workloads.get(id) {
                Some((_, _, None)) => Found::Running(workload()),
                Some((_, _, Some(exit))) => Found::Ended(workload(), exit.clone()),
                None => Found::Nothing,
            })),
            Effect::Stop { .. } => {
                let term = Exit { signal: Some(15), ..Exit::default() };
                let exit = match self.workloads.get_mut(id) {
                    Some((_, _, exit)) => exit.get_or_insert(term).clone(),
                    None => term,
                };
                Event::Stopped(Ok(exit))
            }
            Effect::CollectEvidence => Event::EvidenceCollected(Ok(LogEnd::kept(format!("log of {id}")))),
            Effect::CopyLog => Event::LogCopied(Ok(None)),
            Effect::Remove => {
                let gone = self.workloads.remove(id);
                assert!(!matches!(gone, Some((_, _, None))), "a running workload was removed");
                Event::Removed(Ok(()))
            }
            Effect::Probe { kind } => {
                let (_, epoch, exit) = self.workloads.get(id)?;
                let passed = exit.is_none() && !self.unwell.contains(&epoch.0);
                Event::Probed { kind: *kind, outcome: outcome(passed) }
            }
            Effect::RunHook { index } => Event::HookDone { index: *index, outcome: outcome(true) },
        })
    }

    fn assert_no_twins(&self) {
        let mut seen = BTreeSet::new();
        for (key, epoch, exit) in self.workloads.values() {
            assert!(exit.is_some() || seen.insert((key, epoch)), "two live workloads of {key} epoch {epoch}");
        }
    }

    fn act(&mut self, core: &mut Core, act: &Act) {
        match act {
            Act::Table(table) => {
                self.table = table.clone();
                core.take_table(1, table.clone());
            }
            Act::Exit => {
                let exit = Exit { code: Some(77), ..Exit::default() };
                let running = self.workloads.iter_mut().find(|(_, (_, _, ended))| ended.is_none());
                if let Some((id, (_, _, ended))) = running {
                    *ended = Some(exit.clone());
                    self.started.insert(id.clone(), Some(exit.clone()));
                    core.tell(id.clone(), Event::Exited(exit));
                }
            }
            Act::Unwell(epoch) => {
                self.unwell.insert(*epoch);
            }
            Act::NoImage => self.no_image = true,
        }
    }

    /// What a controller hears: no version ever means two things, none is taken back, and who was READY need not
    /// prove itself again.
    fn hear(&mut self, core: &Core) {
        for (id, unacked) in &core.standing().unacked_instances {
            let record = &unacked.record;
            let known = self.told.entry(id.clone()).or_insert_with(|| record.as_ref().clone());
            assert!(known.version <= record.version, "{id} went back from version {}", known.version);
            assert!(
                known.version < record.version || known == record.as_ref(),
                "version {} of {id} means both {} and {}",
                known.version,
                known.state,
                record.state
            );
            known.clone_from(record);
            let comes_up = matches!(record.state, InstanceState::Starting | InstanceState::Unready);
            assert!(!(comes_up && self.ready.contains(id)), "{id} was READY and is {} again", record.state);
            if record.state == InstanceState::Ready {
                self.ready.insert(id.clone());
            }
        }
    }

    fn acknowledge(core: &mut Core) {
        let standing = core.standing();
        let instances = &standing.unacked_instances;
        let instances = instances.iter().map(|(id, unacked)| (id.clone(), unacked.record.version)).collect();
        let slots =
            standing.unacked_slots.iter().map(|(key, status)| (key.clone(), status.version)).collect();
        core.acknowledge(instances, slots);
    }
}

fn outcome(passed: bool) -> ProbeOutcome {
    ProbeOutcome { passed, asked: true, latency: Duration::from_millis(1), code: None, answer: String::new() }
}

/// How long a life is watched after its last act, in virtual time: longer than any back-off in it.
const REST: Duration = Duration::from_secs(5);

/// Lives one life: each act comes once the one before has come to rest. Crashes at the given steps; returns
/// how many steps it took.
fn live(acts: &[Act], crashes: &[(usize, Moment)], newest_first: bool) -> usize {
    let mut outside = Outside { disk: whole_disk(), durable: whole_disk(), ..Outside::default() };
    let mut core = outside.boot();
    let mut pending: VecDeque<(InstanceId, Effect)> = VecDeque::new();
    let mut acts = acts.iter();
    let mut rest_until = outside.clock + REST;
    let mut steps = 0;
    loop {
        steps += 1;
        assert!(steps < 20_000, "it never comes to rest");
        let crash = crashes.iter().find(|(at, _)| *at == steps).map(|(_, moment)| *moment);
        let mut dies = crash == Some(Moment::BeforeCommit);
        core.wake(outside.now());
        let mut random = outside.random;
        let output = core.decide(outside.now(), &mut || {
            random = random.wrapping_add(0x9E37_79B9_7F4A_7C15);
            random.rotate_left(23)
        });
        outside.random = random;
        if !dies {
            if output.batch.apply_to(&mut outside.disk) {
                outside.durable.clone_from(&outside.disk);
            }
            dies = crash == Some(Moment::AfterCommit);
        }
        if !dies {
            outside.hear(&core);
            supersede(&mut pending, output.effects);
            let next = if newest_first { pending.pop_back() } else { pending.pop_front() };
            if let Some((id, effect)) = next {
                let answer = outside.perform(&core, &id, &effect);
                dies = crash == Some(Moment::AfterEffect);
                if let Some(event) = answer
                    && !dies
                {
                    core.tell(id, event);
                }
            } else {
                check_at_rest(&core);
                Outside::acknowledge(&mut core);
                match core.next_wake().filter(|wake| *wake < rest_until) {
                    Some(wake) => outside.clock = wake.max(outside.clock),
                    None => match acts.next() {
                        Some(act) => {
                            outside.clock = rest_until;
                            outside.act(&mut core, act);
                            rest_until = outside.clock + REST;
                        }
                        None => break,
                    },
                }
            }
        }
        if dies {
            pending.clear();
            outside.disk.clone_from(&outside.durable);
            core = outside.boot();
        }
    }
    check_at_the_end(&outside, &core);
    steps
}

/// A new action drops the one of the same instance that has not begun.
fn supersede(pending: &mut VecDeque<(InstanceId, Effect)>, fresh: Vec<(InstanceId, Effect)>) {
    for (id, effect) in fresh {
        if effect.is_action() {
            pending.retain(|(other, waiting)| *other != id || !waiting.is_action());
        }
        pending.push_back((id, effect));
    }
}

fn check_at_rest(core: &Core) {
    for instance in core.instances().filter(|instance| !instance.is_over()) {
        assert!(instance.next_wake().is_some(), "{} waits for nothing", instance.state());
    }
}

fn check_at_the_end(outside: &Outside, core: &Core) {
    for (id, own_exit) in &outside.started {
        let told = outside.told.get(id).unwrap_or_else(|| panic!("{id} was started and never told of"));
        let runs = matches!(outside.workloads.get(id), Some((_, _, None)));
        assert_eq!(runs, !told.state.is_terminal(), "{id} is told to be {}", told.state);
        if let Some(own_exit) = own_exit {
            let evidence = told.evidence.as_ref().unwrap_or_else(|| panic!("{id} left no evidence"));
            assert_eq!(evidence.exit_code, own_exit.code);
        }
    }
    let left: Vec<_> = outside.workloads.keys().filter(|id| !core.is_live(id)).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    let wanted = outside.table.rows.len();
    let healthy = core.instances().filter(|instance| instance.state() == InstanceState::Healthy).count();
    let unwell = outside.no_image || !outside.unwell.is_empty();
    assert!(healthy == wanted || unwell, "{healthy} of {wanted} slots are filled");
}

fn stop_first(mut table: SlotTable) -> SlotTable {
    for row in &mut table.rows {
        row.mode = ReplaceMode::StopFirst;
    }
    table
}

fn lives() -> Vec<(&'static str, Vec<Act>)> {
    let fill = || Act::Table(table(1, 1, 1));
    let empty = || Act::Table(table(9, 1, 0));
    vec![
        ("filled and emptied", vec![fill(), empty()]),
        ("crashes and is replaced", vec![fill(), Act::Exit, Act::Exit]),
        ("replaced, start first", vec![fill(), Act::Table(table(2, 2, 1)), empty()]),
        ("replaced, stop first", vec![fill(), Act::Table(stop_first(table(2, 2, 1)))]),
        ("the replacement fails", vec![fill(), Act::Unwell(2), Act::Table(table(2, 2, 1))]),
        ("no image", vec![Act::NoImage, fill(), empty()]),
    ]
}

const MOMENTS: [Moment; 3] = [Moment::BeforeCommit, Moment::AfterCommit, Moment::AfterEffect];

#[test]
fn a_crash_at_any_step_loses_nothing_and_doubles_nothing() {
    let mut points = 0;
    let mut steps_covered = 0;
    for (name, acts) in lives() {
        for newest_first in [false, true] {
            let steps = live(&acts, &[], newest_first);
            for at in 1..=steps {
                for moment in MOMENTS {
                    println!("{name}: {moment:?} at step {at}");
                    live(&acts, &[(at, moment)], newest_first);
                    points += 1;
                }
            }
            steps_covered += steps;
        }
    }
    println!("{points} crash points in {steps_covered} steps of {} lives", lives().len() * 2);
}

#[test]
fn a_second_crash_during_the_recovery_from_the_first_changes_nothing() {
    let mut points = 0;
    for (name, acts) in lives().into_iter().take(4) {
        let steps = live(&acts, &[], false);
        // The recovery takes a few steps; a crash in each of them.
        for at in (1..=steps).filter(|at| at % 3 == 1) {
            for after in 1..=6 {
                for moment in MOMENTS {
                    println!("{name}: at steps {at} and {}", at + after);
                    live(&acts, &[(at, Moment::AfterEffect), (at + after, moment)], false);
                    points += 1;
                }
            }
        }
    }
    println!("{points} pairs of crash points");
}
