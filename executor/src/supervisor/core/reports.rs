//! What controllers are told and have confirmed; what may be forgotten then.

use std::sync::Arc;

use muster_common::id::InstanceId;

use super::{Core, key_of};
use crate::slots::{Slot, SlotKey};

/// How many ended instances may wait for their acknowledgement with everything that is known of them. Of the
/// oldest beyond that the log tail is dropped (it stays in the log's own files); the record never is.
const ENDED_IN_FULL: usize = 1000;

impl Core {
    /// These versions are committed upstream. One that was never reached was said of something else (an
    /// earlier life of the same slot, a journal that was lost) and confirms nothing of what is known now.
    pub(crate) fn acknowledge(&mut self, instances: Vec<(InstanceId, u64)>, slots: Vec<(SlotKey, u64)>) {
        for (id, version) in instances {
            let Some(instance) = self.instances.get(&id) else { continue };
            if version > instance.record.version {
                continue;
            }
            let is_last = version == instance.record.version;
            self.acked.insert(id.to_string(), version);
            self.output.batch.acked_instance(&id, version);
            if is_last {
                self.standing.unacked_instances.remove(&id);
                self.has_news = true;
                self.forget_if_done(&id);
            }
        }
        for (key, version) in slots {
            let Some(slot) = self.slots.get(&key) else { continue };
            if version > slot.status.version {
                continue;
            }
            if version == slot.status.version {
                self.standing.unacked_slots.remove(&key);
                self.has_news = true;
            }
            self.acked.insert(key.to_string(), version);
            self.output.batch.acked_slot(&key, version);
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
            self.standing.unacked_instances.insert(id.clone(), Arc::new(instance.record.clone()));
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
        let key = key_of(&instance.record.slot);
        self.output.batch.forget_instance(id);
        self.instances.remove(id);
        self.acked.remove(id.as_str());
        self.ended.retain(|ended| ended != id);
        self.standing.holds.remove(id);
        self.standing.unacked_instances.remove(id);
        self.has_news = true;
        if let Some(ids) = self.by_slot.get_mut(&key) {
            ids.remove(id);
            if ids.is_empty() {
                self.by_slot.remove(&key);
            }
        }
    }

    /// Bounds what ended instances hold while nobody takes their reports.
    pub(super) fn look_at_ended(&mut self) {
        let Some(beyond) = self.ended.len().checked_sub(ENDED_IN_FULL + 1) else { return };
        let Some(id) = self.ended.get(beyond).cloned() else { return };
        if let Some(instance) = self.instances.get_mut(&id)
            && let Some(evidence) = &mut instance.record.evidence
            && !evidence.log_tail.is_empty()
        {
            evidence.log_tail.clear();
            self.write_instance(&id);
        }
    }
}
