//! The operations: those at work, and the newest finished ones.

use std::sync::Arc;

use imbl::ordmap::DiffItem;
use imbl::{OrdMap, OrdSet};
use muster_common::id::{OperationId, ServiceId};
use muster_common::operation::{Operation, OperationKind, OperationState};
use muster_common::time::{LedTime, Timestamp};

/// How many finished operations are kept per service.
pub(crate) const MAX_FINISHED_OPERATIONS: usize = 50;
/// How many slots those may have together; the newest is kept, however many it has.
pub(crate) const MAX_FINISHED_SLOTS: usize = 20_000;
/// How many finished operations are kept of all services, also of those that are destroyed: a controller has all in
/// memory, and services that come and go must not fill it.
pub(crate) const MAX_FINISHED_OPERATIONS_IN_ALL: usize = 10_000;
/// How many slots those may have together, some 200 bytes each; the one that ended last is kept, however many it has.
pub(crate) const MAX_FINISHED_SLOTS_IN_ALL: usize = 500_000;

/// The place of a finished operation among those of all services. The first one is the first to be forgotten.
type Place = (Worth, LedTime, OperationId);

/// How much it matters that a finished operation is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// There is a newer operation of its service, or the service is gone.
    History,
    /// It is the newest operation of a service that exists.
    Newest,
}

/// All operations, findable by id and by service.
#[derive(Debug, Clone, Default)]
pub(super) struct Operations {
    by_id: OrdMap<OperationId, Arc<Operation>>,
    running: OrdMap<ServiceId, OrdSet<OperationId>>,
    /// Oldest first.
    finished: OrdMap<ServiceId, OrdSet<(Timestamp, OperationId)>>,
    /// The finished ones of all services.
    places: OrdSet<Place>,
    /// How many slots those have.
    finished_slots: usize,
}

impl Operations {
    pub(super) fn get(&self, id: &OperationId) -> Option<&Arc<Operation>> {
        self.by_id.get(id)
    }

    /// Changes a running operation in place; finishing one goes through [`Self::put`].
    pub(super) fn get_running_mut(&mut self, id: &OperationId) -> Option<&mut Operation> {
        self.by_id.get_mut(id).map(Arc::make_mut).filter(|operation| operation.finished.is_none())
    }

    /// Stores `operation`, and forgets finished ones of its service while that is too much: those that changed nothing
    /// before those that explain something, each time the oldest first, and never the newest of all.
    pub(super) fn put(&mut self, operation: Operation) {
        let (id, service) = (operation.id.clone(), operation.service.clone());
        self.remove(&id);
        let operation = Arc::new(operation);
        self.by_id.insert(id.clone(), Arc::clone(&operation));
        match operation.finished {
            None => {
                self.running.entry(service.clone()).or_default().insert(id.clone());
            }
            Some(finished) => {
                self.rate_newest(&service, Worth::History);
                self.finished.entry(service.clone()).or_default().insert((finished, id.clone()));
                self.places.insert(place(&operation, Worth::History));
                self.finished_slots += operation.slots.len();
                self.rate_newest(&service, Worth::Newest);
            }
        }
        while self.keeps_too_much(&service)
            && let Some(due) = self.first_to_go(&service)
        {
            self.remove(&due);
        }
        self.trim_all(&id);
    }

    /// Forgets finished ones of all services while they are too many: the oldest first, the newest of a service that is
    /// there only when nothing else is left, and never the one that came last.
    fn trim_all(&mut self, last: &OperationId) {
        while (self.places.len() > MAX_FINISHED_OPERATIONS_IN_ALL
            || self.finished_slots > MAX_FINISHED_SLOTS_IN_ALL)
            && let Some((_, _, due)) = self.places.iter().find(|(_, _, due)| due != last).cloned()
        {
            self.remove(&due);
        }
    }

    /// Rates the newest of a service, before and after another takes its place.
    fn rate_newest(&mut self, service: &ServiceId, worth: Worth) {
        let newest = self.finished_of(service).next().filter(|newest| !ends_its_service(newest));
        let Some(newest) = newest.cloned() else { return };
        for before in [Worth::History, Worth::Newest] {
            self.places.remove(&place(&newest, before));
        }
        self.places.insert(place(&newest, worth));
    }

    fn first_to_go(&self, service: &ServiceId) -> Option<OperationId> {
        let oldest = self.finished_of(service).last()?;
        let explains_nothing =
            |operation: &&Arc<Operation>| operation.no_op && operation.state == OperationState::Succeeded;
        let due = self.finished_of(service).skip(1).filter(explains_nothing).last().unwrap_or(oldest);
        Some(due.id.clone())
    }

    fn keeps_too_much(&self, service: &ServiceId) -> bool {
        let (mut operations, mut slots) = (0, 0);
        for kept in self.finished_of(service) {
            operations += 1;
            slots += kept.slots.len();
        }
        operations > MAX_FINISHED_OPERATIONS || (operations > 1 && slots > MAX_FINISHED_SLOTS)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Operation>> {
        self.by_id.values()
    }

    pub(super) fn running(&self) -> impl Iterator<Item = &Arc<Operation>> {
        self.resolve(self.running.values().flat_map(OrdSet::iter))
    }

    pub(super) fn running_of(&self, service: &ServiceId) -> impl Iterator<Item = &Arc<Operation>> {
        self.resolve(self.running.get(service).into_iter().flat_map(OrdSet::iter))
    }

    /// Finished ones, newest first.
    pub(super) fn finished_of(&self, service: &ServiceId) -> impl Iterator<Item = &Arc<Operation>> {
        let finished = self.finished.get(service).into_iter().flat_map(OrdSet::iter).rev();
        self.resolve(finished.map(|(_, id)| id))
    }

    /// Those that ended since `before` was this; one that also was forgotten since is not among them.
    pub(super) fn ended_since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a Arc<Operation>> {
        before.by_id.diff(&self.by_id).filter_map(|change| match change {
            DiffItem::Add(_, added) => Some(added).filter(|now| now.finished.is_some()),
            DiffItem::Update { old: (_, old), new: (_, new) } => {
                Some(new).filter(|now| now.finished.is_some() && old.finished.is_none())
            }
            DiffItem::Remove(..) => None,
        })
    }

    /// The oldest end of all, to know when retention is due.
    pub(super) fn oldest_end(&self) -> Option<LedTime> {
        let oldest = self.finished.values().filter_map(|kept| kept.get_min());
        self.resolve(oldest.map(|(_, id)| id)).map(|operation| operation.finished_led).min()
    }

    /// Forgets what finished before `moment`; says how many.
    pub(super) fn prune(&mut self, moment: LedTime) -> usize {
        let due = |kept: &OrdSet<(Timestamp, OperationId)>| {
            let oldest_first = self.resolve(kept.iter().map(|(_, id)| id));
            let due = oldest_first.take_while(|operation| operation.finished_led < moment);
            due.map(|operation| operation.id.clone()).collect::<Vec<_>>()
        };
        let due: Vec<OperationId> = self.finished.values().flat_map(due).collect();
        for id in &due {
            self.remove(id);
        }
        due.len()
    }

    fn resolve<'a>(
        &'a self,
        ids: impl Iterator<Item = &'a OperationId>,
    ) -> impl Iterator<Item = &'a Arc<Operation>> {
        ids.filter_map(|id| self.by_id.get(id))
    }

    fn remove(&mut self, id: &OperationId) {
        let Some(operation) = self.by_id.get(id).cloned() else { return };
        let service = &operation.service;
        match operation.finished {
            None => {
                if let Some(running) = self.running.get_mut(service) {
                    running.remove(id);
                    if running.is_empty() {
                        self.running.remove(service);
                    }
                }
            }
            Some(finished) => {
                self.rate_newest(service, Worth::History);
                if let Some(kept) = self.finished.get_mut(service) {
                    kept.remove(&(finished, id.clone()));
                    if kept.is_empty() {
                        self.finished.remove(service);
                    }
                }
                self.places.remove(&place(&operation, Worth::History));
                self.finished_slots -= operation.slots.len();
                self.rate_newest(service, Worth::Newest);
            }
        }
        self.by_id.remove(id);
    }
}

fn place(operation: &Operation, worth: Worth) -> Place {
    (worth, operation.finished_led, operation.id.clone())
}

/// Whether its service is there no more when it is over.
fn ends_its_service(operation: &Operation) -> bool {
    operation.kind == OperationKind::Destroy && operation.state == OperationState::Succeeded
}
