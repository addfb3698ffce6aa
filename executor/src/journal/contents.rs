//! What the journal says, read record by record. Pure: bytes in, values out.

use std::collections::{BTreeMap, BTreeSet};

use muster_common::slot::SlotTable;
use muster_common::spec::LocalServiceSpec;
use muster_proto::v1;
use prost::Message as _;

use super::batch::{Batch, Drawer, Drawers, META_EXECUTOR, META_HISTORY, META_INCOMPLETE, META_TABLE};
use super::record::{read_instance, read_slot};
use crate::machine::Instance;
use crate::slots::Slot;

/// A record that could not be read: where it was, and its bytes.
pub(super) type Damaged = (Drawer, String, Vec<u8>);

/// Records that do not belong in the journal.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    /// Records that could not be read.
    pub(super) damaged: Vec<Damaged>,
    /// Records whose owner the journal does not hold.
    pub(super) ownerless: Vec<(Drawer, String)>,
}

impl Aside {
    /// Whether every record could be read.
    #[cfg(test)]
    pub(crate) fn is_undamaged(&self) -> bool {
        self.damaged.is_empty()
    }
}

/// Everything that was in the journal.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// Every instance, living or not yet acknowledged.
    pub instances: Vec<Instance>,
    /// Every slot.
    pub slots: Vec<Slot>,
    /// The last slot table, with its term.
    pub table: Option<(u64, SlotTable)>,
    /// By instance id or slot: the version that is acknowledged.
    pub acked: BTreeMap<String, u64>,
    /// The controllers' history in which that was acknowledged; empty for a group that was founded, and while there is none.
    pub history: String,
    /// Whether nothing that was ever written is missing: the journal is not a new one, every record could be
    /// read, and what was missing once has been made up for.
    pub is_whole: bool,
    /// How many records could not be read.
    pub damaged: usize,
    /// The note that this start began. It is written with the first batch.
    pub begun: Batch,
}

impl Contents {
    /// Reads the drawers. Returns also the records that have to go.
    pub(crate) fn read(mut drawers: Drawers) -> (Self, Aside) {
        let mut take = |drawer| drawers.remove(&drawer).unwrap_or_default();
        let mut reading = Reading::default();
        let mut specs = take(Drawer::Specs);
        for (id, bytes) in take(Drawer::Instances) {
            let instance = instance(&id, &bytes, specs.get(&id));
            if instance.is_ok() {
                specs.remove(&id);
            }
            let instance = reading.or_set_aside(Drawer::Instances, id, bytes, instance);
            reading.contents.instances.extend(instance);
        }
        reading.aside.ownerless.extend(specs.into_keys().map(|id| (Drawer::Specs, id)));
        for (key, bytes) in take(Drawer::Slots) {
            let slot = slot(&bytes);
            let slot = reading.or_set_aside(Drawer::Slots, key, bytes, slot);
            reading.contents.slots.extend(slot);
        }
        let mut meta = take(Drawer::Meta);
        let is_incomplete = !meta.contains_key(META_EXECUTOR) || meta.contains_key(META_INCOMPLETE);
        if let Some(bytes) = meta.remove(META_TABLE) {
            let table = table(&bytes);
            reading.contents.table = reading.or_set_aside(Drawer::Meta, META_TABLE.to_owned(), bytes, table);
        }
        // One that cannot be read is none that anybody has, and costs that everything is told once more.
        let history = meta.remove(META_HISTORY).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        reading.contents.history = history.unwrap_or_default();
        let instances = reading.contents.instances.iter().map(|instance| instance.id().to_string());
        let slots = reading.contents.slots.iter().map(|slot| slot.key().to_string());
        let owners: BTreeSet<String> = instances.chain(slots).collect();
        for (key, bytes) in take(Drawer::Acked) {
            // One that cannot be read costs one repeated report.
            match <[u8; 8]>::try_from(bytes.as_slice()) {
                Ok(version) if owners.contains(&key) => {
                    reading.contents.acked.insert(key, u64::from_be_bytes(version));
                }
                _ => reading.aside.ownerless.push((Drawer::Acked, key)),
            }
        }
        reading.contents.damaged = reading.aside.damaged.len();
        reading.contents.is_whole = !is_incomplete && reading.aside.damaged.is_empty();
        (reading.contents, reading.aside)
    }
}

pub(super) fn instance(id: &str, bytes: &[u8], spec: Option<&Vec<u8>>) -> Result<Instance, String> {
    let has_spec = spec.is_some();
    let spec = spec.map(|json| LocalServiceSpec::from_json(json)).transpose();
    let spec = spec.map_err(|error| error.to_string())?.unwrap_or_default();
    let message = v1::JournalInstance::decode(bytes).map_err(|error| error.to_string())?;
    let instance = read_instance(message, spec).map_err(|error| error.to_string())?;
    if instance.id().as_str() != id {
        return Err("it is another's".to_owned());
    }
    if has_spec || instance.is_over() { Ok(instance) } else { Err("its spec is missing".to_owned()) }
}

pub(super) fn slot(bytes: &[u8]) -> Result<Slot, String> {
    let message = v1::JournalSlot::decode(bytes).map_err(|error| error.to_string())?;
    read_slot(message).map_err(|error| error.to_string())
}

pub(super) fn table(bytes: &[u8]) -> Result<(u64, SlotTable), String> {
    let message = v1::JournalTable::decode(bytes).map_err(|error| error.to_string())?;
    let table = message.table.ok_or("JournalTable.table is missing")?;
    Ok((message.term, SlotTable::try_from(table).map_err(|error| error.to_string())?))
}

/// What has been read so far, and what could not be.
#[derive(Default)]
struct Reading {
    contents: Contents,
    aside: Aside,
}

impl Reading {
    fn or_set_aside<T>(
        &mut self,
        drawer: Drawer,
        key: String,
        bytes: Vec<u8>,
        read: Result<T, String>,
    ) -> Option<T> {
        match read {
            Ok(record) => Some(record),
            Err(problem) => {
                let drawer_name = drawer.name();
                tracing::error!(
                    drawer = drawer_name,
                    key,
                    problem,
                    "a record of the journal is damaged; it is set aside"
                );
                self.aside.damaged.push((drawer, key, bytes));
                None
            }
        }
    }
}
