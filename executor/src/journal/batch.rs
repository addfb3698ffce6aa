//! What one turn writes: all of it in one transaction, or nothing.

use std::collections::BTreeMap;

use muster_common::id::InstanceId;
use muster_common::slot::SlotTable;
use muster_proto::v1;
use prost::Message as _;

use crate::machine::Instance;
use crate::slots::{Slot, SlotKey};

/// Where a record is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Drawer {
    Instances,
    Specs,
    Slots,
    Acked,
    Meta,
}

impl Drawer {
    pub(super) const ALL: [Self; 5] = [Self::Instances, Self::Specs, Self::Slots, Self::Acked, Self::Meta];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Instances => "instances",
            Self::Specs => "specs",
            Self::Slots => "slots",
            Self::Acked => "acked",
            Self::Meta => "meta",
        }
    }
}

/// Everything that is kept, as bytes.
pub(crate) type Drawers = BTreeMap<Drawer, BTreeMap<String, Vec<u8>>>;

/// Writes and removals of records. For each record only the last one is kept. So a batch that has to wait (because the disk
/// is full, for example) grows no larger than the journal itself.
#[derive(Debug, Default, Clone)]
pub(crate) struct Batch {
    pub(super) changes: BTreeMap<(Drawer, String), Option<Vec<u8>>>,
    /// Whether it must survive a crash once committed. Acknowledgements need not (one that is forgotten
    /// costs a repeated report), nor does what can be found out again ([`Instance::must_last`]).
    pub(super) durable: bool,
}

pub(super) const META_TABLE: &str = "table";
pub(super) const META_HISTORY: &str = "history";
pub(crate) const META_EXECUTOR: &str = "executor";
/// Its record is there while something is known to be missing in the journal: until the runners have said what runs.
pub(crate) const META_INCOMPLETE: &str = "incomplete";

impl Batch {
    /// Whether there is nothing to write.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Writes an instance that was just minted, with its spec.
    pub(crate) fn mint(&mut self, instance: &Instance) {
        self.put(Drawer::Specs, instance.id().to_string(), instance.spec.to_json());
        self.instance(instance);
    }

    /// Writes an instance as it is now. One that is over runs nothing any more and has no spec.
    pub(crate) fn instance(&mut self, instance: &Instance) {
        if instance.is_over() {
            self.changes.insert((Drawer::Specs, instance.id().to_string()), None);
        }
        let message = v1::JournalInstance::from(instance).encode_to_vec();
        self.changes.insert((Drawer::Instances, instance.id().to_string()), Some(message));
        self.durable |= instance.must_last();
    }

    /// Forgets an instance that is over and acknowledged.
    pub(crate) fn forget_instance(&mut self, id: &InstanceId) {
        for drawer in [Drawer::Instances, Drawer::Specs, Drawer::Acked] {
            self.changes.insert((drawer, id.to_string()), None);
        }
    }

    /// Writes a slot.
    pub(crate) fn slot(&mut self, slot: &Slot) {
        self.put(Drawer::Slots, slot.key().to_string(), v1::JournalSlot::from(slot).encode_to_vec());
    }

    /// Forgets a slot.
    pub(crate) fn forget_slot(&mut self, key: &SlotKey) {
        for drawer in [Drawer::Slots, Drawer::Acked] {
            self.changes.insert((drawer, key.to_string()), None);
        }
    }

    /// Writes the slot table and the term it was sent in.
    pub(crate) fn table(&mut self, term: u64, table: &SlotTable) {
        let message = v1::JournalTable { term, table: Some(table.into()) };
        self.put(Drawer::Meta, META_TABLE.to_owned(), message.encode_to_vec());
    }

    /// Notes the controllers' history in which everything was acknowledged that is.
    pub(crate) fn history(&mut self, history: &str) {
        self.put(Drawer::Meta, META_HISTORY.to_owned(), history.as_bytes().to_vec());
    }

    /// Forgets that something was acknowledged.
    pub(crate) fn unacked(&mut self, owner: String) {
        self.changes.insert((Drawer::Acked, owner), None);
    }

    /// Notes that nothing is missing any more.
    pub(crate) fn is_whole_again(&mut self) {
        self.changes.insert((Drawer::Meta, META_INCOMPLETE.to_owned()), None);
    }

    /// Notes up to which version an instance's record is acknowledged.
    pub(crate) fn acked_instance(&mut self, id: &InstanceId, version: u64) {
        self.changes.insert((Drawer::Acked, id.to_string()), Some(version.to_be_bytes().to_vec()));
    }

    /// Notes up to which version a slot's status is acknowledged.
    pub(crate) fn acked_slot(&mut self, key: &SlotKey, version: u64) {
        self.changes.insert((Drawer::Acked, key.to_string()), Some(version.to_be_bytes().to_vec()));
    }

    /// What the journal would hold after this batch, and whether a crash would leave it at that.
    #[cfg(test)]
    pub(crate) fn apply_to(&self, drawers: &mut Drawers) -> bool {
        for ((drawer, key), value) in &self.changes {
            let records = drawers.entry(*drawer).or_default();
            match value {
                Some(value) => records.insert(key.clone(), value.clone()),
                None => records.remove(key),
            };
        }
        self.durable
    }

    pub(super) fn put(&mut self, drawer: Drawer, key: String, value: Vec<u8>) {
        self.changes.insert((drawer, key), Some(value));
        self.durable = true;
    }
}
