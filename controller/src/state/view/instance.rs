//! Instances as users see them: their executor's word, overlaid with what the controllers know of
//! the executor itself.

use std::collections::BTreeSet;

use muster_common::id::{ExecutorId, ServiceId};
use muster_common::instance::{InstanceInfo, InstanceState};
use muster_common::reason::Reason;
use muster_common::time::Timestamp;

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

/// `GET /localservices/{id}/instances/{instanceId}` (drove-wire.md §2.5).
#[must_use]
pub(crate) fn instance_info(state: &State, instance: &Instance) -> InstanceInfo {
    let mut info = InstanceInfo::from(&*instance.record);
    let (shown, reason) = state_and_reason(state, instance);
    if shown != info.state {
        info.error_message = state.absence(&instance.record.slot.executor);
    }
    if let (InstanceState::Lost, Some(last)) = (shown, instance.remarks.last()) {
        info.error_message.clone_from(&last.transition.message);
    }
    (info.state, info.reason) = (shown, reason);
    info.timeline = instance.timeline();
    info
}

/// The state that is shown, and why it is that.
fn state_and_reason(state: &State, instance: &Instance) -> (InstanceState, Option<Reason>) {
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

/// `GET /localservices/{id}/instances`: those in Drove's nine active states, narrowed to `wanted`
/// unless that is empty; of them the page of `size` that begins at `from`.
#[must_use]
pub(crate) fn active_instances(
    state: &State,
    service: &ServiceId,
    wanted: &[InstanceState],
    (from, size): (usize, usize),
) -> Vec<InstanceInfo> {
    let silent = silent(state);
    state
        .live_instances(service)
        .filter(|instance| {
            let is_heard = !silent.contains(&instance.record.slot.executor);
            let shown = if is_heard { instance.state() } else { InstanceState::Unknown };
            shown.is_active() && (wanted.is_empty() || wanted.contains(&shown))
        })
        .skip(from)
        .take(size)
        .map(|instance| instance_info(state, instance))
        .collect()
}

/// The executors that are not heard. Mostly there are none: looking for each of ten thousand executors among them is
/// cheaper than looking at each of them.
pub(super) fn silent(state: &State) -> BTreeSet<&ExecutorId> {
    let silent = state.executors().filter(|executor| executor.contact != Contact::Connected);
    silent.map(|executor| &executor.record.id).collect()
}

/// Which of the instances that are not active; what is empty or 0 narrows nothing.
#[derive(Debug, Default)]
pub(crate) struct OldFilter {
    pub states: Vec<InstanceState>,
    pub executors: Vec<String>,
    pub reasons: Vec<Reason>,
    /// Ended or lost at that time or later; one that may still run: changed.
    pub since: Timestamp,
}

impl OldFilter {
    fn admits(&self, state: &State, instance: &Instance) -> bool {
        let record = &instance.record;
        let (shown, reason) = state_and_reason(state, instance);
        (self.states.is_empty() || self.states.contains(&shown))
            && (self.executors.is_empty()
                || self.executors.iter().any(|id| id == record.slot.executor.as_str()))
            && (self.reasons.is_empty() || reason.is_some_and(|reason| self.reasons.contains(&reason)))
            && instance.ended.map_or(record.updated, |ended| ended.at) >= self.since
    }
}

/// `GET /localservices/{id}/instances/old`: every other one, those that may still run first, then
/// ended ones, newest first; of those that `filter` admits the page of `size` that begins at `from`.
#[must_use]
pub(crate) fn old_instances(
    state: &State,
    service: &ServiceId,
    filter: &OldFilter,
    (from, size): (usize, usize),
) -> Vec<InstanceInfo> {
    state
        .live_instances(service)
        .filter(|instance| !instance_state(state, instance).is_active())
        .chain(state.old_instances(service))
        .filter(|instance| filter.admits(state, instance))
        .skip(from)
        .take(size)
        .map(|instance| instance_info(state, instance))
        .collect()
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
