//! An executor without workloads: the real session in front of a trivial instance machine, in which every instance is
//! HEALTHY at once. It is for measuring controllers with fleets that no machine could run. It keeps nothing on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_common::evidence::Transition;
use muster_common::executor::ExecutorRecord;
use muster_common::id::{InstanceId, SlotId};
use muster_common::instance::{InstanceRecord, InstanceState, LocalInfo, ResourceAllocation, RunnerKind};
use muster_common::slot::{SlotAssignment, SlotPhase, SlotStatus, SlotTable};
use muster_platform::{TlsIdentity, World};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::relay;
use crate::session::{self, Session};
use crate::slots::{Slot, SlotKey};
use crate::supervisor::{Handle, Message, Standing, Unacked};

/// How many messages may wait: only the session sends any.
const QUEUE: usize = 16;
/// The way up, and the way down.
const UP: [InstanceState; 6] = {
    let [up @ .., _, _, _] = InstanceState::LIFE;
    up
};
const DOWN: [InstanceState; 4] = {
    let [_, _, _, _, _, down @ ..] = InstanceState::LIFE;
    down
};

/// An executor that is not running yet.
#[derive(Debug)]
pub struct SimulatedExecutor {
    /// The machine.
    pub world: World,
    /// Who it is.
    pub tls: TlsIdentity,
    /// Addresses of the controllers' cluster ports.
    pub controllers: Vec<String>,
    /// What it says of itself.
    pub record: ExecutorRecord,
}

impl SimulatedExecutor {
    /// Runs until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let machine = Machine::new(self.world.clone(), self.record.clone());
        let (messages, inbox) = mpsc::channel(QUEUE);
        let (standing, watching) = watch::channel(machine.standing.clone());
        let session = Session {
            world: self.world,
            tls: self.tls,
            controllers: self.controllers,
            executor: self.record,
            supervisor: Handle::new(messages, watching),
            leader: watch::Sender::new(None),
            // It has neither logs nor workloads.
            relays: relay::dials().0,
        };
        tokio::select! {
            () = session::run(session, shutdown) => {}
            () = machine.run(inbox, standing) => {}
        }
    }
}

/// What it has instead of a supervisor, a journal and runners.
struct Machine {
    world: World,
    executor: ExecutorRecord,
    filled: BTreeMap<SlotKey, Arc<InstanceRecord>>,
    /// How many ended.
    ended: u64,
    standing: Standing,
}

impl Machine {
    fn new(world: World, executor: ExecutorRecord) -> Self {
        let standing = Standing { is_settled: true, ..Standing::default() };
        Self { world, executor, filled: BTreeMap::new(), ended: 0, standing }
    }

    async fn run(mut self, mut inbox: mpsc::Receiver<Message>, standing: watch::Sender<Standing>) {
        while let Some(message) = inbox.recv().await {
            self.take(message);
            standing.send_replace(self.standing.clone());
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Table { term, table } => self.obey(term, &table),
            Message::Acknowledged { instances, slots } => self.forget(&instances, &slots),
            // Of runners, of a drain, of a service manager and of a group that was restored there is nothing here.
            Message::Told { .. }
            | Message::Welcomed { .. }
            | Message::PortsChecked { .. }
            | Message::Listed { .. }
            | Message::Drain(_)
            | Message::Beat(_)
            | Message::Inspect(_)
            | Message::Running { .. } => {}
        }
    }

    fn obey(&mut self, term: u64, table: &SlotTable) {
        if (term, table.revision) <= (self.standing.term, self.standing.table_revision) {
            return;
        }
        self.standing.term = term;
        self.standing.table_revision = table.revision;
        let wanted: BTreeSet<SlotKey> = table.rows.iter().map(SlotKey::of).collect();
        let leaving: Vec<SlotKey> = self.filled.keys().filter(|key| !wanted.contains(key)).cloned().collect();
        for key in &leaving {
            self.end(key);
        }
        for row in &table.rows {
            let key = SlotKey::of(row);
            if self.filled.get(&key).is_none_or(|held| held.epoch < row.epoch) {
                self.end(&key);
                self.fill(key, row);
            }
        }
        self.standing.live = self.filled.len();
    }

    fn fill(&mut self, key: SlotKey, row: &SlotAssignment) {
        let now = self.world.clock.now();
        let Ok(id) = InstanceId::new(format!("SI-{}", self.world.uuid())) else { return };
        let record = InstanceRecord {
            id,
            slot: SlotId {
                service: row.service.clone(),
                executor: self.executor.id.clone(),
                index: row.index,
            },
            service_name: row.spec.name.clone(),
            epoch: row.epoch,
            generation: row.generation,
            version: 1,
            state: InstanceState::Healthy,
            reason: None,
            error_message: String::new(),
            runner: RunnerKind::Process,
            local_info: Some(LocalInfo { hostname: self.executor.hostname.clone(), ports: BTreeMap::new() }),
            resources: vec![
                ResourceAllocation::Cpu { cores: BTreeMap::new() },
                ResourceAllocation::Memory { memory_in_mb: BTreeMap::from([(0, row.spec.memory_mb())]) },
            ],
            warnings: Vec::new(),
            created: now,
            updated: now,
            started: Some(now),
            finished: None,
            timeline: self.way(&UP),
            probes: Vec::new(),
            evidence: None,
        };
        let status = SlotStatus { phase: SlotPhase::Filled, ..Slot::assigned(row, now).status };
        self.standing.unacked_slots.insert(key.clone(), status);
        let record = Arc::new(record);
        self.say(&record);
        self.filled.insert(key, record);
    }

    fn end(&mut self, key: &SlotKey) {
        let Some(held) = self.filled.remove(key) else { return };
        let mut ended = InstanceRecord::clone(&held);
        let now = self.world.clock.now();
        ended.version += 1;
        ended.state = InstanceState::Stopped;
        ended.updated = now;
        ended.finished = Some(now);
        ended.timeline.extend(self.way(&DOWN));
        self.say(&Arc::new(ended));
    }

    fn say(&mut self, record: &Arc<InstanceRecord>) {
        self.standing.holds.insert(record.id.clone());
        self.ended += u64::from(record.state.is_terminal());
        let ended = if record.state.is_terminal() { self.ended } else { 0 };
        let unacked = Unacked { record: Arc::clone(record), ended };
        self.standing.unacked_instances.insert(record.id.clone(), unacked);
    }

    fn way(&self, states: &[InstanceState]) -> Vec<Transition> {
        let at = self.world.clock.now();
        let step = |pair: &[InstanceState]| match pair {
            [from, to] => {
                let (reason, message, repeats) = (None, String::new(), None);
                Some(Transition { at, from: *from, to: *to, reason, message, repeats })
            }
            _ => None,
        };
        states.windows(2).filter_map(step).collect()
    }

    fn forget(&mut self, instances: &[(InstanceId, u64)], slots: &[(SlotKey, u64)]) {
        for (id, version) in instances {
            let told = self.standing.unacked_instances.get(id).map(|unacked| &unacked.record);
            let told = told.filter(|record| record.version <= *version);
            let Some(is_over) = told.map(|record| record.state.is_terminal()) else { continue };
            self.standing.unacked_instances.remove(id);
            if is_over {
                self.standing.holds.remove(id);
            }
        }
        for (key, version) in slots {
            if self.standing.unacked_slots.get(key).is_some_and(|status| status.version <= *version) {
                self.standing.unacked_slots.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use muster_common::executor::NodeLayout;
    use muster_common::id::ExecutorId;

    use super::*;
    use crate::testing::table;

    fn machine() -> Machine {
        let executor = ExecutorRecord {
            id: ExecutorId::new("e1").unwrap(),
            hostname: "node".to_owned(),
            api_port: 1,
            incarnation: 1,
            boot_id: "b".to_owned(),
            version: "0".to_owned(),
            tags: Vec::new(),
            layout: NodeLayout::default(),
            core_overcommit: 1,
        };
        Machine::new(World::system(), executor)
    }

    fn states(machine: &Machine) -> Vec<InstanceState> {
        let mut states: Vec<_> =
            machine.standing.unacked_instances.values().map(|unacked| unacked.record.state).collect();
        states.sort_unstable();
        states
    }

    /// All that was told.
    fn acknowledge(machine: &mut Machine) {
        let unacked = machine.standing.unacked_instances.iter();
        let instances = unacked.map(|(id, unacked)| (id.clone(), unacked.record.version)).collect();
        machine.take(Message::Acknowledged { instances, slots: Vec::new() });
    }

    #[test]
    fn every_slot_is_filled_and_replaced_at_once_and_told_until_it_is_acknowledged() {
        let mut machine = machine();
        machine.take(Message::Table { term: 1, table: table(1, 1, 2) });
        assert_eq!(states(&machine), [InstanceState::Healthy; 2]);
        acknowledge(&mut machine);
        assert_eq!((states(&machine).len(), machine.standing.holds.len()), (0, 2));

        machine.take(Message::Table { term: 1, table: table(2, 2, 2) });
        let (healthy, stopped) = (InstanceState::Healthy, InstanceState::Stopped);
        assert_eq!(states(&machine), [healthy, healthy, stopped, stopped]);
        acknowledge(&mut machine);
        assert_eq!((states(&machine).len(), machine.standing.holds.len()), (0, 2));

        machine.take(Message::Table { term: 1, table: table(1, 1, 1) });
        assert_eq!(machine.standing.live, 2, "an older table changes nothing");
    }
}
