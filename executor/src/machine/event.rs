//! The events that an instance is given, and the effects that it asks for.

use muster_common::evidence::ProbeKind;
use muster_common::instance::{LocalInfo, ResourceAllocation};
use muster_common::reason::Reason;
use std::time::Duration;

use super::instance::StopIntent;
use crate::probe::ProbeOutcome;
use crate::runner::{Exit, Found, LogEnd, Workload};

/// Ports, cores and memory that were set aside for an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    /// The ports.
    pub local_info: LocalInfo,
    /// The cores and the memory.
    pub resources: Vec<ResourceAllocation>,
}

/// Why nothing could be set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoRoom {
    /// `INSUFFICIENT_RESOURCES`, `PORT_IN_USE` or `PORT_REFUSED`.
    pub reason: Reason,
    /// What is missing, in words.
    pub message: String,
}

/// An effect that did not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The runner cannot be reached; the same may work later.
    Unavailable(String),
    /// It failed, and trying the same again will not help.
    Failed(String),
}

impl Trouble {
    /// What went wrong, in words.
    #[must_use]
    pub(crate) fn message(&self) -> &str {
        match self {
            Self::Unavailable(message) | Self::Failed(message) => message,
        }
    }
}

/// An event that is given to an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// Answers [`Effect::Lease`].
    Leased(Result<Lease, NoRoom>),
    /// Answers [`Effect::CheckPorts`]; the error names the port that cannot be had.
    PortsChecked(Result<(), NoRoom>),
    /// Something was given back on the node.
    RoomFreed,
    /// Answers [`Effect::Provision`].
    Provisioned(Result<(), Trouble>),
    /// Answers [`Effect::Start`].
    Started(Result<Workload, Trouble>),
    /// The workload ended.
    Exited(Exit),
    /// Answers [`Effect::Probe`].
    Probed {
        /// Which check it answers: readiness or health.
        kind: ProbeKind,
        /// The answer.
        outcome: ProbeOutcome,
    },
    /// Answers [`Effect::RunHook`].
    HookDone {
        /// The hook's place in the spec.
        index: usize,
        /// How it went.
        outcome: ProbeOutcome,
    },
    /// Answers [`Effect::Stop`].
    Stopped(Result<Exit, Trouble>),
    /// Answers [`Effect::CollectEvidence`].
    EvidenceCollected(Result<LogEnd, Trouble>),
    /// Answers [`Effect::CopyLog`], with the end of the log where it is known.
    LogCopied(Result<Option<String>, Trouble>),
    /// Answers [`Effect::Remove`].
    Removed(Result<(), Trouble>),
    /// The instance has to go.
    StopRequested(StopIntent),
    /// The executor has just started and found this instance in its journal.
    Restarted {
        /// Whether the machine booted since.
        rebooted: bool,
    },
    /// Answers [`Effect::Find`].
    Found(Result<Found, Trouble>),
    /// This program did not run for a while, and hears only now what happened meanwhile.
    StoodStill,
    /// [`super::Instance::next_wake`] has come.
    Woke,
}

/// What an instance asks for. All but [`Effect::Probe`], [`Effect::Lease`] and [`Effect::HoldStart`] are *actions*: an
/// instance has at most one in flight, and a new one supersedes it (whoever performs them drops the
/// old one first).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Set ports, cores and memory aside.
    Lease,
    /// See that nobody else holds the leased ports.
    CheckPorts,
    /// Make the executable available, by a pull for example.
    Provision,
    /// Create and start the workload.
    Start,
    /// Ask the runner what there is of this instance.
    Find,
    /// Run one pre-shutdown hook.
    RunHook {
        /// Its place in the spec.
        index: usize,
    },
    /// Tell the workload to stop, kill it after `grace`.
    Stop {
        /// How long it has.
        grace: Duration,
    },
    /// Read the end of the log.
    CollectEvidence,
    /// Copy what is left of the log.
    CopyLog,
    /// Take away what is left: container, scratch directories, control groups.
    Remove,
    /// Drop the action in flight; nothing follows it.
    Cancel,
    /// Do not begin the start in flight, if its runner has not begun yet; then it is answered as failed. A start that is just
    /// dropped would leave open whether it began.
    HoldStart,
    /// Check the workload once.
    Probe {
        /// Which check: readiness or health.
        kind: ProbeKind,
    },
}

impl Effect {
    /// Whether it supersedes the action in flight.
    #[must_use]
    pub(crate) const fn is_action(&self) -> bool {
        !matches!(self, Self::Lease | Self::HoldStart | Self::Probe { .. })
    }
}
