//! One condition of a node, and every condition that can follow it.

mod outline;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use muster_common::id::{Epoch, InstanceId};
use muster_common::instance::{InstanceRecord, InstanceState, RunnerKind};
use muster_common::reason::Reason;
use muster_common::slot::{ReplaceMode, SlotTable};
use muster_common::spec::DrainPolicy;
use muster_common::time::Timestamp;

use super::ways::{
    Budget, Crash, Made, Path, Turnout, Wish, boot, exit, hash, outcome, place, with_spec, workload,
};
use crate::journal::Drawers;
use crate::machine::{Effect, Event, NoRoom, Now, Trouble};
use crate::runner::{Exit, Found, Listed, LogEnd};
use crate::supervisor::Core;
use crate::supervisor::tests::{new_disk, whole_disk};
use crate::testing::table;

/// One condition of a node.
#[derive(Clone)]
pub(super) struct Condition {
    pub(super) core: Core,
    pub(super) pending: Vec<(InstanceId, Effect)>,
    disk: Drawers,
    durable: Drawers,
    /// The outline of what is durable.
    durable_outline: u64,
    made: BTreeMap<InstanceId, (Epoch, Made)>,
    /// Every workload that ever ran, with its exit status once it has one.
    ran: BTreeMap<InstanceId, Option<i32>>,
    /// Who was told to stop with time to do so, or may have been.
    begged: BTreeSet<InstanceId>,
    /// What a reboot took along before its end was heard of.
    blurred: BTreeSet<InstanceId>,
    pub(super) told: BTreeMap<InstanceId, Arc<InstanceRecord>>,
    table: SlotTable,
    /// Whether the runner has not been asked yet what it knows.
    is_unlisted: bool,
    clock: Duration,
    random: u64,
    pub(super) budget: Budget,
    path: Option<Rc<Path>>,
}

const TERMINATED: i32 = 143;
const OWN_EXIT: i32 = 77;

impl Condition {
    pub(super) fn first(budget: Budget) -> Self {
        let disk = whole_disk();
        let table = with_spec(table(1, 1, 1), ReplaceMode::StartFirst);
        let mut first = Self {
            core: boot(&disk, false),
            pending: Vec::new(),
            durable: disk.clone(),
            disk,
            durable_outline: 0,
            made: BTreeMap::new(),
            ran: BTreeMap::new(),
            begged: BTreeSet::new(),
            blurred: BTreeSet::new(),
            told: BTreeMap::new(),
            table: table.clone(),
            is_unlisted: false,
            clock: Duration::ZERO,
            random: 0,
            budget,
            path: None,
        };
        first.core.take_table(1, table);
        first.turn("a table");
        first
    }

    fn now(&self) -> Now {
        let millis = u64::try_from(self.clock.as_millis()).unwrap();
        Now { wall: Timestamp(1_000_000 + millis), mono: self.clock }
    }

    /// One turn of the supervisor, up to where its effects are under way.
    fn turn(&mut self, step: &str) {
        self.path = Some(Rc::new(Path { step: step.to_owned(), before: self.path.take() }));
        let now = self.now();
        self.core.wake(now);
        let random = &mut self.random;
        let output = self.core.decide(now, &mut || {
            *random = random.wrapping_add(0x9E37_79B9_7F4A_7C15);
            random.rotate_left(23)
        });
        if output.batch.apply_to(&mut self.disk) {
            self.durable.clone_from(&self.disk);
            self.durable_outline = hash(&self.outline_of_core());
        }
        for (id, effect) in output.effects {
            if effect.is_action() {
                // A stop that is given up may have been delivered.
                let is_stop = |(other, waiting): &(InstanceId, Effect)| {
                    *other == id && matches!(waiting, Effect::Stop { .. })
                };
                if self.pending.iter().any(is_stop) {
                    self.begged.insert(id.clone());
                }
                self.pending.retain(|(other, waiting)| *other != id || !waiting.is_action());
            } else {
                self.pending.retain(|(other, waiting)| *other != id || waiting.is_action());
            }
            if !matches!(effect, Effect::Cancel | Effect::HoldStart) {
                self.pending.push((id, effect));
            }
        }
        self.pending.retain(|(id, _)| self.core.is_live(id));
        self.begged.retain(|id| self.core.is_live(id));
        self.report();
        self.check();
    }

    /// The controllers hear and confirm everything at once.
    fn report(&mut self) {
        let standing = self.core.standing();
        let news: Vec<_> =
            standing.unacked_instances.values().map(|unacked| Arc::clone(&unacked.record)).collect();
        let slots =
            standing.unacked_slots.iter().map(|(key, status)| (key.clone(), status.version)).collect();
        let versions = news.iter().map(|record| (record.id.clone(), record.version)).collect();
        for record in news {
            self.told.insert(record.id.clone(), record);
        }
        self.core.acknowledge(versions, slots);
    }

    fn check(&self) {
        let mut epochs = BTreeSet::new();
        for (id, (epoch, made)) in &self.made {
            let is_twin = *made == Made::Running && !epochs.insert(epoch);
            assert!(!is_twin, "two live workloads of epoch {epoch}, one is {id}{}", self.story());
        }
        for instance in self.core.instances().filter(|instance| !instance.is_over()) {
            let waits = match instance.state() {
                // For room, which is asked for again and again; for its next check.
                InstanceState::Pending | InstanceState::Healthy => instance.next_wake().is_some(),
                _ => instance.deadline().is_some(),
            };
            assert!(waits, "{} has no deadline{}", instance.state(), self.story());
        }
        for (id, exit) in &self.ran {
            let may_be_stray = self.is_unlisted && self.made.contains_key(id);
            if self.core.is_live(id) || may_be_stray {
                continue;
            }
            let Some(told) = self.told.get(id) else {
                panic!("{id} ran and was never told of{}", self.story())
            };
            assert!(told.state.is_terminal(), "{id} is forgotten in {}{}", told.state, self.story());
            let runs = matches!(self.made.get(id), Some((_, Made::Running)));
            assert!(!runs, "{id} runs and is over{}", self.story());
            let known = told.evidence.as_ref().and_then(|evidence| evidence.exit_code);
            // Only what a reboot or a lost journal took along may be without its end.
            let is_blurred = known.is_none() && self.blurred.contains(id);
            assert!(known == *exit || is_blurred, "{id}: {known:?}, not {exit:?}{}", self.story());
        }
    }

    fn story(&self) -> String {
        let mut steps = Vec::new();
        let mut at = self.path.as_ref();
        while let Some(path) = at {
            steps.push(path.step.as_str());
            at = path.before.as_ref();
        }
        steps.reverse();
        format!("; after:\n  {}", steps.join("\n  "))
    }

    /// Lets the effect at `index` turn out so; the answer, if one comes.
    fn perform(&mut self, index: usize, turnout: Turnout) -> Option<(InstanceId, Event)> {
        use Turnout::{Away, Done, DoneInSilence, DoneUnheard, Fails, FailsHalfway, Hangs};
        let (id, effect) = self.pending.remove(index);
        if let Effect::Stop { grace } = effect
            && turnout != Away
        {
            self.beg(&id, grace);
        }
        if matches!(turnout, Done | DoneUnheard | DoneInSilence) {
            self.happen(&id, &effect);
        }
        if turnout == FailsHalfway {
            let epoch = self.core.instance(&id)?.epoch();
            self.made.entry(id.clone()).or_insert((epoch, Made::Created));
        }
        let away = || Trouble::Unavailable("away".to_owned());
        let failed = || Trouble::Failed("failed".to_owned());
        let trouble = match turnout {
            DoneInSilence | Hangs => return None,
            Done => None,
            Fails | FailsHalfway => Some(failed()),
            Away | DoneUnheard => Some(away()),
        };
        let or = |trouble: Option<Trouble>| trouble.map_or(Ok(()), Err);
        let (passed, asked) = (trouble.is_none(), turnout != Away);
        let event = match effect {
            Effect::Lease | Effect::Cancel | Effect::HoldStart => return None,
            Effect::CheckPorts => {
                let taken = || NoRoom { reason: Reason::PortInUse, message: "taken".to_owned() };
                Event::PortsChecked(if passed { Ok(()) } else { Err(taken()) })
            }
            Effect::Provision => Event::Provisioned(or(trouble)),
            Effect::Start => Event::Started(or(trouble).map(|()| workload(&id))),
            Effect::Find => Event::Found(or(trouble).map(|()| self.found(&id))),
            Effect::Stop { .. } => Event::Stopped(or(trouble).map(|()| match self.made.get(&id) {
                Some((_, Made::Ended(code))) => exit(*code),
                _ => Exit::default(),
            })),
            Effect::CollectEvidence => Event::EvidenceCollected(or(trouble).map(|()| LogEnd::kept("log"))),
            Effect::CopyLog => Event::LogCopied(or(trouble).map(|()| Some("log".to_owned()))),
            Effect::Remove => Event::Removed(or(trouble)),
            Effect::Probe { kind } => {
                let runs = matches!(self.made.get(&id), Some((_, Made::Running)));
                Event::Probed { kind, outcome: outcome(passed && runs, asked) }
            }
            Effect::RunHook { index } => Event::HookDone { index, outcome: outcome(passed, asked) },
        };
        Some((id, event))
    }

    /// A stop reaches a workload, or its runner hangs over it. Whoever served is killed only after it was told.
    fn beg(&mut self, id: &InstanceId, grace: Duration) {
        let runs = matches!(self.made.get(id), Some((_, Made::Running)));
        let served = self.core.instance(id).is_some_and(|instance| instance.record.started.is_some());
        let was_told = !grace.is_zero() || self.begged.contains(id);
        assert!(was_told || !runs || !served, "{id} is killed and was never told to stop{}", self.story());
        self.begged.insert(id.clone());
    }

    /// What an effect does to the node.
    fn happen(&mut self, id: &InstanceId, effect: &Effect) {
        match effect {
            Effect::Start => {
                let Some(instance) = self.core.instance(id) else { return };
                let epoch = instance.epoch();
                let made = self.made.entry(id.clone()).or_insert((epoch, Made::Created));
                if made.1 == Made::Created {
                    made.1 = Made::Running;
                    self.ran.insert(id.clone(), None);
                }
            }
            Effect::Stop { .. } => self.end(id, TERMINATED),
            Effect::Remove => {
                let runs = matches!(self.made.get(id), Some((_, Made::Running)));
                assert!(!runs, "a running workload was removed{}", self.story());
                self.made.remove(id);
            }
            _ => {}
        }
    }

    fn end(&mut self, id: &InstanceId, code: i32) {
        if let Some((_, made)) = self.made.get_mut(id)
            && *made == Made::Running
        {
            *made = Made::Ended(code);
            self.ran.insert(id.clone(), Some(code));
        }
    }

    fn found(&self, id: &InstanceId) -> Found {
        match self.made.get(id) {
            Some((_, Made::Running)) => Found::Running(workload(id)),
            Some((_, Made::Ended(code))) => Found::Ended(workload(id), exit(*code)),
            Some((_, Made::Created)) => Found::NeverStarted,
            None => Found::Nothing,
        }
    }

    /// The executor is killed, by itself or with all there is, and starts again.
    fn crash(&mut self, crash: Crash) {
        self.pending.clear();
        match crash {
            Crash::Kill => {}
            // Of processes nothing is left that could tell how they ended.
            Crash::Reboot => {
                for (id, (_, made)) in std::mem::take(&mut self.made) {
                    if made == Made::Running {
                        self.ran.insert(id.clone(), None);
                    }
                    self.blurred.insert(id);
                }
            }
            Crash::LostJournal => {
                self.durable = new_disk();
                self.is_unlisted = true;
                // Of what is removed already nobody knows any more; controllers take it for lost.
                self.blurred.extend(self.ran.keys().cloned());
                self.ran.retain(|id, _| self.made.contains_key(id));
            }
        }
        self.disk.clone_from(&self.durable);
        self.core = boot(&self.disk, crash == Crash::Reboot);
        // The session sends the table again.
        self.core.take_table(1, self.table.clone());
    }

    /// The runner says what it knows.
    fn list(&mut self) {
        self.is_unlisted = false;
        let listed = |(id, (epoch, made)): (&InstanceId, &(Epoch, Made))| Listed {
            instance: id.clone(),
            place: Some(place(*epoch)),
            runs: *made == Made::Running,
        };
        let listed = self.made.iter().map(listed).collect();
        let leftovers = self.core.take_listing(RunnerKind::Process, listed);
        assert_eq!(self.core.take_listing(RunnerKind::Docker, Vec::new()), []);
        for id in leftovers {
            let runs = matches!(self.made.remove(&id), Some((_, Made::Running)));
            assert!(!runs, "a running workload was cleared away{}", self.story());
        }
    }

    /// Every condition that can follow.
    pub(super) fn next(&self) -> Vec<Self> {
        let mut next = Vec::new();
        self.effects_turn_out(&mut next);
        self.time_passes(&mut next);
        self.crashes(&mut next);
        self.wishes(&mut next);
        self.workloads_end(&mut next);
        next
    }

    fn effects_turn_out(&self, next: &mut Vec<Self>) {
        for (index, (_, effect)) in self.pending.iter().enumerate() {
            for &turnout in Turnout::all(effect) {
                if turnout.is_trouble() && self.budget.troubles == 0 {
                    continue;
                }
                let mut after = self.clone();
                after.budget.troubles -= u8::from(turnout.is_trouble());
                let answer = after.perform(index, turnout);
                // Its answer may never be heard, or be forgotten before it is written.
                if turnout == Turnout::Done && self.budget.crashes > 0 {
                    let mut killed = after.clone();
                    killed.budget.crashes -= 1;
                    killed.crash(Crash::Kill);
                    killed.turn(&format!("{effect:?}, killed before its answer was written"));
                    next.push(killed);
                }
                if let Some((id, event)) = answer {
                    after.core.tell(id, event);
                }
                after.turn(&format!("{effect:?} {turnout:?}"));
                next.push(after);
            }
        }
    }

    fn time_passes(&self, next: &mut Vec<Self>) {
        // While something is under way that is trouble, too: its answer comes late.
        let trouble = u8::from(!self.pending.is_empty());
        if let Some(wake) = self.core.next_wake()
            && self.budget.troubles >= trouble
        {
            let mut after = self.clone();
            after.budget.troubles -= trouble;
            after.clock = wake.max(self.clock);
            after.turn("time passes");
            next.push(after);
        }
    }

    fn crashes(&self, next: &mut Vec<Self>) {
        for crash in [Crash::Kill, Crash::Reboot, Crash::LostJournal] {
            let mut after = self.clone();
            let left = match crash {
                Crash::Kill => &mut after.budget.crashes,
                Crash::Reboot => &mut after.budget.reboots,
                Crash::LostJournal => &mut after.budget.losses,
            };
            if *left > 0 {
                *left -= 1;
                after.crash(crash);
                after.turn(&format!("{crash:?}"));
                next.push(after);
            }
        }
        if self.is_unlisted {
            let mut after = self.clone();
            after.list();
            after.turn("the runner says what it knows");
            next.push(after);
        }
    }

    fn wishes(&self, next: &mut Vec<Self>) {
        if self.budget.wishes == 0 {
            return;
        }
        for wish in [Wish::StartFirst, Wish::StopFirst, Wish::Empty, Wish::Drain] {
            let mut after = self.clone();
            after.budget.wishes -= 1;
            let revision = self.table.revision.0 + 1;
            let wanted = match wish {
                Wish::StartFirst => Some(with_spec(table(revision, revision, 1), ReplaceMode::StartFirst)),
                Wish::StopFirst => Some(with_spec(table(revision, revision, 1), ReplaceMode::StopFirst)),
                Wish::Empty => Some(table(revision, 1, 0)),
                Wish::Drain => None,
            };
            match wanted {
                Some(table) => {
                    after.table = table.clone();
                    after.core.take_table(1, table);
                }
                None => after.core.drain(DrainPolicy::Keep),
            }
            after.turn(&format!("{wish:?}"));
            next.push(after);
        }
    }

    fn workloads_end(&self, next: &mut Vec<Self>) {
        if self.budget.exits == 0 {
            return;
        }
        let running = self.made.iter().filter(|(_, (_, made))| *made == Made::Running);
        for id in running.map(|(id, _)| id) {
            let mut after = self.clone();
            after.budget.exits -= 1;
            after.end(id, OWN_EXIT);
            after.core.tell(id.clone(), Event::Exited(exit(OWN_EXIT)));
            after.turn("it ends by itself");
            next.push(after);
        }
    }
}
