//! A state with a clock and a log index, and short words for what tests do to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use muster_common::cluster::ClusterState;
use muster_common::evidence::Transition;
use muster_common::executor::{ExecutorRecord, ExecutorState, NodeLayout};
use muster_common::id::{Epoch, ExecutorId, InstanceId, OperationId, Revision, ServiceId, SlotId};
use muster_common::instance::{
    InstanceInfo, InstancePort, InstanceRecord, InstanceState, LocalInfo, ResourceAllocation, RunnerKind,
};
use muster_common::operation::{ClusterOpSpec, Operation, OperationRequest, Steer};
use muster_common::slot::{SlotPhase, SlotStatus};
use muster_common::spec::{LocalServiceSpec, PortType};
use muster_common::time::Timestamp;

use super::{
    Change, Command, Contact, ExecutorReport, Refusal, Reply, ReportAck, Retention, Service, State, Steered,
    Wish, view,
};
use crate::reconcile;

pub(crate) fn service_id(text: &str) -> ServiceId {
    ServiceId::new(text).unwrap()
}

pub(crate) fn executor_id(text: &str) -> ExecutorId {
    ExecutorId::new(text).unwrap()
}

pub(crate) fn instance_id(text: &str) -> InstanceId {
    InstanceId::new(text).unwrap()
}

pub(crate) fn operation_id(text: &str) -> OperationId {
    OperationId::new(text).unwrap()
}

pub(crate) fn slot_id(service: &str, executor: &str, index: u32) -> SlotId {
    SlotId { service: service_id(service), executor: executor_id(executor), index }
}

/// `name` in version 1 with random host ports.
pub(crate) fn spec(name: &str) -> LocalServiceSpec {
    spec_with(name, false)
}

pub(crate) fn spec_with(name: &str, host_level: bool) -> LocalServiceSpec {
    let check = serde_json::json!({
        "mode": {"type": "HTTP", "protocol": "HTTP", "portName": "main", "path": "/", "verb": "GET",
                 "successCodes": [200]},
        "timeout": "1 second", "interval": "5 seconds", "attempts": 3
    });
    let spec = serde_json::json!({
        "name": name, "version": "1", "type": "LOCAL_SERVICE",
        "executable": {"type": "DOCKER", "url": "registry.example.org/team/web:1.0",
                       "dockerPullTimeout": "100 seconds"},
        "exposedPorts": [{"name": "main", "port": 8000, "type": "HTTP"}],
        "resources": [{"type": "CPU", "count": 1}, {"type": "MEMORY", "sizeInMB": 128}],
        "placementPolicy": {"type": "LOCAL", "hostLevel": host_level},
        "healthcheck": check, "readiness": check,
        "tags": {"team": "platform"}
    });
    serde_json::from_value(spec).unwrap()
}

/// `name` in version 1, for executors with certain tags only.
pub(crate) fn spec_for(name: &str, tags: &serde_json::Value) -> LocalServiceSpec {
    let mut spec = serde_json::to_value(spec(name)).unwrap();
    spec["placementPolicy"]["tags"] = tags.clone();
    serde_json::from_value(spec).unwrap()
}

pub(crate) fn executor_record(id: &str) -> ExecutorRecord {
    ExecutorRecord {
        id: executor_id(id),
        hostname: format!("{id}.example.org"),
        api_port: 4200,
        incarnation: 1,
        boot_id: "boot".to_owned(),
        version: "0.1.0".to_owned(),
        tags: vec![format!("{id}.example.org")],
        layout: NodeLayout {
            cores: BTreeMap::from([(0, vec![2, 3, 4, 5])]),
            memory: BTreeMap::from([(0, 19_026)]),
        },
        core_overcommit: 1,
    }
}

/// A record in `state`, the way there in its timeline, one transition per version.
pub(crate) fn record(id: &str, slot: &SlotId, epoch: Epoch, way: &[InstanceState]) -> InstanceRecord {
    let created = Timestamp(1_719_892_354_194);
    let mut from = InstanceState::Pending;
    let mut timeline = Vec::new();
    for (step, to) in way.iter().enumerate() {
        let at = Timestamp(created.0 + 1000 * (step as u64 + 1));
        timeline.push(Transition { at, from, to: *to, reason: None, message: String::new(), repeats: None });
        from = *to;
    }
    let updated = timeline.last().map_or(created, |last| last.at);
    InstanceRecord {
        id: instance_id(id),
        slot: slot.clone(),
        service_name: slot.service.as_str().trim_end_matches("-1").to_owned(),
        epoch,
        generation: muster_common::id::Generation(1),
        version: way.len() as u64 + 1,
        state: from,
        reason: None,
        error_message: String::new(),
        runner: RunnerKind::Docker,
        local_info: from.is_running().then(|| LocalInfo {
            hostname: format!("{}.example.org", slot.executor),
            ports: BTreeMap::from([(
                "main".to_owned(),
                InstancePort { container_port: 8000, host_port: 33_857, port_type: PortType::Http },
            )]),
        }),
        resources: vec![
            ResourceAllocation::Cpu { cores: BTreeMap::from([(0, vec![2])]) },
            ResourceAllocation::Memory { memory_in_mb: BTreeMap::from([(0, 128)]) },
        ],
        created,
        updated,
        started: None,
        finished: None,
        timeline,
        probes: Vec::new(),
        evidence: None,
        warnings: Vec::new(),
    }
}

/// The ordinary way up, from the first state.
pub(crate) const UP: [InstanceState; 5] = {
    let [_, up @ .., _, _, _] = InstanceState::LIFE;
    up
};

/// Up, and down again.
pub(crate) const UP_AND_DOWN: [InstanceState; 8] = {
    let [_, way @ ..] = InstanceState::LIFE;
    way
};

/// A state under test.
#[derive(Clone)]
pub(crate) struct Fixture {
    pub(crate) state: State,
    pub(crate) now: Timestamp,
    /// Every command so far, as it is stored.
    pub(crate) log: Vec<Bytes>,
    operations: u64,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self { state: State::default(), now: Timestamp(1_000_000), log: Vec::new(), operations: 0 }
    }

    /// With `executors` registered as `e1`, `e2`, …
    pub(crate) fn with_executors(executors: usize) -> Self {
        let mut fixture = Self::new();
        for n in 1..=executors {
            fixture.register(&format!("e{n}"), None);
        }
        fixture
    }

    pub(crate) fn apply(&mut self, command: &Command) -> Reply {
        self.apply_in_term(0, command)
    }

    /// So much is kept from now on.
    pub(crate) fn retain(&mut self, retention: Retention) -> Reply {
        self.apply(&Command::Plan { at: self.now, changes: vec![Change::Retain(retention)] })
    }

    pub(crate) fn advance(&mut self, seconds: u64) {
        self.now.0 += seconds * 1000;
    }

    pub(crate) fn register(&mut self, executor: &str, holds: Option<&[&str]>) {
        let holds = holds.map(|holds| holds.iter().map(|id| instance_id(id)).collect());
        let record = Box::new(executor_record(executor));
        let reply = self.apply(&Command::RegisterExecutor { at: self.now, record, holds });
        assert_eq!(reply, Reply::Done);
    }

    /// An executor that names a zone; none: `""`.
    pub(crate) fn register_in_zone(&mut self, executor: &str, zone: &str) {
        let mut record = executor_record(executor);
        record.tags.extend((!zone.is_empty()).then(|| format!("zone={zone}")));
        let command = Command::RegisterExecutor { at: self.now, record: Box::new(record), holds: None };
        assert_eq!(self.apply(&command), Reply::Done);
    }

    pub(crate) fn contact(&mut self, executor: &str, contact: Contact) {
        let is_here = || self.state.is_connected(&executor_id(executor));
        if contact == Contact::Lost && is_here() {
            self.contact(executor, Contact::Unreachable);
        }
        let verdicts = vec![(executor_id(executor), contact)];
        let reply = self.apply(&Command::ExecutorContact { at: self.now, verdicts });
        assert_eq!(reply, Reply::Done);
    }

    /// Submits `request`; the operation's id, or why not.
    pub(crate) fn submit(&mut self, request: OperationRequest) -> Result<OperationId, Refusal> {
        self.operations += 1;
        let id = OperationId::new(format!("OP-{}", self.operations)).unwrap();
        let command = Command::SubmitOperation {
            id: id.clone(),
            request: Box::new(request),
            at: self.now,
            by: "tester".to_owned(),
            if_generation: None,
        };
        match self.apply(&command) {
            Reply::Accepted { operation, .. } => {
                assert_eq!(operation, id);
                Ok(id)
            }
            Reply::Refused(refusal) => Err(refusal),
            other => panic!("unexpected reply {other:?}"),
        }
    }

    pub(crate) fn create(&mut self, spec: LocalServiceSpec, instances_per_host: u32) {
        self.submit(OperationRequest::Create { spec: Box::new(spec), instances_per_host }).unwrap();
    }

    pub(crate) fn activate(&mut self, service: &str) -> OperationId {
        self.submit(OperationRequest::Activate { service_id: service.to_owned() }).unwrap()
    }

    pub(crate) fn deactivate(&mut self, service: &str) -> OperationId {
        self.submit(OperationRequest::Deactivate { service_id: service.to_owned() }).unwrap()
    }

    pub(crate) fn destroy(&mut self, service: &str) -> OperationId {
        self.submit(OperationRequest::Destroy { service_id: service.to_owned() }).unwrap()
    }

    pub(crate) fn restart(&mut self, service: &str, op_spec: ClusterOpSpec, stop_first: bool) -> OperationId {
        let request = OperationRequest::Restart {
            service_id: service.to_owned(),
            stop_first,
            cluster_op_spec: Some(op_spec),
        };
        self.submit(request).unwrap()
    }

    /// Steers an operation; why not, if it cannot be.
    pub(crate) fn steer(&mut self, operation: &OperationId, steer: Steer) -> Result<(), Refusal> {
        let which = Steered::Operation(operation.clone());
        match self.apply(&Command::SteerOperation { at: self.now, which, steer, by: "tester".to_owned() }) {
            Reply::Accepted { .. } => Ok(()),
            Reply::Refused(refusal) => Err(refusal),
            other => panic!("unexpected reply {other:?}"),
        }
    }

    /// Gives one executor another duty; why not, if it cannot have it.
    pub(crate) fn change_duty(&mut self, executor: &str, wish: Wish) -> Result<(), Refusal> {
        let executors = vec![executor_id(executor)];
        let command = Command::ChangeDuty { at: self.now, wish, executors, by: "ann".to_owned() };
        match self.apply(&command) {
            Reply::Duties { changed, .. } if changed.len() == 1 => Ok(()),
            Reply::Duties { mut refused, .. } if refused.len() == 1 => Err(refused.remove(0).1),
            Reply::Refused(refusal) => Err(refusal),
            other => panic!("unexpected reply {other:?}"),
        }
    }

    /// Gives an executor tags.
    pub(crate) fn tag(&mut self, executor: &str, tags: &[&str]) {
        let tags = tags.iter().map(|&tag| tag.to_owned()).collect();
        let command = Command::TagExecutor { at: self.now, executor: executor_id(executor), tags };
        assert_eq!(self.apply(&command), Reply::Done);
    }

    /// What users see of where an executor is.
    pub(crate) fn shown_state(&self, executor: &str) -> ExecutorState {
        self.state.executor(&executor_id(executor)).unwrap().shown_state()
    }

    /// Closes the cluster for maintenance, or opens it again.
    pub(crate) fn set_cluster_state(&mut self, state: ClusterState) {
        let address = "127.0.0.1:4000".to_owned();
        let reply = self.apply(&Command::SetClusterState { at: self.now, state, address });
        assert_eq!(reply, Reply::Done);
    }

    /// Another controller leads from now on, whose clock shows another time.
    pub(crate) fn lead_at(&mut self, now: Timestamp) {
        self.now = now;
        let address = "127.0.0.1:4000".to_owned();
        assert_eq!(self.apply(&Command::AnnounceLeader { at: now, address }), Reply::Done);
    }

    /// As [`Self::apply`], proposed by the leader of `term`.
    pub(crate) fn apply_in_term(&mut self, term: u64, command: &Command) -> Reply {
        self.log.push(command.encode_in_term(term));
        self.state.apply_in_term(Revision(self.log.len() as u64), term, command)
    }

    /// A controller leads from now on, in `term`.
    pub(crate) fn lead_in_term(&mut self, term: u64) {
        let announced = Command::AnnounceLeader { at: self.now, address: "127.0.0.1:4000".to_owned() };
        assert_eq!(self.apply_in_term(term, &announced), Reply::Done);
    }

    pub(crate) fn report(
        &mut self,
        executor: &str,
        instances: Vec<InstanceRecord>,
        slots: Vec<SlotStatus>,
    ) -> ReportAck {
        let instances = instances.into_iter().map(Arc::new).collect();
        let reports = vec![ExecutorReport { executor: executor_id(executor), instances, slots }];
        match self.apply(&Command::Reports { at: self.now, reports }) {
            Reply::Reported(mut acks) if acks.len() == 1 => acks.remove(0),
            other => panic!("unexpected reply {other:?}"),
        }
    }

    /// Reports an instance of the slot's present epoch that took `way`.
    pub(crate) fn report_in(&mut self, id: &str, slot: &SlotId, way: &[InstanceState]) -> InstanceRecord {
        let epoch = self.state.slot(slot).map_or(Epoch(1), |slot| slot.epoch);
        let record = record(id, slot, epoch, way);
        let ack = self.report(slot.executor.as_str(), vec![record.clone()], Vec::new());
        assert!(ack.refused.is_empty(), "{ack:?}");
        record
    }

    /// Reports a slot's status at its present epoch. One that backs off failed once more.
    pub(crate) fn report_status(&mut self, slot: &SlotId, phase: SlotPhase, message: &str) {
        let current = self.state.slot(slot).unwrap();
        let status = SlotStatus {
            service: slot.service.clone(),
            index: slot.index,
            epoch: current.epoch,
            generation: Some(current.generation),
            phase,
            restarts: current.restarts() + u64::from(phase == SlotPhase::Backoff),
            retry_at: None,
            reason: None,
            message: message.to_owned(),
            version: current.status.as_ref().map_or(1, |status| status.version + 1),
        };
        self.report(slot.executor.as_str(), Vec::new(), vec![status]);
    }

    /// Applies one plan; its changes.
    pub(crate) fn reconcile(&mut self) -> Vec<Change> {
        let changes = reconcile::plan(&self.state, self.now).changes;
        if !changes.is_empty() {
            self.apply(&Command::Plan { at: self.now, changes: changes.clone() });
        }
        changes
    }

    /// Applies plans until there is nothing to change.
    pub(crate) fn settle(&mut self) {
        for _ in 0..1000 {
            if self.reconcile().is_empty() {
                return;
            }
        }
        panic!("plans do not come to an end: {:?}", reconcile::plan(&self.state, self.now));
    }

    /// An active service, all its slots filled by instances named `<service>.<executor>.<index>`.
    pub(crate) fn running(&mut self, spec: LocalServiceSpec, instances_per_host: u32) -> ServiceId {
        let id = spec.service_id().unwrap();
        self.create(spec, instances_per_host);
        self.activate(id.as_str());
        self.settle();
        let slots: Vec<SlotId> = self.state.slots_of(&id).map(|(slot, _)| slot).collect();
        for slot in slots {
            self.report_in(&name_in(&slot), &slot, &UP);
        }
        self.settle();
        id
    }

    pub(crate) fn active_instances(&self, service: &str) -> Vec<InstanceInfo> {
        let (all, range) = (view::InstanceFilter::default(), (0, usize::MAX));
        view::active_instances(&self.state, &service_id(service), &all, range, view::Detail::Brief).items
    }

    pub(crate) fn old_instances(&self, service: &str) -> Vec<InstanceInfo> {
        let all = view::InstanceFilter::default();
        view::old_instances(&self.state, &service_id(service), &all, (0, usize::MAX)).items
    }

    pub(crate) fn service(&self, id: &str) -> &Service {
        self.state.service(&service_id(id)).unwrap()
    }

    pub(crate) fn operation(&self, id: &OperationId) -> Operation {
        view::operation(&self.state, id).unwrap()
    }
}

/// The name that [`Fixture::running`] gives to the instance in a slot.
pub(crate) fn name_in(slot: &SlotId) -> String {
    format!("{}.{}.{}", slot.service, slot.executor, slot.index)
}
