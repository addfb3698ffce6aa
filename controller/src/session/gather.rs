//! Reports of many executors, gathered into one proposal. While proposals are under way new reports
//! wait here and grow into the next one, so that a quiet cluster waits for nothing and a busy one
//! pays for an entry, not for a report. Plain data; it must not know who commits what.

use tokio::sync::OwnedSemaphorePermit;

use super::roster::SessionKey;
use crate::state::ExecutorReport;

/// How many instance and slot records one proposal takes.
const MAX_RECORDS: usize = 1024;
/// How many bytes of them, as they came over the wire; one larger report still travels alone.
const MAX_BYTES: usize = 512 * 1024;
/// How many proposals are under way at once: one is being written while the next is replicated.
const MAX_UNDER_WAY: usize = 2;

/// One report on its way.
#[derive(Debug)]
pub(super) struct Gathered {
    /// The stream that it came from, which is to be told when it is committed.
    pub key: SessionKey,
    /// What was said.
    pub report: ExecutorReport,
    /// Its size on the wire.
    pub bytes: usize,
    /// Its share of what all sessions together may have on the way.
    pub share: Option<OwnedSemaphorePermit>,
}

impl Gathered {
    fn records(&self) -> usize {
        self.report.instances.len() + self.report.slots.len()
    }
}

/// Where reports wait.
#[derive(Debug, Default)]
pub(super) struct Gather {
    waiting: std::collections::VecDeque<Gathered>,
    under_way: usize,
}

impl Gather {
    /// A report arrived.
    pub(super) fn push(&mut self, report: Gathered) {
        self.waiting.push_back(report);
    }

    /// The next proposal, when one should be made now: at once if none is under way, else as soon as
    /// a full one has come together. The caller says with [`Self::settled`] when it is through.
    pub(super) fn next(&mut self) -> Option<Vec<Gathered>> {
        let full = self.batch_len();
        let is_full = full < self.waiting.len();
        match self.under_way {
            _ if self.waiting.is_empty() => return None,
            0 => {}
            under_way if under_way < MAX_UNDER_WAY && is_full => {}
            _ => return None,
        }
        self.under_way += 1;
        Some(self.waiting.drain(..full).collect())
    }

    /// A proposal is through, whichever way.
    pub(super) fn settled(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// How many of the waiting ones fit into one proposal.
    fn batch_len(&self) -> usize {
        let (mut records, mut bytes) = (0, 0);
        let fitting = self.waiting.iter().take_while(|report| {
            records += report.records();
            bytes += report.bytes;
            records <= MAX_RECORDS && bytes <= MAX_BYTES
        });
        fitting.count().max(1).min(self.waiting.len())
    }
}

#[cfg(test)]
mod tests {
    use muster_common::id::ExecutorId;

    use super::*;

    fn report(key: u64, bytes: usize) -> Gathered {
        let executor = ExecutorId::new("e").unwrap();
        let report = ExecutorReport { executor, instances: Vec::new(), slots: Vec::new() };
        Gathered { key: SessionKey(key), report, bytes, share: None }
    }

    fn keys(batch: Option<Vec<Gathered>>) -> Option<Vec<u64>> {
        batch.map(|batch| batch.iter().map(|report| report.key.0).collect())
    }

    #[test]
    fn a_quiet_cluster_waits_for_nothing_and_a_busy_one_gathers() {
        let mut gather = Gather::default();
        assert_eq!(keys(gather.next()), None);
        gather.push(report(1, 10));
        assert_eq!(keys(gather.next()), Some(vec![1]), "nothing is under way: at once");
        gather.push(report(2, 10));
        gather.push(report(3, 10));
        assert_eq!(keys(gather.next()), None, "one is under way and no batch is full");
        gather.settled();
        assert_eq!(keys(gather.next()), Some(vec![2, 3]), "what gathered goes together");
    }

    #[test]
    fn a_full_batch_does_not_wait_for_the_one_before_but_no_third_joins_them() {
        let mut gather = Gather::default();
        for key in 0..4 {
            gather.push(report(key, MAX_BYTES));
        }
        assert_eq!(keys(gather.next()), Some(vec![0]));
        assert_eq!(keys(gather.next()), Some(vec![1]));
        assert_eq!(keys(gather.next()), None, "two are under way");
        gather.settled();
        assert_eq!(keys(gather.next()), Some(vec![2]));
    }

    #[test]
    fn a_report_that_is_larger_than_a_batch_travels_alone() {
        let mut gather = Gather::default();
        gather.push(report(1, MAX_BYTES * 3));
        gather.push(report(2, 1));
        assert_eq!(keys(gather.next()), Some(vec![1]));
        gather.settled();
        assert_eq!(keys(gather.next()), Some(vec![2]));
    }
}
