//! The next report. Pure: it follows from the standing, and from what was sent in this session.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_common::id::InstanceId;
use muster_common::time::Timestamp;
use muster_proto::v1;
use prost::Message as _;

use crate::slots::SlotKey;
use crate::supervisor::{Standing, Unacked};

/// How many records one report holds at most.
const MAX_RECORDS: usize = 256;
/// How large a report may grow before it is closed. One record, the last to go in, has its timeline's messages, the
/// end of its log and more: less than 512 KiB, so that no report comes near the 4 MiB that a gRPC message may have.
const MAX_BYTES: usize = 1024 * 1024;
/// After how long a report that was not acknowledged is sent again in the same session.
const REPEAT_AFTER: Duration = Duration::from_secs(10);

/// Which versions were sent in this session, and when (in time since its begin).
#[derive(Debug, Default)]
pub(super) struct Sent {
    instances: BTreeMap<InstanceId, (u64, Duration)>,
    slots: BTreeMap<SlotKey, (u64, Duration)>,
}

impl Sent {
    /// The next report, if there is anything to say.
    pub(super) fn next_report(&mut self, standing: &Standing, now: Duration) -> Option<v1::Report> {
        self.instances.retain(|id, _| standing.unacked_instances.contains_key(id));
        self.slots.retain(|key, _| standing.unacked_slots.contains_key(key));
        let is_new = |sent: Option<&(u64, Duration)>, version: u64| {
            sent.is_none_or(|(before, at)| *before < version || *at + REPEAT_AFTER <= now)
        };
        let mut report = v1::Report::default();
        let mut bytes = 0;
        let due = standing.unacked_instances.iter();
        let due = due.filter(|(id, unacked)| is_new(self.instances.get(*id), unacked.record.version));
        let mut due: Vec<_> = due.collect();
        due.sort_by_cached_key(|(_, unacked)| turn_of(unacked));
        for (id, Unacked { record, .. }) in due {
            if report.instances.len() >= MAX_RECORDS || bytes >= MAX_BYTES {
                return Some(report);
            }
            let message = v1::InstanceRecord::from(record.as_ref());
            bytes += message.encoded_len();
            report.instances.push(message);
            self.instances.insert(id.clone(), (record.version, now));
        }
        for (key, status) in &standing.unacked_slots {
            if !is_new(self.slots.get(key), status.version) {
                continue;
            }
            if report.slots.len() >= MAX_RECORDS {
                return Some(report);
            }
            report.slots.push(status.into());
            self.slots.insert(key.clone(), (status.version, now));
        }
        let is_empty = report.instances.is_empty() && report.slots.is_empty();
        (!is_empty).then_some(report)
    }

    /// When something that was sent becomes due again.
    pub(super) fn repeat_at(&self) -> Option<Duration> {
        let sent = self.instances.values().chain(self.slots.values());
        sent.map(|(_, at)| *at + REPEAT_AFTER).min()
    }
}

/// What waited while nobody listened is told in the order in which it happened: first the ends, by their number, as
/// the clock may have been set back, and then what lives.
fn turn_of(unacked: &Unacked) -> (bool, u64, Timestamp, InstanceId) {
    let Unacked { record, ended } = unacked;
    (!record.state.is_terminal(), *ended, record.updated, record.id.clone())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use muster_common::evidence::*;
    use muster_common::id::{Epoch, ExecutorId, Generation, ServiceId, SlotId};
    use muster_common::instance::{InstanceRecord, InstanceState};
    use muster_common::reason::Reason;
    use muster_common::slot::{ReplaceMode, SlotAssignment};

    use super::*;
    use crate::machine::{Instance, Now};

    fn standing(count: usize, log_bytes: usize) -> Standing {
        let service = ServiceId::new("web-1").unwrap();
        let row = SlotAssignment {
            service: service.clone(),
            index: 0,
            epoch: Epoch(1),
            generation: Generation(1),
            mode: ReplaceMode::StartFirst,
            spec: Arc::new(serde_json::from_str("{}").unwrap()),
        };
        let slot = SlotId { service, executor: ExecutorId::new("e").unwrap(), index: 0 };
        let now = Now { wall: Timestamp(0), mono: Duration::ZERO };
        let mut standing = Standing::default();
        for index in 0..count {
            let id = InstanceId::new(format!("SI-{index:05}")).unwrap();
            let mut record = Instance::minted(id.clone(), slot.clone(), &row, now).record;
            record.error_message = "x".repeat(log_bytes);
            standing.unacked_instances.insert(id, Unacked { record: Arc::new(record), ended: 0 });
        }
        standing
    }

    /// Changes one of them.
    fn change(standing: &mut Standing, id: &InstanceId, change: impl FnOnce(&mut InstanceRecord, &mut u64)) {
        let unacked = standing.unacked_instances.get_mut(id).unwrap();
        change(Arc::make_mut(&mut unacked.record), &mut unacked.ended);
    }

    #[test]
    fn what_happened_first_is_told_first_whatever_the_clock_does() {
        let mut standing = standing(5, 0);
        let ids: Vec<InstanceId> = standing.unacked_instances.keys().cloned().collect();
        // Two live. Of the others the second one ended last, after the clock was set back; one ended before ends
        // were counted.
        for (id, (updated, number)) in
            ids.iter().zip([(3, None), (1, Some(9)), (7, Some(8)), (2, None), (5, Some(0))])
        {
            change(&mut standing, id, |record, ended| {
                record.updated = Timestamp(updated);
                if let Some(number) = number {
                    record.state = InstanceState::Stopped;
                    *ended = number;
                }
            });
        }
        let report = Sent::default().next_report(&standing, Duration::ZERO).unwrap();
        let told: Vec<&str> = report.instances.iter().map(|record| record.id.as_str()).collect();
        assert_eq!(told, ["SI-00004", "SI-00002", "SI-00001", "SI-00003", "SI-00000"]);
    }

    #[test]
    fn the_largest_record_fits_into_a_report() {
        let mut standing = standing(1, MAX_MESSAGE_BYTES);
        let id = standing.unacked_instances.keys().next().unwrap().clone();
        change(&mut standing, &id, |record, _| {
            let message = || "x".repeat(MAX_MESSAGE_BYTES);
            let (at, state) = (Timestamp(u64::MAX), InstanceState::ReadinessCheckFailed);
            let repeats = Some(Repeats { times: u32::MAX, last: at });
            let reason = Some(Reason::InsufficientResources);
            let step = Transition { at, from: state, to: state, reason, message: message(), repeats };
            record.timeline = vec![step; MAX_TIMELINE];
            record.warnings = vec![message(); MAX_WARNINGS];
            let log_tail = "x".repeat(MAX_LOG_TAIL_BYTES);
            record.evidence = Some(Evidence { log_tail, ..Evidence::default() });
            let answer = "x".repeat(MAX_PROBE_ANSWER_BYTES);
            let probe =
                ProbeRecord { at, kind: ProbeKind::Health, passed: false, latency_ms: 1, code: None, answer };
            record.probes = vec![probe; MAX_PROBE_RECORDS];
        });
        let report = Sent::default().next_report(&standing, Duration::ZERO).unwrap();
        assert!((256 << 10..512 << 10).contains(&report.encoded_len()), "{}", report.encoded_len());
    }

    fn drain(sent: &mut Sent, standing: &Standing, now: Duration) -> Vec<usize> {
        std::iter::from_fn(|| sent.next_report(standing, now).map(|report| report.instances.len())).collect()
    }

    #[test]
    fn reports_are_bounded_and_each_record_is_sent_once() {
        let standing = standing(600, 10);
        let mut sent = Sent::default();
        assert_eq!(drain(&mut sent, &standing, Duration::ZERO), [256, 256, 88]);
        assert_eq!(sent.next_report(&standing, Duration::from_secs(9)), None);
        assert_eq!(drain(&mut sent, &standing, Duration::from_secs(10)).iter().sum::<usize>(), 600);
        let big = self::standing(600, 4096);
        let sizes = drain(&mut Sent::default(), &big, Duration::ZERO);
        assert!(sizes.len() > 2 && sizes.iter().sum::<usize>() == 600, "{sizes:?}");
    }

    #[test]
    fn a_newer_version_is_sent_at_once_and_what_is_acknowledged_is_forgotten() {
        let mut standing = standing(1, 0);
        let mut sent = Sent::default();
        assert_eq!(drain(&mut sent, &standing, Duration::ZERO), [1]);
        let id = InstanceId::new("SI-00000").unwrap();
        change(&mut standing, &id, |record, _| record.version += 1);
        assert_eq!(drain(&mut sent, &standing, Duration::ZERO), [1]);
        assert!(sent.repeat_at().is_some());
        standing.unacked_instances.clear();
        assert_eq!(drain(&mut sent, &standing, Duration::from_secs(99)), Vec::<usize>::new());
        assert!(sent.repeat_at().is_none());
    }
}
