//! What is kept of the end of an instance: its exit status, the end of its log, and why it went down at all.
//!
//! Several parts of the machine learn of an end, and some of them more than others. Whatever the order is in which they
//! do, the record holds the fullest account and the first cause.

use muster_common::evidence::{Evidence, MAX_LOG_TAIL_BYTES, Transition, tail};
use muster_common::instance::InstanceState;
use muster_common::reason::Reason;
use muster_common::time::Timestamp;

use super::turn::Turn;
use crate::runner::Exit;

/// The beginning of the note that is kept in place of the end of a log.
const UNREAD_LOG: &str = "(the end of the log could not be read: ";

impl Turn {
    /// Keeps how the workload ended. The first account of an end counts; a later one may only add to it.
    pub(super) fn note_exit(&mut self, exit: Exit) {
        match &self.instance.exit {
            None => {
                self.instance.record.finished = Some(self.moment_of(&exit));
                self.instance.exit = Some(exit);
            }
            Some(known) if exit.says_more_than(known) => {
                let said = verdict(known);
                self.instance.exit = Some(exit.clone());
                self.correct(&said, &exit);
            }
            Some(_) => {}
        }
    }

    /// When it ended: not later than now, and not before it started, whatever the clock did meanwhile.
    fn moment_of(&self, exit: &Exit) -> Timestamp {
        let record = &self.instance.record;
        let begun = record.started.unwrap_or(record.created);
        exit.at.map_or(self.now.wall, |at| at.max(begun).min(self.now.wall))
    }

    /// More became known of an end: replaces what was said of it (`said`) wherever that stands.
    fn correct(&mut self, said: &(Reason, String), exit: &Exit) {
        let (reason, message) = verdict(exit);
        let record = &mut self.instance.record;
        if record.reason == Some(said.0) && record.error_message == said.1 {
            record.reason = Some(reason);
            record.error_message.clone_from(&message);
        }
        for step in &mut record.timeline {
            if step.reason == Some(said.0) && step.message == said.1 {
                step.reason = Some(reason);
                step.message.clone_from(&message);
            }
        }
        if let Some(evidence) = &mut record.evidence {
            evidence.exit_code = exit.code;
            evidence.signal = exit.signal;
            evidence.oom_killed = exit.oom_killed;
        }
    }

    /// Keeps how the workload ended and the end of its `log`.
    pub(super) fn keep_evidence(&mut self, log: &str) {
        let exit = self.instance.exit.clone().unwrap_or_default();
        self.instance.record.evidence = Some(Evidence {
            exit_code: exit.code,
            signal: exit.signal,
            oom_killed: exit.oom_killed,
            log_tail: tail(log, MAX_LOG_TAIL_BYTES).to_owned(),
        });
    }

    /// Keeps an exit that is known even if the log could not be read.
    pub(super) fn seal_evidence(&mut self) {
        if self.instance.exit.is_some() && self.instance.record.evidence.is_none() {
            self.keep_evidence("");
        }
    }

    /// The end of the log could be read after all. It replaces only a note that it could not be read.
    pub(super) fn mend_evidence(&mut self, end: &str) {
        let evidence = self.instance.record.evidence.as_ref();
        if evidence.is_some_and(|known| known.log_tail.starts_with(UNREAD_LOG)) {
            self.keep_evidence(end);
        }
    }

    /// Trouble on the way down was shown while it lasted. Now that it is over, the record shows again why the instance went
    /// down at all.
    pub(super) fn recall_why(&mut self) {
        let record = &mut self.instance.record;
        if !matches!(record.reason, Some(Reason::RunnerUnavailable | Reason::TimedOut | Reason::CopyingLog)) {
            return;
        }
        let is_why = |step: &&Transition| {
            step.to != InstanceState::Unknown && !matches!(step.reason, None | Some(Reason::FoundAgain))
        };
        if let Some(why) = record.timeline.iter().rev().find(is_why) {
            record.reason = why.reason;
            record.error_message.clone_from(&why.message);
        }
    }
}

/// The note that is kept in place of the end of a log.
pub(super) fn unread_log(why: &str) -> String {
    format!("{UNREAD_LOG}{why})")
}

/// The reason and the message of an exit that nobody asked for.
pub(super) fn verdict(exit: &Exit) -> (Reason, String) {
    let (reason, mut message) = match exit {
        Exit { oom_killed: true, .. } => {
            (Reason::OomKilled, "the kernel ended the process for want of memory".to_owned())
        }
        Exit { signal: Some(signal), .. } => {
            (Reason::Signaled, format!("the process was ended by signal {signal}"))
        }
        Exit { code: Some(code), .. } => (Reason::Exited, format!("the process exited with code {code}")),
        Exit { .. } => (Reason::Exited, "the process ended; its exit status is not known".to_owned()),
    };
    if exit.removed {
        message.push_str("; it was removed by somebody else");
    }
    (reason, message)
}
