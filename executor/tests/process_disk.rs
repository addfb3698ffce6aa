//! The process runner on a disk that does not answer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod support;

use muster_common::id::ServiceId;
use muster_executor::{ProvisionError, Runner};
use tokio::time::timeout;

use support::hung_disk::HungDisk;
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
