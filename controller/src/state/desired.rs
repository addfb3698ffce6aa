//! Which slots must be assigned: services × executors × count. The one rule that both the
//! reconciler (to plan) and `apply` (to check a plan's conditions) go by.

use muster_common::id::{ExecutorId, SlotId};
use muster_common::service::{ActivationState, ServiceState};
use muster_common::slot::ReplaceMode;

use super::{Executor, Service, State};

impl Service {
    /// How many slots it wants on `executor`, if that takes slots.
    #[must_use]
    pub fn wanted_on(&self, executor: &ExecutorId) -> u32 {
        match self.activation {
            _ if matches!(self.state, ServiceState::DestroyRequested | ServiceState::Destroyed) => 0,
            ActivationState::Active => self.instances_per_host,
            ActivationState::ConfigTesting => u32::from(self.test_host.as_ref() == Some(executor)),
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
        self.service(&slot.service).is_some_and(|service| slot.index < service.wanted_on(&slot.executor))
            && self.executor(&slot.executor).is_some_and(|executor| executor.takes_slots())
    }

    /// Every slot of `service` that must be assigned, ordered by executor and index.
    pub fn wanted_slots<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = SlotId> + 'a {
        let executors = self.executors().filter(|executor| executor.takes_slots());
        executors.flat_map(move |executor| slots_on(service, executor))
    }

    /// How many instances there should be of `service`.
    #[must_use]
    pub fn wanted_count(&self, service: &Service) -> u64 {
        let executors = self.executors().filter(|executor| executor.takes_slots());
        executors.map(|executor| u64::from(service.wanted_on(&executor.record.id))).sum()
    }
}

fn slots_on<'a>(service: &'a Service, executor: &'a Executor) -> impl Iterator<Item = SlotId> + 'a {
    (0..service.wanted_on(&executor.record.id)).map(|index| SlotId {
        service: service.id.clone(),
        executor: executor.record.id.clone(),
        index,
    })
}
