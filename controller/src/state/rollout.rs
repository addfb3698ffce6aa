//! A service is given another spec, or one that it had before: slot by slot where it runs, at once where it does not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_common::id::{Epoch, Generation, OperationId, ServiceId, SlotId};
use muster_common::operation::{
    Canary, ClusterOpSpec, Operation, OperationKind, OperationState, Parallelism, SlotOutcome, SlotProgress,
};
use muster_common::service::ServiceState;
use muster_common::slot::SlotPhase;
use muster_common::spec::LocalServiceSpec;

use super::submit::{How, Submission, newest_per_slot};
use super::{Refusal, Service, Slot, SpecVersion, State};

/// Whether an operation gives slots another spec.
#[must_use]
pub(super) const fn is_rollout(kind: OperationKind) -> bool {
    matches!(kind, OperationKind::UpdateSpec | OperationKind::Rollback)
}

impl State {
    pub(super) fn update_spec(
        &mut self,
        submission: &Submission<'_>,
        spec: &LocalServiceSpec,
        how: &How,
    ) -> Result<ServiceId, Refusal> {
        let id = spec.service_id().map_err(|error| Refusal::InvalidServiceId(error.to_string()))?;
        let service = self.addressed(id.as_str(), OperationKind::UpdateSpec)?;
        if spec.is_host_level() && service.instances_per_host > 1 {
            return Err(Refusal::HostLevelCount);
        }
        let spec =
            if **service.spec() == *spec { Arc::clone(service.spec()) } else { Arc::new(spec.clone()) };
        self.roll_out(submission, &service, OperationKind::UpdateSpec, how, (spec, None))?;
        Ok(id)
    }

    pub(super) fn roll_back(
        &mut self,
        submission: &Submission<'_>,
        service: &Service,
        generation: Option<u64>,
        how: &How,
    ) -> Result<(), Refusal> {
        let no_earlier = || Refusal::NoEarlierSpec(service.id.clone());
        let generation =
            generation.map(Generation).or_else(|| service.specs.earlier()).ok_or_else(no_earlier)?;
        let version = service.specs.get(generation).ok_or_else(|| {
            let kept = service.specs.iter().map(|(kept, _)| kept.0.to_string()).collect();
            Refusal::UnknownGeneration(service.id.clone(), generation.0, kept)
        })?;
        let spec = Arc::clone(&version.spec);
        self.roll_out(submission, service, OperationKind::Rollback, how, (spec, Some(generation)))
    }

    /// Wants `spec` from now on. Slots that run the same already are only told its new number.
    fn roll_out(
        &mut self,
        submission: &Submission<'_>,
        service: &Service,
        kind: OperationKind,
        how: &How,
        (spec, restores): (Arc<LocalServiceSpec>, Option<Generation>),
    ) -> Result<(), Refusal> {
        let from = service.specs.stable();
        let target = self.next_generation(service);
        let mut progress = self.places(service, &spec);
        choose_canaries(self, &how.op_spec, &mut progress)?;
        let version = SpecVersion { spec, at: submission.at, by: submission.by.to_owned(), restores };
        let used: BTreeSet<Generation> = self.slots_of(&service.id).map(|(_, slot)| slot.spec).collect();
        if let Some(service) = self.services.get_mut(&service.id).map(Arc::make_mut) {
            service.specs.want(target, version, &used);
            service.generation = target;
            service.updated = submission.at;
        }
        for done in progress.iter().filter(|slot| slot.outcome == SlotOutcome::Done) {
            if let Some(slot) = self.slots.get_mut(&done.slot) {
                slot.spec = target;
            }
            self.touch_table(&done.slot.executor);
        }
        let nothing_to_do = progress.iter().all(|slot| slot.outcome == SlotOutcome::Done);
        if !nothing_to_do {
            self.enter(submission.at, &service.id, ServiceState::ReplacingInstances);
        }
        let mut operation = submission.operation(&service.id, kind, how, progress);
        operation.generation = Some(target);
        operation.from_generation = Some(from);
        self.operations.put(operation.clone());
        if nothing_to_do {
            let message = "no slot had to change".to_owned();
            self.end_operation(submission.at, &operation, OperationState::Succeeded, message);
        }
        Ok(())
    }

    /// Every slot of the service; those that run `spec` already are done.
    fn places(&self, service: &Service, spec: &LocalServiceSpec) -> Vec<SlotProgress> {
        let newest = newest_per_slot(self.live_instances(&service.id));
        let slots = self.slots_of(&service.id);
        let progress = slots.map(|(id, slot)| {
            let mut progress = SlotProgress::waiting(id.clone(), newest.get(&id).cloned());
            if runs(service, slot, spec) {
                progress.outcome = SlotOutcome::Done;
                "it runs this spec already".clone_into(&mut progress.message);
            }
            progress
        });
        progress.collect()
    }

    /// A slot that is assigned while a rollout is at work is given the stable spec, and has its turn like the others.
    pub(super) fn join_rollout(&mut self, id: &SlotId) {
        let running = self.operations.running_of(&id.service).find(|operation| is_rollout(operation.kind));
        let Some(operation) = running.map(|operation| operation.id.clone()) else { return };
        let operation = self.operations.get_running_mut(&operation);
        if let Some(operation) = operation.filter(|operation| operation.state != OperationState::RollingBack)
            && let Err(place) = operation.slots.binary_search_by(|progress| progress.slot.cmp(id))
        {
            operation.slots.insert(place, SlotProgress::waiting(id.clone(), None));
        }
    }

    /// What follows for the service when a rollout is over.
    pub(super) fn end_rollout(&mut self, operation: &Operation, state: OperationState) {
        let Some(target) = operation.generation.filter(|_| is_rollout(operation.kind)) else { return };
        if state != OperationState::Succeeded {
            return;
        }
        if let Some(service) = self.services.get_mut(&operation.service).map(Arc::make_mut)
            && service.specs.wanted() == target
        {
            service.specs.settle();
        }
        // The rest has it, so it is good: who is away gets it when it comes back.
        let away = operation.slots.iter().filter(|slot| slot.outcome == SlotOutcome::Away);
        for progress in away {
            self.raise_to(&progress.slot, target);
        }
    }

    fn raise_to(&mut self, id: &SlotId, target: Generation) {
        let raised = Epoch(self.revision.0);
        let generation = self.service(&id.service).map(|service| service.generation);
        if let Some(slot) = self.slots.get_mut(id)
            && slot.spec != target
            && slot.epoch < raised
        {
            slot.epoch = raised;
            slot.spec = target;
            slot.generation = generation.unwrap_or(slot.generation);
            self.touch_table(&id.executor);
        }
    }

    /// A rollout failed and is to be undone: what is stable is wanted again, and every slot that was given the
    /// failed spec is to be given the stable one.
    pub(super) fn begin_rollback(&mut self, id: &OperationId, message: &str) -> Option<()> {
        let operation = self.operations.get(id).filter(|operation| is_rollout(operation.kind))?;
        let service = operation.service.clone();
        let failed = operation.generation?;
        let given: BTreeMap<SlotId, bool> =
            self.slots_of(&service).map(|(id, slot)| (id, slot.spec == failed)).collect();
        let operation = self.operations.get_running_mut(id)?;
        if operation.state == OperationState::RollingBack {
            return None;
        }
        for progress in &mut operation.slots {
            if given.get(&progress.slot).copied().unwrap_or_default() {
                progress.outcome = SlotOutcome::RollingBack;
                progress.epoch = None;
                progress.since = None;
            }
        }
        operation.state = OperationState::RollingBack;
        message.clone_into(&mut operation.message);
        operation.deadline = None;
        operation.time_left_ms = super::clock::whole(operation);
        if let Some(service) = self.services.get_mut(&service).map(Arc::make_mut) {
            service.specs.fall_back();
        }
        Some(())
    }
}

/// Whether an instance of `spec` holds the slot or is on its way. A start-first replacement that failed left another.
fn runs(service: &Service, slot: &Slot, spec: &LocalServiceSpec) -> bool {
    let asked = service.specs.get(slot.spec).is_some_and(|version| *version.spec == *spec);
    let kept_old = slot.current_status().is_some_and(|status| status.phase == SlotPhase::KeptOld);
    asked && !kept_old
}

/// Marks the slots that go first. Executors that are heard are preferred where there is a choice.
pub(super) fn choose_canaries(
    state: &State,
    op_spec: &ClusterOpSpec,
    slots: &mut [SlotProgress],
) -> Result<(), Refusal> {
    let Some(canary) = &op_spec.canary else { return Ok(()) };
    let waiting = slots.iter().filter(|slot| slot.outcome == SlotOutcome::Waiting).count();
    if waiting == 0 {
        return Ok(());
    }
    match canary {
        Canary::Percent(percent) => {
            let mut order: Vec<&mut SlotProgress> =
                slots.iter_mut().filter(|slot| slot.outcome == SlotOutcome::Waiting).collect();
            order.sort_by_key(|slot| !state.is_connected(&slot.slot.executor));
            let count = Parallelism::Percent(*percent).of(waiting);
            order.into_iter().take(count).for_each(|slot| slot.canary = true);
            Ok(())
        }
        Canary::Tag(tag) => {
            for slot in slots.iter_mut() {
                let executor = state.executor(&slot.slot.executor);
                slot.canary = executor.is_some_and(|executor| executor.has_tag(tag));
            }
            let any = slots.iter().any(|slot| slot.canary);
            if any { Ok(()) } else { Err(Refusal::NoCanary(tag.clone())) }
        }
    }
}
