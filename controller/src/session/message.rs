//! The messages by which the streams tell the hub what executors said, and the conversions between these and the wire.

use std::mem;
use std::sync::Arc;

use muster_common::executor::ExecutorRecord;
use muster_common::id::{ExecutorId, InstanceId, Revision};
use muster_common::instance::InstanceRecord;
use muster_common::time::Timestamp;
use muster_proto::{Malformed, v1};
use prost::Message as _;
use tokio::sync::oneshot;
use tokio_util::sync::DropGuard;

use super::gather::Gathered;
use super::roster::{Outgoing, SessionKey};
use super::summons::Summoned;
use crate::state::{ExecutorReport, ReportAck};

/// What the hub is told, by one stream mostly.
#[derive(Debug)]
pub(super) enum Message {
    /// An executor, known by its certificate, wants a session.
    Open {
        /// What it says of itself; the id is the certificate's.
        registration: Registration,
        /// Its stream.
        key: SessionKey,
        /// The way down.
        outgoing: Outgoing,
        /// Ends the stream's reader when it is dropped.
        reader: DropGuard,
    },
    /// It reported something.
    Report(Gathered),
    /// It is there.
    Heartbeat {
        /// The executor.
        executor: ExecutorId,
        /// On which stream.
        key: SessionKey,
        /// The slot table that it works on.
        table: Revision,
        /// By its own clock; absent when it does not say.
        now: Option<Timestamp>,
    },
    /// A controller has to do with an executor, which is to dial it.
    Summon {
        /// The executor.
        executor: ExecutorId,
        /// The address to dial, and the name of the relay to give there.
        dial: v1::Dial,
        /// What became of it.
        answer: oneshot::Sender<Summoned>,
    },
    /// The stream ended.
    Closed {
        /// The executor.
        executor: ExecutorId,
        /// The session.
        key: SessionKey,
    },
}

/// What an executor says of itself when its session opens.
#[derive(Debug)]
pub(super) struct Registration {
    /// Itself.
    pub record: ExecutorRecord,
    /// The slot table that it works on; 0 for none.
    pub table: Revision,
    /// The instances that it still holds, when it says so.
    pub holds: Option<Vec<InstanceId>>,
    /// The history in which it told everything that was acknowledged, when it says so.
    pub history: Option<String>,
}

impl Registration {
    /// What it holds, if that can be compared with what is known in `history`: who told in another one what was
    /// acknowledged tells it anew first.
    pub(super) fn comparable(self, history: &str) -> (ExecutorRecord, Option<Vec<InstanceId>>) {
        let is_of_it = self.history.is_none_or(|told| told == history);
        (self.record, self.holds.filter(|_| is_of_it))
    }
}

impl TryFrom<v1::Register> for Registration {
    type Error = String;

    fn try_from(register: v1::Register) -> Result<Self, String> {
        let record = register.executor.ok_or("register.executor is missing")?;
        let record =
            ExecutorRecord::try_from(record).map_err(|error| format!("register.executor: {error}"))?;
        // What is no id to this version is none of an instance that it knows.
        let ids = |inventory: v1::Inventory| {
            inventory.instances.into_iter().filter_map(|id| InstanceId::new(id).ok()).collect()
        };
        let (table, holds) = (Revision(register.table_revision), register.holds.map(ids));
        Ok(Self { record, table, holds, history: register.history })
    }
}

/// What one command of the log takes of a report, in bytes; a larger record travels alone.
const MAX_PART_BYTES: usize = 256 * 1024;

/// A report, cut into parts that fit the log, each with its size in bytes.
#[derive(Debug, Default)]
struct Parts {
    full: Vec<(v1::Report, usize)>,
    last: v1::Report,
    bytes: usize,
}

impl Parts {
    /// Where a record of `size` bytes goes.
    fn room(&mut self, size: usize) -> &mut v1::Report {
        if self.bytes > 0 && self.bytes + size > MAX_PART_BYTES {
            self.full.push((mem::take(&mut self.last), mem::take(&mut self.bytes)));
        }
        self.bytes += size;
        &mut self.last
    }
}

/// Cuts what one message reports into parts that fit the log, each with its size in bytes; at least one.
pub(super) fn parts(report: v1::Report) -> Vec<(v1::Report, usize)> {
    let mut parts = Parts::default();
    for record in report.instances {
        parts.room(record.encoded_len()).instances.push(record);
    }
    for status in report.slots {
        parts.room(status.encoded_len()).slots.push(status);
    }
    let Parts { mut full, last, bytes } = parts;
    full.push((last, bytes));
    full
}

/// A record that this version cannot read.
#[derive(Debug)]
pub(super) struct Unreadable {
    /// Whose it is: an instance, or a slot.
    pub of: String,
    /// What is wrong with it.
    pub problem: Malformed,
}

/// What `executor` reports, and what of it cannot be read: a newer executor may say what this version does not know.
/// That is not confirmed, so it is said again, to this controller or to one that can read it.
pub(super) fn report(executor: &ExecutorId, report: v1::Report) -> (ExecutorReport, Vec<Unreadable>) {
    let mut unreadable = Vec::new();
    let mut instances = Vec::with_capacity(report.instances.len());
    for record in report.instances {
        let of = record.id.clone();
        match InstanceRecord::try_from(record) {
            Ok(record) => instances.push(Arc::new(record)),
            Err(problem) => unreadable.push(Unreadable { of, problem }),
        }
    }
    let mut slots = Vec::with_capacity(report.slots.len());
    for status in report.slots {
        let of = format!("{}/{}", status.service, status.index);
        match status.try_into() {
            Ok(status) => slots.push(status),
            Err(problem) => unreadable.push(Unreadable { of, problem }),
        }
    }
    (ExecutorReport { executor: executor.clone(), instances, slots }, unreadable)
}

/// Adds to `message` what may be forgotten: what is stored, and what was refused and will never be, in
/// any version.
pub(super) fn acknowledge(message: &mut v1::Ack, ack: &ReportAck) {
    let stored = ack.instances.iter().map(|(id, version)| (id, *version));
    let refused = ack.refused.iter().map(|id| (id, u64::MAX));
    let instances =
        stored.chain(refused).map(|(id, version)| v1::InstanceAck { id: id.to_string(), version });
    message.instances.extend(instances);
    let slots = ack.slots.iter().map(|(service, index, version)| v1::SlotAck {
        service: service.to_string(),
        index: *index,
        version: *version,
    });
    message.slots.extend(slots);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sized(bytes: usize) -> v1::InstanceRecord {
        v1::InstanceRecord { error_message: "x".repeat(bytes), ..v1::InstanceRecord::default() }
    }

    #[test]
    fn a_record_that_cannot_be_read_costs_only_itself() {
        let said = v1::Report {
            instances: vec![v1::InstanceRecord { id: "SI-1".to_owned(), ..v1::InstanceRecord::default() }],
            slots: ["FILLED", "LATER"]
                .map(|phase| v1::SlotStatus {
                    service: "web-1".to_owned(),
                    phase: phase.to_owned(),
                    ..v1::SlotStatus::default()
                })
                .into(),
        };
        let (read, unreadable) = report(&ExecutorId::new("e1").unwrap(), said);
        assert_eq!((read.instances.len(), read.slots.len()), (0, 1));
        let named: Vec<String> = unreadable
            .iter()
            .map(|one| format!("{}: {}.{}", one.of, one.problem.message, one.problem.field))
            .collect();
        assert_eq!(named, ["SI-1: InstanceRecord.slot", "web-1/0: SlotStatus.phase"]);
    }

    #[test]
    fn a_report_is_cut_where_the_log_would_not_take_it() {
        let counts = |report: v1::Report| -> Vec<(usize, usize)> {
            parts(report).iter().map(|(part, _)| (part.instances.len(), part.slots.len())).collect()
        };
        let report = |sizes: &[usize], slots: usize| v1::Report {
            instances: sizes.iter().map(|&size| sized(size)).collect(),
            slots: vec![v1::SlotStatus { service: "a".to_owned(), ..v1::SlotStatus::default() }; slots],
        };
        assert_eq!(counts(report(&[], 0)), [(0, 0)]);
        assert_eq!(counts(report(&[1, 1, 1], 2)), [(3, 2)]);
        let half = MAX_PART_BYTES / 2 - 10;
        assert_eq!(counts(report(&[half, half, half], 1)), [(2, 0), (1, 1)]);
        assert_eq!(counts(report(&[1, MAX_PART_BYTES, 1], 0)), [(1, 0), (1, 0), (1, 0)]);
    }
}
