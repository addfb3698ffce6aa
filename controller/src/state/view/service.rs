//! Services as users see them.

use std::collections::{BTreeMap, BTreeSet};

use muster_common::id::{ExecutorId, Generation, SlotId};
use muster_common::instance::InstanceState;
use muster_common::service::ServiceSummary;
use muster_common::slot::{SlotPhase, SlotStatus};
use muster_common::spec::CpuCount;

use super::instance::silent;
use super::page::{Page, Range};
use crate::state::{Service, State};

/// How many problems a summary names; the rest is counted.
const MAX_PROBLEMS: usize = 20;

/// `GET /localservices`.
#[must_use]
pub(crate) fn service_summaries(state: &State, range: Range) -> Page<ServiceSummary> {
    let silent = silent(state);
    Page::of(state.services(), range, |service| summary(state, service, &silent))
}

/// `GET /localservices/{id}` (docs/drove-api.md §2.4).
#[must_use]
pub(crate) fn service_summary(state: &State, service: &Service) -> ServiceSummary {
    summary(state, service, &silent(state))
}

/// How many instances of all services are HEALTHY.
#[must_use]
pub(super) fn healthy_instances(state: &State) -> u64 {
    let silent = silent(state);
    state.services().map(|service| live(state, service, &silent).0).sum()
}

/// A service, where it is known who is `silent`.
fn summary(state: &State, service: &Service, silent: &BTreeSet<&ExecutorId>) -> ServiceSummary {
    let (healthy, active) = live(state, service, silent);
    let (mut away, mut failed) = (0, 0);
    let mut problems = Problems::default();
    if let Some(unproven) = unproven(state, service) {
        problems.add(|| unproven);
    }
    for (id, slot) in state.slots_of(&service.id) {
        if silent.contains(&id.executor) {
            away += 1;
            problems.add(|| format!("{}/{}: {}", id.executor, id.index, state.absence(&id.executor)));
            continue;
        }
        if state.may_catch_up(&id, slot) {
            problems.add(|| behind(&id, service, slot.spec));
        }
        let Some(status) = slot.current_status() else { continue };
        failed += u64::from(gave_up(status.phase));
        if is_troubled(status) {
            problems.add(|| in_words(&id, status));
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
        problems: problems.in_words(),
    }
}

/// A spec that a rollout which failed left in some of the slots.
fn unproven(state: &State, service: &Service) -> Option<String> {
    let wanted = service.specs.wanted();
    let is_at_work =
        || state.operations_of(&service.id).next().is_some_and(|newest| newest.finished.is_none());
    if wanted == service.specs.stable() || is_at_work() {
        return None;
    }
    let (all, given) = state
        .slots_of(&service.id)
        .fold((0, 0), |(all, given), (_, slot)| (all + 1, given + usize::from(slot.spec == wanted)));
    Some(format!(
        "{given} of {all} slots were given generation {wanted}, whose rollout did not succeed; the others keep theirs: \
         roll out a spec that works, or roll back"
    ))
}

fn behind(id: &SlotId, service: &Service, runs: Generation) -> String {
    let stable = service.specs.stable();
    format!(
        "{}/{} still has generation {runs}: it was away while generation {stable} was rolled out, and waits as long as another \
         slot of its zone is down or any slot gave up on generation {stable}",
        id.executor, id.index
    )
}

/// Nothing is tried in such a slot until it is asked for anew.
fn gave_up(phase: SlotPhase) -> bool {
    matches!(phase, SlotPhase::Failed | SlotPhase::KeptOld)
}

/// How many instances of the service are shown as HEALTHY, and as active: of those that are not heard nobody knows.
fn live(state: &State, service: &Service, silent: &BTreeSet<&ExecutorId>) -> (u64, u64) {
    let mut known: BTreeMap<InstanceState, u64> = state.live_states(&service.id).collect();
    for instance in silent.iter().flat_map(|executor| state.live_instances_on(executor)) {
        if instance.record.slot.service == service.id
            && let Some(count) = known.get_mut(&instance.record.state)
        {
            *count -= 1;
        }
    }
    let active = known.iter().filter(|(state, _)| state.is_active()).map(|(_, count)| *count).sum();
    (known.get(&InstanceState::Healthy).copied().unwrap_or_default(), active)
}

/// What keeps slots from being filled, or from being seen, one sentence each. The first ones are named.
#[derive(Default)]
struct Problems {
    named: Vec<String>,
    more: usize,
}

impl Problems {
    fn add(&mut self, words: impl FnOnce() -> String) {
        if self.named.len() < MAX_PROBLEMS {
            self.named.push(words());
        } else {
            self.more += 1;
        }
    }

    fn in_words(self) -> Vec<String> {
        let more = (self.more > 0).then(|| format!("and {} more", self.more));
        self.named.into_iter().chain(more).collect()
    }
}

/// Whether users must know of it.
fn is_troubled(status: &SlotStatus) -> bool {
    match status.phase {
        SlotPhase::Backoff | SlotPhase::Failed | SlotPhase::KeptOld => true,
        // An instance that waits for room says so with a reason.
        SlotPhase::Filling => status.reason.is_some(),
        SlotPhase::Filled => false,
    }
}

fn in_words(id: &SlotId, status: &SlotStatus) -> String {
    let reason = status.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let colon = if status.message.is_empty() { "" } else { ": " };
    format!("{}/{} is {}{reason}{colon}{}", id.executor, id.index, status.phase, status.message)
}
