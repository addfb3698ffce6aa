//! An executor in miniature: it knows its slot table and fills slots as the design says, but whether an
//! instance becomes healthy, and when anything happens, is decided by the test.

use std::collections::BTreeMap;

use muster_common::id::{Epoch, ServiceId, SlotId};
use muster_common::instance::{InstanceRecord, InstanceState};
use muster_common::slot::{ReplaceMode, SlotAssignment, SlotPhase, SlotStatus, SlotTable};

use crate::state::testing::{UP, UP_AND_DOWN, executor_id, record};

/// One instance of the miniature.
#[derive(Debug, Clone)]
struct Workload {
    id: String,
    epoch: Epoch,
    state: InstanceState,
}

/// What one slot of it holds.
#[derive(Debug, Clone, Default)]
struct Held {
    workloads: Vec<Workload>,
    status: Option<SlotStatus>,
    /// The epoch for which it does not try any more.
    gave_up: Option<Epoch>,
}

/// One executor.
#[derive(Debug)]
pub(super) struct Simulated {
    pub(super) name: String,
    table: BTreeMap<(ServiceId, u32), SlotAssignment>,
    held: BTreeMap<(ServiceId, u32), Held>,
    minted: u32,
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
            instances: Vec::new(),
            statuses: Vec::new(),
        }
    }

    pub(super) fn take(&mut self, table: SlotTable) {
        let rows = table.rows.into_iter().map(|row| ((row.service.clone(), row.index), row));
        self.table = rows.collect();
    }

    /// How many of the slots in its table hold no healthy instance.
    pub(super) fn slots_down(&self) -> usize {
        self.table.keys().filter(|key| !self.is_up(key)).count()
    }

    pub(super) fn live(&self) -> usize {
        self.held.values().map(|held| held.workloads.len()).sum()
    }

    fn is_up(&self, key: &(ServiceId, u32)) -> bool {
        let held = self.held.get(key);
        held.is_some_and(|held| {
            held.workloads.iter().any(|workload| workload.state == InstanceState::Healthy)
        })
    }

    /// Does the next thing in each slot. `works` says whether an instance that is on its way up
    /// becomes healthy.
    pub(super) fn step(&mut self, works: bool) {
        let keys: std::collections::BTreeSet<_> =
            self.table.keys().chain(self.held.keys()).cloned().collect();
        for key in keys {
            let mut held = self.held.remove(&key).unwrap_or_default();
            match self.table.get(&key).cloned() {
                None => self.stop_all(&key, &mut held, |_| true),
                Some(row) => self.fill(&key, &mut held, &row, works),
            }
            if !held.workloads.is_empty() || self.table.contains_key(&key) {
                self.held.insert(key, held);
            }
        }
    }

    fn fill(&mut self, key: &(ServiceId, u32), held: &mut Held, row: &SlotAssignment, works: bool) {
        let older = held.workloads.iter().any(|workload| workload.epoch < row.epoch);
        let current = held.workloads.iter().position(|workload| workload.epoch == row.epoch);
        match current {
            None if held.gave_up == Some(row.epoch) => {}
            None if older && row.mode == ReplaceMode::StopFirst => {
                self.stop_all(key, held, |workload| workload.epoch < row.epoch);
            }
            None => {
                self.minted += 1;
                let id = format!("{}.{}", self.name, self.minted);
                let workload = Workload { id, epoch: row.epoch, state: InstanceState::Starting };
                self.say(key, &workload);
                held.workloads.push(workload);
            }
            Some(position) if held.workloads[position].state == InstanceState::Starting => {
                let workload = &mut held.workloads[position];
                if works {
                    workload.state = InstanceState::Healthy;
                    let workload = workload.clone();
                    self.say(key, &workload);
                    self.stop_all(key, held, |workload| workload.epoch < row.epoch);
                    self.status(key, held, row.epoch, SlotPhase::Filled);
                } else {
                    self.stop_all(key, held, |workload| workload.epoch == row.epoch);
                    held.gave_up = Some(row.epoch);
                    let phase = if older { SlotPhase::KeptOld } else { SlotPhase::Failed };
                    self.status(key, held, row.epoch, phase);
                }
            }
            Some(_) => {}
        }
    }

    fn stop_all(&mut self, key: &(ServiceId, u32), held: &mut Held, which: impl Fn(&Workload) -> bool) {
        for workload in held.workloads.iter_mut().filter(|workload| which(workload)) {
            workload.state = InstanceState::Stopped;
        }
        let (gone, staying) =
            held.workloads.drain(..).partition(|workload| workload.state == InstanceState::Stopped);
        held.workloads = staying;
        let gone: Vec<Workload> = gone;
        for workload in &gone {
            self.say(key, workload);
        }
    }

    fn say(&mut self, key: &(ServiceId, u32), workload: &Workload) {
        let slot = SlotId { service: key.0.clone(), executor: executor_id(&self.name), index: key.1 };
        let way = match workload.state {
            InstanceState::Starting => &UP[..2],
            InstanceState::Healthy => &UP[..],
            _ => &UP_AND_DOWN[..],
        };
        self.instances.push(record(&workload.id, &slot, workload.epoch, way));
    }

    fn status(&mut self, key: &(ServiceId, u32), held: &mut Held, epoch: Epoch, phase: SlotPhase) {
        let status = SlotStatus {
            service: key.0.clone(),
            index: key.1,
            epoch,
            phase,
            restarts: 0,
            retry_at: None,
            reason: None,
            message: String::new(),
            version: held.status.as_ref().map_or(1, |status| status.version + 1),
        };
        self.statuses.push(status.clone());
        held.status = Some(status);
    }
}
