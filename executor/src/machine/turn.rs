//! One step of the machine: the instance while it is being changed, and the effects that it has asked for so far.

use std::time::Duration;

use muster_common::evidence::{MAX_MESSAGE_BYTES, MAX_WARNINGS, Transition, head, newest};
use muster_common::instance::InstanceState;
use muster_common::reason::Reason;

use super::event::{Effect, Event, NoRoom};
use super::instance::{Deadline, Instance, Now, Pace};
use super::timeline;

/// How far versions skip ahead at a restart: of the steps that need not survive a crash (see
/// [`Instance::must_last`]) some may have been reported, and no version may ever mean two things.
const RESTART_SKIP: u64 = 1 << 20;

pub(super) struct Turn {
    pub(super) instance: Instance,
    pub(super) effects: Vec<Effect>,
    pub(super) now: Now,
    /// Whether the instance is to be reported even though only its probe results changed.
    pub(super) noteworthy: bool,
    /// The executor has just started.
    is_restart: bool,
}

impl Turn {
    pub(super) fn new(instance: &Instance, now: Now) -> Self {
        Self { instance: instance.clone(), effects: Vec::new(), now, noteworthy: false, is_restart: false }
    }

    pub(super) fn take(&mut self, event: Event) {
        if self.instance.is_over() {
            return;
        }
        match event {
            Event::Leased(answer) => self.leased(answer),
            Event::PortsChecked(answer) => self.ports_checked(answer),
            Event::RoomFreed => self.room_freed(),
            Event::Provisioned(answer) => self.provisioned(answer),
            Event::Started(answer) => self.started(answer),
            Event::Exited(exit) => self.exited(exit),
            Event::Probed { kind, outcome } => self.probed(kind, &outcome),
            Event::HookDone { index, outcome } => self.hook_done(index, &outcome),
            Event::Stopped(answer) => self.stopped(answer),
            Event::EvidenceCollected(answer) => self.evidence_collected(answer),
            Event::LogCopied(answer) => self.log_copied(answer),
            Event::Removed(answer) => self.removed(answer),
            Event::StopRequested(intent) => self.stop_requested(intent),
            Event::Restarted { rebooted } => {
                self.is_restart = true;
                self.restarted(rebooted);
            }
            Event::Found(answer) => self.found(answer),
            Event::StoodStill => self.drop_question(),
            Event::Woke => self.woke(),
        }
    }

    /// The result; the record's version grows when there is something new to report.
    pub(super) fn finish(mut self, before: &Instance) -> (Instance, Vec<Effect>) {
        if let Some(workload) = &self.instance.workload {
            self.instance.record.warnings = newest(workload.warnings(), MAX_WARNINGS).to_vec();
        }
        if self.noteworthy || self.is_restart || self.instance.record != before.record {
            let record = &mut self.instance.record;
            record.version = before.record.version + if self.is_restart { RESTART_SKIP } else { 1 };
            record.updated = self.now.wall;
            record.probes.clone_from(&self.instance.pace.recent);
        }
        (self.instance, self.effects)
    }

    /// Enters a state: the timeline grows, and the waits of the old state are over.
    pub(super) fn enter(&mut self, to: InstanceState, reason: Option<Reason>, message: &str) {
        let message = head(message, MAX_MESSAGE_BYTES).to_owned();
        let record = &mut self.instance.record;
        let from = record.state;
        let made =
            Transition { at: self.now.wall, from, to, reason, message: message.clone(), repeats: None };
        timeline::add(&mut record.timeline, made);
        record.state = to;
        if reason.is_some() {
            record.reason = reason;
        }
        if !message.is_empty() && to != InstanceState::Unknown {
            record.error_message = message;
        }
        let Pace { launched, recent, .. } = std::mem::take(&mut self.instance.pace);
        self.instance.pace = Pace { launched, recent, ..Pace::default() };
    }

    /// Asks for an action and waits for its answer no longer than `limit`.
    pub(super) fn act(&mut self, effect: Effect, limit: Duration) {
        self.effects.push(effect);
        self.instance.pace.retry = None;
        self.wait(limit);
    }

    /// Gives up the present wait after `limit`.
    pub(super) fn wait(&mut self, limit: Duration) {
        self.instance.pace.deadline = Some(Deadline { at: self.now.mono.saturating_add(limit), limit });
    }

    /// Tries the present action again, later and later, within its deadline.
    pub(super) fn retry_later(&mut self) {
        let pace = &mut self.instance.pace;
        pace.retry = Some(self.now.mono + super::patience::retry(pace.tries));
        pace.tries += 1;
    }

    /// Notes trouble in the present state without leaving it.
    pub(super) fn complain(&mut self, reason: Reason, message: &str) {
        self.instance.record.reason = Some(reason);
        head(message, MAX_MESSAGE_BYTES).clone_into(&mut self.instance.record.error_message);
    }

    fn woke(&mut self) {
        let pace = &mut self.instance.pace;
        if pace.deadline.is_some_and(|deadline| deadline.at <= self.now.mono) {
            let limit = pace.deadline.take().map(|deadline| deadline.limit).unwrap_or_default();
            self.timed_out(limit);
        } else if pace.retry.is_some_and(|at| at <= self.now.mono) {
            pace.retry = None;
            self.try_again();
        } else {
            self.probe_if_due();
        }
    }

    /// The present wait took longer than it may.
    fn timed_out(&mut self, limit: Duration) {
        let message = format!(
            "timed out in {} after {}; last action: {}",
            self.instance.state(),
            in_words(limit),
            self.last_action()
        );
        match self.instance.state() {
            InstanceState::Pending => {
                self.ports_checked(Err(NoRoom { reason: Reason::TimedOut, message }));
            }
            InstanceState::Provisioning
            | InstanceState::Starting
            | InstanceState::Unready
            | InstanceState::Ready => self.ascent_timed_out(&message),
            InstanceState::Stopping
            | InstanceState::Unhealthy
            | InstanceState::ReadinessCheckFailed
            | InstanceState::Deprovisioning => self.descent_timed_out(&message),
            InstanceState::Unknown => self.question_timed_out(&message),
            InstanceState::ProvisioningFailed | InstanceState::StartFailed => self.clear_away(),
            // HEALTHY waits for nothing; its checks have their own watchdog.
            InstanceState::Healthy | InstanceState::Stopped | InstanceState::Lost => {}
        }
    }

    /// The time to repeat the present action has come.
    fn try_again(&mut self) {
        match self.instance.state() {
            InstanceState::Pending => self.ask_for_room(),
            InstanceState::Provisioning => self.effects.push(Effect::Provision),
            InstanceState::Starting => self.effects.push(Effect::Start),
            InstanceState::Unknown => self.repeat_question(),
            InstanceState::Stopping
            | InstanceState::Unhealthy
            | InstanceState::ReadinessCheckFailed
            | InstanceState::Deprovisioning => self.repeat_descent(),
            InstanceState::ProvisioningFailed | InstanceState::StartFailed => self.clear_away(),
            InstanceState::Unready
            | InstanceState::Ready
            | InstanceState::Healthy
            | InstanceState::Stopped
            | InstanceState::Lost => {}
        }
    }

    /// What is being done right now, in words.
    fn last_action(&self) -> String {
        let instance = &self.instance;
        let executable = instance.spec.executable.as_ref().map_or("", |executable| executable.name());
        match instance.state() {
            InstanceState::Pending => "checking that the leased ports are free".to_owned(),
            InstanceState::Provisioning => format!("fetching {executable}"),
            InstanceState::Starting => format!("starting {executable}"),
            InstanceState::Unready | InstanceState::Ready => match instance.pace.recent.last() {
                Some(probe) => format!("{} check: {}", probe.kind, probe.answer),
                None => "waiting for the first check".to_owned(),
            },
            InstanceState::Unknown if instance.descent.is_none() => {
                "asking the runner what there is".to_owned()
            }
            _ => self.descent_action(),
        }
    }
}

/// `90 s`, `1.5 s`, `15 min`.
fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if duration.subsec_nanos() != 0 {
        format!("{:.1} s", duration.as_secs_f64())
    } else if seconds >= 120 && seconds.is_multiple_of(60) {
        format!("{} min", seconds / 60)
    } else {
        format!("{seconds} s")
    }
}
