//! UNKNOWN: the executor was restarted, and asks the runner what became of the instance meanwhile.

use muster_common::instance::InstanceState;
use muster_common::reason::Reason;

use super::event::{Effect, Trouble};
use super::evidence::{unread_log, verdict};
use super::instance::{Descent, Resume};
use super::patience;
use super::turn::Turn;
use crate::runner::{Exit, Found, LogEnd, Workload};

impl Turn {
    pub(super) fn restarted(&mut self, rebooted: bool) {
        let was_unknown = self.instance.state() == InstanceState::Unknown;
        let resume = self.resume_of();
        let rebooted = rebooted || resume.rebooted;
        self.instance.resume = Some(Resume { rebooted, ..resume });
        self.instance.pace.recent.clone_from(&self.instance.record.probes);
        self.instance.pace.launched = self.now.mono;
        if !was_unknown {
            let reason = if rebooted { Reason::Rebooted } else { Reason::ExecutorRestarted };
            self.enter(InstanceState::Unknown, Some(reason), "");
        }
        self.ask_what_there_is();
    }

    /// What to go back to.
    fn resume_of(&mut self) -> Resume {
        let now = Resume {
            state: self.instance.state(),
            reason: self.instance.record.reason,
            message: self.instance.record.error_message.clone(),
            descent: self.instance.descent.take(),
            rebooted: false,
        };
        match self.instance.resume.take() {
            None => now,
            // Of two restarts in a row the first one knows.
            Some(earlier) if now.state == InstanceState::Unknown => earlier,
            // A stop was asked for while it was UNKNOWN, and the runner has still not said what there is.
            Some(earlier) => Resume { descent: Some(earlier.way_down()), rebooted: earlier.rebooted, ..now },
        }
    }

    pub(super) fn ask_what_there_is(&mut self) {
        self.act(Effect::Find, patience::FIND);
    }

    pub(super) fn found(&mut self, answer: Result<Found, Trouble>) {
        // One that is asked for its last words has been answered.
        let is_unknown = self.instance.state() == InstanceState::Unknown && self.instance.descent.is_none();
        if !is_unknown && self.instance.descent != Some(Descent::Find) {
            return;
        }
        match answer {
            Err(trouble) => self.stumble(&trouble),
            Ok(found) if is_unknown => self.resolve(found),
            Ok(found) => self.found_descending(found),
        }
    }

    fn resolve(&mut self, found: Found) {
        let Some(resume) = self.instance.resume.take() else {
            // Not of this program's making; what is there goes.
            self.enter(InstanceState::Stopping, Some(Reason::NotFound), "its earlier state is not known");
            self.descend(Descent::Find);
            return;
        };
        match found {
            Found::Running(workload) => self.found_running(workload, &resume),
            Found::Ended(workload, exit) => self.found_ended(Some(workload), &exit, &resume),
            Found::NeverStarted | Found::Nothing if self.instance.exit.is_some() => {
                // Its end was seen before, and what it left is gone by now.
                let exit = self.instance.exit.clone().unwrap_or_default();
                self.found_ended(None, &exit, &resume);
            }
            Found::NeverStarted => self.found_unstarted(&resume, false),
            Found::Nothing => self.found_unstarted(&resume, true),
        }
    }

    /// The same workload runs: it goes on as if nothing had happened.
    fn found_running(&mut self, workload: Workload, resume: &Resume) {
        if self.instance.exit.is_some() {
            // Its end was announced while the question was under way.
            let exit = self.instance.exit.clone().unwrap_or_default();
            self.found_ended(Some(workload), &exit, resume);
            return;
        }
        self.instance.workload = Some(workload.clone());
        match resume.state {
            InstanceState::Starting => {
                self.restore(resume);
                self.launched(workload);
            }
            // It has its lease. That it was started, too, the journal has forgotten: it need not survive a crash, or
            // was put back from a copy.
            InstanceState::Provisioning => {
                self.restore(&Resume { state: InstanceState::Starting, ..resume.clone() });
                self.launched(workload);
            }
            InstanceState::Unready => {
                self.restore(resume);
                self.await_readiness();
            }
            InstanceState::Ready => {
                self.restore(resume);
                self.await_health();
            }
            InstanceState::Healthy => {
                self.restore(resume);
                self.keep_checking();
            }
            InstanceState::Stopping | InstanceState::Unhealthy | InstanceState::ReadinessCheckFailed => {
                self.restore(resume);
                self.descend(resume.way_down());
            }
            InstanceState::Deprovisioning => {
                self.restore(resume);
                self.descend(Descent::Stop);
            }
            // It runs although it should not have been started yet: it is not to be trusted.
            _ => {
                let message = format!("found running while in {}", resume.state);
                self.enter(InstanceState::Stopping, Some(Reason::ExecutorRestarted), &message);
                self.descend(Descent::Stop);
            }
        }
    }

    /// It ended meanwhile; its exit status and its log are still collected.
    fn found_ended(&mut self, workload: Option<Workload>, exit: &Exit, resume: &Resume) {
        self.instance.workload = workload.or(self.instance.workload.take());
        let was_seen = self.instance.exit.is_some();
        self.note_exit(exit.clone());
        match resume.state {
            InstanceState::Deprovisioning => {
                self.restore(resume);
                let is_sealed = self.instance.record.evidence.is_some();
                self.descend(match resume.descent {
                    Some(Descent::Copy) => Descent::Copy,
                    _ if is_sealed => Descent::Remove,
                    _ => Descent::Evidence,
                });
            }
            // It was on its way down; why has been said.
            InstanceState::Stopping | InstanceState::Unhealthy | InstanceState::ReadinessCheckFailed => {
                self.say_again(resume);
                // What was said last may be trouble on the way down, which is over.
                self.recall_why();
                let record = &self.instance.record;
                let (reason, message) = (record.reason, record.error_message.clone());
                self.enter(InstanceState::Stopping, reason, &message);
                self.deprovision(Descent::Evidence);
            }
            _ => {
                let (reason, message) = if resume.rebooted && !was_seen {
                    // The machine took it along: how it ended is no fault of its own.
                    (Reason::Rebooted, format!("the machine booted; {}", verdict(exit).1))
                } else {
                    verdict(exit)
                };
                self.enter(InstanceState::Stopping, Some(reason), &message);
                self.deprovision(Descent::Evidence);
            }
        }
    }

    /// There is no workload: none was made yet, or it vanished without a witness.
    fn found_unstarted(&mut self, resume: &Resume, nothing: bool) {
        let may_be_unstarted = self.instance.record.started.is_none();
        match resume.state {
            // A lease may be outdated (the executor's configuration may have changed): a new one.
            InstanceState::Pending => {
                self.restore(resume);
                self.instance.record.local_info = None;
                self.instance.record.resources.clear();
                self.ask_for_room();
            }
            InstanceState::Provisioning => {
                self.restore(resume);
                self.act(Effect::Provision, patience::provision(&self.instance.spec));
            }
            InstanceState::Starting => {
                self.restore(resume);
                self.act(Effect::Start, patience::START);
            }
            InstanceState::Deprovisioning => {
                self.restore(resume);
                if nothing { self.gone() } else { self.descend(Descent::Remove) }
            }
            InstanceState::Stopping if may_be_unstarted => {
                self.restore(resume);
                self.deprovision(Descent::Remove);
            }
            InstanceState::ProvisioningFailed | InstanceState::StartFailed => {
                self.restore(resume);
                self.clear_away();
            }
            _ if nothing => self.vanished(resume),
            _ => {
                let message = "the workload is gone; only what was prepared for it was found";
                self.enter(InstanceState::Stopping, Some(Reason::NotFound), message);
                self.deprovision(Descent::Remove);
            }
        }
    }

    /// It ran, and nobody saw it end. What it wrote may still be there, and says why.
    fn vanished(&mut self, resume: &Resume) {
        self.instance.resume = Some(resume.clone());
        if self.instance.workload.is_none() {
            self.lost();
            return;
        }
        self.instance.descent = Some(Descent::Evidence);
        self.instance.pace.tries = 0;
        self.act(Effect::CollectEvidence, patience::EVIDENCE);
    }

    fn lost(&mut self) {
        self.instance.descent = None;
        let rebooted = self.instance.resume.take().is_some_and(|resume| resume.rebooted);
        let (reason, message) = if rebooted {
            (Reason::Rebooted, "the machine booted and the workload is gone")
        } else {
            (Reason::NotFound, "the runner knows nothing of the workload")
        };
        self.instance.record.finished.get_or_insert(self.now.wall);
        self.enter(InstanceState::Lost, Some(reason), message);
    }

    /// The last words of one that vanished.
    pub(super) fn last_words(&mut self, answer: Result<LogEnd, Trouble>) {
        match answer {
            Err(trouble @ Trouble::Unavailable(_)) => self.stumble(&trouble),
            Ok(end) => self.lost_with(&end.text),
            Err(Trouble::Failed(why)) => self.lost_without_log(&why),
        }
    }

    fn lost_without_log(&mut self, why: &str) {
        self.lost_with(&unread_log(why));
    }

    fn lost_with(&mut self, log: &str) {
        self.keep_evidence(log);
        self.lost();
    }

    /// Asks once more what became of it, or for its last words.
    pub(super) fn repeat_question(&mut self) {
        self.effects.push(match self.instance.descent {
            Some(Descent::Evidence) => Effect::CollectEvidence,
            _ => Effect::Find,
        });
    }

    pub(super) fn question_timed_out(&mut self, message: &str) {
        if self.instance.descent == Some(Descent::Evidence) {
            self.lost_without_log(message);
            return;
        }
        self.complain(Reason::RunnerUnavailable, &format!("{message}; asking again"));
        self.ask_what_there_is();
    }

    /// Goes back to the state it had, with what was said of it.
    fn restore(&mut self, resume: &Resume) {
        self.enter(resume.state, Some(Reason::FoundAgain), "");
        self.say_again(resume);
    }

    /// Says what was said before UNKNOWN. Trouble with asking the runner is over.
    pub(super) fn say_again(&mut self, resume: &Resume) {
        let record = &mut self.instance.record;
        record.reason = resume.reason;
        record.error_message.clone_from(&resume.message);
    }
}
