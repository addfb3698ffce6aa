//! The answers of applied commands.

use muster_common::id::{ExecutorId, InstanceId, OperationId, ServiceId};

use super::refusal::Refusal;

/// The answer to one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The operation is accepted; it goes on by itself.
    Accepted {
        /// The operation.
        operation: OperationId,
        /// The service that it is about.
        service: ServiceId,
    },
    /// The operation is refused; nothing changed.
    Refused(Refusal),
    /// The plan is applied.
    Planned {
        /// Changes whose condition held.
        applied: u32,
        /// Changes that came too late.
        skipped: u32,
    },
    /// What is committed now, one per report.
    Reported(Vec<ReportAck>),
    /// What became of the duties that users gave.
    Duties {
        /// Who has the duty now, or had it before.
        changed: Vec<ExecutorId>,
        /// Who has not, and why.
        refused: Vec<(ExecutorId, Refusal)>,
    },
    /// Done; there is nothing to say.
    Done,
}

/// What one executor may consider committed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReportAck {
    /// Instances, with the version that is stored: at least the one reported.
    pub instances: Vec<(InstanceId, u64)>,
    /// Slots (service, index), with the version that was reported: it is stored, or out of date.
    pub slots: Vec<(ServiceId, u32, u64)>,
    /// Instances that belong to another executor; they were not stored.
    pub refused: Vec<InstanceId>,
}
