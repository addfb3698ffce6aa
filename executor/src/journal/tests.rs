//! The journal on a real file.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use muster_common::id::{Epoch, ExecutorId, Generation, InstanceId, Revision, ServiceId, SlotId};
use muster_common::instance::InstanceState;
use muster_common::reason::Reason;
use muster_common::slot::{ReplaceMode, SlotAssignment, SlotTable, UnreadableRow};
use muster_common::spec::LocalServiceSpec;
use muster_common::time::Timestamp;
use muster_platform::Disk;
use proptest::prelude::*;

use super::batch::Drawer;
use super::store::{self, Incarnation};
use super::*;
use crate::machine::{Descent, Instance, Now, Resume, StopIntent};
use crate::runner::{Exit, Workload};
use crate::slots::Slot;
use crate::testing::small_disk::SmallDisk;

fn row() -> SlotAssignment {
    SlotAssignment {
        service: ServiceId::new("web-1").unwrap(),
        index: 0,
        epoch: Epoch(3),
        generation: Generation(2),
        mode: ReplaceMode::StopFirst,
        spec: Arc::new(serde_json::from_str(r#"{"name": "web", "version": "1"}"#).unwrap()),
    }
}

fn executor() -> ExecutorId {
    ExecutorId::new("e1").unwrap()
}

fn instance(id: &str) -> Instance {
    let row = row();
    let slot = SlotId { service: row.service.clone(), executor: executor(), index: 0 };
    let now = Now { wall: Timestamp(5), mono: Duration::ZERO };
    Instance::minted(InstanceId::new(id).unwrap(), slot, &row, now)
}

async fn open(dir: &std::path::Path, boot: &str) -> (Journal, Incarnation, Contents) {
    let opened = Journal::open(dir, Disk::Inline, &executor(), boot, Timestamp(5)).await;
    let (mut journal, incarnation, mut contents) = opened.unwrap();
    journal.commit(Arc::new(std::mem::take(&mut contents.begun))).await.unwrap();
    (journal, incarnation, contents)
}

#[tokio::test]
async fn what_is_written_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, first, contents) = open(dir.path(), "boot-1").await;
    assert!(contents.instances.is_empty());
    assert_eq!(first, Incarnation { number: 1, rebooted: false, was_closed: true });
    let mut unknown = instance("SI-2");
    unknown.record.state = InstanceState::Unknown;
    unknown.workload = Some(Workload::Docker {
        container_id: "c".to_owned(),
        warnings: vec!["memory limit not enforced".to_owned()],
    });
    let at = Some(Timestamp(7));
    unknown.exit = Some(Exit { code: None, signal: Some(9), oom_killed: true, removed: true, at });
    unknown.stop = Some(StopIntent { reason: Reason::Replaced, message: "newer".to_owned() });
    unknown.resume = Some(Resume {
        state: InstanceState::Stopping,
        reason: Some(Reason::Replaced),
        descent: Some(Descent::Hook(4)),
        rebooted: true,
        message: "newer".to_owned(),
    });
    unknown.accounted = true;
    unknown.ended = 3;
    unknown.gave_lease_back = true;
    let mut slot = Slot::assigned(&row(), Timestamp(5));
    slot.kept_old = Some(Epoch(3));
    slot.failures = 4;
    let unreadable = UnreadableRow {
        service: "later-1".to_owned(),
        index: 2,
        epoch: Epoch(9),
        generation: Generation(8),
        problem: "of a later version".to_owned(),
    };
    let table = SlotTable { revision: Revision(8), rows: vec![row()], unreadable: vec![unreadable] };
    let mut batch = Batch::default();
    batch.mint(&instance("SI-1"));
    batch.mint(&unknown);
    batch.slot(&slot);
    batch.table(7, &table);
    journal.commit(Arc::new(batch)).await.unwrap();
    let mut acked = Batch::default();
    acked.acked_instance(&InstanceId::new("SI-1").unwrap(), 1);
    journal.commit(Arc::new(acked)).await.unwrap();
    drop(journal);

    let (mut journal, second, contents) = open(dir.path(), "boot-2").await;
    assert!(!contents.is_whole, "it is a new one until what runs is known");
    assert_eq!(second, Incarnation { number: 2, rebooted: true, was_closed: true });
    assert!(contents.instances[0].same_on_disk(&instance("SI-1")));
    assert!(contents.instances[1].same_on_disk(&unknown));
    assert_eq!(contents.instances[1].exit.as_ref().unwrap().at, at);
    assert_eq!(contents.slots, [slot]);
    assert_eq!(contents.table, Some((7, table)));
    assert_eq!(contents.acked["SI-1"], 1);
    let mut batch = Batch::default();
    batch.forget_instance(&InstanceId::new("SI-1").unwrap());
    batch.is_whole_again();
    journal.commit(Arc::new(batch)).await.unwrap();
    drop(journal);
    let (_, _, contents) = open(dir.path(), "boot-2").await;
    assert_eq!(contents.instances.len(), 1);
    assert!(contents.is_whole);
    assert!(contents.acked.is_empty());
}

#[test]
fn every_step_of_the_way_down_is_read_as_it_was_written() {
    use Descent::{Copy, Evidence, Find, Hook, Pause, Remove, Settle, Stop};
    for step in [Settle, Find, Hook(2), Pause, Stop, Evidence, Copy, Remove] {
        let mut going = instance("SI-1");
        going.descent = Some(step);
        let read =
            super::record::read_instance((&going).into(), LocalServiceSpec::clone(&going.spec)).unwrap();
        assert!(read.same_on_disk(&going), "{step:?}");
    }
}

#[tokio::test]
async fn what_is_over_keeps_no_spec_and_what_lives_must_have_one() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _, _) = open(dir.path(), "b").await;
    let mut over = instance("SI-1");
    let mut batch = Batch::default();
    batch.mint(&over);
    batch.mint(&instance("SI-2"));
    journal.commit(Arc::new(batch)).await.unwrap();
    over.record.state = InstanceState::Stopped;
    over.spec = Arc::default();
    let mut batch = Batch::default();
    batch.instance(&over);
    assert_eq!(batch.changes[&(Drawer::Specs, "SI-1".to_owned())], None);
    batch.changes.insert((Drawer::Specs, "SI-2".to_owned()), None);
    journal.commit(Arc::new(batch)).await.unwrap();
    drop(journal);
    let (_, _, contents) = open(dir.path(), "b").await;
    let [read] = contents.instances.as_slice() else { panic!("{:?}", contents.instances) };
    assert!(read.same_on_disk(&over) && read.spec == over.spec);
    assert_eq!(contents.damaged, 1, "one that lives is nothing without its spec");
}

#[tokio::test]
async fn one_damaged_record_costs_only_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _, _) = open(dir.path(), "b").await;
    let mut batch = Batch::default();
    batch.mint(&instance("SI-1"));
    batch.mint(&instance("SI-2"));
    batch.put(Drawer::Instances, "SI-1".to_owned(), vec![0xff; 40]);
    journal.commit(Arc::new(batch)).await.unwrap();
    drop(journal);
    let (journal, _, contents) = open(dir.path(), "b").await;
    assert_eq!((contents.instances.len(), contents.damaged), (1, 1));
    assert_eq!(contents.instances[0].id().as_str(), "SI-2");
    drop(journal);
    let (_, _, contents) = open(dir.path(), "b").await;
    assert_eq!((contents.instances.len(), contents.damaged), (1, 0), "met once, then in quarantine");
    assert!(!contents.is_whole, "what runs has not made up for it yet");
}

/// A journal that is whole and holds SI-1, and then SI-2 as well; copied as SIGKILL would leave it.
async fn killed(dir: &std::path::Path) -> std::path::PathBuf {
    let (mut journal, _, _) = open(dir, "b").await;
    let mut batch = Batch::default();
    batch.is_whole_again();
    batch.mint(&instance("SI-1"));
    journal.commit(Arc::new(batch)).await.unwrap();
    let mut batch = Batch::default();
    batch.mint(&instance("SI-2"));
    journal.commit(Arc::new(batch)).await.unwrap();
    let killed = dir.join("killed");
    std::fs::create_dir(&killed).unwrap();
    std::fs::copy(dir.join("journal.redb"), killed.join("journal.redb")).unwrap();
    killed
}

#[tokio::test]
async fn a_journal_that_was_not_closed_is_whole_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let killed = killed(dir.path()).await;
    let (journal, incarnation, contents) = open(&killed, "b").await;
    assert!(!incarnation.was_closed);
    assert_eq!((contents.instances.len(), contents.is_whole), (2, true));
    drop(journal);
    let (_, incarnation, _) = open(&killed, "b").await;
    assert!(incarnation.was_closed);
}

/// Damages what was written last.
fn damage(path: &std::path::Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let marks: Vec<usize> = (0..bytes.len() - 4).filter(|&at| &bytes[at..at + 4] == b"SI-2").collect();
    assert!(!marks.is_empty());
    for at in marks {
        bytes[at] = b'X';
    }
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_journal_that_goes_back_while_the_disk_is_full_is_read_and_not_whole() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(dir.path(), "16m") else { return };
    let (mut journal, _, _) = open(dir.path(), "b").await;
    let mut batch = Batch::default();
    batch.mint(&instance("SI-1"));
    batch.is_whole_again();
    journal.commit(Arc::new(batch)).await.unwrap();
    drop(journal);
    let path = dir.path().join("journal.redb");
    let (mut database, _) = store::open(&path).unwrap();
    // No room is left in the file, either.
    while database.compact().unwrap() {}
    drop(database);
    let _filler = disk.fill();
    let (database, _) = store::open(&path).unwrap();
    let contents = store::read(&database, true, Timestamp(5)).unwrap();
    assert_eq!((contents.instances.len(), contents.is_whole), (1, false));
    store::note_incomplete(&database).unwrap_err();
}

#[tokio::test]
async fn a_journal_that_goes_back_at_its_repair_is_not_whole() {
    let dir = tempfile::tempdir().unwrap();
    let killed = killed(dir.path()).await;
    damage(&killed.join("journal.redb"));
    let (_, incarnation, contents) = open(&killed, "b").await;
    assert!(!incarnation.was_closed);
    assert_eq!(contents.instances.len(), 1, "what was written last is gone");
    assert!(!contents.is_whole, "and that is known");
}

#[tokio::test]
async fn nothing_of_a_damaged_record_stays_but_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _, _) = open(dir.path(), "b").await;
    let mut damaged = instance("SI-1");
    let mut spec = damaged.spec.as_ref().clone();
    spec.name = "telltale".to_owned();
    damaged.spec = Arc::new(spec);
    let mut batch = Batch::default();
    batch.mint(&damaged);
    batch.acked_instance(damaged.id(), 1);
    batch.mint(&instance("SI-2"));
    batch.acked_instance(&InstanceId::new("SI-2").unwrap(), 1);
    batch.put(Drawer::Instances, "SI-1".to_owned(), vec![0xff; 40]);
    journal.commit(Arc::new(batch)).await.unwrap();
    drop(journal);
    for _ in 0..2 {
        let (_, _, contents) = open(dir.path(), "b").await;
        assert_eq!(contents.acked.keys().collect::<Vec<_>>(), ["SI-2"]);
        assert!(contents.instances[0].same_on_disk(&instance("SI-2")));
    }
    let path = dir.path().join("journal.redb");
    let database = redb::Database::open(&path).unwrap();
    let table = redb::TableDefinition::<&str, &[u8]>::new("specs");
    let specs = redb::ReadableDatabase::begin_read(&database).unwrap().open_table(table).unwrap();
    let keys = redb::ReadableTable::iter(&specs).unwrap().map(|entry| entry.unwrap().0.value().to_owned());
    assert_eq!(keys.collect::<Vec<_>>(), ["SI-2"]);
}

#[tokio::test]
async fn a_file_that_is_no_journal_is_kept_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.redb");
    for damage in 1..=6 {
        std::fs::write(&path, vec![damage; 64 * 1024]).unwrap();
        open(dir.path(), "b").await;
    }
    let kept = ["", ".2", ".3", ".4"]
        .map(|suffix| std::fs::read(dir.path().join(format!("journal.redb.damaged{suffix}"))).unwrap()[0]);
    assert_eq!(kept, [1, 2, 3, 6], "no more than four are kept");
    std::fs::write(&path, vec![7_u8; 64 * 1024]).unwrap();
    let (_, incarnation, contents) = open(dir.path(), "b").await;
    assert_eq!(incarnation.number, 1);
    assert!(contents.instances.is_empty());
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "specs hold secrets");
}

#[tokio::test]
async fn a_second_process_and_a_foreign_executor_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _, _) = open(dir.path(), "b").await;
    let second = Journal::open(dir.path(), Disk::Inline, &executor(), "b", Timestamp(5)).await;
    assert!(matches!(second, Err(OpenError::InUse { .. })));
    drop(journal);
    let other = ExecutorId::new("e2").unwrap();
    let foreign = Journal::open(dir.path(), Disk::Inline, &other, "b", Timestamp(5)).await;
    assert!(matches!(foreign, Err(OpenError::Foreign { owner, .. }) if owner == "e1"));
}

#[tokio::test]
async fn another_executors_journal_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _, _) = open(dir.path(), "b").await;
    let mut batch = Batch::default();
    batch.put(Drawer::Instances, "SI-1".to_owned(), vec![0xff; 40]);
    journal.commit(Arc::new(batch)).await.unwrap();
    drop(journal);
    let other = ExecutorId::new("e2").unwrap();
    let foreign = Journal::open(dir.path(), Disk::Inline, &other, "b", Timestamp(5)).await;
    assert!(matches!(foreign, Err(OpenError::Foreign { .. })));
    let (_, incarnation, contents) = open(dir.path(), "b").await;
    assert_eq!(
        (incarnation.number, contents.damaged),
        (2, 1),
        "what is damaged is still its owner's to find"
    );
}

#[tokio::test]
async fn a_start_writes_nothing_of_its_own_before_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let start =
        || async { Journal::open(dir.path(), Disk::Inline, &executor(), "b", Timestamp(5)).await.unwrap() };
    for _ in 0..2 {
        let (_, incarnation, contents) = start().await;
        assert_eq!((incarnation.number, contents.is_whole, contents.begun.is_empty()), (1, false, false));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever bytes stand where a record should: the executor starts and knows how many were damaged.
    #[test]
    fn any_bytes_for_records_cost_only_those_records(junk in prop::collection::vec(any::<u8>(), 0..256)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let (mut journal, _, _) = open(dir.path(), "b").await;
            let mut batch = Batch::default();
            batch.mint(&instance("SI-1"));
            batch.mint(&instance("SI-2"));
            batch.put(Drawer::Instances, "SI-1".to_owned(), junk.clone());
            batch.put(Drawer::Specs, "SI-3".to_owned(), junk.clone());
            batch.put(Drawer::Slots, "web-1/0".to_owned(), junk.clone());
            batch.put(Drawer::Acked, "SI-2".to_owned(), junk.clone());
            batch.put(Drawer::Meta, super::batch::META_TABLE.to_owned(), junk);
            journal.commit(Arc::new(batch)).await.unwrap();
            drop(journal);
            let (_, _, contents) = open(dir.path(), "b").await;
            assert!(contents.instances.iter().any(|instance| instance.id().as_str() == "SI-2"));
            assert!(contents.damaged >= 1);
        });
    }
}
