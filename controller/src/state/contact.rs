//! Executors come, fall silent, and come back.

use std::collections::BTreeSet;
use std::sync::Arc;

use muster_common::evidence::Transition;
use muster_common::executor::{ExecutorRecord, ExecutorState};
use muster_common::id::{ExecutorId, InstanceId, SlotId};
use muster_common::instance::InstanceState;
use muster_common::reason::Reason;
use muster_common::time::Timestamp;

use super::progress::is_begun;
use super::{Change, Contact, Executor, Happening, Instance, State};

/// One entry of the log tells losses one by one until it has brought one in so many of the events that are kept. If it told
/// more, the events that explain the loss would be forgotten, and all who watch would have to begin anew.
const MAX_SHARE_OF_LOSSES: u32 = 4;

/// The message of an executor that is not heard.
pub(super) fn no_contact(id: &ExecutorId) -> String {
    format!("no contact with executor {id}")
}

impl State {
    pub(super) fn register(&mut self, at: Timestamp, record: &ExecutorRecord, holds: Option<&[InstanceId]>) {
        let id = record.id.clone();
        let known = self.executors.get_mut(&id).filter(|known| known.duty != ExecutorState::Removed);
        if let Some(executor) = known.map(Arc::make_mut) {
            if executor.record != *record {
                executor.record = record.clone();
                executor.updated = at;
            }
        } else {
            let now = self.moment(at);
            let executor = Executor {
                record: record.clone(),
                duty: ExecutorState::Active,
                contact: Contact::Connected,
                contact_since: now,
                created: at,
                updated: at,
                table_revision: self.revision,
                duty_since: now,
                drain: None,
                given_tags: Vec::new(),
                clock_skew_ms: 0,
            };
            self.executors.insert(id.clone(), Arc::new(executor));
            let (hostname, port) = (record.hostname.clone(), record.api_port);
            self.emit(at, Happening::ExecutorAdded { executor: id.clone(), hostname, port });
            self.take_in(at, &id);
        }
        self.contact(at, &id, Contact::Connected);
        if let Some(holds) = holds {
            self.take_inventory(at, &id, holds);
        }
    }

    /// A newcomer has its slots at once. One that an older backup does not know may hold instances, and a table without
    /// their slots would have them all stopped before the first plan.
    fn take_in(&mut self, at: Timestamp, id: &ExecutorId) {
        let wanted: Vec<_> = self.executor(id).into_iter().flat_map(|one| self.wanted_slots(one)).collect();
        for slot in wanted {
            self.change(at, &Change::AssignSlot { slot });
        }
    }

    pub(super) fn contact(&mut self, at: Timestamp, id: &ExecutorId, contact: Contact) {
        let now = self.moment(at);
        let Some(executor) = self.executors.get_mut(id).map(Arc::make_mut) else { return };
        // Whoever registered since a leader took it for lost is here.
        let is_overtaken = contact == Contact::Lost && executor.contact == Contact::Connected;
        if executor.contact == contact || is_overtaken {
            return;
        }
        let from = std::mem::replace(&mut executor.contact, contact);
        executor.contact_since = now;
        executor.updated = at;
        self.tell_contact(at, id, from);
        match contact {
            Contact::Connected => self.time_anew_on(id),
            Contact::Unreachable => {}
            Contact::Lost => self.lose_all_on(at, id),
        }
    }

    /// Whether a removed executor is heard is told to nobody.
    fn tell_contact(&mut self, at: Timestamp, id: &ExecutorId, from: Contact) {
        let known = self.executor(id).filter(|executor| executor.duty != ExecutorState::Removed);
        let Some(executor) = known.cloned() else { return };
        let instances = self.instances.live_on_executor(id).count();
        let what = Happening::ExecutorContact {
            executor: id.clone(),
            hostname: executor.record.hostname.clone(),
            port: executor.record.api_port,
            from,
            to: executor.contact,
            state: executor.shown_state(),
            instances: u32::try_from(instances).unwrap_or(u32::MAX),
        };
        self.emit(at, what);
    }

    /// Each loss is told by itself, as it is part of that instance's timeline; but where a whole fleet is lost at once,
    /// its executors' events, which speak for all that lived there, have to do.
    fn lose_all_on(&mut self, at: Timestamp, id: &ExecutorId) {
        let message = no_contact(id);
        for instance in self.live_on(id) {
            if self.events.count_of(self.revision) < self.retention.events / MAX_SHARE_OF_LOSSES {
                self.tell_loss(at, &instance, &message);
            }
            self.mark_lost(at, &instance, Reason::ExecutorUnreachable, &message);
        }
    }

    /// Nobody heard meanwhile how it goes there: what was begun has its time again, within the operation's own.
    fn time_anew_on(&mut self, id: &ExecutorId) {
        let slots: Vec<_> = self.slots.on_executor(id).map(|(slot, _)| slot).collect();
        let running_in = |slot: SlotId| {
            let running = self.operations.running_of(&slot.service);
            running.map(|operation| (operation.id.clone(), slot.clone())).collect::<Vec<_>>()
        };
        let at_work: Vec<_> = slots.into_iter().flat_map(running_in).collect();
        for (operation, slot) in at_work {
            if let Some(progress) = self.slot_of(&operation, &slot).filter(|progress| is_begun(progress)) {
                progress.since = None;
            }
        }
    }

    /// Whether registering an executor that holds these instances would change anything.
    #[must_use]
    pub fn learns_from(&self, record: &ExecutorRecord, holds: Option<&[InstanceId]>) -> bool {
        let id = &record.id;
        let is_as_known = self.executors.get(id).is_some_and(|known| {
            known.record == *record
                && known.contact == Contact::Connected
                && known.duty != ExecutorState::Removed
        });
        let Some(holds) = holds else { return !is_as_known };
        let held: BTreeSet<&InstanceId> = holds.iter().collect();
        let mut known = self.instances.live_on_executor(id).chain(self.instances.awaited_on_executor(id));
        let misses_one = known.any(|instance| !held.contains(&instance.record.id));
        let is_lost_here = |known: &Arc<Instance>| known.lost.is_some() && known.record.slot.executor == *id;
        let finds_one = held.iter().any(|held| self.instances.get(held).is_some_and(is_lost_here));
        !is_as_known || misses_one || finds_one
    }

    /// Compares what an executor holds with what is known of it.
    fn take_inventory(&mut self, at: Timestamp, id: &ExecutorId, holds: &[InstanceId]) {
        let held: BTreeSet<&InstanceId> = holds.iter().collect();
        let known = self.instances.live_on_executor(id).chain(self.instances.awaited_on_executor(id));
        let missing: Vec<_> = known.filter(|known| !held.contains(&known.record.id)).cloned().collect();
        for instance in missing {
            let message = format!("executor {id} came back and knows nothing of it");
            self.lose(at, &instance, Reason::NotFound, &message);
        }
        for held in held.iter().copied() {
            let Some(known) = self.instances.get(held) else { continue };
            if known.lost.is_some() && known.record.slot.executor == *id {
                let mut found = Instance::clone(known);
                self.note_found(at, &mut found);
                self.store(at, found);
            }
        }
    }

    pub(super) fn live_on(&self, id: &ExecutorId) -> Vec<Arc<Instance>> {
        self.instances.live_on_executor(id).cloned().collect()
    }

    /// Takes an instance for lost, and tells the world.
    pub(super) fn lose(&mut self, at: Timestamp, instance: &Instance, reason: Reason, message: &str) {
        self.tell_loss(at, instance, message);
        self.mark_lost(at, instance, reason, message);
    }

    fn tell_loss(&mut self, at: Timestamp, instance: &Instance, message: &str) {
        self.emit(at, Happening::instance(&instance.record, InstanceState::Lost, message));
    }

    /// The record of a lost instance stays as its executor left it, to be shown again if the executor comes back with it.
    fn mark_lost(&mut self, at: Timestamp, instance: &Instance, reason: Reason, message: &str) {
        let mut lost = instance.clone();
        lost.remark(Transition {
            at,
            from: instance.state(),
            to: InstanceState::Lost,
            reason: Some(reason),
            message: message.to_owned(),
            repeats: None,
        });
        lost.lost = Some(at);
        // It is kept from now on, also one that was awaited for long.
        lost.ended = None;
        self.store(at, lost);
    }

    /// Notes that an instance that was taken for lost was there all the time. Its record, which may be
    /// a newer one by now, is the caller's to store.
    pub(super) fn note_found(&mut self, at: Timestamp, found: &mut Instance) {
        let Some(since) = found.lost.take() else { return };
        let state = found.record.state;
        found.remark(Transition {
            at,
            from: InstanceState::Lost,
            to: state,
            reason: Some(Reason::FoundAgain),
            message: format!("found again after {} s", at.since(since).as_secs()),
            repeats: None,
        });
        self.emit(at, Happening::instance(&found.record, state, &found.record.error_message));
    }
}
