//! Instances that are over, in the order in which they ended.

use std::collections::BTreeMap;

use muster_common::id::InstanceId;
use muster_common::instance::InstanceRecord;
use muster_common::time::Timestamp;

use crate::machine::Instance;

/// Orders ends: by their number, and those that an earlier version wrote down without a number by their time. Neither
/// changes any more.
type End = (u64, Timestamp, InstanceId);

fn end_of(instance: &Instance) -> End {
    (instance.ended, instance.record.updated, instance.id().clone())
}

/// How much of one kind of detail is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    /// Of how many ends, at most.
    pub(super) ends: usize,
    /// How many bytes, at most.
    pub(super) bytes: usize,
}

/// The ends of which one kind of detail is kept, with its bytes.
#[derive(Debug, Default, Clone)]
pub(super) struct Shelf {
    kept: BTreeMap<End, usize>,
    bytes: usize,
}

impl Shelf {
    fn insert(&mut self, end: End, bytes: usize) {
        self.bytes += bytes;
        self.bytes -= self.kept.insert(end, bytes).unwrap_or_default();
    }

    fn remove(&mut self, end: &End) {
        self.bytes -= self.kept.remove(end).unwrap_or_default();
    }

    /// The oldest, if there is more than may be kept: its detail is to go.
    pub(super) fn first_beyond(&mut self, most: Bound) -> Option<InstanceId> {
        if self.kept.len() <= most.ends && self.bytes <= most.bytes {
            return None;
        }
        let (end, bytes) = self.kept.pop_first()?;
        self.bytes -= bytes;
        Some(end.2)
    }
}

/// Instances that are over, by what is kept of them.
#[derive(Debug, Default, Clone)]
pub(super) struct Ends {
    last: u64,
    /// Those that keep the end of their log.
    pub(super) logs: Shelf,
    /// Those that keep their timeline and what their checks gave.
    pub(super) outlines: Shelf,
}

impl Ends {
    /// An instance has ended just now.
    pub(super) fn count(&mut self, instance: &mut Instance) {
        instance.ended = self.last + 1;
        self.insert(instance);
    }

    /// An instance that is over. How much is kept of it is seen when there is too much.
    pub(super) fn insert(&mut self, instance: &Instance) {
        self.last = self.last.max(instance.ended);
        let end = end_of(instance);
        self.logs.insert(end.clone(), log_bytes(&instance.record));
        self.outlines.insert(end, outline_bytes(&instance.record));
    }

    /// It is forgotten.
    pub(super) fn remove(&mut self, instance: &Instance) {
        let end = end_of(instance);
        self.logs.remove(&end);
        self.outlines.remove(&end);
    }
}

fn log_bytes(record: &InstanceRecord) -> usize {
    record.evidence.as_ref().map_or(0, |evidence| evidence.log_tail.len())
}

/// Its texts, and about what they stand in.
fn outline_bytes(record: &InstanceRecord) -> usize {
    let steps = record.timeline.iter().map(|step| size_of_val(step) + step.message.len());
    let probes = record.probes.iter().map(|probe| size_of_val(probe) + probe.answer.len());
    steps.chain(probes).sum()
}
