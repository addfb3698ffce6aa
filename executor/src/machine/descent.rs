//! The way down: hooks in order, a pause, the stop signal, the kill; then evidence and removal.
//!
//! STOPPING, UNHEALTHY and `READINESS_CHECK_FAILED` take the workload down; DEPROVISIONING takes away what
//! is left of it. Only the runner's word ends it: as long as it cannot confirm that the workload is gone,
//! the instance stays in DEPROVISIONING, keeps its ports, says so, and tries again. A log that takes long to copy keeps
//! it there, too, since its container holds the rest; but then ports and resources are given back, and nobody waits.

use std::time::Duration;

use muster_common::evidence::{MAX_MESSAGE_BYTES, head};
use muster_common::instance::InstanceState;
use muster_common::reason::Reason;
use muster_common::spec::PreShutdownSpec;

use super::event::{Effect, Trouble};
use super::evidence::{unread_log, verdict};
use super::instance::{Descent, Resume, StopIntent};
use super::patience;
use super::turn::Turn;
use crate::probe::ProbeOutcome;
use crate::runner::{Exit, Found, LogEnd, Workload};

impl Turn {
    pub(super) fn stop_requested(&mut self, intent: StopIntent) {
        let state = self.instance.state();
        if self.instance.stop.is_some() || state == InstanceState::Deprovisioning {
            return;
        }
        let StopIntent { reason, message } = intent.clone();
        self.instance.stop = Some(intent);
        let reason = Some(reason);
        match state {
            InstanceState::Pending => {
                self.effects.push(Effect::Cancel);
                self.enter(InstanceState::Stopping, reason, &message);
                // Nothing was made: there is nothing to ask the runner for.
                self.enter(InstanceState::Deprovisioning, None, "");
                self.gone();
            }
            InstanceState::Provisioning => {
                self.effects.push(Effect::Cancel);
                self.enter(InstanceState::Stopping, reason, &message);
                self.clear_away();
            }
            InstanceState::ProvisioningFailed | InstanceState::StartFailed => {
                self.enter(InstanceState::Stopping, reason, &message);
                self.clear_away();
            }
            InstanceState::Starting => {
                let (deadline, is_idle) = (self.instance.pace.deadline, self.instance.pace.retry.is_some());
                self.enter(InstanceState::Stopping, reason, &message);
                if is_idle {
                    // The runner was away, and no start is under way.
                    self.descend(Descent::Find);
                    return;
                }
                self.instance.descent = Some(Descent::Settle);
                self.effects.push(Effect::HoldStart);
                // The start has what is left of its time, not a new one.
                self.instance.pace.deadline = deadline;
                if deadline.is_none() {
                    self.wait(patience::START);
                }
            }
            InstanceState::Unready | InstanceState::Ready | InstanceState::Healthy => {
                self.enter(InstanceState::Stopping, reason, &message);
                self.begin_stop();
            }
            InstanceState::Unhealthy | InstanceState::ReadinessCheckFailed => {
                let pace = self.instance.pace.clone();
                self.enter(InstanceState::Stopping, reason, &message);
                // It is on its way down already; only the name of the state changes.
                self.instance.pace = pace;
            }
            InstanceState::Unknown => {
                if let Some(resume) = self.instance.resume.clone() {
                    self.say_again(&resume);
                }
                self.enter(InstanceState::Stopping, reason, &message);
                self.descend(Descent::Find);
            }
            InstanceState::Stopping
            | InstanceState::Deprovisioning
            | InstanceState::Stopped
            | InstanceState::Lost => {}
        }
    }

    /// The workload ended by itself.
    pub(super) fn exited(&mut self, exit: Exit) {
        self.note_exit(exit);
        match self.instance.state() {
            InstanceState::Unready | InstanceState::Ready | InstanceState::Healthy => self.ended(),
            InstanceState::Stopping | InstanceState::Unhealthy | InstanceState::ReadinessCheckFailed => {
                // Hooks, pauses and the stop are for the living. Otherwise the answer to the start is under way,
                // and says the same.
                if let Some(Descent::Find | Descent::Hook(_) | Descent::Pause | Descent::Stop) =
                    self.instance.descent
                {
                    self.deprovision(Descent::Evidence);
                }
            }
            InstanceState::Deprovisioning if self.instance.descent == Some(Descent::Stop) => {
                self.deprovision(Descent::Evidence);
            }
            // STARTING and UNKNOWN: the answer that is waited for comes first. Elsewhere nothing runs.
            _ => {}
        }
    }

    /// The workload ended in a running state. Hooks are skipped.
    pub(super) fn ended(&mut self) {
        let exit = self.instance.exit.clone().unwrap_or_default();
        let (reason, message) = verdict(&exit);
        self.enter(InstanceState::Stopping, Some(reason), &message);
        self.deprovision(Descent::Evidence);
    }

    /// Takes a running workload down, in a state that was just entered.
    pub(super) fn begin_stop(&mut self) {
        self.descend(Descent::Hook(0));
    }

    /// Removes what there is, in a state that was just entered and in which nothing runs for certain. After a start that timed
    /// out it first asks the runner.
    pub(super) fn clear_away(&mut self) {
        let uncertain = self.instance.state() == InstanceState::StartFailed
            && self.instance.record.reason == Some(Reason::TimedOut);
        self.deprovision(if uncertain { Descent::Find } else { Descent::Remove });
    }

    pub(super) fn deprovision(&mut self, step: Descent) {
        if self.instance.state() != InstanceState::Deprovisioning {
            self.enter(InstanceState::Deprovisioning, None, "");
        }
        self.descend(step);
    }

    /// Goes to a step of the way down, passing over those that there is nothing to do for.
    pub(super) fn descend(&mut self, step: Descent) {
        let hooks = self.instance.spec.pre_shutdown.as_ref().map_or(0, |shutdown| shutdown.hooks.len());
        let step = match step {
            Descent::Hook(index) if index >= hooks => {
                if self.pause_before_kill().is_zero() {
                    Descent::Stop
                } else {
                    Descent::Pause
                }
            }
            Descent::Evidence | Descent::Copy if self.instance.workload.is_none() => Descent::Remove,
            other => other,
        };
        self.instance.descent = Some(step);
        self.instance.pace.tries = 0;
        match step {
            Descent::Settle => self.wait(patience::START),
            Descent::Find => self.act(Effect::Find, patience::FIND),
            Descent::Hook(index) => {
                self.act(Effect::RunHook { index }, patience::hook(&self.instance.spec));
            }
            Descent::Pause => self.wait(self.pause_before_kill()),
            Descent::Stop => self.act_stop(),
            Descent::Evidence => self.act(Effect::CollectEvidence, patience::EVIDENCE),
            Descent::Copy => {
                self.instance.gave_lease_back = true;
                self.complain(
                    Reason::CopyingLog,
                    "the workload is over; the rest of its log is being copied",
                );
                self.act(Effect::CopyLog, patience::COPY);
            }
            Descent::Remove => {
                self.seal_evidence();
                self.act(Effect::Remove, patience::REMOVE);
            }
        }
    }

    fn act_stop(&mut self) {
        let grace = self.stop_grace();
        self.act(Effect::Stop { grace }, patience::stop(grace));
    }

    /// In DEPROVISIONING the workload has had its grace.
    fn stop_grace(&self) -> Duration {
        match self.instance.state() {
            InstanceState::Deprovisioning => Duration::ZERO,
            _ => self.instance.spec.stop_grace(),
        }
    }

    fn pause_before_kill(&self) -> Duration {
        let wait = |shutdown: &PreShutdownSpec| shutdown.wait_before_kill.as_duration();
        self.instance.spec.pre_shutdown.as_ref().map_or(Duration::ZERO, wait)
    }

    /// The start that was in flight when the stop was asked for is over.
    pub(super) fn settled(&mut self, answer: Result<Workload, Trouble>) {
        match answer {
            Ok(workload) => {
                self.instance.workload = Some(workload);
                self.instance.record.started.get_or_insert(self.now.wall);
                if self.instance.exit.is_some() {
                    self.deprovision(Descent::Evidence);
                } else {
                    // It never served anybody: hooks have nothing to say to it.
                    self.descend(Descent::Stop);
                }
            }
            // A try before this one may have started it without anybody hearing of it.
            Err(_) => self.descend(Descent::Find),
        }
    }

    pub(super) fn hook_done(&mut self, index: usize, outcome: &ProbeOutcome) {
        if self.instance.descent != Some(Descent::Hook(index)) {
            return;
        }
        if !outcome.passed {
            self.note_hook_failure(index, &outcome.answer);
        }
        self.descend(Descent::Hook(index + 1));
    }

    /// A hook that fails does not hold up the stop. It is noted beside the reason why the instance stops. It is also noted in
    /// the timeline, in case other trouble on the way down takes its place.
    fn note_hook_failure(&mut self, index: usize, why: &str) {
        let note = format!("pre-shutdown hook {} failed: {why}", index + 1);
        let record = &mut self.instance.record;
        let step = record.timeline.last_mut().map(|step| &mut step.message);
        for message in step.into_iter().chain([&mut record.error_message]) {
            let said = if message.is_empty() { note.clone() } else { format!("{message}; {note}") };
            head(&said, MAX_MESSAGE_BYTES).clone_into(message);
        }
    }

    pub(super) fn stopped(&mut self, answer: Result<Exit, Trouble>) {
        if self.instance.descent != Some(Descent::Stop) {
            return;
        }
        match answer {
            Ok(exit) => {
                self.note_exit(exit);
                self.deprovision(Descent::Evidence);
            }
            Err(trouble) => {
                self.stumble(&trouble);
                let is_away = matches!(trouble, Trouble::Unavailable(_));
                if is_away && self.instance.state() != InstanceState::Deprovisioning {
                    // Nobody has told the workload yet: its grace begins when somebody can. A stop that is not
                    // answered at all is given up as before.
                    self.wait(patience::stop(self.stop_grace()));
                }
            }
        }
    }

    pub(super) fn evidence_collected(&mut self, answer: Result<LogEnd, Trouble>) {
        if self.instance.descent != Some(Descent::Evidence) {
            return;
        }
        if self.instance.state() == InstanceState::Unknown {
            self.last_words(answer);
            return;
        }
        match answer {
            Ok(end) => {
                self.keep_evidence(&end.text);
                self.descend(if end.is_kept { Descent::Remove } else { Descent::Copy });
            }
            Err(Trouble::Failed(why)) => self.seal_without_log(&why, Descent::Remove),
            // Nothing could be removed meanwhile either, so waiting for the log costs nothing.
            Err(trouble @ Trouble::Unavailable(_)) => {
                if self.instance.pace.tries == 0 {
                    self.wait(patience::EVIDENCE_AWAY);
                }
                self.stumble(&trouble);
            }
        }
    }

    fn seal_without_log(&mut self, why: &str, next: Descent) {
        self.keep_evidence(&unread_log(why));
        self.descend(next);
    }

    pub(super) fn log_copied(&mut self, answer: Result<Option<String>, Trouble>) {
        if self.instance.descent != Some(Descent::Copy) {
            return;
        }
        match answer {
            Err(trouble @ Trouble::Unavailable(_)) => {
                // The reason stays: it tells everybody that there is nothing to wait for.
                self.complain(Reason::CopyingLog, trouble.message());
                self.retry_later();
            }
            Ok(end) => {
                if let Some(end) = end {
                    self.mend_evidence(&end);
                }
                self.leave_log();
            }
            // What cannot be copied is said where the copy ends, once it is gone for good.
            Err(Trouble::Failed(_)) => self.leave_log(),
        }
    }

    /// Nobody waits for the rest of the log any more.
    fn leave_log(&mut self) {
        self.recall_why();
        self.descend(Descent::Remove);
    }

    pub(super) fn removed(&mut self, answer: Result<(), Trouble>) {
        if self.instance.descent != Some(Descent::Remove) {
            return;
        }
        match answer {
            Ok(()) => self.gone(),
            Err(trouble) => self.stumble(&trouble),
        }
    }

    /// Container, ports, resources and scratch are gone; the evidence is sealed.
    pub(super) fn gone(&mut self) {
        self.seal_evidence();
        self.recall_why();
        self.enter(InstanceState::Stopped, None, "");
        self.instance.descent = None;
    }

    /// What the runner found while an instance was on its way down.
    pub(super) fn found_descending(&mut self, found: Found) {
        let resume = self.instance.resume.take();
        match found {
            Found::Running(workload) => {
                self.instance.workload = Some(workload);
                self.descend(resume.as_ref().map_or(Descent::Stop, Resume::way_down));
            }
            Found::Ended(workload, exit) => {
                self.instance.workload = Some(workload);
                self.note_exit(exit);
                self.deprovision(Descent::Evidence);
            }
            Found::NeverStarted => self.deprovision(Descent::Remove),
            // What it wrote before it vanished may still be there.
            Found::Nothing => self.deprovision(Descent::Evidence),
        }
    }

    /// The runner could not do it: shows that, and tries again later.
    pub(super) fn stumble(&mut self, trouble: &Trouble) {
        self.complain(Reason::RunnerUnavailable, trouble.message());
        self.retry_later();
    }

    /// Repeats the present step without granting it more time.
    pub(super) fn repeat_descent(&mut self) {
        match self.instance.descent {
            Some(Descent::Find) => self.effects.push(Effect::Find),
            Some(Descent::Stop) => {
                let grace = self.stop_grace();
                self.effects.push(Effect::Stop { grace });
            }
            Some(Descent::Evidence) => self.effects.push(Effect::CollectEvidence),
            Some(Descent::Copy) => self.effects.push(Effect::CopyLog),
            Some(Descent::Remove) => self.effects.push(Effect::Remove),
            Some(Descent::Settle | Descent::Hook(_) | Descent::Pause) | None => {}
        }
    }

    pub(super) fn descent_timed_out(&mut self, message: &str) {
        match self.instance.descent {
            Some(Descent::Settle) => self.descend(Descent::Find),
            Some(Descent::Hook(index)) => {
                self.note_hook_failure(index, message);
                self.descend(Descent::Hook(index + 1));
            }
            Some(Descent::Pause) => self.descend(Descent::Stop),
            // It may be there all the same, and only slow.
            Some(Descent::Evidence) => self.seal_without_log(message, Descent::Copy),
            Some(Descent::Copy) => self.leave_log(),
            Some(Descent::Stop) if self.instance.state() != InstanceState::Deprovisioning => {
                self.complain(Reason::TimedOut, message);
                self.deprovision(Descent::Stop);
            }
            Some(step @ (Descent::Find | Descent::Stop | Descent::Remove)) => {
                self.complain(Reason::TimedOut, &format!("{message}; trying again"));
                self.descend(step);
            }
            None => self.deprovision(Descent::Find),
        }
    }

    pub(super) fn descent_action(&self) -> String {
        match self.instance.descent {
            Some(Descent::Settle) => "waiting for the start in flight".to_owned(),
            Some(Descent::Find) => "asking the runner what there is".to_owned(),
            Some(Descent::Hook(index)) => format!("pre-shutdown hook {}", index + 1),
            Some(Descent::Pause) => "waiting before the kill".to_owned(),
            Some(Descent::Stop) => "stopping the workload".to_owned(),
            Some(Descent::Evidence) => "reading the end of the log".to_owned(),
            Some(Descent::Copy) => "copying the rest of the log".to_owned(),
            Some(Descent::Remove) => "removing what is left".to_owned(),
            None => "none".to_owned(),
        }
    }
}
