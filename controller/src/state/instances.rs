//! The instances: those that live, and those that ended and are kept for a while.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use imbl::ordset::DiffItem;
use imbl::{OrdMap, OrdSet};
use muster_common::evidence::Transition;
use muster_common::id::{ExecutorId, InstanceId, ServiceId, SlotId};
use muster_common::instance::{InstanceRecord, InstanceState};
use muster_common::reason::Reason;
use muster_common::time::{LedTime, Timestamp};

/// How many of the controllers' own remarks stay with an instance.
const MAX_REMARKS: usize = 16;

/// One instance: what its executor reported, and what the controllers add to that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// What its executor last said. Never changed here.
    pub record: Arc<InstanceRecord>,
    /// Since when the controllers take it for lost, their executor's silence having lasted too long.
    pub lost: Option<Timestamp>,
    /// When it became old, if it has.
    pub ended: Option<Moment>,
    /// Transitions that only the controllers saw: lost, found again.
    pub remarks: Vec<Remark>,
}

/// A moment, as the controllers saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// In leaders' time: by this its age and its place among others are told.
    pub led: LedTime,
    /// The date that people are shown, by the clock of the leader of that time.
    pub at: Timestamp,
}

/// A transition that only the controllers saw. Its place in the timeline is given by the executor's
/// clock, because its own time is the controllers'.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// It comes after the timeline's transitions up to this moment.
    pub after: Timestamp,
    /// What was seen.
    pub transition: Transition,
}

impl Instance {
    pub(super) fn new(record: Arc<InstanceRecord>) -> Self {
        Self { record, lost: None, ended: None, remarks: Vec::new() }
    }

    /// Where it is, as far as the controllers know: its executor's word, or LOST.
    #[must_use]
    pub fn state(&self) -> InstanceState {
        if self.lost.is_some() { InstanceState::Lost } else { self.record.state }
    }

    /// Whether it may still run.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !self.state().is_terminal()
    }

    /// Whether it is lost only because its executor is not heard: the executor may come back with it, and will not say
    /// again what was acknowledged. So it must be known then, however long that takes.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        let last = self.remarks.last().and_then(|remark| remark.transition.reason);
        self.lost.is_some() && last == Some(Reason::ExecutorUnreachable)
    }

    /// The executor's timeline with the controllers' remarks in their places.
    #[must_use]
    pub fn timeline(&self) -> Vec<Transition> {
        let mut timeline = self.record.timeline.clone();
        for remark in self.remarks.iter().rev() {
            let place = self.record.timeline.iter().rposition(|transition| transition.at <= remark.after);
            timeline.insert(place.map_or(0, |place| place + 1), remark.transition.clone());
        }
        timeline
    }

    pub(super) fn remark(&mut self, transition: Transition) {
        if self.remarks.len() == MAX_REMARKS {
            self.remarks.remove(0);
        }
        let after = self.record.timeline.last().map_or(self.record.created, |last| last.at);
        self.remarks.push(Remark { after, transition });
    }
}

/// Which instances of a service were there at some time. Whether they still are is known without a look at each, and it
/// keeps nothing else of that time in memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Population {
    live: OrdSet<InstanceId>,
    newest_end: Option<LedTime>,
}

impl Population {
    /// Whether nobody came or ended between the two. Cheap; one that was read from a snapshot is never as another.
    pub(crate) fn is_as(&self, other: &Self) -> bool {
        let has_same = self.live.ptr_eq(&other.live) || (self.live.is_empty() && other.live.is_empty());
        has_same && self.newest_end == other.newest_end
    }

    /// Whether it may have run then.
    pub(crate) fn has(&self, instance: &InstanceId) -> bool {
        self.live.contains(instance)
    }

    /// Who may run by `later` and did not yet, and who did and may not any more. What that costs follows from how many
    /// they are.
    pub(crate) fn came_and_went<'a>(&'a self, later: &'a Self) -> (Vec<&'a InstanceId>, Vec<&'a InstanceId>) {
        let (mut came, mut went) = (Vec::new(), Vec::new());
        for change in self.live.diff(&later.live) {
            match change {
                DiffItem::Add(id) => came.push(id),
                DiffItem::Remove(id) => went.push(id),
            }
        }
        (came, went)
    }

    /// Whoever ends from now on ends then or later.
    pub(crate) fn next_end(&self) -> LedTime {
        self.newest_end.map_or_else(LedTime::default, |newest| newest.plus(Duration::from_millis(1)))
    }
}

/// How many instances are in which state.
type Tally = BTreeMap<InstanceState, u64>;

/// All instances, findable by id, by slot, service and executor (live ones) and by age (ended ones). Those that are
/// awaited count as ended, but are not forgotten.
#[derive(Debug, Clone, Default)]
pub(super) struct Instances {
    records: OrdMap<InstanceId, Arc<Instance>>,
    live_by_service: OrdMap<ServiceId, OrdSet<InstanceId>>,
    live_by_executor: OrdMap<ExecutorId, OrdSet<InstanceId>>,
    live_by_slot: OrdMap<SlotId, OrdSet<InstanceId>>,
    /// How many live ones of each service are in which state, by their executors' word.
    tallies: OrdMap<ServiceId, Tally>,
    /// Of all services, oldest first.
    old: OrdSet<(LedTime, InstanceId)>,
    /// Oldest first.
    old_by_service: OrdMap<ServiceId, OrdSet<(LedTime, InstanceId)>>,
    /// Oldest first.
    awaited_by_service: OrdMap<ServiceId, OrdSet<(LedTime, InstanceId)>>,
    awaited_by_executor: OrdMap<ExecutorId, OrdSet<InstanceId>>,
}

impl Instances {
    pub(super) fn get(&self, id: &InstanceId) -> Option<&Arc<Instance>> {
        self.records.get(id)
    }

    /// Stores `instance` under its record's id and files it as live or old. The caller has set
    /// `ended` accordingly. Keeps at most `max_old` old ones of its service.
    pub(super) fn put(&mut self, instance: Instance, max_old: u32) {
        let instance = Arc::new(instance);
        let before = self.records.insert(instance.record.id.clone(), Arc::clone(&instance));
        let unmoved = before.as_ref().is_some_and(|before| {
            before.ended == instance.ended
                && before.record.slot == instance.record.slot
                && before.is_awaited() == instance.is_awaited()
        });
        if !unmoved {
            if let Some(before) = &before {
                self.unfile(before);
            }
            self.file(&instance);
            if instance.ended.is_some() {
                self.trim(&instance.record.slot.service, max_old);
            }
        } else if let Some(before) = before.filter(|before| before.record.state != instance.record.state) {
            self.count_out(&before);
            self.count_in(&instance);
        }
    }

    /// Keeps at most `max_old` old ones of each service.
    pub(super) fn trim_all(&mut self, max_old: u32) {
        let services: Vec<ServiceId> = self.old_by_service.keys().cloned().collect();
        for service in services {
            self.trim(&service, max_old);
        }
    }

    pub(super) fn remove(&mut self, id: &InstanceId) -> Option<Arc<Instance>> {
        let instance = self.records.remove(id)?;
        self.unfile(&instance);
        Some(instance)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.records.values()
    }

    pub(super) fn live_of_service(&self, service: &ServiceId) -> impl Iterator<Item = &Arc<Instance>> {
        self.resolve(self.live_by_service.get(service))
    }

    /// How many live instances of a service are in which state, by their executors' word.
    pub(super) fn live_states(&self, service: &ServiceId) -> impl Iterator<Item = (InstanceState, u64)> {
        self.tallies.get(service).into_iter().flatten().map(|(state, count)| (*state, *count))
    }

    pub(super) fn live_on_executor(&self, executor: &ExecutorId) -> impl Iterator<Item = &Arc<Instance>> {
        self.resolve(self.live_by_executor.get(executor))
    }

    pub(super) fn live_in_slot(&self, slot: &SlotId) -> impl Iterator<Item = &Arc<Instance>> {
        self.resolve(self.live_by_slot.get(slot))
    }

    pub(super) fn awaited_on_executor(&self, executor: &ExecutorId) -> impl Iterator<Item = &Arc<Instance>> {
        self.resolve(self.awaited_by_executor.get(executor))
    }

    pub(super) fn awaited_of_service(&self, service: &ServiceId) -> impl Iterator<Item = &Arc<Instance>> {
        let awaited = self.awaited_by_service.get(service).into_iter().flat_map(OrdSet::iter);
        awaited.filter_map(|(_, id)| self.records.get(id))
    }

    /// Ended instances of a service (or of one that is destroyed by now), newest first.
    pub(super) fn old_of_service<'a>(
        &'a self,
        service: &ServiceId,
    ) -> impl Iterator<Item = &'a Arc<Instance>> + use<'a> {
        let newest_first = |ended: &'a OrdMap<_, OrdSet<_>>| {
            ended.get(service).into_iter().flat_map(OrdSet::iter).rev().peekable()
        };
        let (mut old, mut awaited) =
            (newest_first(&self.old_by_service), newest_first(&self.awaited_by_service));
        let ids =
            std::iter::from_fn(move || if old.peek() > awaited.peek() { old.next() } else { awaited.next() });
        ids.filter_map(|(_, id)| self.records.get(id))
    }

    pub(super) fn population(&self, service: &ServiceId) -> Population {
        let live = self.live_by_service.get(service).cloned().unwrap_or_default();
        Population { live, newest_end: self.newest_end(service) }
    }

    /// When the newest of a service's ended ones ended.
    pub(super) fn newest_end(&self, service: &ServiceId) -> Option<LedTime> {
        let newest = |ended: &OrdMap<_, OrdSet<(LedTime, InstanceId)>>| {
            ended.get(service).and_then(|ended| ended.get_max()).map(|(ended, _)| *ended)
        };
        newest(&self.old_by_service).max(newest(&self.awaited_by_service))
    }

    /// The oldest end of all, to know when retention is due.
    pub(super) fn oldest_end(&self) -> Option<LedTime> {
        self.old.get_min().map(|(ended, _)| *ended)
    }

    /// How many ended ones are kept; those that are awaited do not count.
    pub(super) fn old_count(&self) -> usize {
        self.old.len()
    }

    /// Those ended ones.
    pub(super) fn oldest_first(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.old.iter().filter_map(|(_, id)| self.records.get(id))
    }

    /// Forgets what ended before `moment`; says how many.
    pub(super) fn prune(&mut self, moment: LedTime) -> usize {
        let due = self.old.iter().take_while(|(ended, _)| *ended < moment);
        let due: Vec<InstanceId> = due.map(|(_, id)| id.clone()).collect();
        for id in &due {
            self.remove(id);
        }
        due.len()
    }

    fn resolve<'a>(&'a self, ids: Option<&'a OrdSet<InstanceId>>) -> impl Iterator<Item = &'a Arc<Instance>> {
        ids.into_iter().flat_map(OrdSet::iter).filter_map(|id| self.records.get(id))
    }

    fn trim(&mut self, service: &ServiceId, max_old: u32) {
        while let Some(old) = self.old_by_service.get(service)
            && old.len() > usize::try_from(max_old).unwrap_or(usize::MAX)
            && let Some((_, oldest)) = old.get_min().cloned()
        {
            self.remove(&oldest);
        }
    }

    fn file(&mut self, instance: &Instance) {
        let (id, slot) = (&instance.record.id, &instance.record.slot);
        if let Some(ended) = instance.ended {
            let ended_of_service = if instance.is_awaited() {
                let awaited = self.awaited_by_executor.entry(slot.executor.clone()).or_default();
                awaited.insert(id.clone());
                &mut self.awaited_by_service
            } else {
                self.old.insert((ended.led, id.clone()));
                &mut self.old_by_service
            };
            ended_of_service.entry(slot.service.clone()).or_default().insert((ended.led, id.clone()));
        } else {
            self.live_by_service.entry(slot.service.clone()).or_default().insert(id.clone());
            self.live_by_executor.entry(slot.executor.clone()).or_default().insert(id.clone());
            self.live_by_slot.entry(slot.clone()).or_default().insert(id.clone());
            self.count_in(instance);
        }
    }

    fn unfile(&mut self, instance: &Instance) {
        let (id, slot) = (&instance.record.id, &instance.record.slot);
        if let Some(ended) = instance.ended {
            if instance.is_awaited() {
                take(&mut self.awaited_by_executor, &slot.executor, id);
                take(&mut self.awaited_by_service, &slot.service, &(ended.led, id.clone()));
            } else {
                let old = (ended.led, id.clone());
                self.old.remove(&old);
                take(&mut self.old_by_service, &slot.service, &old);
            }
        } else {
            take(&mut self.live_by_service, &slot.service, id);
            take(&mut self.live_by_executor, &slot.executor, id);
            take(&mut self.live_by_slot, slot, id);
            self.count_out(instance);
        }
    }

    fn count_in(&mut self, instance: &Instance) {
        if instance.ended.is_none() {
            let tally = self.tallies.entry(instance.record.slot.service.clone()).or_default();
            *tally.entry(instance.record.state).or_default() += 1;
        }
    }

    fn count_out(&mut self, instance: &Instance) {
        let (service, state) = (&instance.record.slot.service, instance.record.state);
        let Some(tally) = self.tallies.get_mut(service).filter(|_| instance.ended.is_none()) else { return };
        if let Some(count) = tally.get_mut(&state) {
            *count = count.saturating_sub(1);
        }
        tally.retain(|_, count| *count > 0);
        if tally.is_empty() {
            self.tallies.remove(service);
        }
    }
}

/// Removes `member` from the set under `key`, and the set with its last member.
fn take<K: Ord + Clone, V: Ord + Clone>(index: &mut OrdMap<K, OrdSet<V>>, key: &K, member: &V) {
    if let Some(set) = index.get_mut(key) {
        set.remove(member);
        if set.is_empty() {
            index.remove(key);
        }
    }
}
