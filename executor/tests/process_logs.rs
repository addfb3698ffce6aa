//! The logs of real processes: followed across rotation and restarts, and a disk that is full.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod support;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use muster_common::spec::LoggingSpec;
use muster_executor::{LaunchPlan, LogFollower, LogPosition, LogReader, Runner, RunnerEvent};
use tokio::time::timeout;

use support::small_disk::SmallDisk;
use support::{Node, PATIENCE, script, until};

fn with_logging(mut plan: LaunchPlan, max_size: &str, max_files: u32) -> LaunchPlan {
    Arc::make_mut(&mut plan.spec).logging =
        Some(LoggingSpec::Local { max_size: max_size.to_owned(), max_files, compress: true });
    plan
}

fn scratch(node: &Node, plan: &LaunchPlan, name: &str) -> PathBuf {
    node.dir().join("scratch").join(plan.instance.as_str()).join(name)
}

#[tokio::test]
async fn a_full_disk_does_not_hold_up_a_service_and_its_loss_is_counted_and_said() {
    const WRITTEN: usize = 3_000_000;
    let node = Node::new();
    drop(node.open());
    let logs = node.dir().join("logs");
    let Some(_disk) = SmallDisk::mount(&logs, "1m") else { return };
    let filler = logs.join("filler");
    fs::write(&filler, vec![0; 512 << 10]).unwrap();
    let (runner, mut events) = node.open();
    let plan = with_logging(
        script(&format!(
            "head -c {WRITTEN} /dev/zero | tr '\\0' x; touch wrote; \
             while [ ! -e go ]; do sleep 0.02; done; echo back; exit 4"
        )),
        "10m",
        2,
    );
    let workload = runner.start(&plan).await.unwrap();
    until("it wrote everything", || scratch(&node, &plan, "wrote").exists()).await;
    let reader = LogReader::find(node.dir(), &plan.instance).unwrap().unwrap();
    let log = logs.join("test-1").join(plan.instance.as_str()).join("output.log");
    // What is not written is lost, and known while the disk is still full.
    until("everything is accounted for", || {
        fs::metadata(&log).unwrap().len() + reader.lost_bytes().unwrap() == WRITTEN as u64
    })
    .await;
    let lost = reader.lost_bytes().unwrap();
    assert!(lost > 1_000_000, "{lost}");

    fs::remove_file(&filler).unwrap();
    let said = format!("\nmuster: {lost} bytes of output were lost: disk full\n");
    // Said although the service itself writes nothing now.
    until("the loss is said", || fs::read(&log).unwrap().ends_with(said.as_bytes())).await;
    fs::write(scratch(&node, &plan, "go"), "").unwrap();
    let RunnerEvent::Exited { exit, .. } = timeout(PATIENCE, events.recv()).await.unwrap().unwrap();
    assert_eq!(exit.code, Some(4));
    let tail = runner.log_tail(&plan.instance, &workload, 100).await.unwrap().text;
    assert!(tail.ends_with(&format!("{said}back\n")), "{tail:?}");
    assert_eq!(reader.lost_bytes().unwrap(), lost);
    runner.remove(&plan.instance).await.unwrap();
}

#[tokio::test]
async fn following_survives_rotation_and_restarts_without_losing_or_repeating_a_byte() {
    const LINES: usize = 20_000;
    let node = Node::new();
    let (runner, mut events) = node.open();
    let text = format!("i=0; while [ $i -lt {LINES} ]; do echo line $i; i=$((i+1)); done; touch wrote");
    let plan = with_logging(script(&text), "4k", 100);
    runner.start(&plan).await.unwrap();
    let mut position = LogPosition::default();
    let mut seen = Vec::new();
    let wanted: String = (0..LINES).map(|number| format!("line {number}\n")).collect();
    while seen.len() < wanted.len() {
        // A reader that starts anew each time, from the position that the last one left.
        let reader = LogReader::find(node.dir(), &plan.instance).unwrap().unwrap();
        let mut follower = LogFollower::new(reader, position);
        let piece = timeout(PATIENCE, follower.next()).await.unwrap().unwrap();
        assert!(!piece.is_after_gap);
        seen.extend_from_slice(&piece.bytes);
        position = follower.position();
    }
    assert_eq!(String::from_utf8(seen).unwrap(), wanted);
    assert!(position.segment > 10, "it was rotated: {position:?}");
    timeout(PATIENCE, events.recv()).await.unwrap().unwrap();

    let reader = LogReader::find(node.dir(), &plan.instance).unwrap().unwrap();
    let piece = reader.read(position, 1024).unwrap();
    assert_eq!((piece.bytes.as_slice(), piece.next), (&b""[..], position), "a follower waits at its end");
    runner.remove(&plan.instance).await.unwrap();
    let tail = reader.tail(2, 1024).unwrap();
    assert_eq!(tail.bytes, b"line 19998\nline 19999\n", "a log outlives its instance");
}

#[tokio::test]
async fn an_executor_compresses_what_is_full() {
    let node = Node::new();
    let (runner, mut events) = node.open();
    let text = "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; exit 0";
    let plan = with_logging(script(text), "4k", 100);
    let workload = runner.start(&plan).await.unwrap();
    timeout(PATIENCE, events.recv()).await.unwrap().unwrap();
    drop((runner, events));
    // The next one looks after the logs first of all.
    let (runner, _events) = node.open();
    let logs = node.dir().join("logs/test-1").join(plan.instance.as_str());
    let names = || {
        let names =
            fs::read_dir(&logs).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("output.log.")).collect::<Vec<_>>()
    };
    until("all full segments are compressed", || {
        names().iter().all(|name| name.rsplit('.').next() == Some("gz"))
    })
    .await;
    assert!(!names().is_empty());
    let tail = runner.log_tail(&plan.instance, &workload, 1 << 20).await.unwrap().text;
    let wanted: String = (0..2000).map(|number| format!("line {number}\n")).collect();
    assert_eq!(tail, wanted);
    runner.remove(&plan.instance).await.unwrap();
}
