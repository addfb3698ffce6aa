//! What the supervisor decides. Pure: it is given events and the time, and returns what to write, to report and to do.
//!
//! It holds the instances and the slots. In each turn it steps the machine, asks the slot keeper, and gives out leases, until
//! nothing is left to decide. [`Core::decide`] then returns the turn's [`Output`].
//!
//! | module | noun |
//! |---|---|
//! | `room` | leases: given out, given back, waited for |
//! | `reports` | what controllers have confirmed, and what may be forgotten |
//! | `history` | the controllers' history in which they confirmed it |
//! | `ends` | instances that are over, and how much is kept of them |
//! | `strays` | workloads that no record stands for |
//! | `drain` | emptying slots in the order of their drain policies |

mod drain;
mod ends;
mod history;
mod reports;
mod room;
mod strays;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use muster_common::evidence::{Transition, news};
use muster_common::id::{ExecutorId, InstanceId, ServiceId, SlotId};
use muster_common::instance::{InstanceRecord, InstanceState, RunnerKind};
use muster_common::reason::Reason;
use muster_common::slot::{SlotAssignment, SlotStatus, SlotTable, UnreadableRow};

use self::drain::Drain;
use self::ends::Ends;
use self::history::Telling;
use self::reports::Details;
pub(super) use self::strays::StrayFate;
use self::strays::{Hearing, Stray};
use super::standing::Standing;
use crate::fetched::{CallName, calls_of};
use crate::journal::{Batch, Contents};
use crate::lease::Room;
use crate::machine::{Effect, Event, Instance, Now, step};
use crate::slots::{Slot, SlotKey, Wanted, keep, least_wait};

/// One change of state, for the metrics.
#[derive(Debug, Clone)]
pub(super) struct TransitionMade {
    pub(super) from: InstanceState,
    pub(super) to: InstanceState,
    pub(super) reason: Option<Reason>,
    /// How long the state lasted that was left.
    pub(super) lasted: Duration,
}

/// What one turn decided.
#[derive(Debug, Default, Clone)]
pub(crate) struct Output {
    /// What is to be written before anything else happens.
    pub batch: Batch,
    /// The effects that are to happen then, in this order.
    pub effects: Vec<(InstanceId, Effect)>,
    /// Transitions that were made, for the metrics.
    pub(super) transitions: Vec<TransitionMade>,
    /// Strays that were taken in, for the metrics.
    pub(super) strays: Vec<(RunnerKind, StrayFate)>,
    /// Instances whose tasks, if any, have nothing left to do.
    pub over: Vec<InstanceId>,
}

/// Every instance and slot of this executor.
#[derive(Clone)]
pub(crate) struct Core {
    executor: ExecutorId,
    room: Room,
    rows: BTreeMap<SlotKey, SlotAssignment>,
    unreadable: BTreeMap<SlotKey, UnreadableRow>,
    /// Whether there ever was a table; without one nothing is known to be unwanted.
    has_table: bool,
    slots: BTreeMap<SlotKey, Slot>,
    /// Instances that live, or whose end has not been confirmed.
    instances: BTreeMap<InstanceId, Instance>,
    /// The ids of those that the slot keeper still needs, by slot. There may be many others.
    by_slot: BTreeMap<SlotKey, BTreeSet<InstanceId>>,
    /// Instances that are over and wait for their acknowledgement.
    ends: Ends,
    acked: BTreeMap<String, u64>,
    /// What controllers of another history have still to be told.
    telling: Option<Telling>,
    strays: BTreeMap<InstanceId, Stray>,
    /// Instances that were forgotten while a runner was being asked what it knows: its answer may name them still.
    forgotten: BTreeSet<InstanceId>,
    /// How many such answers are on their way.
    answers_due: usize,
    hearing: Hearing,
    drain: Option<Drain>,
    port_cursor: u16,
    avoid_ports: BTreeMap<u16, Duration>,
    look_again: BTreeMap<SlotKey, Duration>,
    /// What this turn has still to look at.
    events: VecDeque<(InstanceId, Event)>,
    dirty: BTreeSet<SlotKey>,
    output: Output,
    details: Details,
    standing: Standing,
    /// Whether the standing changed since it was last published.
    has_news: bool,
}

impl Core {
    /// A node with this room, holding what the journal says. Living instances become UNKNOWN until the runner
    /// has been asked.
    #[must_use]
    pub(crate) fn new(executor: ExecutorId, room: Room, contents: Contents, rebooted: bool) -> Self {
        let mut core = Self {
            executor,
            port_cursor: *room.ports.start(),
            room,
            rows: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            has_table: false,
            slots: contents.slots.into_iter().map(|slot| (slot.key(), slot)).collect(),
            instances: BTreeMap::new(),
            by_slot: BTreeMap::new(),
            ends: Ends::default(),
            acked: contents.acked,
            telling: None,
            strays: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            answers_due: 0,
            hearing: Hearing::after(contents.is_whole),
            drain: None,
            avoid_ports: BTreeMap::new(),
            look_again: BTreeMap::new(),
            events: VecDeque::new(),
            dirty: BTreeSet::new(),
            output: Output { batch: contents.begun, ..Output::default() },
            details: Details::default(),
            standing: Standing { history: contents.history, ..Standing::default() },
            has_news: true,
        };
        for slot in core.slots.values() {
            core.dirty.insert(slot.key());
        }
        let mut instances = contents.instances;
        instances.sort_by_key(|instance| (instance.record.updated, instance.id().clone()));
        for instance in instances {
            if instance.is_over() {
                core.ends.insert(&instance);
            } else {
                core.events.push_back((instance.id().clone(), Event::Restarted { rebooted }));
            }
            core.adopt(instance);
        }
        core.republish_all();
        if let Some((term, table)) = contents.table {
            core.apply_table(term, table);
        }
        core.bound_details();
        core.standing.live = core.live().count();
        core
    }

    /// All instances that are not over.
    pub(crate) fn live(&self) -> impl Iterator<Item = &Instance> {
        let ids = self.by_slot.values().flatten();
        ids.filter_map(|id| self.instances.get(id)).filter(|instance| !instance.is_over())
    }

    fn in_slot(&self, key: &SlotKey) -> impl Iterator<Item = &Instance> {
        let ids = self.by_slot.get(key).into_iter().flatten();
        ids.filter_map(|id| self.instances.get(id))
    }

    fn adopt(&mut self, instance: Instance) {
        let key = key_of(&instance.record.slot);
        if !is_settled(&instance) {
            self.dirty.insert(key.clone());
            self.by_slot.entry(key).or_default().insert(instance.id().clone());
        }
        self.standing.holds.insert(instance.id().clone());
        self.has_news = true;
        self.instances.insert(instance.id().clone(), instance);
    }

    /// How things stand.
    #[must_use]
    pub(crate) fn standing(&self) -> &Standing {
        &self.standing
    }

    /// How things stand, if that changed since the last call.
    pub(crate) fn news(&mut self) -> Option<&Standing> {
        std::mem::take(&mut self.has_news).then_some(&self.standing)
    }

    /// An instance, while it is held.
    #[must_use]
    pub(crate) fn instance(&self, id: &InstanceId) -> Option<&Instance> {
        self.instances.get(id)
    }

    /// All instances that are held, those that are over among them.
    #[cfg(test)]
    pub(crate) fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.instances.values()
    }

    /// The status of every slot.
    pub(crate) fn slots(&self) -> impl Iterator<Item = &SlotStatus> {
        self.slots.values().map(|slot| &slot.status)
    }

    /// The calls that controllers make for what is in slots or is to be; none while not every slot's spec is known.
    #[must_use]
    pub(crate) fn fetching_calls(&self) -> Option<BTreeSet<CallName>> {
        let is_known = self.has_table && self.unreadable.is_empty();
        let specs = self.rows.values().map(|row| &row.spec).chain(self.live().map(|instance| &instance.spec));
        is_known.then(|| specs.flat_map(|spec| calls_of(spec)).collect())
    }

    /// Whether an instance of this id is held and not over.
    #[must_use]
    pub(crate) fn is_live(&self, id: &InstanceId) -> bool {
        self.instances.get(id).is_some_and(|instance| !instance.is_over())
    }

    /// Something happened to an instance.
    pub(crate) fn tell(&mut self, id: InstanceId, event: Event) {
        self.events.push_back((id, event));
    }

    /// A slot table of a controller in `term`. One of an older term, or an older one of the same term,
    /// changes nothing.
    pub(crate) fn take_table(&mut self, term: u64, table: SlotTable) {
        let known = (self.standing.term, self.standing.table_revision);
        if self.has_table && (term, table.revision) < known {
            return;
        }
        let is_repeated = (term, table.revision) == known
            && unreadable_of(&table) == self.unreadable
            && table.rows.len() == self.rows.len()
            && table.rows.iter().all(|row| self.rows.get(&SlotKey::of(row)) == Some(row));
        if self.has_table && is_repeated {
            return;
        }
        self.output.batch.table(term, &table);
        self.apply_table(term, table);
    }

    fn apply_table(&mut self, term: u64, table: SlotTable) {
        self.has_table = true;
        self.has_news = true;
        self.standing.term = term;
        self.standing.table_revision = table.revision;
        let unreadable = unreadable_of(&table);
        self.standing.unreadable_rows = unreadable.len();
        let before = std::mem::replace(&mut self.unreadable, unreadable);
        self.dirty.extend(before.into_keys());
        self.dirty.extend(self.unreadable.keys().cloned());
        let rows: BTreeMap<SlotKey, SlotAssignment> =
            table.rows.into_iter().map(|row| (SlotKey::of(&row), row)).collect();
        let before = std::mem::replace(&mut self.rows, rows);
        self.dirty.extend(before.into_keys());
        self.dirty.extend(self.rows.keys().cloned());
        self.dirty.extend(self.slots.keys().cloned());
        self.dirty.extend(self.by_slot.keys().cloned());
    }

    /// This program did not run for a while: what is told from now on may be late.
    pub(crate) fn stood_still(&mut self) {
        let live: Vec<InstanceId> = self.live().map(|instance| instance.id().clone()).collect();
        self.events.extend(live.into_iter().map(|id| (id, Event::StoodStill)));
    }

    /// When anything wants to be looked at although nothing happened.
    #[must_use]
    pub(crate) fn next_wake(&self) -> Option<Duration> {
        let instances = self.live().filter_map(Instance::next_wake);
        instances.chain(self.look_again.values().copied()).min()
    }

    /// Wakes what is due.
    pub(crate) fn wake(&mut self, now: Now) {
        let due = |at: Option<Duration>| at.is_some_and(|at| at <= now.mono);
        let woken: Vec<InstanceId> =
            self.live().filter(|one| due(one.next_wake())).map(|one| one.id().clone()).collect();
        self.events.extend(woken.into_iter().map(|id| (id, Event::Woke)));
        let slots = self.look_again.iter().filter(|(_, at)| **at <= now.mono);
        let slots: Vec<SlotKey> = slots.map(|(key, _)| key.clone()).collect();
        for key in slots {
            self.look_again.remove(&key);
            self.dirty.insert(key);
        }
        self.avoid_ports.retain(|_, until| *until > now.mono);
    }

    /// Decides until nothing is left to decide, and hands over what came of it.
    pub(crate) fn decide(&mut self, now: Now, random: &mut dyn FnMut() -> u64) -> Output {
        self.take_in_strays(now);
        loop {
            if let Some((id, event)) = self.events.pop_front() {
                self.step(&id, event, now);
            } else if let Some(key) = self.dirty.pop_first() {
                self.keep(&key, now, random);
            } else {
                break;
            }
        }
        self.look_at_live();
        std::mem::take(&mut self.output)
    }

    /// What of it no status and no record shows.
    #[cfg(test)]
    pub(crate) fn outline(&self) -> String {
        let slots: Vec<_> = self.slots.values().map(|slot| (slot.failures, slot.kept_old)).collect();
        format!("{slots:?}{:?}{:?}{}", self.drain, self.hearing, self.strays.len())
    }

    fn look_at_live(&mut self) {
        let Standing { live, undrained, is_settled, is_drained, .. } = self.standing;
        let was = (live, undrained, is_settled, is_drained);
        let live = self.live().count();
        let is_settled = is_settled
            || (self.hearing.is_over() && !self.live().any(|one| one.state() == InstanceState::Unknown));
        let undrained = self.undrained();
        let is_drained =
            self.drain.is_some() && undrained == 0 && self.strays.is_empty() && self.hearing.is_over();
        self.has_news |= was != (live, undrained, is_settled, is_drained);
        self.standing.live = live;
        self.standing.undrained = undrained;
        self.standing.is_settled = is_settled;
        self.standing.is_drained = is_drained;
    }

    fn step(&mut self, id: &InstanceId, event: Event, now: Now) {
        let Some(before) = self.instances.get(id) else { return };
        let (mut after, effects) = step(before, event, now);
        let mut since = before.record.timeline.last().map_or(before.record.created, Transition::latest);
        for transition in news(&after.record.timeline, &before.record.timeline) {
            self.output.transitions.push(TransitionMade {
                from: transition.from,
                to: transition.to,
                reason: transition.reason,
                lasted: transition.latest().since(since),
            });
            since = transition.latest();
        }
        let ended = after.is_over() && !before.is_over();
        if ended {
            self.ends.count(&mut after);
            after.spec = Arc::default();
        }
        let is_new = !after.same_on_disk(before);
        let moved = after.state() != before.state()
            || after.record.reason != before.record.reason
            || after.exit != before.exit;
        let gave_back = before.holds_lease() && !after.holds_lease();
        let key = key_of(&after.record.slot);
        self.instances.insert(id.clone(), after);
        if is_new {
            self.write_instance(id);
        }
        if moved {
            self.dirty.insert(key);
            self.advance_drain();
        }
        if ended {
            self.output.over.push(id.clone());
            self.bound_details();
            self.leave_slot_if_settled(id);
        }
        for effect in effects {
            match effect {
                Effect::Lease => self.lease(id, now),
                other => self.output.effects.push((id.clone(), other)),
            }
        }
        if gave_back {
            self.offer_room();
        }
    }

    fn keep(&mut self, key: &SlotKey, now: Now, random: &mut dyn FnMut() -> u64) {
        let wanted = match (self.rows.get(key), self.unreadable.get(key)) {
            _ if self.is_drained_of(key) => Wanted::Empty(Reason::Draining),
            (Some(row), _) => Wanted::Filled(row),
            (None, Some(row)) => Wanted::Unreadable(key, row),
            (None, None) if self.has_table => Wanted::Empty(Reason::SlotRemoved),
            (None, None) => return,
        };
        let instances: Vec<&Instance> = self.in_slot(key).collect();
        let least_wait = least_wait(self.instances.len().saturating_sub(self.standing.live));
        let decision = keep(wanted, self.slots.get(key), &instances, now.wall, least_wait, random);
        let minted = decision.mint.and_then(|_| self.rows.get(key)).map(|row| {
            let slot =
                SlotId { service: key.service.clone(), executor: self.executor.clone(), index: key.index };
            let bits = (u128::from(random()) << 64) | u128::from(random());
            let id = uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid();
            Instance::minted(InstanceId::from_uuid(id), slot, row, now)
        });
        for id in &decision.accounted {
            if let Some(instance) = self.instances.get_mut(id) {
                instance.accounted = true;
                self.output.batch.instance(instance);
            }
            self.leave_slot_if_settled(id);
            self.forget_if_done(id);
        }
        match decision.look_again_in {
            Some(wait) => self.look_again.insert(key.clone(), now.mono + wait),
            None => self.look_again.remove(key),
        };
        self.remember(key, decision.slot);
        for (id, intent) in decision.stop {
            self.events.push_back((id, Event::StopRequested(intent)));
        }
        if let Some(instance) = minted {
            let id = instance.id().clone();
            self.output.batch.mint(&instance);
            self.adopt(instance);
            self.republish_instance(&id);
            self.events.push_back((id, Event::Woke));
        }
    }

    /// Nothing of it is to be decided any more: it only waits for its acknowledgement.
    fn leave_slot_if_settled(&mut self, id: &InstanceId) {
        let Some(instance) = self.instances.get(id).filter(|instance| is_settled(instance)) else { return };
        let key = key_of(&instance.record.slot);
        if let Some(ids) = self.by_slot.get_mut(&key) {
            ids.remove(id);
            if ids.is_empty() {
                self.by_slot.remove(&key);
            }
        }
    }

    /// The records of all instances that are held, for whoever wants to look.
    #[must_use]
    pub(crate) fn records(&self) -> Vec<InstanceRecord> {
        self.instances.values().map(Instance::shown).collect()
    }
}

/// By slot. What is no service to this version has no slot here.
fn unreadable_of(table: &SlotTable) -> BTreeMap<SlotKey, UnreadableRow> {
    let rows = table.unreadable.iter().filter_map(|row| {
        let service = ServiceId::new(row.service.as_str()).ok()?;
        Some((SlotKey { service, index: row.index }, row.clone()))
    });
    rows.collect()
}

/// Whether it is over, and its slot's keeper knows.
fn is_settled(instance: &Instance) -> bool {
    instance.is_over() && instance.accounted
}

fn key_of(slot: &SlotId) -> SlotKey {
    SlotKey { service: slot.service.clone(), index: slot.index }
}
