//! What is proposed to the log. Commands carry their time and their ids: applying one twice, on two
//! machines, gives the same state.

use std::sync::Arc;
use std::time::Duration;

use muster_common::cluster::ClusterState;
use muster_common::executor::{Contact, ExecutorRecord};
use muster_common::id::{Epoch, ExecutorId, Generation, InstanceId, OperationId, ServiceId, SlotId};
use muster_common::instance::InstanceRecord;
use muster_common::operation::{OperationRequest, OperationState, SlotOutcome, Steer};
use muster_common::reason::Reason;
use muster_common::slot::{ReplaceMode, SlotStatus};
use muster_common::time::{LedTime, Timestamp};

use super::{Retention, Steered};

/// One proposal.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// A user asks for something. Answered by [`super::Reply::Accepted`] or [`super::Reply::Refused`].
    SubmitOperation {
        /// Made by the proposer; proposing the same id again is answered as the first time.
        id: OperationId,
        /// The request. Rules that need no state were checked before.
        request: Box<OperationRequest>,
        /// When, by the proposer's clock.
        at: Timestamp,
        /// The user.
        by: String,
        /// Refused unless the service is of this generation when it is applied.
        if_generation: Option<Generation>,
    },
    /// The reconciler's changes, each with the condition under which it was planned. Answered by
    /// [`super::Reply::Planned`].
    Plan {
        /// When, by the leader's clock.
        at: Timestamp,
        /// The changes, in the order in which they are applied.
        changes: Vec<Change>,
    },
    /// What some executors say of their instances and slots. Answered by [`super::Reply::Reported`],
    /// one answer per report, in order.
    Reports {
        /// When, by the leader's clock.
        at: Timestamp,
        /// At most one per executor is sensible; more are applied in order.
        reports: Vec<ExecutorReport>,
    },
    /// An executor opened a session; this implies that it is in contact. Answered by
    /// [`super::Reply::Done`].
    RegisterExecutor {
        /// When, by the leader's clock.
        at: Timestamp,
        /// Its registration.
        record: Box<ExecutorRecord>,
        /// Every instance that it still holds, when it says so: live instances that are not among
        /// them are lost for good (a wiped disk), and those that the controllers took for lost are
        /// found again.
        holds: Option<Vec<InstanceId>>,
    },
    /// The leader's verdicts on who is heard. Answered by [`super::Reply::Done`].
    ExecutorContact {
        /// When, by the leader's clock.
        at: Timestamp,
        /// The executors, and the contact to record of each.
        verdicts: Vec<(ExecutorId, Contact)>,
    },
    /// A user steers an operation that is at work. Answered by [`super::Reply::Accepted`] or
    /// [`super::Reply::Refused`].
    SteerOperation {
        /// When, by the proposer's clock.
        at: Timestamp,
        /// The operation.
        which: Steered,
        /// What the user does with it.
        steer: Steer,
        /// The user.
        by: String,
    },
    /// A controller began to lead: told as an event, and all clocks are its own from now on. Answered by [`super::Reply::Done`].
    AnnounceLeader {
        /// When, by its clock.
        at: Timestamp,
        /// `host:port` of its API.
        address: String,
    },
    /// Operators close the cluster for maintenance, or open it again. Answered by [`super::Reply::Done`].
    SetClusterState {
        /// When, by the proposer's clock.
        at: Timestamp,
        /// What it is from now on.
        state: ClusterState,
        /// `host:port` of the API of the controller that was asked.
        address: String,
    },
    /// Users give executors another duty. Answered by [`super::Reply::Duties`] or [`super::Reply::Refused`].
    ChangeDuty {
        /// When, by the proposer's clock.
        at: Timestamp,
        /// The duty that they are to have.
        wish: Wish,
        /// The executors.
        executors: Vec<ExecutorId>,
        /// The user.
        by: String,
    },
    /// How far the clocks of some executors are from the leader's, to be shown. Answered by [`super::Reply::Done`].
    NoteSkews {
        /// When, by the leader's clock.
        at: Timestamp,
        /// The executors, and by how many ms the clock of each is ahead.
        skews: Vec<(ExecutorId, i64)>,
    },
    /// A user takes some of the tags away that users gave an executor, by themselves or by their keys, and adds some:
    /// of several who do so at once, each gets what he asks for. Answered by [`super::Reply::Done`] or
    /// [`super::Reply::Refused`].
    AmendTags {
        /// When, by the proposer's clock.
        at: Timestamp,
        /// Whom.
        executor: ExecutorId,
        /// What goes.
        remove: Vec<String>,
        /// What comes then.
        add: Vec<String>,
    },
    /// A user gives an executor tags, in place of those that users gave it before. Answered by
    /// [`super::Reply::Done`] or [`super::Reply::Refused`].
    TagExecutor {
        /// When, by the proposer's clock.
        at: Timestamp,
        /// The executor.
        executor: ExecutorId,
        /// All that users give it.
        tags: Vec<String>,
    },
    /// A user is about to run a command beside an instance: told as an event, before it begins. Answered by
    /// [`super::Reply::Done`].
    NoteExec {
        /// When, by the proposer's clock.
        at: Timestamp,
        /// The user, the program and the instance.
        exec: ExecNoted,
    },
}

/// A command that is about to be run beside an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecNoted {
    /// The service.
    pub service: ServiceId,
    /// The instance.
    pub instance: InstanceId,
    /// The executor of that instance.
    pub executor: ExecutorId,
    /// The program; never its arguments, which may hold secrets.
    pub program: String,
    /// The user.
    pub by: String,
}

impl Command {
    /// The leader's time, in what only a leader proposes while it leads.
    pub(super) const fn leaders_time(&self) -> Option<Timestamp> {
        match self {
            Self::Plan { at, .. }
            | Self::Reports { at, .. }
            | Self::RegisterExecutor { at, .. }
            | Self::ExecutorContact { at, .. }
            | Self::NoteSkews { at, .. } => Some(*at),
            Self::SubmitOperation { .. }
            | Self::SteerOperation { .. }
            | Self::AnnounceLeader { .. }
            | Self::SetClusterState { .. }
            | Self::ChangeDuty { .. }
            | Self::TagExecutor { .. }
            | Self::AmendTags { .. }
            | Self::NoteExec { .. } => None,
        }
    }

    /// Whether proposing it twice has the same effect as proposing it once, whatever others asked for in between. That is
    /// so of a command that has an id of its own, and of one whose effect nothing takes back. Any other, proposed again,
    /// may undo what somebody else did meanwhile.
    pub(crate) const fn may_be_repeated(&self) -> bool {
        match self {
            Self::SubmitOperation { .. }
            | Self::SteerOperation {
                which: Steered::Operation(_),
                steer: Steer::Promote | Steer::Cancel,
                ..
            } => true,
            Self::SteerOperation { .. }
            | Self::SetClusterState { .. }
            | Self::ChangeDuty { .. }
            | Self::TagExecutor { .. }
            | Self::AmendTags { .. }
            | Self::Plan { .. }
            | Self::Reports { .. }
            | Self::RegisterExecutor { .. }
            | Self::ExecutorContact { .. }
            | Self::AnnounceLeader { .. }
            | Self::NoteSkews { .. }
            | Self::NoteExec { .. } => false,
        }
    }
}

/// What users may want of executors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// It is to be emptied, and to take nothing.
    Blacklist,
    /// It may take instances again.
    Unblacklist,
    /// As [`Self::Blacklist`], with a deadline.
    Drain {
        /// How long it may take.
        within: Duration,
    },
    /// It is gone for good, and whatever was on it is lost.
    Remove,
}

/// A report of one executor. The session knows from the certificate which executor it is.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecutorReport {
    /// The executor that reports.
    pub executor: ExecutorId,
    /// The present state of some of its instances.
    pub instances: Vec<Arc<InstanceRecord>>,
    /// The present state of some of its slots.
    pub slots: Vec<SlotStatus>,
}

/// One change of a plan. A change whose condition does not hold any more is skipped, so that a stale
/// or repeated plan does no harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A slot must be filled. If: it is wanted, and not assigned.
    AssignSlot {
        /// The slot.
        slot: SlotId,
    },
    /// A slot must be empty. If: it is assigned at this epoch, and not wanted.
    RemoveSlot {
        /// The slot.
        slot: SlotId,
        /// Its epoch when this was planned.
        epoch: Epoch,
    },
    /// An executor is chosen for a test instance. If: the service is to be tested, no executor that takes slots was
    /// chosen, and this one takes slots.
    PlaceTest {
        /// The service.
        service: ServiceId,
        /// The executor that is chosen.
        executor: ExecutorId,
    },
    /// The clock of an operation starts. If: it runs, and its clock does not.
    StartClock {
        /// The operation.
        operation: OperationId,
    },
    /// The canaries are through: the operation waits for a promotion. If: it runs, and was not promoted.
    AwaitPromotion {
        /// The operation.
        operation: OperationId,
    },
    /// A rollout failed and is to be undone. If: it runs, and is not being undone.
    RollBack {
        /// The operation.
        operation: OperationId,
        /// What failed, in words.
        message: String,
    },
    /// An operation replaces what runs in one of its slots. If: the operation runs and has not come
    /// to that slot yet, and the slot is assigned at this epoch.
    RaiseSlot {
        /// The operation.
        operation: OperationId,
        /// The slot.
        slot: SlotId,
        /// Its epoch when this was planned.
        epoch: Epoch,
        /// How the old instance gives way.
        mode: ReplaceMode,
        /// The generation of the spec to run; none: as before.
        spec: Option<Generation>,
    },
    /// A slot that a rollout missed, and that no other one will reach, is given the stable spec. If: it is assigned at
    /// this epoch and behind, its executor is heard, and nothing goes in waves through its service.
    CatchUp {
        /// The slot.
        slot: SlotId,
        /// Its epoch when this was planned.
        epoch: Epoch,
        /// How the old instance gives way.
        mode: ReplaceMode,
    },
    /// An operation is through with one of its slots. If: the operation runs and was not through
    /// with it at this outcome.
    SettleSlot {
        /// The operation.
        operation: OperationId,
        /// The slot.
        slot: SlotId,
        /// The outcome when this was planned.
        from: SlotOutcome,
        /// How it ended.
        outcome: SlotOutcome,
        /// Why, as a code.
        reason: Option<Reason>,
        /// Why, in words.
        message: String,
    },
    /// An operation is over. If: it runs.
    FinishOperation {
        /// The operation.
        operation: OperationId,
        /// How it ended.
        state: OperationState,
        /// The outcome in words.
        message: String,
    },
    /// Nothing is left on an executor that is being emptied. If: that is so.
    ExecutorEmptied {
        /// The executor.
        executor: ExecutorId,
    },
    /// The clock of a drain starts. If: the executor is DRAINING, and its clock stands.
    StartDrain {
        /// The executor.
        executor: ExecutorId,
    },
    /// A drain took too long. If: its deadline has passed.
    ExpireDrain {
        /// The executor.
        executor: ExecutorId,
    },
    /// An executor is not expected back any more, and removed with all that is on it. If: it is LOST, and has been for as
    /// long as such ones are kept.
    RemoveLost {
        /// The executor.
        executor: ExecutorId,
    },
    /// A removed executor is not shown any more. If: it is REMOVED, not in contact, and nothing of it is left.
    ForgetExecutor {
        /// The executor.
        executor: ExecutorId,
    },
    /// Sets how much history is kept from now on. If: that is not what is set already.
    Retain(Retention),
    /// Old records are forgotten.
    Prune {
        /// Instances that ended, and operations that finished, before this.
        records_before: LedTime,
        /// Events from before this.
        events_before: LedTime,
    },
}
