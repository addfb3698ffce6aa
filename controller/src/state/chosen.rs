//! Which slots of a service a request is about.

use std::collections::BTreeMap;
use std::sync::Arc;

use muster_common::id::{InstanceId, SlotId};
use muster_common::instance::InstanceState;
use muster_common::operation::SlotProgress;

use super::{Instance, Service, State};

impl State {
    /// The slots whose instance is HEALTHY as far as is known, also on executors that are away, be that for so long that
    /// it counts as lost: it may run all the same, and whoever asked for all of them is told which were not reached.
    pub(super) fn healthy_slots(&self, service: &Service) -> BTreeMap<SlotId, InstanceId> {
        let known = self.live_instances(&service.id).filter(|instance| self.holds_slot(instance));
        let was_healthy = |instance: &&Arc<Instance>| {
            instance.record.state == InstanceState::Healthy && self.slot(&instance.record.slot).is_some()
        };
        newest_per_slot(known.chain(self.instances.awaited_of_service(&service.id).filter(was_healthy)))
    }

    /// The slots of the named instances; or those names that are not HEALTHY instances of the service.
    pub(super) fn named_slots(
        &self,
        service: &Service,
        names: &[String],
    ) -> Result<BTreeMap<SlotId, InstanceId>, Vec<String>> {
        let find = |name: &String| {
            let instance = self.instance(&InstanceId::new(name).ok()?)?;
            let ours = instance.record.slot.service == service.id
                && self.holds_slot(instance)
                && self.is_connected(&instance.record.slot.executor);
            ours.then_some(instance)
        };
        let unfit: Vec<String> = names.iter().filter(|name| find(name).is_none()).cloned().collect();
        if names.is_empty() || !unfit.is_empty() {
            return Err(unfit);
        }
        Ok(newest_per_slot(names.iter().filter_map(find)))
    }

    fn holds_slot(&self, instance: &Instance) -> bool {
        instance.state() == InstanceState::Healthy && self.slot(&instance.record.slot).is_some()
    }

    /// The places that hold something although they are not wanted.
    pub(super) fn leaving_slots(&self, service: &Service) -> Vec<SlotProgress> {
        let mut held = self.held_slots(service);
        held.retain(|progress| !self.wants(&progress.slot));
        held
    }

    /// Every place of the service that is not empty yet.
    pub(super) fn held_slots(&self, service: &Service) -> Vec<SlotProgress> {
        waiting(newest_per_slot(self.live_instances(&service.id)))
    }
}

/// One instance per slot: while a replacement is under way there are two, and the newer one counts.
pub(super) fn newest_per_slot<'a>(
    instances: impl Iterator<Item = &'a Arc<Instance>>,
) -> BTreeMap<SlotId, InstanceId> {
    let mut newest = BTreeMap::<SlotId, &Instance>::new();
    for instance in instances {
        let held = newest.entry(instance.record.slot.clone()).or_insert(instance);
        if (held.record.epoch, &held.record.id) < (instance.record.epoch, &instance.record.id) {
            *held = instance;
        }
    }
    newest.into_iter().map(|(slot, instance)| (slot, instance.record.id.clone())).collect()
}

pub(super) fn waiting(slots: BTreeMap<SlotId, InstanceId>) -> Vec<SlotProgress> {
    slots.into_iter().map(|(slot, instance)| SlotProgress::waiting(slot, Some(instance))).collect()
}
