//! The operations: those at work, and the newest finished ones.

use std::sync::Arc;

use imbl::ordmap::DiffItem;
use imbl::{OrdMap, OrdSet};
use muster_common::id::{OperationId, ServiceId};
use muster_common::operation::{Operation, OperationState};
use muster_common::time::{LedTime, Timestamp};

/// How many finished operations are kept per service.
pub(crate) const MAX_FINISHED_OPERATIONS: usize = 50;
/// How many slots those may have together; the newest is kept, however many it has.
pub(crate) const MAX_FINISHED_SLOTS: usize = 20_000;

/// All operations, findable by id and by service.
#[derive(Debug, Clone, Default)]
pub(super) struct Operations {
    by_id: OrdMap<OperationId, Arc<Operation>>,
    running: OrdMap<ServiceId, OrdSet<OperationId>>,
    /// Oldest first.
    finished: OrdMap<ServiceId, OrdSet<(Timestamp, OperationId)>>,
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
        let id = operation.id.clone();
        self.remove(&id);
        match operation.finished {
            None => {
                self.running.entry(operation.service.clone()).or_default().insert(id.clone());
            }
            Some(finished) => {
                let kept = self.finished.entry(operation.service.clone()).or_default();
                kept.insert((finished, id.clone()));
            }
        }
        let service = operation.service.clone();
        self.by_id.insert(id, Arc::new(operation));
        while self.keeps_too_much(&service)
            && let Some(due) = self.first_to_go(&service)
        {
            self.remove(&due);
        }
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
        let Some(operation) = self.by_id.remove(id) else { return };
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
                if let Some(kept) = self.finished.get_mut(service) {
                    kept.remove(&(finished, id.clone()));
                    if kept.is_empty() {
                        self.finished.remove(service);
                    }
                }
            }
        }
    }
}
