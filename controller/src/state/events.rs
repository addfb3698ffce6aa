//! The events: what happened, in the order of the log. Only the newest are kept.

use std::sync::Arc;
use std::time::Duration;

use imbl::Vector;
use muster_common::cluster::ClusterState;
use muster_common::event::EventType;
use muster_common::executor::{Contact, ExecutorState};
use muster_common::id::{ExecutorId, InstanceId, OperationId, Revision, ServiceId};
use muster_common::instance::{InstanceRecord, InstanceState, LocalInfo};
use muster_common::operation::{Operation, OperationKind, OperationState};
use muster_common::service::ServiceState;
use muster_common::spec::{CpuCount, LocalServiceSpec};
use muster_common::time::{LedTime, Timestamp};

use super::{EventPosition, ExecNoted, Moment, Service};

/// What an event tells. How it is written on the wire is for the view to know.
#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    /// A service entered a state.
    Service {
        /// The service.
        service: ServiceId,
        /// The spec's name.
        name: String,
        /// The spec's version.
        version: String,
        /// The image or the program.
        executable: String,
        /// The CPU requirement.
        cpu: CpuCount,
        /// The memory requirement.
        memory_mb: u64,
        /// `name:port:type`, comma-separated.
        ports: String,
        /// Its count at that time.
        instances_per_host: u32,
        /// The state it entered.
        state: ServiceState,
    },
    /// An operation entered a state.
    Operation {
        /// The operation.
        operation: OperationId,
        /// What it does.
        kind: OperationKind,
        /// The service.
        service: ServiceId,
        /// The state it entered.
        state: OperationState,
        /// Why, where it did not go well; empty otherwise.
        error: String,
    },
    /// An instance entered a state.
    Instance {
        /// The service.
        service: ServiceId,
        /// The service's name.
        service_name: String,
        /// The instance.
        instance: InstanceId,
        /// Where it runs.
        executor: ExecutorId,
        /// The node's host name, once the instance's place is known.
        hostname: Option<String>,
        /// `name:hostPort:type`, comma-separated, once known.
        ports: Option<String>,
        /// When it was minted.
        created: Timestamp,
        /// The state it entered.
        state: InstanceState,
        /// Its error; empty when none.
        error: String,
    },
    /// Somebody is about to run a command beside an instance.
    Exec(ExecNoted),
    /// An executor registered for the first time.
    ExecutorAdded {
        /// The executor.
        executor: ExecutorId,
        /// The node's host name.
        hostname: String,
        /// The port of its API.
        port: u16,
    },
    /// An executor has another duty.
    ExecutorDuty {
        /// The executor.
        executor: ExecutorId,
        /// The node's host name.
        hostname: String,
        /// The port of its API.
        port: u16,
        /// Its duty from then on.
        duty: ExecutorState,
        /// Why, where nobody asked for it; empty otherwise.
        reason: String,
    },
    /// An executor is heard, not heard, or lost. This event stands for all instances on it, because the state that is shown
    /// of them follows from the executor's contact. One event for each instance would say nothing more, and when a rack
    /// falls silent those would drive all other events out.
    ExecutorContact {
        /// The executor.
        executor: ExecutorId,
        /// The node's host name.
        hostname: String,
        /// The port of its API.
        port: u16,
        /// Its contact before.
        from: Contact,
        /// Its contact from then on.
        to: Contact,
        /// The state that is shown of it from then on.
        state: ExecutorState,
        /// How many instances lived on it.
        instances: u32,
    },
    /// A controller began to lead.
    LeadershipAcquired {
        /// `host:port` of its API.
        address: String,
    },
    /// A controller does not lead any more.
    LeadershipLost {
        /// `host:port` of its API.
        address: String,
    },
    /// The cluster was closed for maintenance, or opened again.
    ClusterState {
        /// What it is from then on.
        state: ClusterState,
        /// `host:port` of the API of the controller that was asked.
        address: String,
    },
}

impl Happening {
    /// A service entered its state.
    pub(super) fn service(service: &Service) -> Self {
        let spec = service.spec();
        Self::Service {
            service: service.id.clone(),
            name: spec.name.clone(),
            version: spec.version.clone(),
            executable: spec
                .executable
                .as_ref()
                .map_or_else(String::new, |executable| executable.name().to_owned()),
            cpu: spec.cpu_count(),
            memory_mb: spec.memory_mb(),
            ports: declared_ports(spec),
            instances_per_host: service.instances_per_host,
            state: service.state,
        }
    }

    /// An operation entered its state.
    pub(super) fn operation(operation: &Operation) -> Self {
        let went_wrong = match operation.state {
            OperationState::Failed | OperationState::Cancelled | OperationState::RollingBack => true,
            OperationState::Running
            | OperationState::Paused
            | OperationState::AwaitingPromotion
            | OperationState::Succeeded => false,
        };
        Self::Operation {
            operation: operation.id.clone(),
            kind: operation.kind,
            service: operation.service.clone(),
            state: operation.state,
            error: if went_wrong { operation.message.clone() } else { String::new() },
        }
    }

    /// An instance entered `state`.
    pub(super) fn instance(record: &InstanceRecord, state: InstanceState, error: &str) -> Self {
        Self::Instance {
            service: record.slot.service.clone(),
            service_name: record.service_name.clone(),
            instance: record.id.clone(),
            executor: record.slot.executor.clone(),
            hostname: record.local_info.as_ref().map(|info| info.hostname.clone()),
            ports: record.local_info.as_ref().map(given_ports),
            created: record.created,
            state,
            error: error.to_owned(),
        }
    }

    /// The service and the executor that it is about, where it is about such.
    pub(crate) const fn about(&self) -> (Option<&ServiceId>, Option<&ExecutorId>) {
        match self {
            Self::Service { service, .. } | Self::Operation { service, .. } => (Some(service), None),
            Self::Instance { service, executor, .. } | Self::Exec(ExecNoted { service, executor, .. }) => {
                (Some(service), Some(executor))
            }
            Self::ExecutorAdded { executor, .. }
            | Self::ExecutorDuty { executor, .. }
            | Self::ExecutorContact { executor, .. } => (None, Some(executor)),
            Self::LeadershipAcquired { .. } | Self::LeadershipLost { .. } | Self::ClusterState { .. } => {
                (None, None)
            }
        }
    }

    /// Its kind on the wire.
    #[must_use]
    pub const fn kind(&self) -> EventType {
        match self {
            Self::Service { .. } => EventType::LocalServiceStateChange,
            Self::Operation { .. } => EventType::OperationStateChange,
            Self::Instance { .. } => EventType::LocalServiceInstanceStateChange,
            Self::Exec(_) => EventType::InstanceExec,
            Self::ExecutorAdded { .. } => EventType::ExecutorAdded,
            Self::ExecutorDuty { duty, .. } => match duty {
                ExecutorState::Active | ExecutorState::Unready => EventType::ExecutorUnBlacklisted,
                ExecutorState::BlacklistRequested => EventType::ExecutorBlacklistRequested,
                ExecutorState::Blacklisted => EventType::ExecutorBlacklisted,
                ExecutorState::Draining => EventType::ExecutorDrainRequested,
                ExecutorState::Removed => EventType::ExecutorRemoved,
            },
            Self::ExecutorContact { from, to, .. } => match (from, to) {
                (_, Contact::Unreachable) => EventType::ExecutorUnknown,
                (_, Contact::Lost) => EventType::ExecutorRemoved,
                // Drove's consumers were told that it is removed, and must be told that it is there.
                (Contact::Lost, Contact::Connected) => EventType::ExecutorAdded,
                (Contact::Connected | Contact::Unreachable, Contact::Connected) => EventType::ExecutorFound,
            },
            Self::LeadershipAcquired { .. } => EventType::LeadershipAcquired,
            Self::LeadershipLost { .. } => EventType::LeadershipLost,
            Self::ClusterState { state: ClusterState::Maintenance, .. } => EventType::MaintenanceModeSet,
            Self::ClusterState { state: ClusterState::Normal, .. } => EventType::MaintenanceModeRemoved,
        }
    }
}

/// `main:8000:http`, comma-separated.
fn declared_ports(spec: &LocalServiceSpec) -> String {
    let ports = spec.exposed_ports.iter().map(|port| {
        let kind = port.port_type.map_or("", |kind| kind.as_str()).to_ascii_lowercase();
        format!("{}:{}:{kind}", port.name, port.port)
    });
    ports.collect::<Vec<_>>().join(",")
}

/// `main:33857:http`, comma-separated.
fn given_ports(info: &LocalInfo) -> String {
    let ports = info.ports.iter().map(|(name, port)| {
        format!("{name}:{}:{}", port.host_port, port.port_type.as_str().to_ascii_lowercase())
    });
    ports.collect::<Vec<_>>().join(",")
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRecord {
    /// The time, by the clock of the controller that saw it.
    pub at: Timestamp,
    /// The same moment in leaders' time, by which its age is counted.
    pub led: LedTime,
    /// What happened.
    pub what: Happening,
}

/// The least difference between the times of two revisions, in ms.
const TICK: Duration = Duration::from_millis(1);

/// The window of events: added at one end, forgotten at the other.
#[derive(Debug, Clone, Default)]
pub(super) struct Events {
    /// By position.
    log: Vector<(EventPosition, Arc<EventRecord>)>,
    /// Events up to and with this revision may be missing.
    compacted: Revision,
}

impl Events {
    /// Adds an event. Readers that go on from the newest time they saw miss nothing and see nothing twice: the time grows
    /// from revision to revision, also when the next leader's clock is behind or two come in one millisecond, and
    /// those of one revision have the same. Keeps at most `max` events.
    pub(super) fn push(&mut self, revision: Revision, moment: Moment, what: Happening, max: u32) {
        let Moment { led, at } = moment;
        let (n, at) = match self.log.back() {
            Some((last, newest)) if last.revision == revision => (last.n + 1, newest.at),
            Some((_, newest)) => (0, at.max(newest.at.plus(TICK))),
            None => (0, at),
        };
        self.append(EventPosition::new(revision, n), EventRecord { at, led, what });
        self.trim(max);
    }

    /// Keeps at most `max` events.
    pub(super) fn trim(&mut self, max: u32) {
        while self.log.len() > usize::try_from(max).unwrap_or(usize::MAX) {
            self.drop_oldest();
        }
    }

    /// Adds an event that comes after all others.
    pub(super) fn append(&mut self, position: EventPosition, event: EventRecord) {
        self.log.push_back((position, Arc::new(event)));
    }

    /// How many events `revision`, the last one, has brought so far.
    pub(super) fn count_of(&self, revision: Revision) -> u32 {
        self.log.back().filter(|(last, _)| last.revision == revision).map_or(0, |(last, _)| last.n + 1)
    }

    pub(super) fn compacted(&self) -> Revision {
        self.compacted
    }

    pub(super) fn set_compacted(&mut self, revision: Revision) {
        self.compacted = revision;
    }

    /// Oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (&EventPosition, &Arc<EventRecord>)> {
        self.log.iter().map(|(position, event)| (position, event))
    }

    /// Those after `position`, oldest first.
    pub(super) fn after(
        &self,
        position: EventPosition,
    ) -> impl DoubleEndedIterator<Item = (&EventPosition, &Arc<EventRecord>)> {
        let first = match self.log.binary_search_by_key(&position, |(position, _)| *position) {
            Ok(place) => place + 1,
            Err(place) => place,
        };
        self.log.focus().narrow(first..).into_iter().map(|(position, event)| (position, event))
    }

    /// Whether nothing that came after `position` is missing.
    pub(super) fn reach_back_to(&self, position: EventPosition) -> bool {
        position.revision > self.compacted || position == EventPosition::end_of(self.compacted)
    }

    /// The oldest event's time, to know when retention is due.
    pub(super) fn oldest(&self) -> Option<LedTime> {
        self.log.front().map(|(_, event)| event.led)
    }

    /// Forgets the oldest events as long as they are from before `moment`; says how many.
    pub(super) fn prune(&mut self, moment: LedTime) -> usize {
        let mut dropped = 0;
        while self.oldest().is_some_and(|oldest| oldest < moment) {
            self.drop_oldest();
            dropped += 1;
        }
        dropped
    }

    fn drop_oldest(&mut self) {
        if let Some((position, _)) = self.log.pop_front() {
            // What a restored group lost is later than all that is kept of it.
            self.compacted = self.compacted.max(position.revision);
        }
    }
}
