//! All controllers are restarted in turn, as for an upgrade, while clients write and services run.

use muster_common::cluster::{ControllerInfo, ControllerRole};
use muster_tests::cluster::{DevCluster, RoleProcess, is_alive, signal};
use rustix::process::Signal;

use crate::PROGRAM;
use crate::observer::Observer;
use crate::pause::{apis, pids};
use crate::writers::Writers;

/// Entries that a controller may be behind while others are written all the time.
const CAUGHT_UP: u64 = 50;

/// Whether it is a member like the others again.
fn has_caught_up(cluster: &DevCluster, controller: &RoleProcess) -> Option<()> {
    let members: Vec<ControllerInfo> = cluster.try_get(&controller.rest, "cluster/controllers").ok()?;
    let is_well = |member: &ControllerInfo| {
        member.role != ControllerRole::Learner && member.lag.is_some_and(|lag| lag < CAUGHT_UP)
    };
    (members.len() == 3 && members.iter().all(is_well)).then_some(())
}

#[test]
fn all_controllers_restarted_in_turn_under_load_lose_nothing_and_disturb_nobody() {
    let cluster = DevCluster::start(PROGRAM, 3, &[]);
    let before = pids(&cluster, 3);
    let controllers = cluster.controllers();
    let apis = apis(&cluster, &controllers);
    let observer = Observer::start(apis.clone());
    let writers = Writers::start(&apis);
    for controller in &controllers {
        let pid = controller.pid.unwrap();
        signal(pid, Signal::TERM);
        cluster.wait_for("it to end", || (!is_alive(pid)).then_some(()));
        cluster.dev("start", &controller.id);
        cluster.wait_for("it to be back", || has_caught_up(&cluster, controller));
    }
    observer.saw_nothing();
    assert_eq!(pids(&cluster, 3), before, "no workload was restarted");
    writers.lost_nothing(&apis);
}
