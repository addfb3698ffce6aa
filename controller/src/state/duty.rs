//! What users want of executors: that they take instances, or are emptied, or are gone for good.
//!
//! An executor that is to be emptied takes no slots, so the reconciler takes away those that it has; when nothing is
//! left there, it is BLACKLISTED. Services go in the order of their `drainPolicy`. A drain is the same with a deadline.
//! An executor that is away keeps its duty.

use std::sync::Arc;
use std::time::Duration;

use muster_common::executor::{Contact, ExecutorState};
use muster_common::id::{ExecutorId, ServiceId, SlotId};
use muster_common::reason::Reason;
use muster_common::spec::DrainPolicy;
use muster_common::time::{LedTime, Timestamp};

use super::clock::as_ms;
use super::{Drain, Executor, Happening, Refusal, Reply, State, Wish};

impl State {
    pub(super) fn change_duty(
        &mut self,
        at: Timestamp,
        wish: Wish,
        executors: &[ExecutorId],
        by: &str,
    ) -> Reply {
        if self.is_in_maintenance() {
            return Reply::Refused(Refusal::Maintenance);
        }
        let (mut changed, mut refused) = (Vec::new(), Vec::new());
        for id in executors {
            match self.change_duty_of(at, wish, id, by) {
                Ok(()) => changed.push(id.clone()),
                Err(refusal) => refused.push((id.clone(), refusal)),
            }
        }
        Reply::Duties { changed, refused }
    }

    /// A request for a duty that the executor has already succeeds: it may be a repetition.
    fn change_duty_of(
        &mut self,
        at: Timestamp,
        wish: Wish,
        id: &ExecutorId,
        by: &str,
    ) -> Result<(), Refusal> {
        use ExecutorState::{Active, BlacklistRequested, Blacklisted, Draining, Removed, Unready};
        let executor = self.executor(id).ok_or_else(|| Refusal::UnknownExecutor(id.to_string()))?;
        let duty = executor.duty;
        match (wish, duty) {
            (Wish::Remove, Removed)
            | (Wish::Blacklist, BlacklistRequested)
            | (Wish::Unblacklist, Active | Unready) => {}
            (Wish::Blacklist | Wish::Unblacklist | Wish::Drain { .. }, Removed)
            | (Wish::Blacklist, Blacklisted)
            | (Wish::Drain { .. }, BlacklistRequested | Blacklisted) => {
                return Err(Refusal::DutyHeld(id.clone(), duty));
            }
            (Wish::Blacklist, Active | Unready | Draining) => {
                self.enter_duty(at, id, BlacklistRequested, String::new());
            }
            (Wish::Unblacklist, BlacklistRequested | Blacklisted | Draining) => {
                self.enter_duty(at, id, Active, String::new());
            }
            (Wish::Drain { within }, Active | Unready | Draining) => self.drain(at, id, within),
            (Wish::Remove, Active | Unready | BlacklistRequested | Blacklisted | Draining) => {
                self.remove_executor(at, id, by)?;
            }
        }
        Ok(())
    }

    /// One that is drained already has its time from now on.
    fn drain(&mut self, at: Timestamp, id: &ExecutorId, within: Duration) {
        self.enter_duty(at, id, ExecutorState::Draining, String::new());
        if let Some(executor) = self.executors.get_mut(id).map(Arc::make_mut) {
            let within_ms = as_ms(within);
            executor.drain = Some(Drain { within_ms, time_left_ms: within_ms, deadline: None });
        }
    }

    fn remove_executor(&mut self, at: Timestamp, id: &ExecutorId, by: &str) -> Result<(), Refusal> {
        // One that is heard would register again, and be here again, with the next leader.
        if self.is_connected(id) {
            return Err(Refusal::StillHolds(id.clone(), self.live_on(id).len()));
        }
        self.take_out(at, id, &format!("executor {id} was removed by {by}"), String::new());
        Ok(())
    }

    /// When an executor that is LOST is not expected back any more.
    #[must_use]
    pub fn expected_until(&self, executor: &Executor) -> Option<LedTime> {
        let is_lost = executor.contact == Contact::Lost && executor.duty != ExecutorState::Removed;
        let patience = self.retention.lost_executors_for.filter(|_| is_lost)?;
        Some(executor.contact_since.led.plus(patience))
    }

    pub(super) fn remove_lost(&mut self, at: Timestamp, id: &ExecutorId) -> Option<()> {
        let due = self.expected_until(self.executor(id)?)?;
        if self.led < due {
            return None;
        }
        let reason = self.absence(id);
        self.take_out(at, id, &format!("executor {id} was removed: {reason}"), reason);
        Some(())
    }

    /// An executor is gone for good, and what was on it is lost; the `reason` is the executor's, the `message` that of
    /// its instances.
    fn take_out(&mut self, at: Timestamp, id: &ExecutorId, message: &str, reason: String) {
        let live = self.live_on(id);
        let awaited: Vec<_> = self.instances.awaited_on_executor(id).cloned().collect();
        for instance in live.into_iter().chain(awaited) {
            self.lose(at, &instance, Reason::ExecutorRemoved, message);
        }
        // With its slots: what it still runs in them may be forgotten by the time it comes back as a newcomer, and is
        // never told again. Slots that are assigned anew are filled anew.
        let slots: Vec<_> = self.slots.on_executor(id).map(|(slot, _)| slot).collect();
        for slot in slots {
            self.slots.remove(&slot);
        }
        self.touch_table(id);
        self.enter_duty(at, id, ExecutorState::Removed, reason);
    }

    fn enter_duty(&mut self, at: Timestamp, id: &ExecutorId, duty: ExecutorState, reason: String) {
        let now = self.moment(at);
        let Some(executor) = self.executors.get_mut(id).map(Arc::make_mut) else { return };
        executor.drain = None;
        if executor.duty == duty {
            return;
        }
        executor.duty = duty;
        executor.duty_since = now;
        executor.updated = at;
        let (hostname, port) = (executor.record.hostname.clone(), executor.record.api_port);
        self.emit(at, Happening::ExecutorDuty { executor: id.clone(), hostname, port, duty, reason });
    }

    /// The first drain policy of which something is left on an executor that is being emptied: those after it are left
    /// alone until then. None: there is no such order.
    #[must_use]
    pub fn drain_turn(&self, executor: &Executor) -> Option<DrainPolicy> {
        if !executor.is_being_emptied() {
            return None;
        }
        let id = &executor.record.id;
        let assigned = self.slots.on_executor(id).map(|(slot, _)| self.drain_policy(&slot.service));
        // The log of one that is gone may be copied for long; the drain as a whole waits for that.
        let live = self.live_instances_on(id).filter(|one| !one.record.is_only_copied());
        let live = live.map(|one| self.drain_policy(&one.record.slot.service));
        assigned.chain(live).min()
    }

    /// Whether a slot would be wanted, were its executor not being emptied, and is left alone until its `turn`.
    #[must_use]
    pub fn goes_later(&self, slot: &SlotId, turn: DrainPolicy) -> bool {
        let (Some(service), Some(executor)) = (self.service(&slot.service), self.executor(&slot.executor))
        else {
            return false;
        };
        slot.index < service.share_of(executor) && service.spec().drain_policy() > turn
    }

    fn drain_policy(&self, service: &ServiceId) -> DrainPolicy {
        self.service(service).map_or(DrainPolicy::Normal, |service| service.spec().drain_policy())
    }

    /// Whether nothing is left on an executor. While it is not heard, nobody knows, however long that lasts: what counts
    /// as lost may run.
    #[must_use]
    pub fn is_empty(&self, executor: &Executor) -> bool {
        let id = &executor.record.id;
        executor.contact == Contact::Connected
            && self.slots.on_executor(id).next().is_none()
            && self.live_instances_on(id).next().is_none()
    }

    pub(super) fn executor_emptied(&mut self, at: Timestamp, id: &ExecutorId) -> Option<()> {
        let executor = self.executor(id)?;
        let is_emptied = executor.is_being_emptied() && self.is_empty(executor);
        is_emptied.then(|| self.enter_duty(at, id, ExecutorState::Blacklisted, String::new()))
    }

    pub(super) fn start_drain(&mut self, at: Timestamp, id: &ExecutorId) -> Option<()> {
        let drain = self.executors.get_mut(id).map(Arc::make_mut)?.drain.as_mut()?;
        if drain.deadline.is_some() {
            return None;
        }
        drain.deadline = Some(at.plus(Duration::from_millis(drain.time_left_ms)));
        Some(())
    }

    /// The deadline of a drain has passed. The executor goes on being emptied.
    pub(super) fn expire_drain(&mut self, at: Timestamp, id: &ExecutorId) -> Option<()> {
        let drain = self.executor(id)?.drain.filter(|drain| drain.deadline.is_some_and(|due| at >= due))?;
        let left = self.live_instances_on(id).count();
        let reason = format!(
            "timed out in DRAINING after {} s; {left} instances are still there",
            Duration::from_millis(drain.within_ms).as_secs()
        );
        self.enter_duty(at, id, ExecutorState::BlacklistRequested, reason);
        Some(())
    }

    pub(super) fn stop_drain_clocks(&mut self) {
        let now = self.clock;
        let clock_runs = |executor: &Executor| executor.drain.is_some_and(|drain| drain.deadline.is_some());
        let running: Vec<ExecutorId> = self
            .executors()
            .filter(|executor| clock_runs(executor))
            .map(|executor| executor.record.id.clone())
            .collect();
        for id in running {
            let executor = self.executors.get_mut(&id).map(Arc::make_mut);
            if let Some(drain) = executor.and_then(|executor| executor.drain.as_mut())
                && let Some(deadline) = drain.deadline.take()
            {
                drain.time_left_ms = drain.time_left_ms.min(as_ms(deadline.since(now)));
            }
        }
    }

    /// Whether a removed executor can be forgotten: it would be missed if it still spoke.
    #[must_use]
    pub fn is_gone(&self, executor: &Executor) -> bool {
        executor.duty == ExecutorState::Removed
            && executor.contact != Contact::Connected
            && self.slots.on_executor(&executor.record.id).next().is_none()
            && self.live_instances_on(&executor.record.id).next().is_none()
    }

    pub(super) fn forget_executor(&mut self, id: &ExecutorId) -> Option<()> {
        let executor = self.executor(id)?;
        self.is_gone(executor).then_some(())?;
        self.executors.remove(id).map(drop)
    }
}
