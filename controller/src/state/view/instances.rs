//! Lists of instances: which are in them, in which order, and how much is shown of each.

use muster_common::id::ServiceId;
use muster_common::instance::{InstanceInfo, InstanceState};
use muster_common::reason::Reason;
use muster_common::time::Timestamp;

use super::instance::{instance_brief, instance_state, listed_info, silent, state_and_reason};
use super::page::{Page, Range};
use crate::state::{Instance, State};

/// Which instances are meant; what is empty or 0 narrows nothing.
#[derive(Debug, Default)]
pub(crate) struct InstanceFilter {
    pub services: Vec<String>,
    pub executors: Vec<String>,
    pub states: Vec<InstanceState>,
    pub reasons: Vec<Reason>,
    /// Ended or lost at that time or later, as the controllers saw it; one that may still run: changed.
    pub since: Timestamp,
    /// How their ids begin, with or without `SI-`.
    pub id_prefix: String,
    /// Tags of their service: each with this value, or there at all.
    pub labels: Vec<(String, Option<String>)>,
}

impl InstanceFilter {
    fn admits(&self, state: &State, instance: &Instance) -> bool {
        let record = &instance.record;
        let (id, slot) = (record.id.as_str(), &record.slot);
        let names = |names: &[String], id: &str| names.is_empty() || names.iter().any(|name| name == id);
        let begins = |id: &str| {
            id.starts_with(&self.id_prefix)
                || id.strip_prefix("SI-").is_some_and(|id| id.starts_with(&self.id_prefix))
        };
        instance.ended.map_or(record.updated, |ended| ended.at) >= self.since
            && names(&self.services, slot.service.as_str())
            && names(&self.executors, slot.executor.as_str())
            && begins(id)
            && self.labels_fit(state, &slot.service)
            && self.admits_state(state, instance)
    }

    /// The last thing to look at: it takes more than the others.
    fn admits_state(&self, state: &State, instance: &Instance) -> bool {
        if self.states.is_empty() && self.reasons.is_empty() {
            return true;
        }
        let (shown, reason) = state_and_reason(state, instance);
        (self.states.is_empty() || self.states.contains(&shown))
            && (self.reasons.is_empty() || reason.is_some_and(|reason| self.reasons.contains(&reason)))
    }

    fn labels_fit(&self, state: &State, service: &ServiceId) -> bool {
        let tags = state.service(service).map(|service| &service.spec().tags);
        self.labels.iter().all(|(key, value)| {
            let tag = tags.and_then(|tags| tags.get(key));
            tag.is_some_and(|tag| value.as_ref().is_none_or(|value| value == tag))
        })
    }
}

/// How much of each instance is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// What identifies it, and its state: ten thousand of them are a few MB.
    Brief,
    /// Also how it came there, its last probes, and how it ended.
    Whole,
}

impl Detail {
    fn show(self, state: &State, instance: &Instance) -> InstanceInfo {
        match self {
            Self::Brief => instance_brief(state, instance),
            Self::Whole => listed_info(state, instance),
        }
    }
}

/// `GET /localservices/{id}/instances`: those in Drove's nine active states.
#[must_use]
pub(crate) fn active_instances(
    state: &State,
    service: &ServiceId,
    filter: &InstanceFilter,
    range: Range,
    detail: Detail,
) -> Page<InstanceInfo> {
    let silent = silent(state);
    let active = state.live_instances(service).filter(|instance| {
        let is_heard = !silent.contains(&instance.record.slot.executor);
        is_heard && instance.state().is_active() && filter.admits(state, instance)
    });
    Page::of(active, range, |instance| detail.show(state, instance))
}

/// `GET /localservices/{id}/instances/old`: every other one, those that may still run first, then
/// ended ones, newest first.
#[must_use]
pub(crate) fn old_instances(
    state: &State,
    service: &ServiceId,
    filter: &InstanceFilter,
    range: Range,
) -> Page<InstanceInfo> {
    let old = state
        .live_instances(service)
        .filter(|instance| !instance_state(state, instance).is_active())
        .chain(state.old_instances(service))
        .filter(|instance| filter.admits(state, instance));
    Page::of(old, range, |instance| Detail::Whole.show(state, instance))
}

/// `GET /instances`: of all services, those that may still run, and with `ended` those that are over too; ordered by id.
#[must_use]
pub(crate) fn all_instances(
    state: &State,
    filter: &InstanceFilter,
    ended: bool,
    range: Range,
    detail: Detail,
) -> Page<InstanceInfo> {
    let meant = state
        .instances
        .iter()
        .filter(|instance| (ended || instance.is_live()) && filter.admits(state, instance));
    Page::of(meant, range, |instance| detail.show(state, instance))
}
