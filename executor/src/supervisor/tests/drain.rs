//! A node is emptied, and filled again by whoever starts next.

use std::sync::Arc;

use muster_common::id::ServiceId;
use muster_common::instance::InstanceRecord;
use muster_common::instance::InstanceState::*;
use muster_common::slot::{SlotStatus, SlotTable};
use muster_common::spec::DrainPolicy;

use crate::supervisor::Message;
use crate::testing::{Bench, table};

#[tokio::test(start_paused = true)]
async fn a_drain_empties_the_node_with_hooks_and_the_next_start_fills_it_again() {
    let mut bench = Bench::new().await;
    bench.table(table(1, 1, 2)).await;
    bench.until("two", |records, _| records.len() == 2 && records.iter().all(|r| r.state == Healthy)).await;
    bench.handle().tell(Message::Drain(DrainPolicy::Last)).await.unwrap();
    bench.handle().standing().wait_for(|standing| standing.is_drained).await.unwrap();
    assert_eq!((bench.node.known(), bench.node.hooks()), (0, 2));
    bench.kill().await;
    bench.start().await;
    bench.until_state(Healthy).await;
}

/// One service with each policy.
fn one_of_each() -> SlotTable {
    let policies = DrainPolicy::ALL.iter();
    let rows = policies.flat_map(|policy| {
        let mut rows = table(1, 1, 1).rows;
        for row in &mut rows {
            row.service = ServiceId::new(format!("{}-1", policy.as_str())).unwrap();
            Arc::make_mut(&mut row.spec).drain_policy = Some(*policy);
        }
        rows
    });
    SlotTable { rows: rows.collect(), ..table(1, 1, 0) }
}

#[tokio::test(start_paused = true)]
async fn a_drain_takes_one_policy_after_the_other_and_leaves_those_to_keep() {
    for (last, left) in [(DrainPolicy::Last, 1), (DrainPolicy::Keep, 0)] {
        let bench = Bench::new().await;
        bench.table(one_of_each()).await;
        let all_healthy = |records: &[InstanceRecord], _: &[SlotStatus]| {
            records.len() == 4 && records.iter().all(|record| record.state == Healthy)
        };
        bench.until("one of each", all_healthy).await;
        bench.handle().tell(Message::Drain(last)).await.unwrap();
        bench.handle().standing().wait_for(|standing| standing.is_drained).await.unwrap();
        assert_eq!(bench.node.known(), left, "{last}");
        assert_eq!(bench.handle().standing().borrow().live, left);
        let (records, _) = bench.inspect().await;
        let told = |policy: &str| {
            let of = records.iter().find(|record| record.slot.service.as_str() == format!("{policy}-1"));
            let step = |to| of.and_then(|one| one.timeline.iter().find(|step| step.to == to));
            (step(Stopping).map(|step| step.at), step(Deprovisioning).map(|step| step.at))
        };
        for pair in ["FIRST", "NORMAL", "LAST", "KEEP"].windows(2).take(if left == 0 { 3 } else { 2 }) {
            assert!(told(pair[0]).1.unwrap() <= told(pair[1]).0.unwrap(), "{pair:?}");
        }
        assert_eq!(told("KEEP").0.is_some(), left == 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_right_after_a_restart_waits_for_what_the_journal_holds() {
    let mut bench = Bench::new().await;
    bench.table(table(1, 1, 2)).await;
    bench.until("two", |records, _| records.len() == 2 && records.iter().all(|r| r.state == Healthy)).await;
    bench.kill().await;
    bench.start().await;
    let mut standing = bench.handle().standing();
    assert_eq!(standing.borrow().live, 2, "it is known before the first turn");
    bench.handle().tell(Message::Drain(DrainPolicy::Last)).await.unwrap();
    standing.wait_for(|standing| standing.is_drained).await.unwrap();
    assert_eq!(bench.node.known(), 0);
}
