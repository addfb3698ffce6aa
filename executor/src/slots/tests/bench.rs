//! One slot on a bench: its row, what the keeper remembers of it, and its instances.

use std::sync::Arc;
use std::time::Duration;

use muster_common::evidence::Transition;
use muster_common::id::{Epoch, ExecutorId, Generation, InstanceId, ServiceId, SlotId};
use muster_common::instance::InstanceState;
use muster_common::reason::Reason;
use muster_common::slot::{ReplaceMode, SlotAssignment, SlotPhase};
use muster_common::spec::LocalServiceSpec;
use muster_common::time::Timestamp;

use crate::machine::{Instance, Now};
use crate::slots::keeper::Decision;
use crate::slots::{Slot, Wanted, keep};

pub(super) fn row(epoch: u64, mode: ReplaceMode) -> SlotAssignment {
    let spec: LocalServiceSpec = serde_json::from_str(
        r#"{"name": "web", "version": "1", "executable": {"type": "PROCESS", "command": ["/bin/web"]},
            "restartPolicy": {"budget": 4, "jitter": 0}}"#,
    )
    .unwrap();
    SlotAssignment {
        service: ServiceId::new("web-1").unwrap(),
        index: 0,
        epoch: Epoch(epoch),
        generation: Generation(1),
        mode,
        spec: Arc::new(spec),
    }
}

/// A slot with its instances; transitions are set by hand, as the machine's tests cover those.
pub(super) struct Bench {
    pub(super) row: Option<SlotAssignment>,
    pub(super) slot: Option<Slot>,
    pub(super) instances: Vec<Instance>,
    pub(super) now: u64,
    pub(super) least_wait: Duration,
    minted: u64,
}

impl Bench {
    pub(super) fn new(mode: ReplaceMode) -> Self {
        Self {
            row: Some(row(1, mode)),
            slot: None,
            instances: Vec::new(),
            now: 1_000_000,
            least_wait: Duration::ZERO,
            minted: 0,
        }
    }

    pub(super) fn keep(&mut self) -> Decision {
        let wanted = self.row.as_ref().map_or(Wanted::Empty(Reason::SlotRemoved), Wanted::Filled);
        let instances: Vec<&Instance> = self.instances.iter().collect();
        let decision =
            keep(wanted, self.slot.as_ref(), &instances, Timestamp(self.now), self.least_wait, &mut || 0);
        self.slot.clone_from(&decision.slot);
        for id in &decision.accounted {
            self.find(id).accounted = true;
        }
        for (id, intent) in &decision.stop {
            let instance = self.find(id);
            assert!(instance.stop.is_none(), "asked to stop twice");
            instance.stop = Some(intent.clone());
        }
        if let Some(epoch) = decision.mint {
            let row = self.row.clone().unwrap();
            assert_eq!(epoch, row.epoch);
            let twin = self.instances.iter().find(|other| !other.is_over() && other.epoch() == epoch);
            assert!(twin.is_none(), "two live instances of one slot and epoch");
            self.minted += 1;
            let id = InstanceId::new(format!("SI-{}", self.minted)).unwrap();
            let executor = ExecutorId::new("e1").unwrap();
            let slot = SlotId { service: row.service.clone(), executor, index: 0 };
            let now = Now { wall: Timestamp(self.now), mono: Duration::ZERO };
            self.instances.push(Instance::minted(id, slot, &row, now));
        }
        decision
    }

    pub(super) fn find(&mut self, id: &InstanceId) -> &mut Instance {
        self.instances.iter_mut().find(|instance| instance.id() == id).unwrap()
    }

    pub(super) fn last(&mut self) -> &mut Instance {
        self.instances.last_mut().unwrap()
    }

    /// Moves the newest instance and keeps the slot.
    pub(super) fn becomes(&mut self, state: InstanceState) -> Decision {
        let at = Timestamp(self.now);
        become_state(self.last(), state, at);
        self.keep()
    }

    /// The controllers were restored: they ask for what was wanted at an earlier epoch.
    pub(super) fn go_back(&mut self, epoch: u64) -> Decision {
        let mode = self.row.as_ref().unwrap().mode;
        self.row = Some(row(epoch, mode));
        self.keep()
    }

    pub(super) fn raise(&mut self) -> Decision {
        let row = self.row.as_mut().unwrap();
        row.epoch = row.epoch.next();
        self.keep()
    }

    pub(super) fn phase(&self) -> SlotPhase {
        self.slot.as_ref().unwrap().status.phase
    }
}

pub(super) fn become_state(instance: &mut Instance, to: InstanceState, at: Timestamp) {
    let from = instance.state();
    instance.record.timeline.push(Transition {
        at,
        from,
        to,
        reason: None,
        message: String::new(),
        repeats: None,
    });
    instance.record.state = to;
}
