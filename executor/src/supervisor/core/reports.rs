//! What has been reported to controllers, what they have confirmed, and what may be forgotten then.

use std::sync::Arc;

use muster_common::id::InstanceId;
use muster_common::instance::InstanceRecord;

use super::Core;
use super::ends::Bound;
use crate::slots::{Slot, SlotKey};
use crate::supervisor::standing::Unacked;

/// How much is kept of ended instances while nobody takes their reports. What is dropped first is what is largest
/// and best found elsewhere; that an instance was, how it ended and why is never dropped.
#[derive(Debug, Clone, Copy)]
pub(super) struct Details {
    /// Of log tails, which stay in the logs' own files: up to 64 KiB each.
    pub(super) logs: Bound,
    /// Of timelines and probe results. Of older ends the last transition stays.
    pub(super) outlines: Bound,
}

impl Default for Details {
    fn default() -> Self {
        // Held twice, and a third time while a report is under way.
        Self { logs: Bound { ends: 100, bytes: 4 << 20 }, outlines: Bound { ends: 1000, bytes: 4 << 20 } }
    }
}

/// What controllers confirm of an instance that they refuse: nothing more of it is to be told.
const REFUSED: u64 = u64::MAX;

impl Core {
    /// These versions are committed upstream. One that was never reached here was told before the journal was lost
    /// or put back from a copy, and stands in the way of what is true now: that is told once more, as a later one.
    pub(crate) fn acknowledge(&mut self, instances: Vec<(InstanceId, u64)>, slots: Vec<(SlotKey, u64)>) {
        for (id, version) in instances {
            self.was_told(&id);
            let Some(instance) = self.instances.get_mut(&id) else { continue };
            if version > instance.record.version && version != REFUSED {
                instance.record.version = version + 1;
                self.write_instance(&id);
                continue;
            }
            let is_last = version >= instance.record.version;
            self.acked.insert(id.to_string(), version);
            self.output.batch.acked_instance(&id, version);
            if is_last {
                self.standing.unacked_instances.remove(&id);
                self.has_news = true;
                self.forget_if_done(&id);
            }
        }
        for (key, version) in slots {
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            if version > slot.status.version {
                slot.status.version = version.saturating_add(1);
                self.output.batch.slot(slot);
                self.republish_slot(&key);
                continue;
            }
            if version == slot.status.version {
                self.standing.unacked_slots.remove(&key);
                self.has_news = true;
            }
            self.acked.insert(key.to_string(), version);
            self.output.batch.acked_slot(&key, version);
        }
        self.end_telling();
    }

    /// Publishes whatever is not acknowledged.
    pub(super) fn republish_all(&mut self) {
        for id in self.instances.keys().cloned().collect::<Vec<_>>() {
            self.republish_instance(&id);
        }
        for key in self.slots.keys().cloned().collect::<Vec<_>>() {
            self.republish_slot(&key);
        }
    }

    pub(super) fn write_instance(&mut self, id: &InstanceId) {
        if let Some(instance) = self.instances.get(id) {
            self.output.batch.instance(instance);
        }
        self.republish_instance(id);
    }

    pub(super) fn republish_instance(&mut self, id: &InstanceId) {
        let Some(instance) = self.instances.get(id) else { return };
        let acked = self.acked.get(id.as_str()).copied().unwrap_or(0);
        if instance.record.version > acked {
            let unacked = Unacked { record: Arc::new(instance.record.clone()), ended: instance.ended };
            self.standing.unacked_instances.insert(id.clone(), unacked);
            self.has_news = true;
        }
    }

    pub(super) fn republish_slot(&mut self, key: &SlotKey) {
        let Some(slot) = self.slots.get(key) else { return };
        let acked = self.acked.get(&key.to_string()).copied().unwrap_or(0);
        if slot.status.version > acked {
            self.standing.unacked_slots.insert(key.clone(), slot.status.clone());
            self.has_news = true;
        }
    }

    pub(super) fn remember(&mut self, key: &SlotKey, slot: Option<Slot>) {
        let Some(slot) = slot else {
            if self.slots.remove(key).is_some() {
                self.output.batch.forget_slot(key);
                self.acked.remove(&key.to_string());
                self.standing.unacked_slots.remove(key);
                self.has_news = true;
            }
            return;
        };
        if self.slots.get(key) != Some(&slot) {
            self.output.batch.slot(&slot);
            self.slots.insert(key.clone(), slot);
            self.republish_slot(key);
        }
    }

    /// An instance that is over, taken into account and acknowledged is the controllers' to remember.
    pub(super) fn forget_if_done(&mut self, id: &InstanceId) {
        let Some(instance) = self.instances.get(id) else { return };
        let acked = self.acked.get(id.as_str()).copied().unwrap_or(0);
        if !instance.is_over() || !instance.accounted || instance.record.version > acked {
            return;
        }
        self.ends.remove(instance);
        self.output.batch.forget_instance(id);
        self.instances.remove(id);
        self.forget_while_asking(id);
        self.acked.remove(id.as_str());
        self.standing.holds.remove(id);
        self.standing.unacked_instances.remove(id);
        self.has_news = true;
    }

    /// Drops detail of the instances that have become too many.
    pub(super) fn bound_details(&mut self) {
        let Details { logs, outlines } = self.details;
        while let Some(id) = self.ends.logs.first_beyond(logs) {
            self.shorten(&id, |record| {
                let tail = record.evidence.as_mut().map(|evidence| std::mem::take(&mut evidence.log_tail));
                tail.is_some_and(|tail| !tail.is_empty())
            });
        }
        while let Some(id) = self.ends.outlines.first_beyond(outlines) {
            self.shorten(&id, |record| {
                let older = record.timeline.len().saturating_sub(1);
                record.timeline.drain(..older);
                let probes = std::mem::take(&mut record.probes);
                older > 0 || !probes.is_empty()
            });
        }
    }

    /// `change` says whether it changed anything.
    fn shorten(&mut self, id: &InstanceId, change: impl FnOnce(&mut InstanceRecord) -> bool) {
        if self.instances.get_mut(id).is_some_and(|instance| change(&mut instance.record)) {
            self.write_instance(id);
        }
    }
}
