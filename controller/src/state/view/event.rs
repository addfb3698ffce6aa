//! Events in Drove's form (docs/drove-api.md §2.11).

use std::collections::BTreeMap;

use muster_common::event::{Event, EventTag};
use muster_common::executor::Contact;
use muster_common::instance::InstanceState;
use muster_common::time::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::address::host;
use crate::state::{EventPosition, EventRecord, Happening, State, no_contact};

/// One event as it is shown.
#[must_use]
pub(crate) fn event(position: EventPosition, record: &EventRecord) -> Event {
    let EventPosition { revision, n } = position;
    Event {
        kind: record.what.kind(),
        id: Uuid::new_v3(&Uuid::NAMESPACE_OID, format!("muster/{revision}/{n}").as_bytes()).to_string(),
        time: record.at,
        metadata: metadata(&record.what),
        revision,
    }
}

/// At most `size` events after the one at `position`, oldest first; but of the last revision all, so that a reader can
/// go on from that. None, where none are asked for.
#[must_use]
pub(crate) fn events_from(state: &State, position: EventPosition, size: usize) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    for (position, record) in state.events_behind(position) {
        if events.len() >= size && events.last().is_none_or(|last| last.revision != position.revision) {
            break;
        }
        events.push(event(*position, record));
    }
    events
}

/// At most `size` events that are younger than `since`, newest first.
#[must_use]
pub(crate) fn events_newest_first(state: &State, since: Timestamp, size: usize) -> Vec<Event> {
    let newest_first = state.events_after(muster_common::id::Revision(0)).rev();
    newest_first
        .take_while(|(_, record)| record.at > since)
        .take(size)
        .map(|(position, record)| event(*position, record))
        .collect()
}

fn metadata(what: &Happening) -> BTreeMap<String, Value> {
    let mut tags = BTreeMap::new();
    let mut tag = |name: EventTag, value: Value| {
        tags.insert(name.to_string(), value);
    };
    match what {
        Happening::Service {
            service,
            name,
            version,
            executable,
            cpu,
            memory_mb,
            ports,
            instances_per_host,
            state,
        } => {
            tag(EventTag::LocalServiceId, service.as_str().into());
            tag(EventTag::LocalServiceName, name.as_str().into());
            tag(EventTag::LocalServiceVersion, version.as_str().into());
            tag(EventTag::Executable, executable.as_str().into());
            tag(EventTag::CpuCount, cpu.to_number().into());
            tag(EventTag::Memory, (*memory_mb).into());
            tag(EventTag::PlacementPolicy, "LOCAL".into());
            tag(EventTag::Ports, ports.as_str().into());
            tag(EventTag::CurrentInstancesPerHost, (*instances_per_host).into());
            tag(EventTag::CurrentState, state.as_str().into());
        }
        Happening::Operation { operation, kind, service, state, error } => {
            tag(EventTag::OperationId, operation.as_str().into());
            tag(EventTag::Type, kind.as_str().into());
            tag(EventTag::ServiceId, service.as_str().into());
            tag(EventTag::State, state.as_str().into());
            if !error.is_empty() {
                tag(EventTag::Error, error.as_str().into());
            }
        }
        Happening::Instance {
            service,
            service_name,
            instance,
            executor,
            hostname,
            ports,
            created,
            state,
            error,
        } => {
            tag(EventTag::ServiceId, service.as_str().into());
            tag(EventTag::ServiceName, service_name.as_str().into());
            tag(EventTag::InstanceId, instance.as_str().into());
            tag(EventTag::ExecutorId, executor.as_str().into());
            tag(EventTag::Created, created.as_ms().into());
            tag(EventTag::CurrentState, state.as_str().into());
            if let Some(hostname) = hostname {
                tag(EventTag::ExecutorHost, hostname.as_str().into());
            }
            if let Some(ports) = ports {
                tag(EventTag::Ports, ports.as_str().into());
            }
            if !error.is_empty() {
                tag(EventTag::Error, error.as_str().into());
            }
        }
        Happening::Exec(exec) => {
            tag(EventTag::ServiceId, exec.service.as_str().into());
            tag(EventTag::InstanceId, exec.instance.as_str().into());
            tag(EventTag::ExecutorId, exec.executor.as_str().into());
            tag(EventTag::Program, exec.program.as_str().into());
            tag(EventTag::User, exec.by.as_str().into());
        }
        Happening::ExecutorAdded { executor, hostname, port } => {
            tag(EventTag::ExecutorId, executor.as_str().into());
            tag(EventTag::Hostname, hostname.as_str().into());
            tag(EventTag::Port, (*port).into());
        }
        Happening::ExecutorDuty { executor, hostname, port, duty: _, reason } => {
            tag(EventTag::ExecutorId, executor.as_str().into());
            tag(EventTag::Hostname, hostname.as_str().into());
            tag(EventTag::Port, (*port).into());
            if !reason.is_empty() {
                tag(EventTag::Error, reason.as_str().into());
            }
        }
        Happening::ExecutorContact { executor, hostname, port, from: _, to, state, instances } => {
            tag(EventTag::ExecutorId, executor.as_str().into());
            tag(EventTag::Hostname, hostname.as_str().into());
            tag(EventTag::Port, (*port).into());
            tag(EventTag::CurrentState, state.as_str().into());
            tag(EventTag::Contact, to.as_str().into());
            tag(EventTag::Instances, (*instances).into());
            if let Some(all_are) = shown_of_all_on(*to) {
                tag(EventTag::InstancesState, all_are.as_str().into());
                tag(EventTag::Error, no_contact(executor).into());
            }
        }
        Happening::LeadershipAcquired { address }
        | Happening::LeadershipLost { address }
        | Happening::ClusterState { address, .. } => {
            tag(EventTag::Hostname, host(address).into());
        }
    }
    tags
}

/// What is shown of all that lives on an executor, where that follows from its contact alone.
const fn shown_of_all_on(contact: Contact) -> Option<InstanceState> {
    match contact {
        Contact::Connected => None,
        Contact::Unreachable => Some(InstanceState::Unknown),
        Contact::Lost => Some(InstanceState::Lost),
    }
}
