//! The process runner on a disk that does not answer, and on one that is full.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod support;

use std::fs;
use std::sync::Arc;

use muster_common::id::ServiceId;
use muster_common::spec::{ConfigSource, ConfigSpec};
use muster_executor::{Found, HostAccess, HostAccessConfig, ProvisionError, Runner, StartError};
use tokio::time::timeout;

use support::hung_disk::HungDisk;
use support::small_disk::SmallDisk;
use support::{Node, PATIENCE, plan};

#[tokio::test]
async fn a_program_on_a_disk_that_hangs_holds_up_nobody_else() {
    let node = Node::new();
    let at = tempfile::tempdir().unwrap();
    let Some(disk) = HungDisk::mount(at.path()) else { return };
    let (runner, _events) = node.open();
    let stuck = plan(&[at.path().join("program").to_str().unwrap()]);
    let mut other = plan(&["true"]);
    other.place.service = ServiceId::new("other-1").unwrap();
    let stuck = runner.provision(&stuck);
    tokio::pin!(stuck);
    // On the one thread that there is: had it hung, nothing else would be asked.
    tokio::select! {
        biased;
        answer = &mut stuck => panic!("{answer:?}"),
        answer = runner.provision(&other) => answer.unwrap(),
    }
    let answer = timeout(PATIENCE, stuck).await.unwrap();
    assert!(matches!(answer, Err(ProvisionError::RunnerUnavailable(_))), "{answer:?}");
    drop(disk);
}

/// With one thread for disk work there is no other that could do it instead.
#[test]
fn a_file_on_a_disk_that_hangs_takes_no_thread_that_others_need() {
    let node = Node::new();
    let at = tempfile::tempdir().unwrap();
    let Some(disk) = HungDisk::mount(at.path()) else { return };
    let mut stuck = plan(&["true"]);
    Arc::make_mut(&mut stuck.spec).configs = vec![ConfigSpec {
        local_filename: "/etc/x".to_owned(),
        source: ConfigSource::ExecutorLocalFile {
            file_path_on_host: at.path().join("file").display().to_string(),
        },
    }];
    let files = vec![at.path().to_owned()];
    let paths = HostAccessConfig { files, ..HostAccessConfig::default() };
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().max_blocking_threads(1).build().unwrap().block_on(async {
        let (runner, _events) = node.open();
        let runner = runner.allowing(HostAccess { paths, devices: false });
        let start = runner.start(&stuck);
        tokio::pin!(start);
        tokio::select! {
            biased;
            answer = &mut start => panic!("{answer:?}"),
            other = timeout(PATIENCE, tokio::task::spawn_blocking(|| ())) => other.unwrap().unwrap(),
        }
        let answer = timeout(PATIENCE, start).await.unwrap();
        assert!(matches!(answer, Err(StartError::RunnerUnavailable(_))), "{answer:?}");
        runner.remove(&stuck.instance).await.unwrap();
    });
    drop(disk);
}

/// Whichever of the three directories it holds: what the executor writes, and what the shim does.
#[tokio::test]
async fn a_disk_that_is_full_is_no_fault_of_the_service() {
    for full in ["run", "scratch", "logs"] {
        let node = Node::new();
        drop(node.open());
        let Some(disk) = SmallDisk::mount(&node.dir().join(full), "1m") else { return };
        let (runner, _events) = node.open();
        let mut plan = plan(&["sleep", "1000"]);
        Arc::make_mut(&mut plan.spec).configs = vec![ConfigSpec {
            local_filename: "/etc/x".to_owned(),
            source: ConfigSource::Inline { data: "aGVsbG8K".to_owned() },
        }];
        let filler = disk.fill();
        let answer = runner.start(&plan).await;
        let said = |why: &str| why.contains("cannot be done now") && why.contains("No space left");
        assert!(
            matches!(&answer, Err(StartError::RunnerUnavailable(why)) if said(why)),
            "{full}: {answer:?}"
        );
        assert_eq!(runner.find(&plan.instance, None).await.unwrap(), Found::NeverStarted, "{full}");

        fs::remove_file(filler).unwrap();
        runner.start(&plan).await.unwrap();
        assert!(matches!(runner.find(&plan.instance, None).await.unwrap(), Found::Running(_)), "{full}");
        runner.remove(&plan.instance).await.unwrap();
    }
}
