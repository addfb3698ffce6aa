//! Which slots must be assigned: services × executors × count. The one rule that both the
//! reconciler (to plan) and `apply` (to check a plan's conditions) go by.

use muster_common::id::SlotId;
use muster_common::service::{ActivationState, ServiceState};
use muster_common::slot::ReplaceMode;

use super::{Executor, Service, State};

impl Service {
    /// How many slots it wants on an executor that takes slots.
    #[must_use]
    pub const fn wanted_per_host(&self) -> u32 {
        let leaving = matches!(self.state, ServiceState::DestroyRequested | ServiceState::Destroyed);
        match self.activation {
            ActivationState::Active if !leaving => self.instances_per_host,
            // A test instance is DEPLOY_TEST_INSTANCE's to ask for, which is not served yet.
            ActivationState::Active | ActivationState::ConfigTesting | ActivationState::Inactive => 0,
        }
    }

    /// How an instance of it gives way when nobody says otherwise: with fixed host ports, two
    /// cannot run side by side.
    #[must_use]
    pub fn default_mode(&self) -> ReplaceMode {
        if self.spec.is_host_level() { ReplaceMode::StopFirst } else { ReplaceMode::StartFirst }
    }
}

impl State {
    /// Whether a slot must be assigned.
    #[must_use]
    pub fn wants(&self, slot: &SlotId) -> bool {
        self.service(&slot.service).is_some_and(|service| slot.index < service.wanted_per_host())
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
        let executors = self.executors().filter(|executor| executor.takes_slots()).count();
        u64::from(service.wanted_per_host()) * executors as u64
    }
}

fn slots_on<'a>(service: &'a Service, executor: &'a Executor) -> impl Iterator<Item = SlotId> + 'a {
    (0..service.wanted_per_host()).map(|index| SlotId {
        service: service.id.clone(),
        executor: executor.record.id.clone(),
        index,
    })
}
