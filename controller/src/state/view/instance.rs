//! Instances as users see them: their executor's word, overlaid with what the controllers know of
//! the executor itself.

use std::collections::BTreeSet;

use muster_common::condition::{Condition, ConditionType, Phase, conditions};
use muster_common::evidence::{Transition, tail};
use muster_common::id::ExecutorId;
use muster_common::instance::{InstanceInfo, InstanceState};
use muster_common::reason::Reason;

use crate::state::{Contact, Instance, State};

/// The state that is shown: UNKNOWN while the executor of a live instance is not heard.
#[must_use]
pub(crate) fn instance_state(state: &State, instance: &Instance) -> InstanceState {
    if instance.is_live() && !state.is_connected(&instance.record.slot.executor) {
        InstanceState::Unknown
    } else {
        instance.state()
    }
}

/// How much of a log's end lists show; the detail of an instance has all that is kept.
const LIST_LOG_TAIL_BYTES: usize = 4 * 1024;

/// What lists of living instances show (docs/drove-api.md §2.5).
#[must_use]
pub(crate) fn instance_brief(state: &State, instance: &Instance) -> InstanceInfo {
    let slot = &instance.record.slot;
    let restarts = state.slot(slot).map_or(0, |slot| slot.restarts());
    let mut info = InstanceInfo::brief(&instance.record, restarts);
    let (shown, reason) = state_and_reason(state, instance);
    if shown != info.state {
        info.error_message = state.absence(&slot.executor);
    }
    if let (InstanceState::Lost, Some(last)) = (shown, instance.remarks.last()) {
        info.error_message.clone_from(&last.transition.message);
    }
    info.phase = Phase::of(shown, &instance.record.timeline);
    (info.state, info.reason) = (shown, reason);
    info
}

/// `GET /localservices/{id}/instances/{instanceId}`: everything that is known of it.
#[must_use]
pub(crate) fn instance_info(state: &State, instance: &Instance) -> InstanceInfo {
    let (record, brief) = (&instance.record, instance_brief(state, instance));
    let timeline = instance.timeline();
    InstanceInfo {
        last_failure_message: record.error_message.clone(),
        conditions: shown_conditions(state, instance, &timeline, &brief),
        timeline,
        probes: record.probes.clone(),
        evidence: record.evidence.clone(),
        ..brief
    }
}

/// The same in a list, with less of its log.
#[must_use]
pub(crate) fn listed_info(state: &State, instance: &Instance) -> InstanceInfo {
    let mut info = instance_info(state, instance);
    if let Some(evidence) = &mut info.evidence {
        evidence.log_tail = tail(&evidence.log_tail, LIST_LOG_TAIL_BYTES).to_owned();
    }
    info
}

/// Its conditions as they are shown: of one whose executor is not heard, nobody knows whether it serves, and one that
/// waits for something says for what.
fn shown_conditions(
    state: &State,
    instance: &Instance,
    timeline: &[Transition],
    brief: &InstanceInfo,
) -> Vec<Condition> {
    let record = &instance.record;
    let mut timeline = timeline.to_vec();
    if brief.state == InstanceState::Unknown && record.state != InstanceState::Unknown {
        let silent_since = state.executor(&record.slot.executor).map(|executor| executor.contact_since);
        timeline.push(Transition {
            at: silent_since.map_or(record.updated, |since| since.at),
            from: record.state,
            to: InstanceState::Unknown,
            reason: brief.reason,
            message: brief.error_message.clone(),
            repeats: None,
        });
    }
    let mut conditions = conditions(record.created, &timeline);
    let waits = matches!(record.state, InstanceState::Pending | InstanceState::Provisioning);
    let provisioned = conditions.iter_mut().find(|condition| condition.kind == ConditionType::Provisioned);
    if let Some(provisioned) = provisioned.filter(|_| waits) {
        provisioned.reason = record.reason;
        provisioned.message.clone_from(&record.error_message);
    }
    conditions
}

/// The state that is shown, and why it is that.
pub(super) fn state_and_reason(state: &State, instance: &Instance) -> (InstanceState, Option<Reason>) {
    let shown = instance_state(state, instance);
    let reason = if shown == instance.record.state {
        instance.record.reason
    } else {
        Some(Reason::ExecutorUnreachable)
    };
    match instance.remarks.last().map(|remark| &remark.transition) {
        Some(last) if shown == InstanceState::Lost => (shown, last.reason),
        Some(last) if reason.is_none() && last.to == shown => (shown, last.reason),
        Some(_) | None => (shown, reason),
    }
}

/// The executors that are not heard. Mostly there are none: looking for each of ten thousand executors among them is
/// cheaper than looking at each of them.
pub(super) fn silent(state: &State) -> BTreeSet<&ExecutorId> {
    let silent = state.executors().filter(|executor| executor.contact != Contact::Connected);
    silent.map(|executor| &executor.record.id).collect()
}

impl State {
    /// Why nothing is known of what runs on an executor, in words.
    pub(in crate::state) fn absence(&self, id: &ExecutorId) -> String {
        match self.executor(id) {
            Some(executor) if executor.contact != Contact::Connected => {
                format!("no contact with executor {id} since {}", executor.contact_since.at)
            }
            Some(_) => String::new(),
            None => format!("executor {id} is not known"),
        }
    }
}
