//! The replicated state: what every controller knows, as plain data, and how commands change it.
//!
//! [`State::apply`] is a pure function of the state, a revision and a command: no clock, no
//! randomness, no I/O, no unordered iteration. All maps are persistent (structure is shared between
//! copies), so that cloning a [`State`] is cheap and readers keep a whole, unchanging one.
//!
//! | module | noun |
//! |---|---|
//! | [`command`] | what can be proposed, and the reconciler's changes with their conditions |
//! | `reply`, `refusal` | the answers to commands, and why a request is refused |
//! | `service`, `slots`, `executor`, `instances`, `operations`, `events` | the parts of the state |
//! | `specs` | the specs that a service has and had |
//! | `submit`, `rollout`, `steer`, `planned`, `report`, `contact`, `duty`, `tags`, `maintenance` | how each kind of command is applied |
//! | `submission` | who asks for an operation, and how it is to proceed |
//! | `chosen` | the slots that a request is about |
//! | `catch_up` | slots that a rollout missed |
//! | `clock` | the time that each operation has left |
//! | `desired`, `progress`, `table` | what follows from the state: wanted slots, an operation's progress, the slot table |
//! | `retention` | how much history is kept |
//! | [`view`] | the state as users see it |
//! | [`codec`] | commands, replies and snapshots as bytes |
//! | `replica` | the state as the machine that Raft drives, and the watch that readers follow |
//!
//! It must not know sessions, REST or time; of Raft it knows the machine's interface alone.

mod catch_up;
mod chosen;
mod clock;
pub(crate) mod codec;
pub(crate) mod command;
mod contact;
mod desired;
mod duty;
mod event_position;
mod events;
mod executor;
mod instances;
mod maintenance;
mod operations;
mod planned;
mod progress;
mod refusal;
mod replica;
mod reply;
mod report;
mod retention;
mod rollout;
mod service;
mod slots;
mod specs;
mod steer;
mod submission;
mod submit;
mod table;
mod tags;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub(crate) mod view;

use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use muster_common::cluster::{ClusterState, ClusterStateData};
use muster_common::id::{ExecutorId, InstanceId, OperationId, Revision, ServiceId, SlotId};
use muster_common::instance::InstanceState;
use muster_common::operation::Operation;
use muster_common::service::ServiceState;
use muster_common::time::{LedTime, Timestamp};

use contact::no_contact;
use events::Events;
use instances::Instances;
use operations::Operations;
use slots::Slots;
use tags::amended;

pub(crate) use clock::{as_ms, whole};
pub(crate) use command::{Change, ExecNoted, ExecutorReport};
pub use command::{Command, Wish};
pub(crate) use event_position::EventPosition;
pub(crate) use events::{EventRecord, Happening};
pub(crate) use executor::{Drain, Executor};
pub(crate) use instances::{Instance, Moment, Population, Remark};
pub(crate) use muster_common::executor::Contact;
pub(crate) use progress::{brief, goes_in_waves, is_begun, is_for_canaries};
pub(crate) use refusal::{Refusal, allowed_operations};
pub(crate) use replica::Replica;
pub use reply::Reply;
pub(crate) use reply::ReportAck;
pub(crate) use retention::Retention;
#[cfg(test)]
pub(crate) use rollout::is_rollout;
pub(crate) use service::Service;
pub(crate) use slots::Slot;
#[cfg(test)]
pub(crate) use specs::MAX_SPECS;
pub(crate) use specs::{SpecVersion, Specs};
pub(crate) use steer::Steered;
pub(crate) use table::slot_table;

/// Everything that must survive a leader.
#[derive(Debug, Clone)]
pub struct State {
    revision: Revision,
    cluster: ClusterStateData,
    services: OrdMap<ServiceId, Arc<Service>>,
    executors: OrdMap<ExecutorId, Arc<Executor>>,
    slots: Slots,
    instances: Instances,
    operations: Operations,
    events: Events,
    /// The leaders' time, as the log last told it.
    clock: Timestamp,
    /// For how long they have led.
    led: LedTime,
    /// Of the last leadership that was announced; 0 before the first.
    term: u64,
    retention: Retention,
    /// `host:port` of the API of the last controller that began to lead; empty before the first.
    leader: String,
    /// Drawn when a group was made of this state, which may be older than what that group's executors were told it
    /// knew; empty in a group that was founded.
    history: String,
    /// The revision after which that history began: lower epochs were given in another one. 0 in a group that was founded.
    history_after: Revision,
}

impl Default for State {
    fn default() -> Self {
        Self {
            revision: Revision::default(),
            cluster: ClusterStateData { state: ClusterState::Normal, updated: Timestamp::default() },
            services: OrdMap::new(),
            executors: OrdMap::new(),
            slots: Slots::default(),
            instances: Instances::default(),
            operations: Operations::default(),
            events: Events::default(),
            clock: Timestamp::default(),
            led: LedTime::default(),
            term: 0,
            retention: Retention::default(),
            leader: String::new(),
            history: String::new(),
            history_after: Revision::default(),
        }
    }
}

impl State {
    /// Applies `command`, which is the log's entry at `revision` or a part of it, as [`Self::apply_in_term`] does when
    /// nobody said in which term it was proposed.
    pub fn apply(&mut self, revision: Revision, command: &Command) -> Reply {
        self.apply_in_term(revision, 0, command)
    }

    /// Applies `command`, which is the log's entry at `revision` or a part of it. What only leaders propose says in
    /// which `term` they lead: a clock is read, and a plan carried out, only in the term that was announced last.
    pub(crate) fn apply_in_term(&mut self, revision: Revision, term: u64, command: &Command) -> Reply {
        self.revision = revision;
        let is_announced = term == 0 || term == self.term;
        if let Some(at) = command.leaders_time().filter(|_| is_announced) {
            self.led = self.led_at(at);
            self.clock = self.clock.max(at);
        }
        match command {
            Command::SubmitOperation { id, request, at, by, if_generation } => {
                self.submit(id, request, *at, by, *if_generation)
            }
            Command::SteerOperation { at, which, steer, by } => self.steer(*at, which, *steer, by),
            Command::AnnounceLeader { at, address } => {
                self.announce_leader(*at, term, address);
                Reply::Done
            }
            Command::Plan { changes, .. } if !is_announced => {
                Reply::Planned { applied: 0, skipped: u32::try_from(changes.len()).unwrap_or(u32::MAX) }
            }
            Command::Plan { at, changes } => self.plan(*at, changes),
            Command::Reports { at, reports } => {
                Reply::Reported(reports.iter().map(|report| self.report(*at, report)).collect())
            }
            Command::RegisterExecutor { at, record, holds } => {
                self.register(*at, record, holds.as_deref());
                Reply::Done
            }
            Command::ExecutorContact { at, verdicts } => {
                for (executor, contact) in verdicts {
                    self.contact(*at, executor, *contact);
                }
                Reply::Done
            }
            Command::NoteSkews { skews, .. } => {
                for (executor, skew_ms) in skews {
                    if let Some(executor) = self.executors.get_mut(executor).map(Arc::make_mut) {
                        executor.clock_skew_ms = *skew_ms;
                    }
                }
                Reply::Done
            }
            Command::TagExecutor { at, executor, tags } => self.give_tags(*at, executor, |_| tags.clone()),
            Command::AmendTags { at, executor, remove, add } => {
                self.give_tags(*at, executor, |given| amended(given, remove, add))
            }
            Command::ChangeDuty { at, wish, executors, by } => self.change_duty(*at, *wish, executors, by),
            Command::NoteExec { at, exec } => {
                self.emit(*at, Happening::Exec(exec.clone()));
                Reply::Done
            }
            Command::SetClusterState { at, state, address } => {
                self.set_cluster_state(*at, *state, address);
                Reply::Done
            }
        }
    }

    /// A controller leads from now on. What was said again, or overtaken, changes nothing.
    fn announce_leader(&mut self, at: Timestamp, term: u64, address: &str) {
        if term != 0 && term <= self.term {
            return;
        }
        self.stop_all_clocks();
        self.clock = at;
        self.term = term;
        let before = std::mem::replace(&mut self.leader, address.to_owned());
        if !before.is_empty() && before != address {
            self.emit(at, Happening::LeadershipLost { address: before });
        }
        self.emit(at, Happening::LeadershipAcquired { address: address.to_owned() });
    }

    /// Becomes the first state of a group that goes on after `revision`. What the group before did since this state
    /// is not known here: whoever watches has to look at everything anew, and revisions never go back for anybody. That
    /// nobody heard an executor is a word of that group, maybe one of long ago: this one has yet to lose whom it misses.
    pub(crate) fn begin_history(&mut self, revision: Revision, history: String) {
        self.revision = revision;
        self.events.set_compacted(revision);
        self.history = history;
        self.history_after = revision;
        let lost = self.executors().filter(|executor| executor.contact == Contact::Lost);
        let lost: Vec<ExecutorId> = lost.map(|executor| executor.record.id.clone()).collect();
        for id in lost {
            if let Some(executor) = self.executors.get_mut(&id).map(Arc::make_mut) {
                executor.contact = Contact::Unreachable;
            }
        }
    }

    /// Which history of the cluster this is: what executors told in another one may not be known in it.
    #[must_use]
    pub fn history(&self) -> &str {
        &self.history
    }

    /// The revision of the last applied command.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// Whether operations are accepted, and since when that is so.
    #[must_use]
    pub const fn cluster_state(&self) -> ClusterStateData {
        self.cluster
    }

    /// One service.
    #[must_use]
    pub fn service(&self, id: &ServiceId) -> Option<&Arc<Service>> {
        self.services.get(id)
    }

    /// All services, ordered by id.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// One executor.
    #[must_use]
    pub fn executor(&self, id: &ExecutorId) -> Option<&Arc<Executor>> {
        self.executors.get(id)
    }

    /// All executors, ordered by id.
    pub fn executors(&self) -> impl Iterator<Item = &Arc<Executor>> {
        self.executors.values()
    }

    /// How many executors there are.
    #[must_use]
    pub fn executor_count(&self) -> usize {
        self.executors.len()
    }

    /// The executors of which anything, their slot table's revision included, is not as it was in `before`; also
    /// those that are gone. What that costs follows from how many they are.
    pub fn executors_changed_since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a ExecutorId> {
        before.executors.diff(&self.executors).map(|change| match change {
            DiffItem::Add(id, _) | DiffItem::Remove(id, _) | DiffItem::Update { new: (id, _), .. } => id,
        })
    }

    /// Whether nothing about any service differs between this state and `other`. Cheap; a state that was read from a
    /// snapshot shares nothing with any other.
    #[must_use]
    pub fn shares_services_with(&self, other: &Self) -> bool {
        self.services.ptr_eq(&other.services)
    }

    /// One slot, if it is assigned.
    #[must_use]
    pub fn slot(&self, id: &SlotId) -> Option<&Arc<Slot>> {
        self.slots.get(id)
    }

    /// All assigned slots, ordered by service, executor and index.
    pub fn slots(&self) -> impl Iterator<Item = (SlotId, &Arc<Slot>)> {
        self.slots.iter()
    }

    /// The assigned slots of one service, ordered by executor and index.
    pub fn slots_of(&self, service: &ServiceId) -> impl Iterator<Item = (SlotId, &Arc<Slot>)> {
        self.slots.of_service(service)
    }

    /// The slots that are assigned on one executor, ordered by service and index.
    pub fn slots_on(&self, executor: &ExecutorId) -> impl Iterator<Item = (SlotId, &Arc<Slot>)> {
        self.slots.on_executor(executor)
    }

    /// One instance, live or old.
    #[must_use]
    pub fn instance(&self, id: &InstanceId) -> Option<&Arc<Instance>> {
        self.instances.get(id)
    }

    /// The instances of a service that may still run, ordered by id.
    pub fn live_instances(&self, service: &ServiceId) -> impl Iterator<Item = &Arc<Instance>> {
        self.instances.live_of_service(service)
    }

    /// How many of these are in which state, by their executors' word.
    pub fn live_states(&self, service: &ServiceId) -> impl Iterator<Item = (InstanceState, u64)> {
        self.instances.live_states(service)
    }

    /// The instances on an executor that may still run, ordered by id.
    pub fn live_instances_on(&self, executor: &ExecutorId) -> impl Iterator<Item = &Arc<Instance>> {
        self.instances.live_on_executor(executor)
    }

    /// The instances in a slot that may still run, ordered by id.
    pub fn live_instances_in(&self, slot: &SlotId) -> impl Iterator<Item = &Arc<Instance>> {
        self.instances.live_in_slot(slot)
    }

    /// The instances of a service that ended, newest first; also of one that is destroyed by now.
    pub fn old_instances(&self, service: &ServiceId) -> impl Iterator<Item = &Arc<Instance>> {
        self.instances.old_of_service(service)
    }

    /// Which instances of a service there are.
    pub(crate) fn population(&self, service: &ServiceId) -> Population {
        self.instances.population(service)
    }

    /// One operation as it is stored; [`view::operation`] adds the progress of one that runs.
    #[must_use]
    pub fn operation(&self, id: &OperationId) -> Option<&Arc<Operation>> {
        self.operations.get(id)
    }

    /// All operations, ordered by id.
    pub fn operations(&self) -> impl Iterator<Item = &Arc<Operation>> {
        self.operations.iter()
    }

    /// The operations that are at work, ordered by service.
    pub fn running_operations(&self) -> impl Iterator<Item = &Arc<Operation>> {
        self.operations.running()
    }

    /// The operations of a service: those at work, then finished ones, newest first.
    pub fn operations_of(&self, service: &ServiceId) -> impl Iterator<Item = &Arc<Operation>> {
        self.operations.running_of(service).chain(self.operations.finished_of(service))
    }

    /// The operations that ended since this state was `before`.
    pub fn operations_ended_since<'a>(
        &'a self,
        before: &'a Self,
    ) -> impl Iterator<Item = &'a Arc<Operation>> {
        self.operations.ended_since(&before.operations)
    }

    /// The events of later revisions than `revision`, oldest first.
    pub fn events_after(
        &self,
        revision: Revision,
    ) -> impl DoubleEndedIterator<Item = (&EventPosition, &Arc<EventRecord>)> {
        self.events_behind(EventPosition::end_of(revision))
    }

    /// The events after the one at `position`, oldest first.
    pub(crate) fn events_behind(
        &self,
        position: EventPosition,
    ) -> impl DoubleEndedIterator<Item = (&EventPosition, &Arc<EventRecord>)> {
        self.events.after(position)
    }

    /// Whether who saw everything up to `position` can go on from there: nothing that came after it was forgotten, and
    /// it has happened here.
    #[must_use]
    pub(crate) fn can_resume(&self, position: EventPosition) -> bool {
        self.events.reach_back_to(position) && position.revision <= self.revision
    }

    /// Events up to and with this revision may be missing from [`Self::events_after`].
    #[must_use]
    pub fn events_compacted(&self) -> Revision {
        self.events.compacted()
    }

    /// For how long leaders have led when the clock of the one that was announced last shows `now`.
    #[must_use]
    pub fn led_at(&self, now: Timestamp) -> LedTime {
        self.led.plus(now.since(self.clock))
    }

    /// Now, which is `at` by the clock of who says so.
    const fn moment(&self, at: Timestamp) -> Moment {
        Moment { led: self.led, at }
    }

    /// When the oldest of the ended instances ended or the oldest of the finished operations finished.
    #[must_use]
    pub fn oldest_record(&self) -> Option<LedTime> {
        [self.instances.oldest_end(), self.operations.oldest_end()].into_iter().flatten().min()
    }

    /// When the oldest event happened.
    #[must_use]
    pub fn oldest_event(&self) -> Option<LedTime> {
        self.events.oldest()
    }

    /// Whether the leader hears an executor.
    #[must_use]
    pub fn is_connected(&self, executor: &ExecutorId) -> bool {
        self.executors.get(executor).is_some_and(|executor| executor.contact == Contact::Connected)
    }

    /// Whether an executor has not been heard for so long that what is on it counts as lost.
    #[must_use]
    pub fn is_lost(&self, executor: &ExecutorId) -> bool {
        self.executors.get(executor).is_some_and(|executor| executor.contact == Contact::Lost)
    }

    fn emit(&mut self, at: Timestamp, what: Happening) {
        self.events.push(self.revision, self.moment(at), what, self.retention.events);
    }

    /// Moves a service to `state` and tells the world. A service that is not there is left alone.
    fn enter(&mut self, at: Timestamp, id: &ServiceId, state: ServiceState) {
        let Some(service) = self.services.get_mut(id).map(Arc::make_mut) else { return };
        if service.state == state {
            return;
        }
        service.state = state;
        service.updated = at;
        let what = Happening::service(service);
        self.emit(at, what);
    }

    /// Stores an operation that begins or ends, and tells the world.
    fn put_operation(&mut self, at: Timestamp, mut operation: Operation) {
        if operation.finished.is_some() {
            let newest = self.operations.finished_of(&operation.service).next();
            operation.finished = Some(clock::after(newest.and_then(|newest| newest.finished), at));
            operation.finished_led = self.led;
        }
        let what = Happening::operation(&operation);
        self.operations.put(operation);
        self.emit(at, what);
    }

    /// Notes that the slots of `executor` changed, so that it is sent its table.
    fn touch_table(&mut self, executor: &ExecutorId) {
        let revision = self.revision;
        if let Some(executor) = self.executors.get_mut(executor).map(Arc::make_mut) {
            executor.table_revision = revision;
        }
    }
}
