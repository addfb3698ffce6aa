//! One instance, as the executor keeps it: the record that everybody sees, and what is needed to go on with it after a
//! restart.

use std::sync::Arc;
use std::time::Duration;

use muster_common::evidence::ProbeRecord;
use muster_common::id::{Epoch, InstanceId, SlotId};
use muster_common::instance::{InstanceRecord, InstanceState, RunnerKind};
use muster_common::reason::Reason;
use muster_common::slot::SlotAssignment;
use muster_common::spec::LocalServiceSpec;
use muster_common::time::Timestamp;

use crate::runner::{Exit, Place, Workload};

/// The time, twice: for people and for waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Wall-clock time, for records. May jump.
    pub wall: Timestamp,
    /// Time since the executor's process started, for deadlines. Never jumps; stands still while the journal
    /// cannot be written, since nobody can be blamed for what is not decided then.
    pub mono: Duration,
}

/// Why an instance was told to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopIntent {
    /// The reason as a code: `SLOT_REMOVED`, `REPLACED` or `DRAINING`.
    pub reason: Reason,
    /// The reason in words.
    pub message: String,
}

/// What an instance in UNKNOWN was before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// Its state.
    pub state: InstanceState,
    /// Its reason.
    pub reason: Option<Reason>,
    /// Its error message.
    pub message: String,
    /// Its step on the way down.
    pub descent: Option<Descent>,
    /// Whether the machine booted since.
    pub rebooted: bool,
}

impl Resume {
    /// Where a workload that still runs is taken up on its way down. Hooks are for those that served.
    #[must_use]
    pub(super) fn way_down(&self) -> Descent {
        use InstanceState::{ReadinessCheckFailed, Stopping, Unhealthy};
        match (self.state, self.descent) {
            (state, _) if state.is_running() => Descent::Hook(0),
            (
                Stopping | Unhealthy | ReadinessCheckFailed,
                Some(step @ (Descent::Hook(_) | Descent::Pause)),
            ) => step,
            _ => Descent::Stop,
        }
    }
}

/// The step at which an instance is on its way down. In STOPPING, UNHEALTHY and `READINESS_CHECK_FAILED` it is one of the
/// first five, in DEPROVISIONING `Find` or one of the last four (`Find` and `Stop` belong to both). In UNKNOWN it is `Evidence`
/// once the runner has said that it knows nothing of a workload that ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Descent {
    /// A start is in flight: what it makes must be known before it can be taken away.
    Settle,
    /// The runner is being asked what there is.
    Find,
    /// A pre-shutdown hook runs.
    Hook(usize),
    /// `waitBeforeKill` passes.
    Pause,
    /// The workload was told to stop.
    Stop,
    /// The end of the log is being read.
    Evidence,
    /// The rest of the log is being copied: only where that takes longer than reading its end may.
    Copy,
    /// What is left is being taken away.
    Remove,
}

/// One attempt to fill a slot.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// The record that is reported.
    pub record: InstanceRecord,
    /// The spec that it runs.
    pub spec: Arc<LocalServiceSpec>,
    /// The workload, once it runs.
    pub workload: Option<Workload>,
    /// How it ended, once it has.
    pub exit: Option<Exit>,
    /// Why it has to stop, once that was asked for.
    pub stop: Option<StopIntent>,
    /// What it was before UNKNOWN.
    pub resume: Option<Resume>,
    /// Its step on the way down, once it is there.
    pub descent: Option<Descent>,
    /// Whether the slot keeper has counted its end. Only the slot keeper sets this.
    pub accounted: bool,
    /// The number of its end, among all ends on this node and counted from one; 0 before its end. Only the supervisor sets
    /// this. It orders ends, since the node's clock may step back.
    pub ended: u64,
    /// Whether its ports and resources were given back before it was over.
    pub gave_lease_back: bool,
    /// Timers and counters. Not written down: a restart starts them anew.
    pub(crate) pace: Pace,
}

impl Instance {
    /// A new attempt to fill `slot` as `row` asks.
    #[must_use]
    pub fn minted(id: InstanceId, slot: SlotId, row: &SlotAssignment, now: Now) -> Self {
        let record = InstanceRecord {
            id,
            slot,
            service_name: row.spec.name.clone(),
            epoch: row.epoch,
            generation: row.generation,
            version: 1,
            state: InstanceState::Pending,
            reason: None,
            error_message: String::new(),
            runner: row.spec.runner(),
            local_info: None,
            resources: Vec::new(),
            created: now.wall,
            updated: now.wall,
            started: None,
            finished: None,
            timeline: Vec::new(),
            probes: Vec::new(),
            evidence: None,
            warnings: Vec::new(),
        };
        // It asks for its lease as soon as it is woken, which is at once.
        let pace = Pace { retry: Some(now.mono), ..Pace::default() };
        Self { pace, ..Self::of(record, Arc::clone(&row.spec)) }
    }

    /// An instance that was found at `place` and of which no record was left. `spec` is what its slot asks for, if
    /// that is this very instance: of any other nothing is known but how to stop it.
    ///
    /// Its versions count from the time on: whatever was reported of it before is older.
    #[must_use]
    pub fn found(
        id: InstanceId,
        slot: SlotId,
        place: Place,
        runner: RunnerKind,
        spec: Option<Arc<LocalServiceSpec>>,
        now: Now,
    ) -> Self {
        let record = InstanceRecord {
            id,
            slot,
            service_name: place.service_name,
            epoch: place.epoch,
            generation: place.generation,
            version: now.wall.as_ms(),
            state: InstanceState::Unready,
            reason: None,
            error_message: String::new(),
            runner,
            local_info: Some(place.local_info),
            resources: place.resources,
            created: place.created,
            updated: now.wall,
            // When it started nobody knows any more; that it did is known.
            started: Some(place.created),
            finished: None,
            timeline: Vec::new(),
            probes: Vec::new(),
            evidence: None,
            warnings: Vec::new(),
        };
        Self::of(record, spec.unwrap_or_default())
    }

    /// An instance of which nothing but its record and its spec is known.
    #[must_use]
    pub fn of(record: InstanceRecord, spec: Arc<LocalServiceSpec>) -> Self {
        let pace = Pace { recent: record.probes.clone(), ..Pace::default() };
        Self {
            record,
            spec,
            workload: None,
            exit: None,
            stop: None,
            resume: None,
            descent: None,
            accounted: false,
            ended: 0,
            gave_lease_back: false,
            pace,
        }
    }

    /// The record with the last results of its checks, which a steady instance neither writes down nor reports.
    #[must_use]
    pub fn shown(&self) -> InstanceRecord {
        let mut record = self.record.clone();
        if !self.is_over() {
            record.probes.clone_from(&self.pace.recent);
        }
        record
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &InstanceId {
        &self.record.id
    }

    /// Its state.
    #[must_use]
    pub fn state(&self) -> InstanceState {
        self.record.state
    }

    /// The epoch it was minted for.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.record.epoch
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.record.state.is_terminal()
    }

    /// Whether its workload is known to have ended, so that another one may take its place while what is
    /// left of it is still being taken away.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.is_over() || (self.record.state == InstanceState::Deprovisioning && self.exit.is_some())
    }

    /// Whether what is known now must survive a crash before anything else happens. Not so on those steps of
    /// the way up that the runner tells again: they cost no fsync. READY must: it is not for a workload that serves
    /// already to prove itself again. UNKNOWN must: its version is what those told after this start count on from,
    /// and what those told after the next one skip ahead of.
    #[must_use]
    pub fn must_last(&self) -> bool {
        use InstanceState::{Provisioning, Unready};
        !matches!(self.record.state, Provisioning | Unready)
    }

    /// Whether ports and resources are set aside for it. Not from when the rest of its log is copied on: its workload is over
    /// and uses nothing any more, and nobody waits for a log. Should something still hold a port, the next one's check finds it.
    #[must_use]
    pub fn holds_lease(&self) -> bool {
        !self.is_over() && self.record.local_info.is_some() && !self.gave_lease_back
    }

    /// When it wants to be woken, in [`Now::mono`].
    #[must_use]
    pub fn next_wake(&self) -> Option<Duration> {
        if self.is_over() {
            return None;
        }
        let timers = [self.pace.deadline.map(|deadline| deadline.at), self.pace.retry, self.probe_wake()];
        timers.into_iter().flatten().min()
    }

    /// When its present wait is given up, in [`Now::mono`]; none where nothing is waited for.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.pace.deadline.map(|deadline| deadline.at)
    }

    /// Whether `other` need not be written because it is the same on disk.
    #[must_use]
    pub fn same_on_disk(&self, other: &Self) -> bool {
        self.record == other.record
            && self.workload == other.workload
            && self.exit == other.exit
            && self.stop == other.stop
            && self.resume == other.resume
            && self.descent == other.descent
            && self.accounted == other.accounted
            && self.ended == other.ended
            && self.gave_lease_back == other.gave_lease_back
    }
}

/// Timers and counters of one instance.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Pace {
    /// When the present wait is given up.
    pub(crate) deadline: Option<Deadline>,
    /// When something is tried again.
    pub(crate) retry: Option<Duration>,
    /// How often it was tried again in this state.
    pub(crate) tries: u32,
    /// When the workload started, as far as the grace for its start-up is concerned.
    pub(crate) launched: Duration,
    /// The rhythm of its checks.
    pub(crate) probe: ProbePace,
    /// The last results; copied to the record whenever that changes for another reason, so that a
    /// passing check costs neither an fsync nor a report.
    pub(crate) recent: Vec<ProbeRecord>,
}

/// When the present wait is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline {
    /// When, in [`Now::mono`].
    pub(crate) at: Duration,
    /// How long the wait was allowed to be, for the message.
    pub(crate) limit: Duration,
}

/// The rhythm of checks.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct ProbePace {
    /// When the next one is asked.
    pub(crate) due: Option<Duration>,
    /// Since when one is in flight.
    pub(crate) asked: Option<Duration>,
    /// How far the last and the next one are apart.
    pub(crate) gap: Duration,
    /// When the last one that counts as an attempt was asked.
    pub(crate) counted: Option<Duration>,
    /// Failed attempts in a row.
    pub(crate) failures: u32,
}
