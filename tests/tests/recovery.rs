//! Whatever dies, nothing else does; and whatever dies can be explained.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

use muster_common::instance::InstanceState;
use muster_common::reason::Reason;
use muster_tests::cluster::{DevCluster, is_alive, kill_9};
use serde_json::json;

const PROGRAM: &str = env!("CARGO_BIN_EXE_muster-under-test");
const SERVICE: &str = "example-1";
const SIGKILL: i32 = 9;

#[test]
fn a_killed_service_is_replaced_and_leaves_its_evidence() {
    let cluster = DevCluster::start(PROGRAM, 2, &[]);
    let before = cluster.wait_for_healthy(SERVICE, 2);
    let victim = before[0].clone();
    kill_9(cluster.pid_of(&victim));

    let dead = cluster.wait_for_end(SERVICE, &victim);
    let evidence = dead.evidence.expect("evidence");
    assert_eq!((evidence.signal, evidence.exit_code, evidence.oom_killed), (Some(SIGKILL), None, false));
    assert!(evidence.log_tail.contains("example server: listening"), "{:?}", evidence.log_tail);
    assert_eq!(dead.reason, Some(Reason::Signaled));
    let path: Vec<InstanceState> = dead.timeline.iter().map(|step| step.to).collect();
    assert!(
        path.ends_with(&[
            InstanceState::Healthy,
            InstanceState::Stopping,
            InstanceState::Deprovisioning,
            InstanceState::Stopped
        ]),
        "{path:?}"
    );

    let after = cluster.wait_for_healthy(SERVICE, 2);
    let replacement = after.iter().find(|instance| instance.executor_id == victim.executor_id).unwrap();
    assert_ne!(replacement.instance_id, victim.instance_id);
    assert!(
        after.iter().any(|instance| instance.instance_id == before[1].instance_id),
        "the other one stayed"
    );
}

#[test]
fn a_killed_leader_is_succeeded_and_the_cluster_accepts_writes() {
    let cluster = DevCluster::start(PROGRAM, 1, &[]);
    let leader = cluster.wait_for("a leader", || cluster.leader());
    let pids: Vec<u32> = cluster.healthy(SERVICE).iter().map(|instance| cluster.pid_of(instance)).collect();
    cluster.dev("kill", &leader.id);

    let survivor = cluster.controllers().into_iter().find(|controller| controller.id != leader.id).unwrap();
    let scale = json!({"type": "UPDATE_INSTANCE_COUNT", "serviceId": SERVICE, "instancesPerHost": 2});
    cluster.wait_for("another controller to accept a write", || cluster.operate(&survivor.rest, &scale).ok());
    let instances = cluster.wait_for_healthy(SERVICE, 2);
    let after: Vec<u32> = instances.iter().map(|instance| cluster.pid_of(instance)).collect();
    assert!(
        pids.iter().all(|pid| after.contains(pid)),
        "the first instance kept running: {pids:?} {after:?}"
    );

    // Back again, it catches up and answers like the others.
    cluster.dev("start", &leader.id);
    cluster.wait_for("the old leader to know what happened without it", || {
        let summary: serde_json::Value =
            cluster.try_get(&leader.rest, &format!("localservices/{SERVICE}")).ok()?;
        (summary["instancesPerHost"] == json!(2)).then_some(())
    });
}

#[test]
fn a_killed_executor_finds_its_service_again() {
    let cluster = DevCluster::start(PROGRAM, 1, &[]);
    let before = cluster.wait_for("a healthy instance", || cluster.healthy(SERVICE).pop());
    let pid = cluster.pid_of(&before);
    cluster.dev("kill", "executor-1");
    assert!(is_alive(pid), "the service outlives its executor");
    assert_eq!(cluster.pid_of(&before), pid, "and still answers");

    cluster.dev("start", "executor-1");
    let after = cluster.wait_for("the instance, healthy again, through the new executor process", || {
        cluster.healthy(SERVICE).into_iter().find(|instance| instance.updated > before.updated)
    });
    assert_eq!(after.instance_id, before.instance_id);
    assert_eq!(cluster.pid_of(&after), pid);
    assert_eq!(after.created, before.created);
    assert!(cluster.old_instances(SERVICE).is_empty(), "nothing ended");
    assert_eq!(cluster.instances(SERVICE).len(), 1, "nothing was started beside it");
}
