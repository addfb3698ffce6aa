//! Operations on a real cluster: they finish whoever leads, and a bad spec stops no good instance.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use muster_common::instance::InstanceInfo;
use muster_common::operation::{Operation, OperationState, SlotOutcome};
use muster_common::reason::Reason;
use muster_tests::cluster::{BOUND, DevCluster, RoleProcess, is_alive, kill_9};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_muster-under-test");
const SERVICE: &str = "example-1";

fn ids(instances: &[InstanceInfo]) -> BTreeSet<String> {
    instances.iter().map(|instance| instance.instance_id.clone()).collect()
}

/// The operation, as whichever controller answers shows it.
fn operation(cluster: &DevCluster, id: &str) -> Option<Operation> {
    let path = format!("localservices/operations/{id}");
    cluster.controllers().iter().find_map(|controller| cluster.try_get(&controller.rest, &path).ok())
}

/// Submits through whichever controller takes it.
fn operate(cluster: &DevCluster, request: &Value) -> String {
    let accepted = cluster.wait_for("a controller that takes the operation", || {
        cluster.controllers().iter().find_map(|controller| cluster.operate(&controller.rest, request).ok())
    });
    accepted["operationId"].as_str().unwrap().to_owned()
}

fn finished(cluster: &DevCluster, id: &str) -> Operation {
    let mut last = None;
    cluster.wait_for("the operation to end", || {
        last = operation(cluster, id);
        last.clone().filter(|found| found.state.is_final())
    })
}

fn spec(cluster: &DevCluster) -> Value {
    let controller = &cluster.controllers()[0];
    cluster.try_get(&controller.rest, &format!("localservices/{SERVICE}/spec")).unwrap()
}

/// A cluster with twenty instances, and a RESTART of them that is at work.
struct Restart {
    cluster: DevCluster,
    before: Vec<InstanceInfo>,
    id: String,
}

impl Restart {
    /// Begins it; returns when some of the slots are done.
    fn begin() -> Self {
        let cluster = DevCluster::start(PROGRAM, 2, &[]);
        let count = json!({"type": "UPDATE_INSTANCE_COUNT", "serviceId": SERVICE, "instancesPerHost": 10});
        operate(&cluster, &count);
        let before = cluster.wait_for_healthy(SERVICE, 20);
        let restart = json!({
            "type": "RESTART", "serviceId": SERVICE, "opSpec": {"parallelism": 2, "timeout": "5m"}
        });
        let id = operate(&cluster, &restart);
        cluster.wait_for("the restart to be half way", || {
            let slots = operation(&cluster, &id)?.slots;
            (slots.iter().filter(|slot| slot.outcome == SlotOutcome::Done).count() >= 3).then_some(())
        });
        Self { cluster, before, id }
    }

    /// It ends well, and no slot was replaced more or less than once.
    fn replaces_each_slot_once(&self) {
        let Self { cluster, before, id } = self;
        let over = finished(cluster, id);
        assert_eq!(over.state, OperationState::Succeeded, "{}", over.message);
        assert_eq!(over.slots.len(), 20);
        assert!(over.slots.iter().all(|slot| slot.outcome == SlotOutcome::Done), "{over:?}");
        let after = cluster.wait_for_healthy(SERVICE, 20);
        let (old, new) = (ids(before), ids(&after));
        assert!(old.is_disjoint(&new), "every instance was replaced");
        let ended = cluster.wait_for("the records of those that ended", || {
            Some(cluster.old_instances(SERVICE)).filter(|ended| ended.len() >= 20)
        });
        assert_eq!(ids(&ended), old, "and each slot once");
        assert!(ended.iter().all(|ended| ended.reason == Some(Reason::Replaced)), "{ended:?}");
    }
}

#[test]
fn a_restart_of_twenty_goes_on_under_the_next_leader_and_replaces_each_slot_once() {
    let restart = Restart::begin();
    let leader = restart.cluster.wait_for("a leader", || restart.cluster.leader());
    restart.cluster.dev("kill", &leader.id);
    restart.replaces_each_slot_once();
}

#[test]
fn a_restart_of_twenty_outlives_a_successor_that_dies_as_soon_as_it_leads() {
    let restart = Restart::begin();
    let cluster = &restart.cluster;
    let leader = cluster.wait_for("a leader", || cluster.leader());
    let others: Vec<RoleProcess> =
        cluster.controllers().into_iter().filter(|controller| controller.id != leader.id).collect();
    kill_9(leader.pid.unwrap());
    let killed = Instant::now();
    // It says so itself, the moment that it is elected: nothing of the other one's work has been looked at by then.
    let successor = loop {
        let leads = |asked: &&RoleProcess| says_that_it_leads(cluster, asked);
        if let Some(found) = others.iter().find(leads) {
            break found;
        }
        assert!(killed.elapsed() < BOUND, "nobody follows");
        std::thread::sleep(Duration::from_millis(1));
    };
    kill_9(successor.pid.unwrap());
    println!("{} followed {} and was killed {:?} after it", successor.id, leader.id, killed.elapsed());
    let unfinished = operation_kept_by(cluster, &others, &restart.id).unwrap();
    assert!(!unfinished.state.is_final(), "it died in the middle of the restart: {unfinished:?}");

    // One is no majority. The first one comes back, and whoever of the two leads goes on.
    cluster.wait_for("the first one to be gone", || (!is_alive(leader.pid.unwrap())).then_some(()));
    cluster.dev("start", &leader.id);
    restart.replaces_each_slot_once();
}

fn says_that_it_leads(cluster: &DevCluster, asked: &RoleProcess) -> bool {
    let summary: Option<Value> = cluster.try_get(&asked.rest, "cluster?stale=true").ok();
    summary.is_some_and(|summary| summary["leader"] == asked.rest.trim_start_matches("http://"))
}

/// The operation, as one of these controllers has it, whoever leads.
fn operation_kept_by(cluster: &DevCluster, controllers: &[RoleProcess], id: &str) -> Option<Operation> {
    let path = format!("localservices/operations/{id}?stale=true");
    controllers.iter().find_map(|controller| cluster.try_get(&controller.rest, &path).ok())
}

#[test]
fn a_spec_that_does_not_work_is_rolled_back_and_stops_nobody() {
    let cluster = DevCluster::start(PROGRAM, 2, &[]);
    let before = cluster.wait_for_healthy(SERVICE, 2);
    let mut bad = spec(&cluster);
    bad["readiness"]["mode"]["path"] = json!("/nowhere");
    bad["readiness"]["attempts"] = json!(1);
    bad["readiness"]["interval"] = json!("100ms");
    bad["grace"] = json!("1s");
    bad["restartPolicy"] = json!({"backoff": ["0s"], "budget": 1});
    let update = json!({
        "type": "UPDATE_SPEC", "spec": bad,
        "opSpec": {"timeout": "2m", "parallelism": 2, "failureStrategy": "ROLLBACK"}
    });
    let over = finished(&cluster, &operate(&cluster, &update));
    assert_eq!(over.state, OperationState::Failed);
    assert!(over.message.contains("were rolled back"), "{}", over.message);
    assert!(over.slots.iter().all(|slot| slot.outcome == SlotOutcome::RolledBack), "{over:?}");
    let path = spec(&cluster)["readiness"]["mode"]["path"].clone();
    assert_eq!(path, json!("/health"), "what is wanted is what works");
    let after = cluster.wait_for_healthy(SERVICE, 2);
    // Who was healthy ended only after another one of its slot had become healthy, with the old spec again.
    for old in &before {
        let ended = cluster.wait_for("the record of the old instance", || {
            cluster.old_instances(SERVICE).into_iter().find(|ended| ended.instance_id == old.instance_id)
        });
        assert_eq!(ended.reason, Some(Reason::Replaced));
        let next = after.iter().find(|next| next.executor_id == old.executor_id).unwrap();
        let became_healthy = next.timeline.last().unwrap().at;
        let began_to_stop = ended.timeline[ended.timeline.len() - 3].at;
        assert!(became_healthy <= began_to_stop, "{ended:?} {next:?}");
    }
}

#[test]
fn a_changed_file_is_applied_to_what_runs_and_the_same_again_changes_nothing() {
    let cluster = DevCluster::start(PROGRAM, 2, &[]);
    let before = cluster.wait_for_healthy(SERVICE, 2);
    let mut changed = spec(&cluster);
    changed["env"] = json!({"COLOUR": "green"});
    let file = cluster.dir().join("changed.json");
    std::fs::write(&file, changed.to_string()).unwrap();
    let rest = cluster.controllers()[0].rest.clone();
    let apply = || cluster.muster(&["--server", &rest, "apply", "-f", &file.to_string_lossy()]);
    let applied = apply();
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    let after = cluster.wait_for_healthy(SERVICE, 2);
    assert!(ids(&before).is_disjoint(&ids(&after)));
    assert!(apply().status.success());
    assert_eq!(ids(&cluster.wait_for_healthy(SERVICE, 2)), ids(&after));
}
