//! The slots: what must run where.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use muster_common::id::{Epoch, ExecutorId, Generation, Revision, ServiceId, SlotId};
use muster_common::slot::{ReplaceMode, SlotStatus};

/// One assigned slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// An instance of a lower epoch must be replaced; one of a higher epoch, which another history of the cluster
    /// gave, fills the slot as well. Epochs are the revisions that raised them, so that a slot that is taken away and
    /// assigned again never repeats one.
    pub epoch: Epoch,
    /// The service's generation that the slot was assigned or raised for.
    pub generation: Generation,
    /// The generation of the spec that it must run.
    pub spec: Generation,
    /// How an instance of a lower epoch gives way.
    pub mode: ReplaceMode,
    /// The revision that assigned it.
    pub assigned: Revision,
    /// What its executor last said of it.
    pub status: Option<SlotStatus>,
}

impl Slot {
    /// How many instances had to be replaced in it because they failed, as far as its executor said.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.status.as_ref().map_or(0, |status| status.restarts)
    }

    /// The executor's word on the slot, when it speaks of what is asked for now.
    #[must_use]
    pub fn current_status(&self) -> Option<&SlotStatus> {
        self.status.as_ref().filter(|status| status.epoch == self.epoch && self.is_asked(status))
    }

    /// Whether a status speaks of the present generation. One that does not say is believed.
    #[must_use]
    pub fn is_asked(&self, status: &SlotStatus) -> bool {
        status.generation.is_none_or(|generation| generation == self.generation)
    }
}

/// Where a slot is, within its service.
type Place = (ExecutorId, u32);

/// All assigned slots, findable by service and by executor.
#[derive(Debug, Clone, Default)]
pub(super) struct Slots {
    by_service: OrdMap<ServiceId, OrdMap<Place, Arc<Slot>>>,
    by_executor: OrdMap<ExecutorId, OrdSet<(ServiceId, u32)>>,
}

impl Slots {
    pub(super) fn get(&self, id: &SlotId) -> Option<&Arc<Slot>> {
        self.by_service.get(&id.service)?.get(&(id.executor.clone(), id.index))
    }

    pub(super) fn get_mut(&mut self, id: &SlotId) -> Option<&mut Slot> {
        let place = (id.executor.clone(), id.index);
        self.by_service.get_mut(&id.service)?.get_mut(&place).map(Arc::make_mut)
    }

    pub(super) fn insert(&mut self, id: &SlotId, slot: Arc<Slot>) {
        let places = self.by_service.entry(id.service.clone()).or_default();
        places.insert((id.executor.clone(), id.index), slot);
        let rows = self.by_executor.entry(id.executor.clone()).or_default();
        rows.insert((id.service.clone(), id.index));
    }

    pub(super) fn remove(&mut self, id: &SlotId) -> Option<Arc<Slot>> {
        let places = self.by_service.get_mut(&id.service)?;
        let slot = places.remove(&(id.executor.clone(), id.index))?;
        if places.is_empty() {
            self.by_service.remove(&id.service);
        }
        if let Some(rows) = self.by_executor.get_mut(&id.executor) {
            rows.remove(&(id.service.clone(), id.index));
            if rows.is_empty() {
                self.by_executor.remove(&id.executor);
            }
        }
        Some(slot)
    }

    /// All slots, ordered by service, executor and index.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SlotId, &Arc<Slot>)> {
        self.by_service.iter().flat_map(|(service, places)| {
            places.iter().map(move |((executor, index), slot)| {
                let id = SlotId { service: service.clone(), executor: executor.clone(), index: *index };
                (id, slot)
            })
        })
    }

    /// The slots of one service, ordered by executor and index.
    pub(super) fn of_service(&self, service: &ServiceId) -> impl Iterator<Item = (SlotId, &Arc<Slot>)> {
        let service = service.clone();
        self.by_service.get(&service).into_iter().flat_map(OrdMap::iter).map(
            move |((executor, index), slot)| {
                let id = SlotId { service: service.clone(), executor: executor.clone(), index: *index };
                (id, slot)
            },
        )
    }

    /// The slots on one executor, ordered by service and index.
    pub(super) fn on_executor(&self, executor: &ExecutorId) -> impl Iterator<Item = (SlotId, &Arc<Slot>)> {
        let executor = executor.clone();
        self.by_executor.get(&executor).into_iter().flat_map(OrdSet::iter).filter_map(
            move |(service, index)| {
                let id = SlotId { service: service.clone(), executor: executor.clone(), index: *index };
                let slot = self.get(&id)?;
                Some((id, slot))
            },
        )
    }
}
