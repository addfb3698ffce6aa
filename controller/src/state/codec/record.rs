//! Services, executors, slots, instances and events as they are stored.

use std::sync::Arc;

use muster_common::evidence::Transition;
use muster_common::executor::ExecutorRecord;
use muster_common::id::{Epoch, Generation, Revision, SlotId};
use muster_common::instance::InstanceRecord;
use muster_common::slot::SlotStatus;
use muster_common::spec::{CpuCount, LocalServiceSpec};
use muster_common::time::{LedTime, Timestamp};
use muster_proto::v1::stored_event::What;
use muster_proto::{Fields, Malformed, v1};

use super::name_or_empty;
use crate::state::{
    Drain, EventPosition, EventRecord, Executor, Happening, Instance, Moment, Remark, Service, Slot,
    SpecVersion, Specs,
};

/// Older versions told it by the leaders' clocks alone.
fn read_moment(led_ms: Option<u64>, at_ms: u64) -> Moment {
    Moment { led: LedTime(led_ms.unwrap_or(at_ms)), at: Timestamp(at_ms) }
}

pub(super) fn write_service(service: &Service) -> v1::StoredService {
    v1::StoredService {
        instances_per_host: service.instances_per_host,
        activation: service.activation.to_string(),
        state: service.state.to_string(),
        generation: service.generation.0,
        created_ms: service.created.as_ms(),
        updated_ms: service.updated.as_ms(),
        specs: service.specs.iter().map(|(generation, version)| write_spec(generation, version)).collect(),
        wanted: service.specs.wanted().0,
        stable: service.specs.stable().0,
        test_host: name_or_empty(service.test_host.as_ref()),
    }
}

fn write_spec(generation: Generation, version: &SpecVersion) -> v1::StoredSpec {
    v1::StoredSpec {
        generation: generation.0,
        spec_json: version.spec.to_json().into(),
        at_ms: version.at.as_ms(),
        by: version.by.clone(),
        restores: version.restores.map(|restored| restored.0),
        stop_first: version.stop_first,
    }
}

fn read_spec(message: &v1::StoredSpec) -> Result<(Generation, Arc<SpecVersion>), Malformed> {
    let spec = LocalServiceSpec::from_json(&message.spec_json)
        .map_err(|problem| Fields("StoredSpec").refuse("spec_json", problem))?;
    let version = SpecVersion {
        spec: Arc::new(spec),
        at: Timestamp(message.at_ms),
        by: message.by.clone(),
        restores: message.restores.map(Generation),
        stop_first: message.stop_first,
    };
    Ok((Generation(message.generation), Arc::new(version)))
}

pub(super) fn read_service(message: &v1::StoredService) -> Result<Service, Malformed> {
    let fields = Fields("StoredService");
    let kept = message.specs.iter().map(read_spec).collect::<Result<_, _>>()?;
    let specs = Specs::restore(kept, Generation(message.wanted), Generation(message.stable))
        .ok_or_else(|| fields.refuse("wanted", "it is not among the specs"))?;
    Ok(Service {
        id: specs.spec().service_id().map_err(|problem| fields.refuse("specs", problem))?,
        specs,
        test_host: fields.parse_optional("test_host", &message.test_host)?,
        instances_per_host: message.instances_per_host,
        activation: fields.parse("activation", &message.activation)?,
        state: fields.parse("state", &message.state)?,
        generation: Generation(message.generation),
        created: Timestamp(message.created_ms),
        updated: Timestamp(message.updated_ms),
    })
}

pub(super) fn write_executor(executor: &Executor) -> v1::StoredExecutor {
    v1::StoredExecutor {
        record: Some((&executor.record).into()),
        duty: executor.duty.to_string(),
        contact: executor.contact.to_string(),
        contact_since_ms: executor.contact_since.at.as_ms(),
        contact_led_ms: Some(executor.contact_since.led.as_ms()),
        created_ms: executor.created.as_ms(),
        updated_ms: executor.updated.as_ms(),
        table_revision: executor.table_revision.0,
        given_tags: executor.given_tags.clone(),
        duty_since_ms: executor.duty_since.at.as_ms(),
        duty_led_ms: Some(executor.duty_since.led.as_ms()),
        clock_skew_ms: executor.clock_skew_ms,
        drain: executor.drain.map(|drain| v1::StoredDrain {
            within_ms: drain.within_ms,
            time_left_ms: drain.time_left_ms,
            deadline_ms: drain.deadline.map(Timestamp::as_ms),
        }),
    }
}

pub(super) fn read_executor(message: v1::StoredExecutor) -> Result<Executor, Malformed> {
    let fields = Fields("StoredExecutor");
    Ok(Executor {
        record: ExecutorRecord::try_from(fields.required("record", message.record)?)?,
        duty: fields.parse("duty", &message.duty)?,
        contact: fields.parse("contact", &message.contact)?,
        contact_since: read_moment(message.contact_led_ms, message.contact_since_ms),
        created: Timestamp(message.created_ms),
        updated: Timestamp(message.updated_ms),
        table_revision: Revision(message.table_revision),
        duty_since: read_moment(message.duty_led_ms, message.duty_since_ms),
        given_tags: message.given_tags,
        clock_skew_ms: message.clock_skew_ms,
        drain: message.drain.map(|drain| Drain {
            within_ms: drain.within_ms,
            time_left_ms: drain.time_left_ms,
            deadline: drain.deadline_ms.map(Timestamp),
        }),
    })
}

pub(super) fn write_slot(id: &SlotId, slot: &Slot) -> v1::StoredSlot {
    v1::StoredSlot {
        id: Some(id.into()),
        epoch: slot.epoch.0,
        generation: slot.generation.0,
        spec: slot.spec.0,
        mode: slot.mode.to_string(),
        assigned: slot.assigned.0,
        status: slot.status.as_ref().map(Into::into),
    }
}

pub(super) fn read_slot(message: v1::StoredSlot) -> Result<(SlotId, Slot), Malformed> {
    let fields = Fields("StoredSlot");
    let slot = Slot {
        epoch: Epoch(message.epoch),
        generation: Generation(message.generation),
        spec: Generation(message.spec),
        mode: fields.parse("mode", &message.mode)?,
        assigned: Revision(message.assigned),
        status: message.status.map(SlotStatus::try_from).transpose()?,
    };
    Ok((fields.required("id", message.id)?.try_into()?, slot))
}

pub(super) fn write_instance(instance: &Instance) -> v1::StoredInstance {
    v1::StoredInstance {
        record: Some((&*instance.record).into()),
        lost_ms: instance.lost.map(Timestamp::as_ms),
        ended_ms: instance.ended.map(|ended| ended.at.as_ms()),
        ended_led_ms: instance.ended.map(|ended| ended.led.as_ms()),
        remarks: instance.remarks.iter().map(write_remark).collect(),
    }
}

fn write_remark(remark: &Remark) -> v1::StoredRemark {
    v1::StoredRemark { after_ms: remark.after.as_ms(), transition: Some((&remark.transition).into()) }
}

fn read_remark(message: v1::StoredRemark) -> Result<Remark, Malformed> {
    let transition = Fields("StoredRemark").required("transition", message.transition)?;
    Ok(Remark { after: Timestamp(message.after_ms), transition: Transition::try_from(transition)? })
}

pub(super) fn read_instance(message: v1::StoredInstance) -> Result<Instance, Malformed> {
    let record = Fields("StoredInstance").required("record", message.record)?;
    Ok(Instance {
        record: Arc::new(InstanceRecord::try_from(record)?),
        lost: message.lost_ms.map(Timestamp),
        ended: message.ended_ms.map(|ended_ms| read_moment(message.ended_led_ms, ended_ms)),
        remarks: message.remarks.into_iter().map(read_remark).collect::<Result<_, _>>()?,
    })
}

pub(super) fn write_event(position: EventPosition, event: &EventRecord) -> v1::StoredEvent {
    let what = match &event.what {
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
        } => What::Service(v1::ServiceHappening {
            service: service.to_string(),
            name: name.clone(),
            version: version.clone(),
            executable: executable.clone(),
            cpu_millis: cpu.as_millis(),
            memory_mb: *memory_mb,
            ports: ports.clone(),
            instances_per_host: *instances_per_host,
            state: state.to_string(),
        }),
        Happening::Operation { operation, kind, service, state, error } => {
            What::Operation(v1::OperationHappening {
                operation: operation.to_string(),
                kind: kind.to_string(),
                service: service.to_string(),
                state: state.to_string(),
                error: error.clone(),
            })
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
        } => What::Instance(v1::InstanceHappening {
            service: service.to_string(),
            service_name: service_name.clone(),
            instance: instance.to_string(),
            executor: executor.to_string(),
            hostname: hostname.clone(),
            ports: ports.clone(),
            created_ms: created.as_ms(),
            state: state.to_string(),
            error: error.clone(),
        }),
        Happening::Exec(exec) => What::Exec(exec.into()),
        Happening::ExecutorAdded { executor, hostname, port } => {
            What::ExecutorAdded(v1::ExecutorAddedHappening {
                executor: executor.to_string(),
                hostname: hostname.clone(),
                port: u32::from(*port),
            })
        }
        Happening::LeadershipAcquired { address } => {
            What::LeadershipAcquired(v1::LeadershipAcquiredHappening { address: address.clone() })
        }
        Happening::LeadershipLost { address } => {
            What::LeadershipLost(v1::LeadershipLostHappening { address: address.clone() })
        }
        Happening::ExecutorDuty { executor, hostname, port, duty, reason } => {
            What::ExecutorDuty(v1::ExecutorDutyHappening {
                executor: executor.to_string(),
                hostname: hostname.clone(),
                port: u32::from(*port),
                duty: duty.to_string(),
                reason: reason.clone(),
            })
        }
        Happening::ExecutorContact { executor, hostname, port, from, to, state, instances } => {
            What::ExecutorContact(v1::ExecutorContactHappening {
                executor: executor.to_string(),
                hostname: hostname.clone(),
                port: u32::from(*port),
                from: from.to_string(),
                to: to.to_string(),
                state: state.to_string(),
                instances: *instances,
            })
        }
        Happening::ClusterState { state, address } => What::ClusterState(v1::ClusterStateHappening {
            state: state.to_string(),
            address: address.clone(),
        }),
    };
    v1::StoredEvent {
        revision: position.revision.0,
        n: position.n,
        at_ms: event.at.as_ms(),
        led_ms: Some(event.led.as_ms()),
        what: Some(what),
    }
}

pub(super) fn read_event(message: v1::StoredEvent) -> Result<(EventPosition, EventRecord), Malformed> {
    let what = match Fields("StoredEvent").required("what", message.what)? {
        What::Service(what) => {
            let fields = Fields("ServiceHappening");
            Happening::Service {
                service: fields.parse("service", &what.service)?,
                name: what.name,
                version: what.version,
                executable: what.executable,
                cpu: CpuCount::from_millis(what.cpu_millis),
                memory_mb: what.memory_mb,
                ports: what.ports,
                instances_per_host: what.instances_per_host,
                state: fields.parse("state", &what.state)?,
            }
        }
        What::Operation(what) => {
            let fields = Fields("OperationHappening");
            Happening::Operation {
                operation: fields.parse("operation", &what.operation)?,
                kind: fields.parse("kind", &what.kind)?,
                service: fields.parse("service", &what.service)?,
                state: fields.parse("state", &what.state)?,
                error: what.error,
            }
        }
        What::Instance(what) => {
            let fields = Fields("InstanceHappening");
            Happening::Instance {
                service: fields.parse("service", &what.service)?,
                service_name: what.service_name,
                instance: fields.parse("instance", &what.instance)?,
                executor: fields.parse("executor", &what.executor)?,
                hostname: what.hostname,
                ports: what.ports,
                created: Timestamp(what.created_ms),
                state: fields.parse("state", &what.state)?,
                error: what.error,
            }
        }
        What::Exec(what) => Happening::Exec(what.try_into()?),
        What::ExecutorAdded(what) => {
            let fields = Fields("ExecutorAddedHappening");
            Happening::ExecutorAdded {
                executor: fields.parse("executor", &what.executor)?,
                hostname: what.hostname,
                port: fields.port("port", what.port)?,
            }
        }
        What::LeadershipAcquired(what) => Happening::LeadershipAcquired { address: what.address },
        What::LeadershipLost(what) => Happening::LeadershipLost { address: what.address },
        What::ExecutorDuty(what) => {
            let fields = Fields("ExecutorDutyHappening");
            Happening::ExecutorDuty {
                executor: fields.parse("executor", &what.executor)?,
                hostname: what.hostname,
                port: fields.port("port", what.port)?,
                duty: fields.parse("duty", &what.duty)?,
                reason: what.reason,
            }
        }
        What::ExecutorContact(what) => {
            let fields = Fields("ExecutorContactHappening");
            Happening::ExecutorContact {
                executor: fields.parse("executor", &what.executor)?,
                hostname: what.hostname,
                port: fields.port("port", what.port)?,
                from: fields.parse("from", &what.from)?,
                to: fields.parse("to", &what.to)?,
                state: fields.parse("state", &what.state)?,
                instances: what.instances,
            }
        }
        What::ClusterState(what) => Happening::ClusterState {
            state: Fields("ClusterStateHappening").parse("state", &what.state)?,
            address: what.address,
        },
    };
    let Moment { led, at } = read_moment(message.led_ms, message.at_ms);
    let event = EventRecord { at, led, what };
    Ok((EventPosition::new(Revision(message.revision), message.n), event))
}
