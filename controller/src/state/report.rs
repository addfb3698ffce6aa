//! What executors say of their instances and slots. Level-triggered: each record is the whole
//! present truth with a version, and the highest version wins, however often and in whatever order
//! reports arrive.

use std::sync::Arc;
use std::time::Duration;

use muster_common::evidence::news;
use muster_common::id::{ExecutorId, SlotId};
use muster_common::instance::InstanceRecord;
use muster_common::slot::SlotStatus;
use muster_common::time::Timestamp;

use super::{ExecutorReport, Happening, Instance, Moment, ReportAck, Slot, State};

/// What tells the ends of two instances of a service apart.
const TICK: Duration = Duration::from_millis(1);

impl State {
    pub(super) fn report(&mut self, at: Timestamp, report: &ExecutorReport) -> ReportAck {
        let mut ack = ReportAck::default();
        let is_known = self.executor(&report.executor).is_some();
        for record in &report.instances {
            let known = self.instances.get(&record.id).cloned();
            if is_known && may_speak_for(&report.executor, known.as_deref(), record) {
                let version = self.report_instance(at, known, record);
                ack.instances.push((record.id.clone(), version));
            } else {
                ack.refused.push(record.id.clone());
            }
        }
        for status in &report.slots {
            let version = self.report_slot(&report.executor, status);
            ack.slots.push((status.service.clone(), status.index, version));
        }
        ack
    }

    /// Stores `record` unless something newer than it is `known`; answers the version that is stored then.
    fn report_instance(
        &mut self,
        at: Timestamp,
        known: Option<Arc<Instance>>,
        record: &Arc<InstanceRecord>,
    ) -> u64 {
        let mut instance = match known {
            None => {
                self.emit_transitions(at, None, record);
                Instance::new(Arc::clone(record))
            }
            Some(known) if known.record.version > record.version => return known.record.version,
            Some(known) if known.record.version == record.version && known.lost.is_none() => {
                return record.version;
            }
            Some(known) => {
                self.emit_transitions(at, Some(&known.record), record);
                Instance { record: Arc::clone(record), ..Instance::clone(&known) }
            }
        };
        self.note_found(at, &mut instance);
        self.store(at, instance);
        record.version
    }

    /// Stores an instance as live or as ended, whichever it is.
    pub(super) fn store(&mut self, at: Timestamp, mut instance: Instance) {
        let service = &instance.record.slot.service;
        // After the others of its service: so what is forgotten first is what came first.
        let led =
            || self.instances.newest_end(service).map_or(self.led, |newest| self.led.max(newest.plus(TICK)));
        let ends = || Moment { led: led(), at };
        instance.ended = if instance.is_live() { None } else { instance.ended.or_else(|| Some(ends())) };
        self.instances.put(instance, self.retention.old_instances);
        self.trim_old_instances();
    }

    /// Tells of each transition that `known` had not seen yet, also of one that was made again. When it happened, by the
    /// executor's clock, is in the instance's timeline; events are ordered by when the cluster learnt of them.
    fn emit_transitions(&mut self, at: Timestamp, known: Option<&InstanceRecord>, record: &InstanceRecord) {
        let known = known.map_or(&[][..], |known| &known.timeline);
        for transition in news(&record.timeline, known) {
            let error = if transition.message.is_empty() && transition.to == record.state {
                &record.error_message
            } else {
                &transition.message
            };
            self.emit(at, Happening::instance(record, transition.to, error));
        }
    }

    /// Stores `status` unless something newer is known. Epochs come before versions: an executor that forgot a slot and
    /// was given it again counts its versions from the start. A slot that is not assigned any more is nobody's
    /// question: the executor may forget it too. Nor is one of an epoch that the slot has not come to, which another
    /// history of the cluster gave, nor one of this epoch that speaks of another generation, which was given up before it
    /// was asked for again: the executor speaks of the slot's when it has its table, and must be heard then.
    /// Answers the version to confirm: that of a newer status of the same epoch, if one is stored, so that an executor
    /// whose journal was put back from a copy goes on from there.
    fn report_slot(&mut self, executor: &ExecutorId, status: &SlotStatus) -> u64 {
        let id = SlotId { service: status.service.clone(), executor: executor.clone(), index: status.index };
        let newest = |status: &SlotStatus| (status.epoch, status.version);
        let is_asked = |slot: &&Arc<Slot>| {
            status.epoch < slot.epoch || (status.epoch == slot.epoch && slot.is_asked(status))
        };
        let asked = self.slots.get(&id).filter(is_asked);
        let Some(known) = asked.map(|slot| slot.status.as_ref().map(newest)) else {
            return status.version;
        };
        match known {
            Some((epoch, version)) if (epoch, version) >= newest(status) => {
                if epoch == status.epoch {
                    version
                } else {
                    status.version
                }
            }
            Some(_) | None => {
                if let Some(slot) = self.slots.get_mut(&id) {
                    slot.status = Some(status.clone());
                }
                status.version
            }
        }
    }
}

/// An executor speaks for its own instances only, and an instance never moves.
fn may_speak_for(executor: &ExecutorId, known: Option<&Instance>, record: &InstanceRecord) -> bool {
    record.slot.executor == *executor && known.is_none_or(|known| known.record.slot == record.slot)
}
