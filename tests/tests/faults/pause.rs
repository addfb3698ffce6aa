//! The leader is stopped, and goes on later as if no time had passed.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use muster_common::instance::InstanceInfo;
use muster_common::service::ServiceSummary;
use muster_tests::api::{Api, CallError};
use muster_tests::cluster::{DevCluster, RoleProcess, signal};
use rustix::process::Signal;

use crate::observer::{Observer, was_lost};
use crate::writers::Writers;
use crate::{PROGRAM, SERVICE};

/// Long enough for everything to be elsewhere.
const STOPPED_FOR: Duration = Duration::from_secs(10);
/// Then whoever would be taken for UNKNOWN by a leader of old has been.
const AFTERWARDS: Duration = Duration::from_secs(4);

/// Every healthy instance, by id, with the pid that it says.
pub(crate) fn pids(cluster: &DevCluster, count: usize) -> BTreeMap<String, u32> {
    let instances = cluster.wait_for_healthy(SERVICE, count);
    assert!(!instances.iter().any(was_lost), "{instances:?}");
    instances
        .iter()
        .map(|instance: &InstanceInfo| (instance.instance_id.clone(), cluster.pid_of(instance)))
        .collect()
}

/// The APIs of these controllers.
pub(crate) fn apis(cluster: &DevCluster, controllers: &[RoleProcess]) -> Vec<Api> {
    controllers.iter().map(|controller| cluster.api(&controller.rest)).collect()
}

fn count(controller: &Api) -> Result<u32, CallError> {
    let summary: ServiceSummary = controller.get(&format!("localservices/{SERVICE}"))?;
    Ok(summary.instances_per_host)
}

#[test]
fn a_leader_that_is_stopped_for_ten_seconds_costs_nobody_anything_and_follows() {
    let cluster = DevCluster::start(PROGRAM, 2, &[]);
    let before = pids(&cluster, 2);
    let leader = cluster.wait_for("a leader", || cluster.leader());
    let mut controllers = cluster.controllers();
    controllers.retain(|controller| controller.id != leader.id);
    let others = apis(&cluster, &controllers);
    let stopped = cluster.api(&leader.rest);
    let observer = Observer::start(others.clone());
    let writers = Writers::start(&[others.clone(), vec![stopped.clone()]].concat());

    let pid = leader.pid.unwrap();
    signal(pid, Signal::STOP);
    let written = cluster.wait_for("a write through another one", || others[0].scale(SERVICE, 2).ok());
    thread::sleep(STOPPED_FOR);
    signal(pid, Signal::CONT);

    // At once: whatever it says now, it must not be what it knew.
    let first = count(&stopped);
    assert!(matches!(first, Ok(2) | Err(CallError::NotNow(_))), "{first:?} after {written}");
    cluster.wait_for("it to follow", || (count(&stopped) == Ok(2)).then_some(()));
    let after = pids(&cluster, 4);
    assert!(before.iter().all(|(id, pid)| after.get(id) == Some(pid)), "{before:?} {after:?}");
    thread::sleep(AFTERWARDS);
    observer.saw_nothing();
    writers.lost_nothing(&[others, vec![stopped]].concat());
}
