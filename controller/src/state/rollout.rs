//! Giving a service another spec, or one that it had before: slot by slot where it runs, at once where it does not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_common::id::{Epoch, Generation, OperationId, ServiceId, SlotId};
use muster_common::operation::{
    Canary, ClusterOpSpec, Operation, OperationKind, OperationState, Parallelism, SlotOutcome, SlotProgress,
};
use muster_common::service::ServiceState;
use muster_common::slot::SlotPhase;
use muster_common::spec::LocalServiceSpec;
use muster_common::time::Timestamp;

use super::chosen::newest_per_slot;
use super::clock::{as_ms, whole};
use super::submission::{How, Submission};
use super::{Happening, Refusal, Service, Slot, SpecVersion, State, brief};

/// The outcome of a rollout that found everything as it was to be.
const NO_SLOT_HAD_TO_CHANGE: &str = "no slot had to change";
/// Said of a slot whose spec is the one that is given back.
const SAME_SPEC: &str = "it was given the same spec as it had before";

/// Whether an operation gives slots another spec.
#[must_use]
pub(crate) const fn is_rollout(kind: OperationKind) -> bool {
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
        if spec.is_host_level() && service.instances_per_host > 1 {
            return Err(Refusal::HostLevelCount);
        }
        let from = service.specs.stable();
        // What is there goes, and comes again where this fails.
        let before = service.specs.get(from).map(|version| version.spec.as_ref());
        let how = &how.no_shorter_than(before.into_iter().chain([spec.as_ref()]));
        let mut progress = self.places(service, &spec);
        let is_everywhere = from == service.specs.wanted()
            && spec == *service.spec()
            && progress.iter().all(|slot| slot.outcome == SlotOutcome::Done);
        if is_everywhere {
            // Nothing is touched: who applies the same file each hour keeps what there is to go back to.
            let mut operation = submission.operation(&service.id, kind, how, progress);
            operation.restores = restores;
            self.put_operation(submission.at, found_everywhere(operation, from, submission.at));
            return Ok(());
        }
        let target = self.next_generation(service);
        let same = progress.iter().filter(|slot| slot.outcome != SlotOutcome::Waiting);
        let same: Vec<SlotId> = same.map(|slot| slot.slot.clone()).collect();
        self.pass_over_those_it_is_not_for(&spec, &mut progress);
        let leaves_all = same.is_empty() && progress.iter().all(|slot| slot.outcome == SlotOutcome::Done);
        if leaves_all && !progress.is_empty() {
            return Err(Refusal::NoCommonPlace(service.id.clone()));
        }
        choose_canaries(self, &how.op_spec, &same, &mut progress)?;
        let (at, by) = (submission.at, submission.by.to_owned());
        let version = SpecVersion { spec, at, by, restores, stop_first: how.stop_first };
        self.want(&service.id, target, version);
        for id in same {
            self.renumber(&id, target);
        }
        let nothing_to_do = progress.iter().all(|slot| slot.outcome == SlotOutcome::Done);
        if !nothing_to_do {
            self.enter(submission.at, &service.id, ServiceState::ReplacingInstances);
        }
        let mut operation = submission.operation(&service.id, kind, how, progress);
        operation.generation = Some(target);
        operation.from_generation = Some(from);
        operation.restores = restores;
        self.put_operation(submission.at, operation.clone());
        if nothing_to_do {
            let message = NO_SLOT_HAD_TO_CHANGE.to_owned();
            self.end_operation(submission.at, &operation, OperationState::Succeeded, message);
        }
        Ok(())
    }

    /// A service wants another spec from now on, which becomes that of `generation`.
    fn want(&mut self, id: &ServiceId, generation: Generation, version: SpecVersion) {
        let used: BTreeSet<Generation> = self.slots_of(id).map(|(_, slot)| slot.spec).collect();
        if let Some(service) = self.services.get_mut(id).map(Arc::make_mut) {
            service.updated = version.at;
            service.specs.want(generation, version, &used);
            service.generation = generation;
        }
    }

    /// Marks the slots done whose executors `spec` is not for, each with the reason.
    fn pass_over_those_it_is_not_for(&self, spec: &LocalServiceSpec, progress: &mut [SlotProgress]) {
        for slot in progress.iter_mut().filter(|slot| slot.outcome == SlotOutcome::Waiting) {
            if let Some(why) = self.not_for(&slot.slot, spec) {
                slot.outcome = SlotOutcome::Done;
                slot.message = why;
            }
        }
    }

    /// Why `spec` is not for the executor of a slot, in words. What runs where it will not belong stays as it is until
    /// the rollout is through: then it is taken away.
    #[must_use]
    pub(crate) fn not_for(&self, slot: &SlotId, spec: &LocalServiceSpec) -> Option<String> {
        let executor = self.executor(&slot.executor)?;
        let why = spec.mismatch(|tag| executor.has_tag(tag))?;
        Some(brief(&format!("the new spec is not for its executor, and it is taken away at the end: {why}")))
    }

    /// Whether a service has slots, and none of those of a rollout shows yet that the new spec is good. Those that it is not
    /// for count as well: they would be taken away for it.
    #[must_use]
    pub(crate) fn is_unproven<'a>(
        &self,
        operation: &Operation,
        mut slots: impl Iterator<Item = &'a SlotProgress> + Clone,
    ) -> bool {
        operation.generation.is_some()
            && operation.state != OperationState::RollingBack
            && slots.clone().any(|progress| self.slot(&progress.slot).is_some())
            && !slots.any(|progress| self.shows_it(operation, progress))
    }

    /// Whether a slot shows that what an operation brings is good: it went through, or it runs that already.
    #[must_use]
    pub(crate) fn shows_it(&self, operation: &Operation, progress: &SlotProgress) -> bool {
        let runs_it = |target| {
            let slot = self.slot(&progress.slot).filter(|slot| slot.spec == target);
            slot.is_some_and(|slot| self.is_filled(&progress.slot, slot))
        };
        progress.outcome == SlotOutcome::Done
            && (progress.epoch.is_some() || operation.generation.is_none_or(runs_it))
    }

    /// Every slot of the service; those that run `spec` already are done. What an earlier rollout gave one that did not
    /// succeed proves nothing yet: such a slot is at work, as if it were begun now, until it is filled.
    fn places(&self, service: &Service, spec: &LocalServiceSpec) -> Vec<SlotProgress> {
        let newest = newest_per_slot(self.live_instances(&service.id));
        let slots = self.slots_of(&service.id);
        let progress = slots.map(|(id, slot)| {
            let mut progress = SlotProgress::waiting(id.clone(), newest.get(&id).cloned());
            if runs(service, slot, spec) && slot.spec == service.specs.stable() {
                progress.set(SlotOutcome::Done, "it runs this spec already");
            } else if runs(service, slot, spec) {
                progress.set(SlotOutcome::InProgress, "it was given this spec before");
                progress.epoch = Some(slot.epoch);
                progress.restarts = slot.restarts();
            }
            progress
        });
        progress.collect()
    }

    /// A slot that is assigned while a rollout is at work is given the stable spec, and has its turn like the others,
    /// also when it had had it before it was taken away.
    pub(super) fn join_rollout(&mut self, id: &SlotId) {
        let running = self.operations.running_of(&id.service).find(|operation| is_rollout(operation.kind));
        let Some(operation) = running.map(|operation| operation.id.clone()) else { return };
        let Some(operation) = self.operations.get_running_mut(&operation) else { return };
        let mut joining = SlotProgress::waiting(id.clone(), None);
        let place = operation.slots.binary_search_by(|progress| progress.slot.cmp(id));
        match place {
            Ok(place) => {
                joining.canary = operation.slots[place].canary;
                if operation.state == OperationState::RollingBack {
                    joining.outcome = SlotOutcome::RolledBack;
                    "it was assigned anew".clone_into(&mut joining.message);
                }
                operation.slots[place] = joining;
            }
            Err(_) if operation.state == OperationState::RollingBack => {}
            Err(place) => {
                let before = whole(operation);
                operation.slots.insert(place, joining);
                let more = whole(operation).saturating_sub(before);
                operation.time_left_ms = operation.time_left_ms.saturating_add(as_ms(more));
                if !operation.state.is_held() {
                    operation.deadline = operation.deadline.map(|deadline| deadline.plus(more));
                }
            }
        }
    }

    /// What follows for the service's specs when an operation succeeded: what is wanted is stable when a rollout of it is
    /// through, or when it came to run everywhere otherwise. Who was away is given what is stable then when it is back.
    pub(super) fn settle_spec(&mut self, operation: &Operation) {
        let Some(service) = self.service(&operation.service) else { return };
        let wanted = service.specs.wanted();
        let is_through = if is_rollout(operation.kind) {
            operation.generation == Some(wanted)
        } else {
            self.runs_everywhere(&service.id, wanted)
        };
        if is_through && let Some(service) = self.services.get_mut(&operation.service).map(Arc::make_mut) {
            service.specs.settle();
        }
    }

    /// Whether every slot of a service is filled with the spec of a generation. A rollout that is at work judges that
    /// by itself.
    fn runs_everywhere(&self, id: &ServiceId, spec: Generation) -> bool {
        let mut slots = self.slots_of(id).peekable();
        let mut running = self.operations.running_of(id);
        slots.peek().is_some()
            && !running.any(|operation| is_rollout(operation.kind))
            && slots.all(|(id, slot)| slot.spec == spec && self.is_filled(&id, slot))
    }

    /// A service that holds no slot begins anew: what is wanted is what it runs.
    pub(super) fn settle_if_empty(&mut self, id: &ServiceId) {
        if self.slots_of(id).next().is_none()
            && let Some(service) = self.services.get_mut(id).map(Arc::make_mut)
        {
            service.specs.settle();
        }
    }

    /// A rollout failed and is to be undone: what is stable is wanted again, and every slot that was given the
    /// failed spec is to be given the stable one. Those to which that is the same are only told its number.
    pub(super) fn begin_rollback(&mut self, at: Timestamp, id: &OperationId, message: &str) -> Option<()> {
        let operation = self.operations.get(id).filter(|operation| is_rollout(operation.kind))?;
        let failed = operation.generation?;
        let service = Arc::clone(self.service(&operation.service)?);
        let given = self.slots_of(&service.id).filter(|(_, slot)| slot.spec == failed);
        let given: BTreeMap<SlotId, WayBack> =
            given.map(|(id, slot)| (id.clone(), self.way_back(&service, &id, slot))).collect();
        let operation = self.operations.get_running_mut(id)?;
        if operation.state == OperationState::RollingBack {
            return None;
        }
        for progress in &mut operation.slots {
            match given.get(&progress.slot) {
                // What the rollout began goes on; what ended by itself since is not its concern.
                Some(WayBack::Runs(epoch)) if progress.epoch == Some(*epoch) => {
                    progress.set(SlotOutcome::RollingBack, SAME_SPEC);
                }
                Some(WayBack::Filled | WayBack::Runs(_)) => progress.set(SlotOutcome::RolledBack, SAME_SPEC),
                Some(WayBack::Replaced) => {
                    progress.outcome = SlotOutcome::RollingBack;
                    progress.epoch = None;
                    progress.since = None;
                }
                None => {}
            }
        }
        operation.state = OperationState::RollingBack;
        message.clone_into(&mut operation.message);
        operation.deadline = None;
        operation.time_left_ms = as_ms(whole(operation));
        let what = Happening::operation(operation);
        self.emit(at, what);
        for (id, _) in given.iter().filter(|(_, way)| !matches!(way, WayBack::Replaced)) {
            self.renumber(id, service.specs.stable());
        }
        if let Some(service) = self.services.get_mut(&service.id).map(Arc::make_mut) {
            service.specs.fall_back();
        }
        Some(())
    }

    fn way_back(&self, service: &Service, id: &SlotId, slot: &Slot) -> WayBack {
        if !runs(service, slot, service.specs.stable_spec()) {
            WayBack::Replaced
        } else if self.is_filled(id, slot) {
            WayBack::Filled
        } else {
            WayBack::Runs(slot.epoch)
        }
    }

    /// Gives a slot another number for the spec that it runs already.
    pub(super) fn renumber(&mut self, id: &SlotId, spec: Generation) {
        if let Some(slot) = self.slots.get_mut(id) {
            slot.spec = spec;
        }
        self.touch_table(&id.executor);
    }
}

/// The operation of a rollout whose spec every slot runs already, as `generation`: it has succeeded when it begins.
fn found_everywhere(mut operation: Operation, generation: Generation, at: Timestamp) -> Operation {
    operation.generation = Some(generation);
    operation.from_generation = Some(generation);
    operation.no_op = true;
    operation.state = OperationState::Succeeded;
    operation.finished = Some(at);
    NO_SLOT_HAD_TO_CHANGE.clone_into(&mut operation.message);
    operation
}

/// What a slot that was given a failed spec needs to run the stable one.
enum WayBack {
    /// Nothing: the two are the same, and it is filled.
    Filled,
    /// To become filled at the epoch that it has: the two are the same.
    Runs(Epoch),
    /// To be replaced.
    Replaced,
}

/// Whether an instance of `spec` holds the slot or is on its way. A slot that gave up holds another one, or none.
pub(super) fn runs(service: &Service, slot: &Slot, spec: &LocalServiceSpec) -> bool {
    let asked = service.specs.get(slot.spec).is_some_and(|version| *version.spec == *spec);
    let status = slot.current_status();
    let gave_up = |phase| matches!(phase, SlotPhase::KeptOld | SlotPhase::Failed);
    asked && !status.is_some_and(|status| gave_up(status.phase))
}

/// Marks the slots that go first; `same` are those that run what is wanted already. Executors that are heard are
/// preferred where there is a choice.
pub(super) fn choose_canaries(
    state: &State,
    op_spec: &ClusterOpSpec,
    same: &[SlotId],
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
                let will_run_it =
                    slot.outcome == SlotOutcome::Waiting || same.binary_search(&slot.slot).is_ok();
                let executor = state.executor(&slot.slot.executor).filter(|_| will_run_it);
                slot.canary = executor.is_some_and(|executor| executor.has_tag(tag));
            }
            let any = slots.iter().any(|slot| slot.canary);
            if any { Ok(()) } else { Err(Refusal::NoCanary(tag.clone())) }
        }
    }
}
