//! The way up: PENDING, PROVISIONING, STARTING, UNREADY, READY.

use std::time::Duration;

use muster_common::instance::InstanceState;
use muster_common::reason::Reason;

use super::event::{Effect, Lease, NoRoom, Trouble};
use super::instance::Descent;
use super::patience;
use super::turn::Turn;
use crate::runner::Workload;

impl Turn {
    pub(super) fn leased(&mut self, answer: Result<Lease, NoRoom>) {
        if self.instance.state() != InstanceState::Pending || self.instance.holds_lease() {
            return;
        }
        match answer {
            Ok(lease) => {
                let record = &mut self.instance.record;
                record.local_info = Some(lease.local_info);
                record.resources = lease.resources;
                self.instance.pace.retry = None;
                self.act(Effect::CheckPorts, patience::PORT_CHECK);
            }
            Err(no_room) => {
                self.complain(no_room.reason, &no_room.message);
                self.wait_for_room();
            }
        }
    }

    /// The ports can be had, or one of them cannot: then others are leased.
    pub(super) fn ports_checked(&mut self, answer: Result<(), NoRoom>) {
        if self.instance.state() != InstanceState::Pending || !self.instance.holds_lease() {
            return;
        }
        match answer {
            Ok(()) => {
                let record = &mut self.instance.record;
                record.reason = None;
                record.error_message.clear();
                self.enter(InstanceState::Provisioning, None, "");
                self.act(Effect::Provision, patience::provision(&self.instance.spec));
            }
            Err(no_room) => {
                let record = &mut self.instance.record;
                record.local_info = None;
                record.resources.clear();
                self.complain(no_room.reason, &no_room.message);
                self.instance.pace.deadline = None;
                self.instance.pace.tries += 1;
                if self.instance.spec.is_host_level() || self.instance.pace.tries >= patience::LEASE_TRIES {
                    self.wait_for_room();
                } else {
                    self.ask_for_room();
                }
            }
        }
    }

    pub(super) fn room_freed(&mut self) {
        if self.instance.state() == InstanceState::Pending && !self.instance.holds_lease() {
            self.ask_for_room();
        }
    }

    /// The answer comes within the same turn of the supervisor; the timer is there so that no
    /// condition is without one.
    pub(super) fn ask_for_room(&mut self) {
        self.effects.push(Effect::Lease);
        self.instance.pace.retry = Some(self.now.mono + patience::LEASE_RETRY);
    }

    fn wait_for_room(&mut self) {
        self.instance.pace.tries = 0;
        self.instance.pace.retry = Some(self.now.mono + patience::LEASE_RETRY);
    }

    pub(super) fn provisioned(&mut self, answer: Result<(), Trouble>) {
        if self.instance.state() != InstanceState::Provisioning {
            return;
        }
        match answer {
            Ok(()) => {
                self.settle_trouble();
                self.enter(InstanceState::Starting, None, "");
                self.act(Effect::Start, patience::START);
            }
            Err(Trouble::Unavailable(message)) => {
                self.await_runner(&message, patience::provision(&self.instance.spec));
            }
            Err(Trouble::Failed(message)) => {
                self.enter(InstanceState::ProvisioningFailed, Some(Reason::ProvisioningFailed), &message);
                self.clear_away();
            }
        }
    }

    pub(super) fn started(&mut self, answer: Result<Workload, Trouble>) {
        if self.instance.descent == Some(Descent::Settle) {
            self.settled(answer);
            return;
        }
        if self.instance.state() != InstanceState::Starting {
            return;
        }
        match answer {
            Ok(workload) => {
                self.settle_trouble();
                self.launched(workload);
            }
            Err(Trouble::Unavailable(message)) => self.await_runner(&message, patience::START),
            Err(Trouble::Failed(message)) => {
                // An earlier try that was not answered may have started it.
                let uncertain = self.instance.pace.tries > 0;
                self.enter(InstanceState::StartFailed, Some(Reason::StartFailed), &message);
                if uncertain {
                    self.deprovision(Descent::Find);
                } else {
                    self.clear_away();
                }
            }
        }
    }

    /// The workload runs, or did for a moment.
    pub(super) fn launched(&mut self, workload: Workload) {
        self.instance.workload = Some(workload);
        self.instance.record.started.get_or_insert(self.now.wall);
        self.instance.pace.launched = self.now.mono;
        self.enter(InstanceState::Unready, None, "");
        if self.instance.exit.is_some() {
            self.ended();
        } else {
            self.await_readiness();
        }
    }

    /// The runner is away, and says so. However long that lasts it is no fault of the service: the time that an
    /// action has begins anew with each answer. An action that is not answered at all is given up as before.
    fn await_runner(&mut self, message: &str, limit: Duration) {
        self.complain(Reason::RunnerUnavailable, message);
        self.retry_later();
        self.wait(limit);
    }

    /// What was wrong while the runner could not be reached is wrong no more.
    pub(super) fn settle_trouble(&mut self) {
        if self.instance.record.reason == Some(Reason::RunnerUnavailable) {
            self.instance.record.reason = None;
            self.instance.record.error_message.clear();
        }
    }

    pub(super) fn ascent_timed_out(&mut self, message: &str) {
        let reason = Some(Reason::TimedOut);
        match self.instance.state() {
            InstanceState::Provisioning => {
                self.effects.push(Effect::Cancel);
                self.enter(InstanceState::ProvisioningFailed, reason, message);
                self.clear_away();
            }
            InstanceState::Starting => {
                self.enter(InstanceState::StartFailed, reason, message);
                self.clear_away();
            }
            InstanceState::Unready => {
                self.enter(InstanceState::ReadinessCheckFailed, reason, message);
                self.begin_stop();
            }
            _ => {
                self.enter(InstanceState::Stopping, reason, message);
                self.begin_stop();
            }
        }
    }
}
