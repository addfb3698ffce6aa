//! Events in Drove's form (drove-wire.md §2.11).

use std::collections::BTreeMap;

use muster_common::event::Event;
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
    let (revision, n) = position;
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
        if events.len() >= size && events.last().is_none_or(|last| last.revision != position.0) {
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
    let mut tag = |name: &str, value: Value| {
        tags.insert(name.to_owned(), value);
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
            tag("LOCAL_SERVICE_ID", service.as_str().into());
            tag("LOCAL_SERVICE_NAME", name.as_str().into());
            tag("LOCAL_SERVICE_VERSION", version.as_str().into());
            tag("EXECUTABLE", executable.as_str().into());
            tag("CPU_COUNT", cpu.to_number().into());
            tag("MEMORY", (*memory_mb).into());
            tag("PLACEMENT_POLICY", "LOCAL".into());
            tag("PORTS", ports.as_str().into());
            tag("CURRENT_INSTANCES_PER_HOST", (*instances_per_host).into());
            tag("CURRENT_STATE", state.as_str().into());
        }
        Happening::Operation { operation, kind, service, state, error } => {
            tag("OPERATION_ID", operation.as_str().into());
            tag("TYPE", kind.as_str().into());
            tag("SERVICE_ID", service.as_str().into());
            tag("STATE", state.as_str().into());
            if !error.is_empty() {
                tag("ERROR", error.as_str().into());
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
            tag("SERVICE_ID", service.as_str().into());
            tag("SERVICE_NAME", service_name.as_str().into());
            tag("INSTANCE_ID", instance.as_str().into());
            tag("EXECUTOR_ID", executor.as_str().into());
            tag("CREATED", created.as_ms().into());
            tag("CURRENT_STATE", state.as_str().into());
            if let Some(hostname) = hostname {
                tag("EXECUTOR_HOST", hostname.as_str().into());
            }
            if let Some(ports) = ports {
                tag("PORTS", ports.as_str().into());
            }
            if !error.is_empty() {
                tag("ERROR", error.as_str().into());
            }
        }
        Happening::Exec(exec) => {
            tag("SERVICE_ID", exec.service.as_str().into());
            tag("INSTANCE_ID", exec.instance.as_str().into());
            tag("EXECUTOR_ID", exec.executor.as_str().into());
            tag("PROGRAM", exec.program.as_str().into());
            tag("USER", exec.by.as_str().into());
        }
        Happening::ExecutorAdded { executor, hostname, port } => {
            tag("EXECUTOR_ID", executor.as_str().into());
            tag("HOSTNAME", hostname.as_str().into());
            tag("PORT", (*port).into());
        }
        Happening::ExecutorDuty { executor, hostname, port, duty: _, reason } => {
            tag("EXECUTOR_ID", executor.as_str().into());
            tag("HOSTNAME", hostname.as_str().into());
            tag("PORT", (*port).into());
            if !reason.is_empty() {
                tag("ERROR", reason.as_str().into());
            }
        }
        Happening::ExecutorContact { executor, hostname, port, from: _, to, state, instances } => {
            tag("EXECUTOR_ID", executor.as_str().into());
            tag("HOSTNAME", hostname.as_str().into());
            tag("PORT", (*port).into());
            tag("CURRENT_STATE", state.as_str().into());
            tag("CONTACT", to.as_str().into());
            tag("INSTANCES", (*instances).into());
            if let Some(all_are) = shown_of_all_on(*to) {
                tag("INSTANCES_STATE", all_are.as_str().into());
                tag("ERROR", no_contact(executor).into());
            }
        }
        Happening::LeadershipAcquired { address }
        | Happening::LeadershipLost { address }
        | Happening::ClusterState { address, .. } => {
            tag("HOSTNAME", host(address).into());
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
