//! Services as users see them.

use muster_common::instance::InstanceState;
use muster_common::service::ServiceSummary;
use muster_common::slot::SlotPhase;
use muster_common::spec::CpuCount;

use super::instance::instance_state;
use crate::state::{Service, State};

/// How many problems a summary names; the rest is counted.
const MAX_PROBLEMS: usize = 20;

/// `GET /localservices/{id}` (drove-wire.md §2.4).
#[must_use]
pub(crate) fn service_summary(state: &State, service: &Service) -> ServiceSummary {
    let (mut healthy, mut active) = (0, 0);
    for instance in state.live_instances(&service.id) {
        let shown = instance_state(state, instance);
        healthy += u64::from(shown == InstanceState::Healthy);
        active += u64::from(shown.is_active());
    }
    let (mut away, mut failed) = (0, 0);
    for (id, slot) in state.slots_of(&service.id) {
        if !state.is_connected(&id.executor) {
            away += 1;
        } else if slot.current_status().is_some_and(|status| gave_up(status.phase)) {
            failed += 1;
        }
    }
    ServiceSummary {
        id: service.id.to_string(),
        name: service.spec().name.clone(),
        instances_per_host: service.instances_per_host,
        healthy_instances: healthy,
        total_cpus: CpuCount::from_millis(service.spec().cpu_count().as_millis() * active).to_number(),
        total_memory: service.spec().memory_mb() * active,
        tags: service.spec().tags.clone(),
        activation_state: service.activation,
        state: service.state,
        created: service.created,
        updated: service.updated,
        generation: service.generation,
        required_instances: state.wanted_count(service),
        away_instances: away,
        failed_instances: failed,
        problems: problems(state, service),
    }
}

/// Nothing is tried in such a slot until it is asked for anew.
fn gave_up(phase: SlotPhase) -> bool {
    matches!(phase, SlotPhase::Failed | SlotPhase::KeptOld)
}

/// What keeps slots from being filled, or from being seen, one sentence each.
fn problems(state: &State, service: &Service) -> Vec<String> {
    let mut problems: Vec<String> = state
        .slots_of(&service.id)
        .filter_map(|(id, slot)| {
            if !state.is_connected(&id.executor) {
                return Some(format!("{}/{}: {}", id.executor, id.index, state.absence(&id.executor)));
            }
            let status = slot.current_status()?;
            let troubled = match status.phase {
                SlotPhase::Backoff | SlotPhase::Failed | SlotPhase::KeptOld => true,
                // An instance that waits for room says so with a reason.
                SlotPhase::Filling => status.reason.is_some(),
                SlotPhase::Filled => false,
            };
            troubled.then(|| {
                let reason = status.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
                let colon = if status.message.is_empty() { "" } else { ": " };
                format!("{}/{} is {}{reason}{colon}{}", id.executor, id.index, status.phase, status.message)
            })
        })
        .collect();
    if problems.len() > MAX_PROBLEMS {
        let more = problems.len() - MAX_PROBLEMS;
        problems.truncate(MAX_PROBLEMS);
        problems.push(format!("and {more} more"));
    }
    problems
}
