//! Slots are filled, kept filled and emptied, whatever happens to the supervisor.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use muster_common::instance::InstanceRecord;
use muster_common::instance::InstanceState::{self, *};
use muster_common::reason::Reason;
use muster_common::slot::{SlotPhase, SlotStatus, SlotTable, UnreadableRow};
use muster_common::spec::LocalServiceSpec;
use tokio::time::{Instant, sleep};

use crate::supervisor::Message;
use crate::testing::small_disk::SmallDisk;
use crate::testing::{Bench, table};

#[tokio::test(start_paused = true)]
async fn a_table_is_filled_at_once() {
    let bench = Bench::new().await;
    let begun = Instant::now();
    bench.table(table(1, 1, 3)).await;
    let healthy = |state: InstanceState| state == Healthy;
    let (records, slots) = bench
        .until("three healthy", |records, _| {
            records.len() == 3 && records.iter().all(|record| healthy(record.state))
        })
        .await;
    assert!(begun.elapsed() < Duration::from_millis(200), "{:?}", begun.elapsed());
    assert!(slots.iter().all(|slot| slot.phase == SlotPhase::Filled));
    let ports: Vec<u16> = records
        .iter()
        .flat_map(|record| record.local_info.as_ref().unwrap().ports.values().map(|port| port.host_port))
        .collect();
    assert_eq!(ports.len(), 3);
    assert!(ports.windows(2).all(|pair| pair[0] != pair[1]));
}

#[tokio::test(start_paused = true)]
async fn a_crash_leaves_evidence_and_is_replaced_after_the_backoff() {
    let bench = Bench::new().await;
    bench.table(table(1, 1, 1)).await;
    let first = bench.until_state(Healthy).await;
    bench.node.crash(&first.id, 3);
    let begun = Instant::now();
    let ended = bench.until_state(Stopped).await;
    assert_eq!(ended.id, first.id);
    assert_eq!(ended.reason, Some(Reason::Exited));
    let evidence = ended.evidence.unwrap();
    assert_eq!(evidence.exit_code, Some(3));
    assert_eq!(evidence.log_tail, format!("last words of {}", first.id));
    assert_eq!(bench.node.hooks(), 0, "hooks are for the living");
    let second = bench.until_state(Healthy).await;
    assert_ne!(second.id, first.id);
    let waited = begun.elapsed().as_millis();
    assert!((900..1300).contains(&waited), "{waited}");
    assert_eq!(bench.inspect().await.1[0].restarts, 1);
}

#[tokio::test(start_paused = true)]
async fn who_looks_sees_the_last_checks_of_a_steady_instance_which_cost_no_report() {
    let bench = Bench::new().await;
    bench.table(table(1, 1, 1)).await;
    let first = bench.until_state(Healthy).await;
    sleep(Duration::from_secs(60)).await;
    let later = bench.until_state(Healthy).await;
    assert_eq!((later.probes.len(), later.version), (10, first.version));
    let since = |record: &InstanceRecord| record.probes[0].at.since(first.updated);
    assert!(since(&later) > Duration::from_secs(45), "{later:#?}");
    let standing = bench.handle().standing();
    let told = &standing.borrow().unacked_instances[&first.id].record;
    assert_eq!(told.probes, first.probes);
}

#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_and_over_is_forgotten_and_nothing_else() {
    let bench = Bench::new().await;
    bench.table(table(1, 1, 1)).await;
    let first = bench.until_state(Healthy).await;
    bench.node.crash(&first.id, 3);
    let ended = bench.until_state(Stopped).await;
    let acknowledge =
        |version| Message::Acknowledged { instances: vec![(first.id.clone(), version)], slots: Vec::new() };
    bench.handle().tell(acknowledge(ended.version - 1)).await.unwrap();
    assert!(bench.inspect().await.0.iter().any(|record| record.id == first.id));
    bench.handle().tell(acknowledge(ended.version)).await.unwrap();
    assert!(!bench.inspect().await.0.iter().any(|record| record.id == first.id));
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_is_taken_away_is_emptied_in_every_state() {
    for state in [Pending, Provisioning, Starting, Unready, Ready, Healthy, Stopping, Deprovisioning] {
        let bench = Bench::new().await;
        bench.node.set_unwell(matches!(state, Unready));
        // The node has eight cores: of nine slots one has to wait for room.
        bench.table(table(1, 1, if state == Pending { 9 } else { 1 })).await;
        if matches!(state, Stopping | Deprovisioning) {
            bench.until_state(Healthy).await;
            bench.table(table(2, 2, 1)).await;
        }
        bench.until(state.as_str(), |records, _| records.iter().any(|record| record.state == state)).await;
        bench.table(table(3, 1, 0)).await;
        let over = |records: &[InstanceRecord]| records.iter().all(|record| record.state == Stopped);
        let (records, slots) = bench.until("all stopped", |records, _| over(records)).await;
        assert!(slots.is_empty() && !records.is_empty(), "{state}");
        assert_eq!(bench.node.known(), 0, "{state}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pull_that_never_ends_is_cancelled_by_a_stop() {
    let bench = Bench::new().await;
    bench.node.set_never_provisions(true);
    bench.table(table(1, 1, 1)).await;
    bench.until_state(Provisioning).await;
    let begun = Instant::now();
    bench.table(table(2, 1, 0)).await;
    bench.until_state(Stopped).await;
    assert!(begun.elapsed() < Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn a_start_that_waits_for_a_file_is_given_up_when_it_is_to_stop() {
    // Takes connections and says nothing.
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    for call in [
        r#""CONTROLLER_HTTP_FETCH", "http": {"hostname": "c"}"#.to_owned(),
        format!(
            r#""EXECUTOR_HTTP_FETCH", "http": {{"hostname": "127.0.0.1", "port": {port}, "operationTimeout": "5m"}}"#
        ),
    ] {
        let bench = Bench::new().await;
        let mut waiting = table(1, 1, 1);
        for row in &mut waiting.rows {
            let mut spec = LocalServiceSpec::clone(&row.spec);
            let config = format!(r#"{{"localFilename": "f", "type": {call}}}"#);
            spec.configs.push(serde_json::from_str(&config).unwrap());
            row.spec = Arc::new(spec);
        }
        bench.table(waiting).await;
        bench.until_state(Starting).await;
        let begun = Instant::now();
        bench.table(table(2, 1, 0)).await;
        let stopped = bench.until_state(Stopped).await;
        assert!(begun.elapsed() < Duration::from_millis(100), "{call}");
        assert_eq!(stopped.started, None, "{stopped:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_healthy_workload_does_not_notice_that_its_supervisor_was_killed() {
    let mut bench = Bench::new().await;
    bench.table(table(1, 1, 2)).await;
    bench.until("two", |records, _| records.len() == 2 && records.iter().all(|r| r.state == Healthy)).await;
    for _ in 0..5 {
        bench.kill().await;
        sleep(Duration::from_secs(3)).await;
        bench.start().await;
        let (records, slots) = bench
            .until("two again", |records, _| records.len() == 2 && records.iter().all(|r| r.state == Healthy))
            .await;
        assert!(slots.iter().all(|slot| slot.phase == SlotPhase::Filled && slot.restarts == 0));
        let last = records[0].timeline.last().unwrap();
        assert_eq!((last.from, last.to, last.reason), (Unknown, Healthy, Some(Reason::FoundAgain)));
    }
    assert_eq!(bench.node.starts(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_end_while_nobody_looked_keeps_its_exit_code() {
    let mut bench = Bench::new().await;
    bench.table(table(1, 1, 1)).await;
    let first = bench.until_state(Healthy).await;
    bench.kill().await;
    bench.node.crash(&first.id, 42);
    bench.start().await;
    let ended = bench.until_state(Stopped).await;
    assert_eq!(ended.evidence.unwrap().exit_code, Some(42));
    assert_ne!(bench.until_state(Healthy).await.id, first.id);
}

#[tokio::test(start_paused = true)]
async fn a_reboot_is_named_and_the_slots_are_filled_again_without_controllers() {
    let mut bench = Bench::new().await;
    bench.table(table(1, 1, 1)).await;
    bench.until_state(Healthy).await;
    bench.kill().await;
    bench.reboot();
    bench.start().await;
    let lost = bench.until_state(Lost).await;
    assert_eq!(lost.reason, Some(Reason::Rebooted));
    bench.until_state(Healthy).await;
    bench.until("the files of the lost one are gone", |_, _| bench.node.known() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn what_tells_nothing_of_itself_is_cleared_away_and_nothing_else() {
    let bench = Bench::new().await;
    bench.table(table(1, 1, 1)).await;
    let kept = bench.until_state(Healthy).await;
    bench.node.plant_orphan("SI-nobody");
    let deadline = Instant::now() + Duration::from_secs(120);
    while bench.node.known() != 1 {
        assert!(Instant::now() < deadline);
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(bench.node.running(), [kept.id]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_journal_restarts_nothing() {
    let mut bench = Bench::new().await;
    bench.table(table(1, 1, 2)).await;
    let all_healthy = |records: &[InstanceRecord], _: &[SlotStatus]| {
        records.len() == 2 && records.iter().all(|record| record.state == Healthy)
    };
    let (before, _) = bench.until("two", all_healthy).await;
    bench.kill().await;
    bench.lose_journal();
    bench.start().await;
    // Nobody knows what is wanted: what runs keeps running.
    bench.handle().standing().wait_for(|standing| standing.is_settled).await.unwrap();
    sleep(Duration::from_secs(300)).await;
    let standing = bench.handle().standing().borrow().clone();
    let ids: BTreeSet<_> = before.iter().map(|record| record.id.clone()).collect();
    assert_eq!(
        standing.holds.iter().cloned().collect::<BTreeSet<_>>(),
        ids,
        "controllers are told that they are still here"
    );
    bench.table(table(1, 1, 2)).await;
    let (after, _) = bench.until("the same two", all_healthy).await;
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.id, after.id);
        assert_eq!(before.local_info, after.local_info);
        assert_eq!((before.created, &before.error_message), (after.created, &after.error_message));
        assert!(before.version < after.version, "it is news to the controllers");
    }
    assert_eq!((bench.node.starts(), bench.node.most_at_once()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_is_damaged_while_it_is_used_ends_the_supervisor_and_costs_no_workload() {
    let mut bench = Bench::new().await;
    bench.kill().await;
    let Some(disk) = SmallDisk::mount(bench.dir(), "16m") else { return };
    bench.start().await;
    bench.table(table(1, 1, 1)).await;
    let before = bench.until_state(Healthy).await;
    // While its disk is full the file is opened anew with every try.
    let filler = disk.fill();
    let mut wide = table(2, 1, 1);
    for row in &mut wide.rows {
        let spec = Arc::make_mut(&mut row.spec);
        spec.env = (0..20).map(|nth| (format!("V{nth}"), "x".repeat(30_000))).collect();
    }
    bench.table(wide).await;
    let mut standing = bench.handle().standing();
    standing.wait_for(|standing| standing.journal_trouble.is_some()).await.unwrap();
    std::fs::write(bench.dir().join("journal.redb"), "x".repeat(8192)).unwrap();
    let damage = bench.ended().await.unwrap_err();
    assert!(damage.is_damage(), "{damage}");

    std::fs::remove_file(filler).unwrap();
    bench.start().await;
    assert!(bench.dir().join("journal.redb.damaged").exists());
    bench.table(table(3, 1, 1)).await;
    let after = bench.until_state(Healthy).await;
    assert_eq!((after.id, bench.node.starts()), (before.id, 1));
    bench.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_workload_does_not_answer_for_the_time_that_its_executor_stood_still() {
    let bench = Bench::new().await;
    bench.node.set_checks_take(Duration::from_millis(200));
    let mut strict = table(1, 1, 3);
    for row in &mut strict.rows {
        let check = Arc::make_mut(&mut row.spec).healthcheck.as_mut().unwrap();
        check.attempts = 1;
    }
    bench.table(strict).await;
    let all_healthy = |records: &[InstanceRecord], _: &[SlotStatus]| {
        records.len() == 3 && records.iter().all(|record| record.state == Healthy)
    };
    bench.until("three healthy", all_healthy).await;
    for _ in 0..40 {
        // As after a SIGSTOP: all that waited for this long is due at once.
        tokio::time::advance(Duration::from_secs(20)).await;
        sleep(Duration::from_millis(730)).await;
        let (records, slots) = bench.inspect().await;
        assert!(all_healthy(&records, &slots), "{records:#?}");
    }
    // One that fails by itself is taken down all the same.
    bench.node.set_unwell(true);
    bench.until_state(Stopped).await;
}

#[tokio::test(start_paused = true)]
async fn what_no_slot_asks_for_leaves_its_record() {
    let mut bench = Bench::new().await;
    bench.table(table(1, 1, 2)).await;
    bench.until("two", |records, _| records.iter().filter(|r| r.state == Healthy).count() == 2).await;
    bench.kill().await;
    bench.lose_journal();
    bench.start().await;
    // One slot is gone, the other one asks for something newer.
    bench.table(table(2, 2, 1)).await;
    let is_orphan =
        |record: &&InstanceRecord| record.timeline.iter().any(|t| t.reason == Some(Reason::Orphaned));
    let (records, _) = bench
        .until("both ended, one newer", |records, _| {
            let orphans = records.iter().filter(is_orphan);
            orphans.filter(|record| record.state == Stopped).count() == 2
                && records.iter().any(|record| record.state == Healthy)
        })
        .await;
    assert_eq!(records.len(), 3);
    for orphan in records.iter().filter(is_orphan) {
        let evidence = orphan.evidence.as_ref().unwrap();
        assert_eq!(evidence.signal, Some(15));
        assert!(evidence.log_tail.contains("last words"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_takes_its_time_to_say_what_it_knows_is_heard() {
    let mut bench = Bench::new().await;
    bench.kill().await;
    bench.lose_journal();
    // Longer than until others would be asked anew.
    bench.node.set_listing_takes(Duration::from_secs(10));
    bench.start().await;
    bench.table(table(1, 1, 1)).await;
    bench.until_state(Healthy).await;
}

#[tokio::test(start_paused = true)]
async fn without_its_journal_it_starts_nothing_before_it_knows_what_runs() {
    let mut bench = Bench::new().await;
    bench.table(table(1, 1, 1)).await;
    let before = bench.until_state(Healthy).await;
    bench.kill().await;
    bench.lose_journal();
    bench.node.set_listable(false);
    bench.start().await;
    bench.table(table(1, 1, 1)).await;
    let waiting = bench.until_state(Pending).await;
    assert_eq!(waiting.reason, Some(Reason::RunnerUnavailable));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(bench.node.starts(), 1);
    bench.node.set_listable(true);
    let found = bench.until_state(Healthy).await;
    assert_eq!(found.id, before.id);
    let (records, _) = bench
        .until("the other one made way", |records, _| {
            records.iter().any(|record| record.id == waiting.id && record.state == Stopped)
        })
        .await;
    assert_eq!((bench.node.starts(), records.len()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn an_older_table_changes_nothing() {
    let bench = Bench::new().await;
    bench.table(table(5, 1, 1)).await;
    bench.until_state(Healthy).await;
    bench.table(table(4, 1, 0)).await;
    bench.handle().tell(Message::Table { term: 0, table: table(9, 1, 0) }).await.unwrap();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(bench.node.running().len(), 1);
}

/// One act of a slot's life.
enum Act {
    Table(SlotTable),
    Crash,
}

/// Kills the supervisor all along a slot's whole life, from the first table over a crash to a
/// replacement, and starts it again.
#[tokio::test(start_paused = true)]
async fn killed_at_any_moment_it_neither_doubles_nor_forgets() {
    for moment in (0..150_u64).step_by(7) {
        let mut bench = Bench::new().await;
        for act in [Act::Table(table(1, 1, 2)), Act::Crash, Act::Table(table(2, 2, 2))] {
            match &act {
                Act::Table(table) => bench.table(table.clone()).await,
                Act::Crash => bench.node.crash(&bench.node.running()[0], 9),
            }
            sleep(Duration::from_millis(moment)).await;
            bench.kill().await;
            bench.start().await;
            // A table that was not written when the supervisor was killed is sent again by its sender.
            if let Act::Table(table) = act {
                bench.table(table).await;
            }
            let filled = |records: &[InstanceRecord]| {
                records.iter().filter(|record| record.state == Healthy).count() == 2
                    && records.iter().all(|record| record.state == Healthy || record.state.is_terminal())
            };
            bench.until("both slots filled", |records, _| filled(records)).await;
            assert_eq!((bench.node.running().len(), bench.node.known()), (2, 2), "at {moment} ms");
        }
        assert!(bench.node.most_at_once() <= 2, "start-first holds two epochs at once, never more");
        let (records, _) = bench.inspect().await;
        assert_eq!(records.len(), bench.node.starts(), "every start left a record");
        let crashed = records.iter().filter(|record| record.reason == Some(Reason::Exited)).count();
        assert_eq!(crashed, 1, "the end that nobody asked for is told once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_that_cannot_be_read_costs_its_slot_nothing_that_runs() {
    let mut bench = Bench::new().await;
    bench.table(table(1, 1, 2)).await;
    let both = |records: &[InstanceRecord]| records.iter().filter(|one| one.state == Healthy).count() == 2;
    let (before, _) = bench.until("both are healthy", |records, _| both(records)).await;
    let mut next = table(2, 2, 3);
    for index in [2, 1] {
        let row = next.rows.remove(index);
        next.unreadable.push(UnreadableRow {
            service: row.service.to_string(),
            index: row.index,
            epoch: row.epoch,
            generation: row.generation,
            problem: "of a later version".to_owned(),
        });
    }
    bench.table(next).await;
    let index_of = |record: &InstanceRecord| record.slot.index;
    let kept = before.iter().find(|record| index_of(record) == 1).unwrap().id.clone();
    for _ in 0..2 {
        let (records, slots) = bench
            .until("the other is replaced", |records, slots| {
                let replaced = |one: &InstanceRecord| one.epoch.0 == 2 && one.state == Healthy;
                let settled = records.iter().all(|one| matches!(one.state, Healthy | Stopped));
                settled && records.iter().any(replaced) && slots.len() == 3
            })
            .await;
        assert!(records.iter().any(|one| one.id == kept && one.state == Healthy), "it runs on");
        assert!(records.iter().all(|one| index_of(one) != 2), "nobody knows what to start");
        let phases: Vec<SlotPhase> = slots.iter().map(|slot| slot.phase).collect();
        assert_eq!(phases, [SlotPhase::Filled, SlotPhase::KeptOld, SlotPhase::Failed]);
        for slot in &slots[1..] {
            assert_eq!(slot.epoch.0, 2);
            assert!(slot.message.ends_with("of a later version"), "{}", slot.message);
        }
        // An executor that is started again remembers it.
        bench.kill().await;
        bench.start().await;
    }
    bench.table(table(2, 2, 3)).await;
    bench.until("all can be read", |_, slots| slots.iter().all(|slot| slot.phase == SlotPhase::Filled)).await;
    assert_eq!(bench.node.most_at_once(), 2, "start first, and no more than that");
}
