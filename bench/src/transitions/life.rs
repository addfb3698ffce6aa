//! An instance that goes from one state to the next as fast as it is told to, and is followed by another one when
//! it is over. Its record is what a real one looks like: a timeline that grows, ports, resources, evidence.

use muster_common::instance::{InstanceState, RunnerKind};
use muster_common::slot::SlotPhase;
use muster_platform::World;
use muster_proto::v1;

/// What it goes through.
const WAY: [InstanceState; 9] = InstanceState::LIFE;
/// What the end of a log may be.
const LOG_TAIL: &str = "2026-11-21T12:00:00Z listening on 0.0.0.0:8000\n2026-11-21T12:00:01Z terminated\n";

/// One slot and what is in it.
pub(super) struct Life {
    record: v1::InstanceRecord,
    slot: v1::SlotStatus,
}

/// What there is to report after a step.
pub(super) struct Step {
    pub(super) record: v1::InstanceRecord,
    /// Where it differs from what was said before.
    pub(super) slot: Option<v1::SlotStatus>,
}

impl Life {
    /// An empty slot of `executor`.
    pub(super) fn new(executor: &str, row: &v1::SlotAssignment) -> Self {
        let slot =
            v1::SlotId { service: row.service.clone(), executor: executor.to_owned(), index: row.index };
        let record = v1::InstanceRecord {
            slot: Some(slot),
            service_name: "bench".to_owned(),
            epoch: row.epoch,
            generation: row.generation,
            state: InstanceState::Stopped.to_string(),
            runner: RunnerKind::Docker.to_string(),
            ..v1::InstanceRecord::default()
        };
        let slot = v1::SlotStatus {
            service: row.service.clone(),
            index: row.index,
            epoch: row.epoch,
            ..v1::SlotStatus::default()
        };
        Self { record, slot }
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.record.state == InstanceState::Healthy.as_str()
    }

    /// One transition.
    pub(super) fn step(&mut self, world: &World) -> Step {
        let now_ms = world.clock.now().as_ms();
        let place = WAY.iter().position(|state| state.as_str() == self.record.state).unwrap_or_default();
        let next = WAY.get(place + 1).copied().unwrap_or(WAY[0]);
        let record = &mut self.record;
        if next == WAY[0] {
            record.id = format!("SI-{}", world.uuid());
            record.timeline.clear();
            (record.evidence, record.local_info) = (None, None);
            (record.started_ms, record.finished_ms) = (None, None);
            (record.created_ms, record.version) = (now_ms, 0);
        } else {
            let from = std::mem::take(&mut record.state);
            let to = next.to_string();
            record.timeline.push(v1::Transition { at_ms: now_ms, from, to, ..v1::Transition::default() });
        }
        record.state = next.to_string();
        record.version += 1;
        record.updated_ms = now_ms;
        match next {
            InstanceState::Provisioning => record.resources = leased(),
            InstanceState::Unready => {
                record.started_ms = Some(now_ms);
                record.local_info = Some(local_info());
            }
            InstanceState::Stopped => {
                record.finished_ms = Some(now_ms);
                let log_tail = LOG_TAIL.to_owned();
                record.evidence =
                    Some(v1::Evidence { exit_code: Some(143), log_tail, ..v1::Evidence::default() });
            }
            _ => {}
        }
        let phase = match next {
            InstanceState::Pending => Some(SlotPhase::Filling),
            InstanceState::Healthy => Some(SlotPhase::Filled),
            _ => None,
        };
        let slot = phase.map(|phase| {
            self.slot.phase = phase.to_string();
            self.slot.version += 1;
            self.slot.clone()
        });
        Step { record: self.record.clone(), slot }
    }
}

fn leased() -> Vec<v1::Allocation> {
    use v1::allocation::Kind;
    let cpu = v1::CpuAllocation { cores: vec![v1::NumaCores { node: 0, cores: Vec::new() }] };
    let memory = v1::MemoryAllocation { memory: vec![v1::NumaMemory { node: 0, memory_mb: 16 }] };
    [Kind::Cpu(cpu), Kind::Memory(memory)].map(|kind| v1::Allocation { kind: Some(kind) }).into()
}

fn local_info() -> v1::LocalInfo {
    let port = v1::InstancePort {
        name: "main".to_owned(),
        container_port: 8000,
        host_port: 33_857,
        port_type: "HTTP".to_owned(),
    };
    v1::LocalInfo { hostname: "node.example.org".to_owned(), ports: vec![port] }
}

#[cfg(test)]
mod tests {
    use muster_common::instance::InstanceRecord;

    use super::*;

    #[test]
    fn each_step_is_one_transition_that_controllers_can_read() {
        let world = World::system();
        let row =
            v1::SlotAssignment { service: "bench-1".to_owned(), epoch: 3, ..v1::SlotAssignment::default() };
        let mut life = Life::new("e1", &row);
        let mut ids = Vec::new();
        for step in 0..2 * WAY.len() {
            let record = InstanceRecord::try_from(life.step(&world).record).unwrap();
            assert_eq!(record.state, WAY[step % WAY.len()]);
            assert_eq!(record.timeline.len(), step % WAY.len());
            assert_eq!(record.version, record.timeline.len() as u64 + 1);
            ids.push(record.id);
        }
        ids.dedup();
        assert_eq!(ids.len(), 2, "another instance follows the one that is over");
    }
}
