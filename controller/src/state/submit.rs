//! A user's request becomes an operation, or is refused. The checks are in the order of
//! docs/drove-api.md §3.1; the first that fails decides.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use muster_common::duration::DroveDuration;
use muster_common::id::{Generation, InstanceId, OperationId, ServiceId, SlotId};
use muster_common::operation::{
    ClusterOpSpec, Operation, OperationKind, OperationRequest, OperationState, SlotOutcome, SlotProgress,
};
use muster_common::service::{ActivationState, ServiceState};
use muster_common::slot::SlotPhase;
use muster_common::spec::LocalServiceSpec;
use muster_common::time::Timestamp;
use uuid::Uuid;

use super::chosen::waiting;
use super::progress::occupies;
use super::rollout::choose_canaries;
use super::submission::{How, Submission};
use super::{Refusal, Reply, Service, SpecVersion, Specs, State, allowed_operations};

/// How many instances of a service an executor may hold (docs/drove-api.md §2.7).
const INSTANCES_PER_HOST: std::ops::RangeInclusive<u32> = 1..=256;

/// How long DESTROY waits for the last instance beyond the time after which those of a silent executor count as
/// lost: longer than the log of one that ended may be copied (half an hour).
const DESTROY_PATIENCE: Duration = Duration::from_secs(35 * 60);

impl State {
    pub(super) fn submit(
        &mut self,
        id: &OperationId,
        request: &OperationRequest,
        at: Timestamp,
        by: &str,
        if_generation: Option<Generation>,
    ) -> Reply {
        let fingerprint = Uuid::new_v5(&Uuid::NAMESPACE_OID, &request.to_json());
        match self.operations.get(id) {
            Some(known) if known.fingerprint == fingerprint => {
                return Reply::Accepted { operation: id.clone(), service: known.service.clone() };
            }
            Some(_) => return Reply::Refused(Refusal::KeyReused(id.clone())),
            None => {}
        }
        let submission = Submission { id, at, by, fingerprint };
        let accepted = self.expect(request, if_generation).and_then(|()| self.accept(&submission, request));
        match accepted {
            Ok(service) => Reply::Accepted { operation: id.clone(), service },
            Err(refusal) => Reply::Refused(refusal),
        }
    }

    /// Whether the service that a request is about is of the generation that its caller knows.
    fn expect(&self, request: &OperationRequest, generation: Option<Generation>) -> Result<(), Refusal> {
        let Some(expected) = generation.filter(|_| !self.is_in_maintenance()) else { return Ok(()) };
        let id = request.service_id();
        let known = ServiceId::new(&id).ok().and_then(|id| self.service(&id));
        let Some(service) = known else {
            let shown = id.chars().take(255).collect();
            let is_new = request.kind() == OperationKind::Create;
            return Err(if is_new {
                Refusal::NothingToMatch(shown, expected)
            } else {
                Refusal::UnknownService(shown)
            });
        };
        if service.generation == expected {
            return Ok(());
        }
        Err(Refusal::GenerationMoved(service.id.clone(), expected, service.generation))
    }

    fn accept(
        &mut self,
        submission: &Submission<'_>,
        request: &OperationRequest,
    ) -> Result<ServiceId, Refusal> {
        if self.is_in_maintenance() {
            return Err(Refusal::Maintenance);
        }
        let kind = request.kind();
        match request {
            OperationRequest::Create { spec, instances_per_host } => {
                self.create(submission, spec, *instances_per_host)
            }
            OperationRequest::Activate { service_id } => {
                let service = self.addressed(service_id, kind)?;
                self.activate(submission, &service);
                Ok(service.id.clone())
            }
            OperationRequest::Deactivate { service_id } => {
                let service = self.addressed(service_id, kind)?;
                self.deactivate(submission, &service);
                Ok(service.id.clone())
            }
            OperationRequest::DeployTestInstance { service_id } => {
                let service = self.addressed(service_id, kind)?;
                self.deploy_test(submission, &service);
                Ok(service.id.clone())
            }
            OperationRequest::AdjustInstances { service_id, op_spec } => {
                let service = self.addressed(service_id, kind)?;
                self.adjust(submission, &service, op_spec.as_ref());
                Ok(service.id.clone())
            }
            OperationRequest::UpdateSpec { spec, stop_first, op_spec } => {
                self.update_spec(submission, spec, &How::replacing(op_spec.as_ref(), *stop_first))
            }
            OperationRequest::Rollback { service_id, generation, stop_first, op_spec } => {
                let service = self.addressed(service_id, kind)?;
                let how = How::replacing(op_spec.as_ref(), *stop_first);
                self.roll_back(submission, &service, *generation, &how)?;
                Ok(service.id.clone())
            }
            OperationRequest::Retry { service_id } => {
                let service = self.addressed(service_id, kind)?;
                self.retry(submission, &service);
                Ok(service.id.clone())
            }
            OperationRequest::UpdateInstanceCount { service_id, instances_per_host } => {
                let service = self.addressed(service_id, kind)?;
                self.update_count(submission, &service, *instances_per_host)?;
                Ok(service.id.clone())
            }
            OperationRequest::Restart { service_id, stop_first, cluster_op_spec } => {
                let service = self.addressed(service_id, kind)?;
                let slots = self.healthy_slots(&service);
                let how = How::replacing(cluster_op_spec.as_ref(), *stop_first);
                self.begin_waves(submission, &service, kind, &how, slots)
            }
            OperationRequest::ReplaceInstances { service_id, instance_ids, stop_first, op_spec } => {
                let service = self.addressed(service_id, kind)?;
                let how = How::replacing(op_spec.as_ref(), *stop_first);
                self.replace_instances(submission, &service, instance_ids, &how)
            }
            OperationRequest::StopInstances { service_id, instance_ids, op_spec } => {
                let service = self.addressed(service_id, kind)?;
                let slots = self.named_slots(&service, instance_ids).map_err(Refusal::NotStoppable)?;
                let how = How::replacing(op_spec.as_ref(), true);
                self.begin_waves_of(submission, &service, kind, &how, (slots, instance_ids))
            }
            OperationRequest::Destroy { service_id } => {
                let service = self.addressed(service_id, kind)?;
                self.destroy(submission, &service);
                Ok(service.id.clone())
            }
        }
    }

    /// The service that a request is about, if its state allows a request of this kind.
    pub(super) fn addressed(&self, text: &str, kind: OperationKind) -> Result<Arc<Service>, Refusal> {
        if text.is_empty() {
            return Err(Refusal::NoServiceId);
        }
        let unknown = || Refusal::UnknownService(text.chars().take(255).collect());
        let id = ServiceId::new(text).map_err(|_| unknown())?;
        let service = self.service(&id).ok_or_else(unknown)?;
        let allowed = allowed_operations(service.state);
        if allowed.is_empty() {
            let occupier = self.operations.running_of(&id).find(|operation| occupies(operation.kind));
            let occupier = occupier.map(|operation| (operation.kind, operation.id.clone()));
            return Err(Refusal::NothingAllowed(id, service.state, occupier));
        }
        if !allowed.contains(&kind) {
            return Err(Refusal::NotAllowed(id, service.state));
        }
        Ok(Arc::clone(service))
    }

    fn create(
        &mut self,
        submission: &Submission<'_>,
        spec: &LocalServiceSpec,
        instances_per_host: u32,
    ) -> Result<ServiceId, Refusal> {
        let id = spec.service_id().map_err(|error| Refusal::InvalidServiceId(error.to_string()))?;
        if self.services.contains_key(&id) {
            return Err(Refusal::AlreadyExists(id));
        }
        check_count(instances_per_host)?;
        if spec.is_host_level() && instances_per_host > 1 {
            return Err(Refusal::HostLevelCount);
        }
        let generation = Generation(self.revision.0);
        let version = SpecVersion {
            spec: Arc::new(spec.clone()),
            at: submission.at,
            by: submission.by.to_owned(),
            restores: None,
            stop_first: false,
        };
        let service = Service {
            id: id.clone(),
            specs: Specs::new(generation, version),
            instances_per_host,
            activation: ActivationState::Inactive,
            test_host: None,
            state: ServiceState::Init,
            generation,
            created: submission.at,
            updated: submission.at,
        };
        self.services.insert(id.clone(), Arc::new(service));
        self.enter(submission.at, &id, ServiceState::Inactive);
        let mut operation = submission.operation(&id, OperationKind::Create, &How::default(), Vec::new());
        operation.state = OperationState::Succeeded;
        operation.finished = Some(submission.at);
        operation.generation = Some(generation);
        operation.instances_per_host = Some(instances_per_host);
        self.put_operation(submission.at, operation);
        Ok(id)
    }

    fn activate(&mut self, submission: &Submission<'_>, service: &Service) {
        self.enter(submission.at, &service.id, ServiceState::ActivationRequested);
        self.settle_if_empty(&service.id);
        let generation = self.set_activation(service, ActivationState::Active);
        self.try_again(&service.id, generation);
        self.enter(submission.at, &service.id, ServiceState::Active);
        self.begin(submission, service, OperationKind::Activate, &How::patient(service), Vec::new());
    }

    /// Begins a DEACTIVATE that follows from another request.
    pub(super) fn deactivate_for(&mut self, id: &OperationId, at: Timestamp, by: &str, service: &Service) {
        self.deactivate(&Submission { id, at, by, fingerprint: Uuid::nil() }, service);
    }

    /// One instance on one executor: which, is the reconciler's to choose.
    fn deploy_test(&mut self, submission: &Submission<'_>, service: &Service) {
        self.enter(submission.at, &service.id, ServiceState::ConfigTestingRequested);
        self.settle_if_empty(&service.id);
        let generation = self.set_activation(service, ActivationState::ConfigTesting);
        self.try_again(&service.id, generation);
        self.enter(submission.at, &service.id, ServiceState::ConfigTesting);
        self.begin(
            submission,
            service,
            OperationKind::DeployTestInstance,
            &How::patient(service),
            Vec::new(),
        );
    }

    fn adjust(&mut self, submission: &Submission<'_>, service: &Service, op_spec: Option<&ClusterOpSpec>) {
        self.enter(submission.at, &service.id, ServiceState::AdjustingInstances);
        let how = How::replacing(op_spec, false).no_shorter_than([service.spec().as_ref()]);
        let slots = self.leaving_slots(service);
        let mut operation = submission.operation(&service.id, OperationKind::AdjustInstances, &how, slots);
        operation.no_op = self.finds_nothing_to_do(&operation);
        self.put_operation(submission.at, operation);
    }

    /// Whether all slots that an operation which begins now could do something about are as wanted.
    fn finds_nothing_to_do(&self, operation: &Operation) -> bool {
        self.progress(operation)
            .iter()
            .all(|progress| matches!(progress.outcome, SlotOutcome::Done | SlotOutcome::Away))
    }

    fn retry(&mut self, submission: &Submission<'_>, service: &Service) {
        let generation = self.next_generation(service);
        if let Some(service) = self.services.get_mut(&service.id).map(Arc::make_mut) {
            service.generation = generation;
            service.updated = submission.at;
        }
        let (kind, how) = (OperationKind::Retry, How::patient(service));
        let mut operation = submission.operation(&service.id, kind, &how, Vec::new());
        operation.no_op = self.finds_nothing_to_do(&operation);
        self.try_again(&service.id, generation);
        self.supersede(submission, &service.id, kind, |earlier| earlier == kind);
        self.put_operation(submission.at, operation);
    }

    fn deactivate(&mut self, submission: &Submission<'_>, service: &Service) {
        self.enter(submission.at, &service.id, ServiceState::DeactivationRequested);
        self.set_activation(service, ActivationState::Inactive);
        self.enter(submission.at, &service.id, ServiceState::Inactive);
        let slots = self.held_slots(service);
        self.begin(submission, service, OperationKind::Deactivate, &How::patient(service), slots);
    }

    fn update_count(
        &mut self,
        submission: &Submission<'_>,
        service: &Service,
        instances_per_host: u32,
    ) -> Result<(), Refusal> {
        // What is stable may come back.
        if service.spec().is_host_level() || service.specs.stable_spec().is_host_level() {
            return Err(Refusal::HostLevelFixed);
        }
        check_count(instances_per_host)?;
        let how = How::patient(service);
        let mut operation =
            submission.operation(&service.id, OperationKind::UpdateInstanceCount, &how, Vec::new());
        operation.instances_per_host = Some(instances_per_host);
        operation.no_op =
            service.instances_per_host == instances_per_host && self.finds_nothing_to_do(&operation);
        self.enter(submission.at, &service.id, ServiceState::UpdatingInstancesCount);
        let generation = self.next_generation(service);
        if let Some(service) = self.services.get_mut(&service.id).map(Arc::make_mut) {
            service.instances_per_host = instances_per_host;
            service.generation = generation;
        }
        self.try_again(&service.id, generation);
        self.enter(submission.at, &service.id, service.resting_state());
        self.supersede(submission, &service.id, operation.kind, |_| true);
        self.put_operation(submission.at, operation);
        Ok(())
    }

    fn destroy(&mut self, submission: &Submission<'_>, service: &Service) {
        self.enter(submission.at, &service.id, ServiceState::DestroyRequested);
        let slots = self.held_slots(service);
        let timeout = self.retention.lost_after.saturating_add(DESTROY_PATIENCE);
        let timeout = DroveDuration::from_secs(timeout.as_secs());
        let op_spec = ClusterOpSpec { timeout, ..ClusterOpSpec::default() };
        let how = How { op_spec, stop_first: false };
        self.begin(submission, service, OperationKind::Destroy, &how, slots);
    }

    /// The revision, unless an earlier command of the same log entry took it already.
    pub(super) fn next_generation(&self, service: &Service) -> Generation {
        service.generation.next().max(Generation(self.revision.0))
    }

    fn set_activation(&mut self, service: &Service, activation: ActivationState) -> Generation {
        let generation = self.next_generation(service);
        if let Some(service) = self.services.get_mut(&service.id).map(Arc::make_mut) {
            service.activation = activation;
            service.test_host = None;
            service.generation = generation;
        }
        generation
    }

    /// The new generation lets slots that gave up try again; that they had given up says nothing
    /// about it.
    fn try_again(&mut self, service: &ServiceId, generation: Generation) {
        let slots: Vec<SlotId> = self.slots.of_service(service).map(|(slot, _)| slot).collect();
        for id in slots {
            if let Some(slot) = self.slots.get_mut(&id) {
                slot.generation = generation;
                if let Some(status) = slot.status.as_mut()
                    && matches!(status.phase, SlotPhase::Failed | SlotPhase::KeptOld)
                {
                    // Its version stays: the old news, should it come again, is no news.
                    status.generation = status.generation.map(|_| generation);
                    status.phase = SlotPhase::Filling;
                    status.reason = None;
                    "it is to be tried again".clone_into(&mut status.message);
                }
            }
            self.touch_table(&id.executor);
        }
    }

    /// Starts an operation that goes slot by slot, in waves.
    fn begin_waves(
        &mut self,
        submission: &Submission<'_>,
        service: &Service,
        kind: OperationKind,
        how: &How,
        slots: BTreeMap<SlotId, InstanceId>,
    ) -> Result<ServiceId, Refusal> {
        let how = &how.no_shorter_than([service.spec().as_ref()]);
        let mut slots = waiting(slots);
        choose_canaries(self, &how.op_spec, &[], &mut slots)?;
        let state = if kind == OperationKind::StopInstances {
            ServiceState::StoppingInstances
        } else {
            ServiceState::ReplacingInstances
        };
        self.enter(submission.at, &service.id, state);
        let mut operation = submission.operation(&service.id, kind, how, slots);
        operation.no_op = operation.slots.is_empty();
        self.put_operation(submission.at, operation);
        Ok(service.id.clone())
    }

    /// Replaces the instances that are named, or all that are HEALTHY where none is.
    fn replace_instances(
        &mut self,
        submission: &Submission<'_>,
        service: &Service,
        names: &[String],
        how: &How,
    ) -> Result<ServiceId, Refusal> {
        let slots = if names.is_empty() {
            self.healthy_slots(service)
        } else {
            self.named_slots(service, names).map_err(Refusal::NotReplaceable)?
        };
        self.begin_waves_of(submission, service, OperationKind::ReplaceInstances, how, (slots, names))
    }

    /// The same for slots whose instances the request named.
    fn begin_waves_of(
        &mut self,
        submission: &Submission<'_>,
        service: &Service,
        kind: OperationKind,
        how: &How,
        (slots, names): (BTreeMap<SlotId, InstanceId>, &[String]),
    ) -> Result<ServiceId, Refusal> {
        let id = self.begin_waves(submission, service, kind, how, slots)?;
        self.keep_names(submission, names);
        Ok(id)
    }

    /// An operation keeps the instances that its request named; they are known to be instances by now.
    fn keep_names(&mut self, submission: &Submission<'_>, names: &[String]) {
        if let Some(operation) = self.operations.get_running_mut(submission.id) {
            operation.instance_ids = names.iter().filter_map(|name| InstanceId::new(name).ok()).collect();
        }
    }

    /// Starts an operation that is over when the service's slots are as wanted. What was wanted
    /// before is not wanted any more: earlier operations of this kind end.
    fn begin(
        &mut self,
        submission: &Submission<'_>,
        service: &Service,
        kind: OperationKind,
        how: &How,
        slots: Vec<SlotProgress>,
    ) {
        self.supersede(submission, &service.id, kind, |_| true);
        self.put_operation(submission.at, submission.operation(&service.id, kind, how, slots));
    }

    /// Ends the operations of the chosen kinds that are at work: one of `kind` takes their place.
    fn supersede(
        &mut self,
        submission: &Submission<'_>,
        service: &ServiceId,
        kind: OperationKind,
        choose: impl Fn(OperationKind) -> bool,
    ) {
        let running = self.operations.running_of(service);
        let earlier: Vec<_> = running.filter(|earlier| choose(earlier.kind)).cloned().collect();
        for operation in earlier {
            let message = format!("superseded by {kind} {}", submission.id);
            self.end_operation(submission.at, &operation, OperationState::Cancelled, message);
        }
    }
}

fn check_count(instances_per_host: u32) -> Result<(), Refusal> {
    if INSTANCES_PER_HOST.contains(&instances_per_host) { Ok(()) } else { Err(Refusal::InstanceCount) }
}
