//! Slots that a rollout missed: their executors were away while it was at work, or were not heard when it was undone. No
//! operation will reach them any more, so they are given the stable spec outside of any operation.

use std::sync::Arc;

use muster_common::id::{Epoch, SlotId};
use muster_common::slot::ReplaceMode;

use super::progress::goes_in_waves;
use super::rollout::runs;
use super::{Slot, State};

impl State {
    /// Whether a slot is to run another spec than the one that is wanted and proved itself. While those two are not
    /// the same a rollout is at work, or one failed and left its slots to the users.
    #[must_use]
    pub(crate) fn is_behind(&self, id: &SlotId, slot: &Slot) -> bool {
        self.wants(id)
            && self.service(&id.service).is_some_and(|service| {
                let stable = service.specs.stable();
                stable == service.specs.wanted() && slot.spec != stable
            })
    }

    /// Whether nothing but the other slots of its zone keeps a slot from catching up.
    #[must_use]
    pub(crate) fn may_catch_up(&self, id: &SlotId, slot: &Slot) -> bool {
        let mut running = self.operations.running_of(&id.service);
        self.is_connected(&id.executor)
            && self.is_behind(id, slot)
            && (self.runs_stable(id, slot) || !self.is_of_another_history(slot))
            && !running.any(|operation| goes_in_waves(operation.kind))
    }

    /// Whether a slot is as the group had it of which this one was made, maybe long ago. Nobody knows here what it was given
    /// since, nor by whose wish: what runs in it stays until users ask for something, as who restored was told.
    fn is_of_another_history(&self, slot: &Slot) -> bool {
        slot.epoch.0 <= self.history_after.0
    }

    /// Whether a slot runs the stable spec, be it under another number.
    #[must_use]
    pub(crate) fn runs_stable(&self, id: &SlotId, slot: &Slot) -> bool {
        let service = self.service(&id.service);
        service.is_some_and(|service| runs(service, slot, service.specs.stable_spec()))
    }

    /// How what a slot holds gives way to the stable spec: as the rollout was to do it that brought that, or the one that
    /// is undone.
    #[must_use]
    pub(crate) fn catch_up_mode(&self, id: &SlotId, slot: &Slot) -> ReplaceMode {
        let Some(service) = self.service(&id.service) else { return slot.mode };
        let stable = service.specs.get(service.specs.stable());
        let before = service.specs.get(slot.spec);
        let host_level = [stable, before].into_iter().flatten().any(|version| version.spec.is_host_level());
        let rollout = service.specs.get(slot.spec.max(service.specs.stable()));
        let stops_first = host_level || rollout.is_some_and(|version| version.stop_first);
        if stops_first { ReplaceMode::StopFirst } else { ReplaceMode::StartFirst }
    }

    pub(super) fn catch_up(&mut self, id: &SlotId, epoch: Epoch, mode: ReplaceMode) -> Option<()> {
        let raised = Epoch(self.revision.0);
        let slot = self.slots.get(id).filter(|slot| slot.epoch == epoch && raised > epoch)?;
        self.may_catch_up(id, slot).then_some(())?;
        let service = self.service(&id.service)?;
        let (generation, spec) = (service.generation, service.specs.stable());
        if self.runs_stable(id, slot) {
            self.renumber(id, spec);
            return Some(());
        }
        let slot = Slot { epoch: raised, mode, generation, spec, ..Slot::clone(slot) };
        self.slots.insert(id, Arc::new(slot));
        self.touch_table(&id.executor);
        Some(())
    }
}
