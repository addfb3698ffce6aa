//! Which slots must be assigned: services × executors × count. The one rule that both the
//! reconciler (to plan) and `apply` (to check a plan's conditions) use.

use muster_common::id::SlotId;
use muster_common::operation::OperationKind;
use muster_common::service::{ActivationState, ServiceState};
use muster_common::slot::ReplaceMode;

use super::{Executor, Service, State};

impl Service {
    /// Whether slots of it may be on `executor`.
    #[must_use]
    pub fn may_be_on(&self, executor: &Executor) -> bool {
        executor.takes_slots() && self.specs.stable_spec().matches(|tag| executor.has_tag(tag))
    }

    /// How many slots it wants on `executor`.
    #[must_use]
    pub fn wanted_on(&self, executor: &Executor) -> u32 {
        if self.may_be_on(executor) { self.share_of(executor) } else { 0 }
    }

    /// The same, did nothing keep it from there.
    pub(super) fn share_of(&self, executor: &Executor) -> u32 {
        match self.activation {
            _ if matches!(self.state, ServiceState::DestroyRequested | ServiceState::Destroyed) => 0,
            ActivationState::Active => self.instances_per_host,
            ActivationState::ConfigTesting => u32::from(self.test_host.as_ref() == Some(&executor.record.id)),
            ActivationState::Inactive => 0,
        }
    }

    /// How an instance of it gives way when nobody says otherwise: with fixed host ports, two
    /// cannot run side by side.
    #[must_use]
    pub fn default_mode(&self) -> ReplaceMode {
        if self.spec().is_host_level() { ReplaceMode::StopFirst } else { ReplaceMode::StartFirst }
    }
}

impl State {
    /// Whether a slot must be assigned.
    #[must_use]
    pub fn wants(&self, slot: &SlotId) -> bool {
        let (service, executor) = (self.service(&slot.service), self.executor(&slot.executor));
        service.zip(executor).is_some_and(|(service, executor)| slot.index < service.wanted_on(executor))
    }

    /// The slot for whose sake one that is surplus stays, while the count is being changed: it serves, and that other one
    /// beside it is not filled yet.
    #[must_use]
    pub(crate) fn stays_for(&self, id: &SlotId) -> Option<SlotId> {
        let (service, executor) = (self.service(&id.service)?, self.executor(&id.executor)?);
        let mut running = self.operations.running_of(&id.service);
        let is_surplus = id.index >= service.wanted_on(executor);
        let is_counted = running.any(|operation| operation.kind == OperationKind::UpdateInstanceCount);
        if !(is_surplus && is_counted && self.is_connected(&id.executor) && self.serves(id)) {
            return None;
        }
        let is_filled = |id: &SlotId| self.slot(id).is_some_and(|slot| self.is_filled(id, slot));
        slots_on(service, executor).find(|wanted| !is_filled(wanted))
    }

    /// Every slot that must be assigned on `executor`, ordered by service and index.
    pub fn wanted_slots<'a>(&'a self, executor: &'a Executor) -> impl Iterator<Item = SlotId> + 'a {
        self.services().flat_map(move |service| slots_on(service, executor))
    }

    /// How many instances there should be of `service`.
    #[must_use]
    pub fn wanted_count(&self, service: &Service) -> u64 {
        self.executors().map(|executor| u64::from(service.wanted_on(executor))).sum()
    }
}

fn slots_on<'a>(service: &'a Service, executor: &'a Executor) -> impl Iterator<Item = SlotId> + 'a {
    (0..service.wanted_on(executor)).map(|index| SlotId {
        service: service.id.clone(),
        executor: executor.record.id.clone(),
        index,
    })
}
