//! The executor and trouble with its engine: the real program with real containers on an engine of the test's
//! own, which is restarted, killed, frozen. Skipped where none can be had, unless `MUSTER_REQUIRE_DOCKER=1` is set.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod node;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::RemoveContainerOptionsBuilder;
use muster_common::instance::{InstanceRecord, InstanceState};
use muster_common::reason::Reason;
use muster_tests::agent::{is_alive, slot, table};
use muster_tests::controller::{PATIENCE, Records};
use muster_tests::docker_image::import_into;
use muster_tests::engine::PrivateEngine;

use node::{ALL, Node, OF_EACH, healthy, was_hurt};

/// More than the three that a check may fail before it takes its instance down.
const ROUNDS: u32 = 5;

/// Everything that was there before is there now, in the same container, and was never thought to be bad.
async fn assert_unhurt(node: &Node, before: &Records, containers: &BTreeMap<String, String>) {
    let now = node.controller.records();
    assert_eq!(now.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>(), "something was replaced");
    let hurt: Vec<&InstanceRecord> = now.values().filter(|record| was_hurt(record)).collect();
    assert!(hurt.is_empty(), "{hurt:#?}");
    assert_eq!(&node.by_instance().await, containers);
}

/// Kills one container behind everybody's back; its end is seen, and it is replaced.
async fn assert_exits_are_seen(node: &Node) {
    let victim = healthy(&node.controller.records()).next().unwrap().id.to_string();
    let container = node.by_instance().await[&victim].clone();
    node.engine.client().unwrap().kill_container(&container, None).await.unwrap();
    let records = node
        .until("the killed one ended and was replaced", |records| {
            records[&victim].state == InstanceState::Stopped && healthy(records).count() == ALL
        })
        .await;
    let evidence = records[&victim].evidence.as_ref().unwrap();
    assert_eq!((evidence.signal, records[&victim].reason), (Some(9), Some(Reason::Signaled)));
}

/// Every one of `before` ended with its exit and a reason, and was replaced once; nothing is left over.
async fn assert_each_replaced_once(node: &Node, before: &Records) {
    let records = node
        .until("the twenty have ended and twenty others are healthy", |records| {
            let ended = |id: &String| records[id].state == InstanceState::Stopped;
            before.keys().all(ended) && healthy(records).count() == ALL
        })
        .await;
    for id in before.keys() {
        let record = &records[id];
        let evidence = record.evidence.as_ref().unwrap();
        assert!(evidence.exit_code.is_some() || evidence.signal.is_some(), "{record:#?}");
        // While the engine comes up again it ends what ran, and answers nobody: the check over the network may
        // tell first.
        let told =
            matches!(record.reason, Some(Reason::Exited | Reason::Signaled | Reason::HealthCheckFailed));
        assert!(told, "{record:#?}");
        assert!(!record.error_message.is_empty(), "{record:#?}");
        // The engine was away when its containers had ended; their logs were waited for.
        let tail = &evidence.log_tail;
        assert!(!tail.contains("could not be read"), "{record:#?}");
        assert!(record.service_name != "cmd" || tail == "asleep\n", "{record:#?}");
    }
    let others: Vec<_> = records.values().filter(|record| !before.contains_key(record.id.as_str())).collect();
    assert_eq!(others.len(), ALL, "{others:#?}");
    let slots: BTreeSet<_> = others.iter().map(|record| &record.slot).collect();
    assert_eq!(slots.len(), ALL, "a slot was filled twice");
    let alive: BTreeSet<String> = healthy(&records).map(|record| record.id.to_string()).collect();
    assert_eq!(node.by_instance().await.into_keys().collect::<BTreeSet<_>>(), alive);
    assert_eq!(node.containers().await.len(), ALL);
}

/// Waits until each command that is a check was tried `rounds` more times, whatever came of it. Checks over the
/// network have the same rhythm.
async fn rounds_of_checks(node: &Node, rounds: u32) {
    let tries = || node.metric("muster_executor_engine_calls_total", r#"call="create_exec""#);
    let enough = tries() + f64::from(rounds * OF_EACH);
    let deadline = Instant::now() + PATIENCE;
    while tries() < enough {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain for {rounds} rounds of checks");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn docker_containers_go_on_when_an_engine_with_live_restore_is_restarted() {
    let test = "docker_containers_go_on_when_an_engine_with_live_restore_is_restarted";
    let Some(mut node) = Node::new(test, true).await else { return };
    let before = node.run_twenty().await;
    let containers = node.by_instance().await;
    node.engine.restart().unwrap();
    rounds_of_checks(&node, ROUNDS).await;
    assert_unhurt(&node, &before, &containers).await;
    assert_exits_are_seen(&node).await;
}

#[tokio::test]
async fn docker_containers_go_on_when_an_engine_with_live_restore_is_killed() {
    let test = "docker_containers_go_on_when_an_engine_with_live_restore_is_killed";
    let Some(mut node) = Node::new(test, true).await else { return };
    let before = node.run_twenty().await;
    let containers = node.by_instance().await;
    node.engine.kill().unwrap();
    rounds_of_checks(&node, ROUNDS).await;
    node.engine.start().unwrap();
    rounds_of_checks(&node, ROUNDS).await;
    assert_unhurt(&node, &before, &containers).await;
    assert_exits_are_seen(&node).await;
}

#[tokio::test]
async fn docker_containers_that_end_with_their_engine_are_each_replaced_once() {
    let test = "docker_containers_that_end_with_their_engine_are_each_replaced_once";
    let Some(mut node) = Node::new(test, false).await else { return };
    let before = node.run_twenty().await;
    node.engine.restart().unwrap();
    assert_each_replaced_once(&node, &before).await;
}

#[tokio::test]
async fn docker_containers_that_end_with_their_killed_engine_are_each_replaced_once() {
    let test = "docker_containers_that_end_with_their_killed_engine_are_each_replaced_once";
    let Some(mut node) = Node::new(test, false).await else { return };
    let before = node.run_twenty().await;
    node.engine.kill().unwrap();
    node.engine.start().unwrap();
    assert_each_replaced_once(&node, &before).await;
}

#[tokio::test]
async fn docker_containers_go_on_while_their_engine_hangs() {
    let test = "docker_containers_go_on_while_their_engine_hangs";
    let Some(mut node) = Node::new(test, true).await else { return };
    let before = node.run_twenty().await;
    let containers = node.by_instance().await;
    node.engine.freeze().unwrap();
    rounds_of_checks(&node, ROUNDS).await;
    let unasked = |record: &InstanceRecord| {
        record.probes.last().is_some_and(|probe| probe.answer.contains("no Docker Engine answers"))
    };
    let records = node.controller.records();
    assert!(healthy(&records).count() == ALL, "{records:#?}");
    assert!(node.metric("muster_executor_engine_calls_total", r#"outcome="timeout""#) >= 30.0);
    let told: Vec<&str> = records.values().filter(|r| unasked(r)).map(|r| r.service_name.as_str()).collect();
    assert_eq!(told, ["cmd"; 10], "who was not asked says so: {records:#?}");

    // The executor is killed meanwhile, and asks in vain until the engine goes on.
    node.kill_executor();
    node.start_executor();
    let all_unknown = |records: &Records| {
        records.values().all(|record| {
            record.state == InstanceState::Unknown
                && record.error_message.contains("no Docker Engine answers")
        })
    };
    node.until("all are unknown, for want of the engine's word", all_unknown).await;
    node.engine.thaw().unwrap();
    node.until("all are found again", |records| healthy(records).count() == ALL).await;
    assert_unhurt(&node, &before, &containers).await;
    assert_exits_are_seen(&node).await;
}

#[tokio::test]
async fn docker_containers_have_their_whole_grace_once_an_engine_that_hung_can_tell_them() {
    let test = "docker_containers_have_their_whole_grace_once_an_engine_that_hung_can_tell_them";
    let Some(node) = Node::new(test, true).await else { return };
    node.controller.set_table(table(1, vec![slot(&node.lingering(), 0, 1)]));
    let all_healthy = |records: &Records| healthy(records).count() == 1;
    node.until("it is healthy", all_healthy).await;
    node.engine.freeze().unwrap();
    node.controller.set_table(table(2, vec![]));
    // An engine that hangs says so itself, in the end: the workload is not given up before.
    let is_decided = |records: &Records| {
        records.values().all(|record| {
            record.state == InstanceState::Deprovisioning || record.reason == Some(Reason::RunnerUnavailable)
        })
    };
    node.until("its stop is answered, or given up", is_decided).await;
    node.engine.thaw().unwrap();
    let all_over = |records: &Records| records.values().all(|record| record.state == InstanceState::Stopped);
    let records = node.until("it is over", all_over).await;
    for record in records.values() {
        let evidence = record.evidence.as_ref().unwrap();
        assert_eq!((evidence.exit_code, evidence.signal), (Some(7), None), "{record:#?}");
    }
}

#[tokio::test]
async fn docker_containers_that_somebody_removes_or_pauses_are_seen_for_what_they_are() {
    let test = "docker_containers_that_somebody_removes_or_pauses_are_seen_for_what_they_are";
    let Some(node) = Node::new(test, true).await else { return };
    // None with a command as its check: Engine 20.10 itself hangs when a container is paused while a command is
    // being started in it, and only thawing its control group by hand helps then.
    let http = node.http();
    node.controller.set_table(table(1, (0..3).map(|index| slot(&http, index, 1)).collect()));
    let before = node.until("three are healthy", |records| healthy(records).count() == 3).await;
    let containers = node.by_instance().await;
    let client = node.engine.client().unwrap();
    let ids: Vec<String> = before.keys().cloned().collect();
    let [removed, paused, other] = ids.try_into().unwrap();

    let options = RemoveContainerOptionsBuilder::default().force(true).build();
    client.remove_container(&containers[&removed], Some(options)).await.unwrap();
    let records =
        node.until("it has ended", |records| records[&removed].state == InstanceState::Stopped).await;
    let record = &records[&removed];
    assert!(record.error_message.contains("removed"), "{record:#?}");
    assert!(record.evidence.is_some(), "{record:#?}");

    // Paused, it answers no check: that is what is said, and it is taken down and replaced.
    client.pause_container(&containers[&paused]).await.unwrap();
    let records =
        node.until("it has ended", |records| records[&paused].state == InstanceState::Stopped).await;
    assert_eq!(records[&paused].reason, Some(Reason::HealthCheckFailed), "{:#?}", records[&paused]);
    node.until("both are replaced", |records| healthy(records).count() == 3).await;

    // One that is paused is stopped when it must be.
    client.pause_container(&containers[&other]).await.unwrap();
    node.controller.set_table(table(2, vec![]));
    let all_over = |records: &Records| records.values().all(|record| record.state == InstanceState::Stopped);
    node.until("all is over", all_over).await;
    assert!(node.containers().await.is_empty());
}

#[tokio::test]
async fn docker_engine_of_a_test_takes_its_paused_containers_with_it() {
    let test = "docker_engine_of_a_test_takes_its_paused_containers_with_it";
    let Some(engine) = PrivateEngine::start_or_skip(test, false) else { return };
    let client = engine.client().unwrap();
    let body = ContainerCreateBody {
        image: Some(import_into(&client).await.unwrap()),
        cmd: Some(vec!["sleep".to_owned()]),
        ..ContainerCreateBody::default()
    };
    let container = client.create_container(None, body).await.unwrap().id;
    client.start_container(&container, None).await.unwrap();
    client.pause_container(&container).await.unwrap();
    let state = client.inspect_container(&container, None).await.unwrap().state.unwrap();
    let pid = u32::try_from(state.pid.unwrap()).unwrap();
    assert!(state.paused == Some(true) && is_alive(pid));
    drop(engine);
    assert!(!is_alive(pid));
}
