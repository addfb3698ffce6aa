//! An executor in miniature: it knows its slot table and fills slots as an executor does, but whether an
//! instance becomes healthy, and when anything happens, is decided by the test and by the spec (see [`Fate`]).

use std::collections::{BTreeMap, BTreeSet};

use muster_common::id::{Epoch, Generation, ServiceId, SlotId};
use muster_common::instance::{InstanceRecord, InstanceState};
use muster_common::slot::{ReplaceMode, SlotAssignment, SlotPhase, SlotStatus, SlotTable};
use muster_common::spec::LocalServiceSpec;

use crate::state::testing::{UP, UP_AND_DOWN, executor_id, record};

/// How many failures in a row a slot may have before it is given up, unless a test says otherwise.
const BUDGET: u32 = 2;
/// The variable of a spec's environment that says what becomes of its instances.
const FATE: &str = "FATE";

/// What a spec's instances are good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// They work.
    Good,
    /// They never become healthy.
    Broken,
    /// They become healthy, and end soon after.
    Fragile,
}

impl Fate {
    pub(super) const ALL: [Self; 3] = [Self::Good, Self::Broken, Self::Fragile];

    pub(super) fn of(spec: &LocalServiceSpec) -> Self {
        match spec.env.get(FATE).map(String::as_str) {
            Some("Broken") => Self::Broken,
            Some("Fragile") => Self::Fragile,
            _ => Self::Good,
        }
    }

    pub(super) fn write(self, spec: &mut LocalServiceSpec) {
        spec.env.insert(FATE.to_owned(), format!("{self:?}"));
    }
}

/// One instance of the miniature.
#[derive(Debug, Clone)]
struct Workload {
    id: String,
    epoch: Epoch,
    state: InstanceState,
    fate: Fate,
}

impl Workload {
    fn is_healthy(&self) -> bool {
        self.state == InstanceState::Healthy
    }
}

/// What one slot of it holds.
#[derive(Debug, Clone, Default)]
struct Held {
    workloads: Vec<Workload>,
    /// What the counters speak of.
    asked: Option<(Epoch, Generation)>,
    failures: u32,
    /// How many instances failed in it, ever.
    restarts: u64,
    /// The epoch whose replacement failed while the older instance was well.
    kept_old: Option<Epoch>,
    /// The epoch for which a healthy instance was stopped before another one was there.
    taken_down: Option<Epoch>,
}

impl Held {
    fn is_up(&self) -> bool {
        self.workloads.iter().any(Workload::is_healthy)
    }
}

type Key = (ServiceId, u32);

/// One executor.
#[derive(Debug)]
pub(super) struct Simulated {
    pub(super) name: String,
    table: BTreeMap<Key, SlotAssignment>,
    held: BTreeMap<Key, Held>,
    minted: u32,
    /// How many failures in a row a slot may have before it is given up.
    pub(super) budget: u32,
    /// Of the last status; versions go on over a loss of everything, as real ones do.
    version: u64,
    /// What is to be said, or said again.
    pub(super) instances: Vec<InstanceRecord>,
    pub(super) statuses: Vec<SlotStatus>,
}

impl Simulated {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            table: BTreeMap::new(),
            held: BTreeMap::new(),
            minted: 0,
            budget: BUDGET,
            version: 0,
            instances: Vec::new(),
            statuses: Vec::new(),
        }
    }

    pub(super) fn take(&mut self, table: SlotTable) {
        let rows = table.rows.into_iter().map(|row| ((row.service.clone(), row.index), row));
        self.table = rows.collect();
    }

    /// The slots in its table that hold no healthy instance: the epoch for which one was stopped, if one was.
    pub(super) fn slots_down(&self) -> impl Iterator<Item = Option<Epoch>> {
        let held = self.table.keys().map(|key| self.held.get(key));
        held.filter(|held| !held.is_some_and(Held::is_up)).map(|held| held.and_then(|held| held.taken_down))
    }

    /// The epoch for which a healthy instance in a slot in its table was stopped, if nothing healthy came in its place.
    pub(super) fn taken_down(&self, service: &ServiceId, index: u32) -> Option<Epoch> {
        let key = (service.clone(), index);
        let held = self.held.get(&key).filter(|held| !held.is_up() && self.table.contains_key(&key));
        held.and_then(|held| held.taken_down)
    }

    pub(super) fn live(&self) -> usize {
        self.held.values().map(|held| held.workloads.len()).sum()
    }

    /// The instances that it holds.
    pub(super) fn inventory(&self) -> Vec<String> {
        self.held.values().flat_map(|held| &held.workloads).map(|workload| workload.id.clone()).collect()
    }

    /// It forgets everything, and nothing of it runs any more.
    pub(super) fn wipe(&mut self) {
        self.table.clear();
        self.held.clear();
        self.instances.clear();
        self.statuses.clear();
    }

    /// Everything on it that is healthy ends by itself.
    pub(super) fn crash(&mut self) {
        for key in self.held.keys().cloned().collect::<Vec<_>>() {
            self.change(&key, |executor, held| {
                let epoch = held.workloads.iter().find(|workload| workload.is_healthy())?.epoch;
                executor.end(&key, held, Workload::is_healthy);
                let row = executor.table.get(&key).filter(|row| row.epoch == epoch)?.clone();
                executor.fail(&key, held, &row);
                Some(())
            });
        }
    }

    /// Does the next thing in each slot. `works` says whether an instance that is on its way up
    /// becomes healthy, if it can.
    pub(super) fn step(&mut self, works: bool) {
        let keys: BTreeSet<_> = self.table.keys().chain(self.held.keys()).cloned().collect();
        for key in keys {
            let row = self.table.get(&key).cloned();
            self.change(&key, |executor, held| match &row {
                None => executor.end(&key, held, |_| true),
                Some(row) => executor.fill(&key, held, row, works),
            });
        }
    }

    fn change<T>(&mut self, key: &Key, change: impl FnOnce(&mut Self, &mut Held) -> T) {
        let mut held = self.held.remove(key).unwrap_or_default();
        change(self, &mut held);
        if !held.workloads.is_empty() || self.table.contains_key(key) {
            self.held.insert(key.clone(), held);
        }
    }

    fn fill(&mut self, key: &Key, held: &mut Held, row: &SlotAssignment, works: bool) {
        if held.asked != Some((row.epoch, row.generation)) {
            held.asked = Some((row.epoch, row.generation));
            held.failures = 0;
            held.kept_old = None;
        }
        let current = held.workloads.iter().find(|workload| workload.epoch == row.epoch).cloned();
        match current {
            None => self.without_current(key, held, row),
            Some(current) if current.is_healthy() => {
                if current.fate == Fate::Fragile {
                    self.end(key, held, |workload| workload.epoch == row.epoch);
                    self.fail(key, held, row);
                }
            }
            Some(current) if works && current.fate != Fate::Broken => {
                for workload in held.workloads.iter_mut().filter(|workload| workload.id == current.id) {
                    workload.state = InstanceState::Healthy;
                    self.say(key, workload);
                }
                held.kept_old = None;
                held.taken_down = None;
                self.end(key, held, |workload| workload.epoch != row.epoch);
                self.status(key, held, SlotPhase::Filled);
            }
            Some(_) => {
                self.end(key, held, |workload| workload.epoch == row.epoch);
                self.fail(key, held, row);
            }
        }
    }

    fn without_current(&mut self, key: &Key, held: &mut Held, row: &SlotAssignment) {
        let stops_first = row.mode == ReplaceMode::StopFirst || row.spec.is_host_level();
        if stops_first && !held.workloads.is_empty() {
            if held.is_up() {
                held.taken_down = Some(row.epoch);
            }
            return self.end(key, held, |_| true);
        }
        if held.is_up() && held.kept_old == Some(row.epoch) {
            return;
        }
        self.end(key, held, |workload| !workload.is_healthy());
        if held.failures > self.budget {
            return;
        }
        self.minted += 1;
        let id = format!("{}.{}", self.name, self.minted);
        let fate = Fate::of(&row.spec);
        let workload = Workload { id, epoch: row.epoch, state: InstanceState::Starting, fate };
        self.say(key, &workload);
        held.workloads.push(workload);
    }

    /// The instance of the present epoch ended by itself.
    fn fail(&mut self, key: &Key, held: &mut Held, row: &SlotAssignment) {
        held.failures += 1;
        held.restarts += 1;
        let phase = if held.is_up() {
            held.kept_old = Some(row.epoch);
            SlotPhase::KeptOld
        } else if held.failures > self.budget {
            SlotPhase::Failed
        } else {
            SlotPhase::Backoff
        };
        self.status(key, held, phase);
    }

    fn end(&mut self, key: &Key, held: &mut Held, which: impl Fn(&Workload) -> bool) {
        let (going, staying): (Vec<_>, Vec<_>) = held.workloads.drain(..).partition(which);
        held.workloads = staying;
        for mut workload in going {
            workload.state = InstanceState::Stopped;
            self.say(key, &workload);
        }
    }

    fn say(&mut self, key: &Key, workload: &Workload) {
        let slot = SlotId { service: key.0.clone(), executor: executor_id(&self.name), index: key.1 };
        let way = match workload.state {
            InstanceState::Starting => &UP[..2],
            InstanceState::Healthy => &UP[..],
            _ => &UP_AND_DOWN[..],
        };
        self.instances.push(record(&workload.id, &slot, workload.epoch, way));
    }

    fn status(&mut self, key: &Key, held: &Held, phase: SlotPhase) {
        let (epoch, generation) = held.asked.unwrap();
        self.version += 1;
        self.statuses.push(SlotStatus {
            service: key.0.clone(),
            index: key.1,
            epoch,
            generation: Some(generation),
            phase,
            restarts: held.restarts,
            retry_at: None,
            reason: None,
            message: String::new(),
            version: self.version,
        });
    }
}
