//! An exhaustive search over one slot: the supervisor's mind, its journal and a runner, from every condition that
//! can be reached, with every answer that an effect can have, and a crash before and after each.
//!
//! Two conditions are the same when they differ only in ids, times and versions; each is visited once. A path may
//! hold a bounded number of crashes, of troubles (a runner that is away, an answer that never comes, a step that
//! fails) and of wishes (a new epoch, an empty slot, a drain); within these bounds nothing is left out.
//!
//! Checked in every condition: never two live workloads of one slot and epoch; nothing waits without a limit; no
//! running workload is removed; and whatever was ever started still has an instance, or has its end told with its
//! own exit status.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use muster_common::id::{Epoch, ExecutorId, Generation, InstanceId, ServiceId};
use muster_common::instance::{InstanceRecord, InstanceState, LocalInfo, RunnerKind};
use muster_common::slot::{ReplaceMode, SlotTable};
use muster_common::spec::LocalServiceSpec;
use muster_common::time::Timestamp;

use super::{new_disk, room, whole_disk};
use crate::journal::{Contents, Drawers};
use crate::machine::{Effect, Event, Instance, Now, Trouble};
use crate::probe::ProbeOutcome;
use crate::runner::{Exit, Found, Listed, Place, Workload};
use crate::supervisor::Core;
use crate::testing::table;

/// What a runner has of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Made {
    Created,
    Running,
    /// With its exit status, and whether that was heard.
    Ended(i32),
}

/// How an effect turns out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turnout {
    /// As it should.
    Done,
    /// It fails, and nothing comes of it.
    Fails,
    /// A start that fails after the workload was created.
    FailsHalfway,
    /// The runner is away.
    Away,
    /// It is done, but the runner's answer is that it is away.
    DoneUnheard,
    /// It is done, and no answer ever comes.
    DoneInSilence,
    /// Nothing happens, and no answer ever comes.
    Hangs,
}

impl Turnout {
    const fn is_trouble(self) -> bool {
        !matches!(self, Self::Done)
    }

    fn all(effect: &Effect) -> &'static [Self] {
        use Turnout::{Away, Done, DoneInSilence, DoneUnheard, Fails, FailsHalfway, Hangs};
        match effect {
            Effect::Lease | Effect::Cancel => &[Done],
            Effect::CheckPorts | Effect::RunHook { .. } | Effect::CollectEvidence | Effect::Probe { .. } => {
                &[Done, Fails, Hangs]
            }
            Effect::Provision => &[Done, Fails, Away, Hangs],
            Effect::Start => &[Done, Fails, FailsHalfway, Away, DoneUnheard, DoneInSilence, Hangs],
            Effect::Find => &[Done, Away, Hangs],
            Effect::Stop { .. } | Effect::Remove => &[Done, Away, DoneUnheard, DoneInSilence, Hangs],
        }
    }
}

/// What may happen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Wish {
    StartFirst,
    StopFirst,
    Empty,
    Drain,
}

/// How an executor dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Crash {
    Kill,
    Reboot,
    LostJournal,
}

/// What a path may still hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Budget {
    crashes: u8,
    reboots: u8,
    /// Crashes that cost the journal as well.
    losses: u8,
    troubles: u8,
    wishes: u8,
    exits: u8,
}

/// How one got here, for whoever has to understand a failure.
struct Path {
    step: String,
    before: Option<Rc<Path>>,
}

/// One condition of a node.
#[derive(Clone)]
struct Condition {
    core: Core,
    pending: Vec<(InstanceId, Effect)>,
    disk: Drawers,
    durable: Drawers,
    /// The outline of what is durable.
    durable_outline: u64,
    made: BTreeMap<InstanceId, (Epoch, Made)>,
    /// Every workload that ever ran, with its exit status once it has one.
    ran: BTreeMap<InstanceId, Option<i32>>,
    told: BTreeMap<InstanceId, Arc<InstanceRecord>>,
    table: SlotTable,
    /// Whether the runner has not been asked yet what it knows.
    is_unlisted: bool,
    clock: Duration,
    random: u64,
    budget: Budget,
    path: Option<Rc<Path>>,
}

const TERMINATED: i32 = 143;
const OWN_EXIT: i32 = 77;

impl Condition {
    fn first(budget: Budget) -> Self {
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
        self.core.wake(self.now());
        let random = &mut self.random;
        let now = Now {
            wall: Timestamp(1_000_000 + u64::try_from(self.clock.as_millis()).unwrap()),
            mono: self.clock,
        };
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
                self.pending.retain(|(other, waiting)| *other != id || !waiting.is_action());
            } else {
                self.pending.retain(|(other, waiting)| *other != id || waiting.is_action());
            }
            if effect != Effect::Cancel {
                self.pending.push((id, effect));
            }
        }
        self.pending.retain(|(id, _)| self.core.is_live(id));
        self.report();
        self.check();
    }

    /// The controllers hear and confirm everything at once.
    fn report(&mut self) {
        let standing = self.core.standing();
        let news: Vec<_> = standing.unacked_instances.values().cloned().collect();
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
            let waits = instance.next_wake().is_some();
            assert!(waits, "{} waits for nothing{}", instance.state(), self.story());
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
            assert!(
                told.state == InstanceState::Lost || known == *exit,
                "{id}: {known:?}, not {exit:?}{}",
                self.story()
            );
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

    /// Everything about it but ids, times and versions.
    fn outline(&self) -> u64 {
        let mut text = self.outline_of_core();
        let _ = write!(
            text,
            "|{:?}|{}|{:?}",
            self.budget,
            self.durable_outline,
            (self.table.rows.len(), self.table.revision)
        );
        let mut pending: Vec<String> =
            self.pending.iter().map(|(id, effect)| format!("{}{effect:?}", self.place_of(id))).collect();
        pending.sort();
        let made: Vec<_> = self.made.iter().map(|(id, made)| (self.place_of(id), made)).collect();
        let _ = write!(text, "|{pending:?}|{made:?}");
        hash(&text)
    }

    fn place_of(&self, id: &InstanceId) -> usize {
        let mut ids: Vec<_> =
            self.core.instances().map(|one| (one.epoch(), one.record.created, one.id())).collect();
        ids.sort();
        ids.iter().position(|(_, _, other)| *other == id).unwrap_or(usize::MAX)
    }

    fn outline_of_core(&self) -> String {
        let mut instances: Vec<&Instance> = self.core.instances().collect();
        instances.sort_by_key(|one| (one.epoch(), one.record.created, one.id().clone()));
        let mut text = String::new();
        for one in instances {
            let pace = &one.pace;
            let is_patient = self.clock < pace.launched + Duration::from_secs(1);
            let _ = write!(
                text,
                "{:?}{:?}{:?}{:?}{:?}{:?}{}{}{};{}{}{}{}{}{}{}/",
                one.epoch(),
                one.state(),
                one.record.reason,
                one.descent,
                one.resume.as_ref().map(|resume| (
                    resume.state,
                    resume.reason,
                    resume.descent,
                    resume.rebooted
                )),
                one.exit,
                one.stop.is_some(),
                one.accounted,
                one.holds_lease(),
                pace.deadline.is_some(),
                pace.retry.is_some(),
                pace.tries.min(2),
                pace.probe.due.is_some(),
                pace.probe.asked.is_some(),
                pace.probe.failures,
                is_patient,
            );
            let _ = write!(text, "{}{}", one.workload.is_some(), one.record.started.is_some());
        }
        for slot in self.core.slots() {
            let _ = write!(text, "{:?}{:?}{}", slot.phase, slot.epoch, slot.retry_at.is_some());
        }
        text
    }

    /// Lets the effect at `index` turn out so; the answer, if one comes.
    fn perform(&mut self, index: usize, turnout: Turnout) -> Option<(InstanceId, Event)> {
        use Turnout::{Away, Done, DoneInSilence, DoneUnheard, Fails, FailsHalfway, Hangs};
        let (id, effect) = self.pending.remove(index);
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
        let passed = trouble.is_none();
        let event = match effect {
            Effect::Lease | Effect::Cancel => return None,
            Effect::CheckPorts => Event::PortsChecked(if passed { Ok(()) } else { Err("taken".to_owned()) }),
            Effect::Provision => Event::Provisioned(or(trouble)),
            Effect::Start => Event::Started(or(trouble).map(|()| workload(&id))),
            Effect::Find => Event::Found(or(trouble).map(|()| self.found(&id))),
            Effect::Stop { .. } => Event::Stopped(or(trouble).map(|()| match self.made.get(&id) {
                Some((_, Made::Ended(code))) => exit(*code),
                _ => Exit::default(),
            })),
            Effect::CollectEvidence => {
                Event::EvidenceCollected(if passed { Ok("log".to_owned()) } else { Err("torn".to_owned()) })
            }
            Effect::Remove => Event::Removed(or(trouble)),
            Effect::Probe { kind } => {
                let runs = matches!(self.made.get(&id), Some((_, Made::Running)));
                Event::Probed { kind, outcome: outcome(passed && runs) }
            }
            Effect::RunHook { index } => Event::HookDone { index, outcome: outcome(passed) },
        };
        Some((id, event))
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
                        self.ran.insert(id, None);
                    }
                }
            }
            Crash::LostJournal => {
                self.durable = new_disk();
                self.is_unlisted = true;
                // Of what is removed already nobody knows any more; controllers take it for lost.
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
    fn next(&self) -> Vec<Self> {
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
                None => after.core.drain(),
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

fn boot(disk: &Drawers, rebooted: bool) -> Core {
    let (contents, damaged) = Contents::read(disk.clone());
    assert!(damaged.is_empty());
    Core::new(ExecutorId::new("e1").unwrap(), room(), contents, rebooted)
}

fn place(epoch: Epoch) -> Place {
    Place {
        service: ServiceId::new("web-1").unwrap(),
        service_name: "web".to_owned(),
        index: 0,
        epoch,
        generation: Generation(epoch.0),
        local_info: LocalInfo { hostname: "node".to_owned(), ports: BTreeMap::new() },
        resources: Vec::new(),
    }
}

fn workload(id: &InstanceId) -> Workload {
    Workload::Docker { container_id: id.to_string() }
}

fn exit(code: i32) -> Exit {
    Exit { code: Some(code), ..Exit::default() }
}

fn outcome(passed: bool) -> ProbeOutcome {
    ProbeOutcome { passed, asked: true, latency: Duration::from_millis(1), code: None, answer: String::new() }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// A service whose every wait is short and whose every count is low.
fn with_spec(mut table: SlotTable, mode: ReplaceMode) -> SlotTable {
    let spec: LocalServiceSpec = serde_json::from_str(
        r#"{
          "name": "web", "version": "1", "executable": {"type": "PROCESS", "command": ["/bin/web"]},
          "exposedPorts": [{"name": "http", "port": 8080, "type": "HTTP"}],
          "resources": [{"type": "CPU", "count": 1}, {"type": "MEMORY", "sizeInMB": 64}],
          "placementPolicy": {"type": "LOCAL"},
          "readiness": {"mode": {"type": "TCP", "portName": "http"}, "timeout": "1s", "interval": "1s", "attempts": 1},
          "healthcheck": {"mode": {"type": "TCP", "portName": "http"}, "timeout": "1s", "interval": "1s", "attempts": 1},
          "preShutdown": {"hooks": [{"type": "CMD", "command": "drain"}], "waitBeforeKill": "1s"},
          "grace": "1s", "restartPolicy": {"backoff": ["1s"], "jitter": 0, "resetAfter": "10m", "budget": 2}
        }"#,
    )
    .unwrap();
    let spec = Arc::new(spec);
    for row in &mut table.rows {
        row.mode = mode;
        row.spec = Arc::clone(&spec);
    }
    table
}

/// What a search has seen.
#[derive(Default)]
struct Seen {
    conditions: HashSet<u64>,
    /// Each state with each effect that was under way in it.
    under_way: BTreeSet<(InstanceState, String)>,
    states: BTreeSet<InstanceState>,
    crash_points: usize,
}

fn search(budget: Budget) -> Seen {
    let mut seen = Seen::default();
    let mut open = vec![Condition::first(budget)];
    seen.conditions.insert(open[0].outline());
    while let Some(condition) = open.pop() {
        for instance in condition.core.instances() {
            seen.states.insert(instance.state());
        }
        // Some states are entered and left within one turn.
        let timelines = condition.told.values().flat_map(|told| &told.timeline);
        seen.states.extend(timelines.map(|transition| transition.to));
        for (id, effect) in &condition.pending {
            if let Some(instance) = condition.core.instance(id) {
                let name = format!("{effect:?}").split([' ', '{']).next().unwrap_or_default().to_owned();
                seen.under_way.insert((instance.state(), name));
            }
        }
        if condition.budget.crashes > 0 {
            seen.crash_points += 1 + condition.pending.len();
        }
        for next in condition.next() {
            if seen.conditions.insert(next.outline()) {
                open.push(next);
            }
        }
    }
    seen
}

fn report(name: &str, seen: &Seen) {
    println!(
        "{name}: {} conditions, {} crash points, {} states, {} pairs of a state and an effect under way",
        seen.conditions.len(),
        seen.crash_points,
        seen.states.len(),
        seen.under_way.len()
    );
}

/// Searches of every combination that a CI run has time for; `MUSTER_SEARCH=deep` adds those that take minutes.
fn budgets() -> Vec<(&'static str, Budget)> {
    let none = Budget { crashes: 0, reboots: 0, losses: 0, troubles: 0, wishes: 0, exits: 0 };
    let mut budgets = vec![
        ("two crashes, a trouble, an exit", Budget { crashes: 2, troubles: 1, exits: 1, ..none }),
        ("a crash, a trouble, a wish", Budget { crashes: 1, troubles: 1, wishes: 1, ..none }),
        ("two crashes, a wish", Budget { crashes: 2, wishes: 1, ..none }),
        (
            "a crash, a reboot, a trouble, an exit",
            Budget { crashes: 1, reboots: 1, troubles: 1, exits: 1, ..none },
        ),
        ("two troubles, a wish", Budget { troubles: 2, wishes: 1, ..none }),
        ("a lost journal, a trouble, an exit", Budget { losses: 1, troubles: 1, exits: 1, ..none }),
        ("a lost journal, a crash, a wish", Budget { losses: 1, crashes: 1, wishes: 1, ..none }),
    ];
    if std::env::var("MUSTER_SEARCH").is_ok_and(|depth| depth == "deep") {
        budgets.extend([
            ("two crashes, a trouble, a wish", Budget { crashes: 2, troubles: 1, wishes: 1, ..none }),
            ("a crash, two troubles, a wish", Budget { crashes: 1, troubles: 2, wishes: 1, ..none }),
            ("a crash, two wishes", Budget { crashes: 1, wishes: 2, ..none }),
            ("one of each", Budget { crashes: 1, reboots: 1, troubles: 1, wishes: 1, exits: 1, ..none }),
            (
                "a lost journal and one of each",
                Budget { losses: 1, troubles: 1, wishes: 1, exits: 1, ..none },
            ),
        ]);
    }
    budgets
}

#[test]
fn a_crash_in_any_condition_loses_nothing_and_doubles_nothing() {
    let mut all = Seen::default();
    let mut conditions = 0;
    for (name, budget) in budgets() {
        let seen = search(budget);
        report(name, &seen);
        conditions += seen.conditions.len();
        all.crash_points += seen.crash_points;
        all.states.extend(seen.states);
        all.under_way.extend(seen.under_way);
    }
    println!("in all: {conditions} conditions, {} crash points", all.crash_points);
    for (state, effect) in &all.under_way {
        println!("crashed before and after {effect} in {state}");
    }
    for state in InstanceState::ALL {
        assert!(all.states.contains(state), "{state} was never reached");
    }
    let effects: BTreeSet<&str> = all.under_way.iter().map(|(_, effect)| effect.as_str()).collect();
    let every =
        ["CheckPorts", "CollectEvidence", "Find", "Probe", "Provision", "Remove", "RunHook", "Start", "Stop"];
    assert_eq!(effects, every.into());
}
