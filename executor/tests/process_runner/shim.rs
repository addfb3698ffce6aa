//! What a shim keeps for the executor, and what is found again when one of them was away.

use std::fs;
use std::time::Duration;

use muster_executor::{Exit, Found, Listed, Runner};
use rustix::process::Signal;

use crate::support::leftovers::processes_of;
use crate::support::{Node, script, until};
use crate::{LONG, assert_nothing_left, code, exited, kill, pids, runs, signal, start};

#[tokio::test]
async fn a_new_executor_finds_the_same_process_and_sees_its_end() {
    let (node, plan) = (Node::new(), script("while [ ! -e go ]; do sleep 0.02; done; echo done; exit 4"));
    let (runner, events) = node.open();
    let workload = start(&runner, &plan).await;
    drop((runner, events));

    let (runner, mut events) = node.open();
    let listed = Listed { instance: plan.instance.clone(), place: Some(plan.place.clone()), runs: true };
    assert_eq!(runner.list().await.unwrap(), [listed]);
    let found = runner.find(&plan.instance, Some(&workload)).await.unwrap();
    assert_eq!(found, Found::Running(workload.clone()));
    assert_eq!(runner.start(&plan).await.unwrap(), workload, "a repeated start is the same workload");
    fs::write(node.dir().join("scratch").join(plan.instance.as_str()).join("go"), "").unwrap();
    assert_eq!(exited(&mut events).await, (plan.instance.clone(), code(4)));
    assert_eq!(runner.log_tail(&plan.instance, &workload, 100).await.unwrap().text, "done\n");
    assert_nothing_left(&node, &runner, &plan).await;
}

#[tokio::test]
async fn an_end_in_between_is_found_with_its_code() {
    let (node, plan) = (Node::new(), script("exit 9"));
    let (runner, events) = node.open();
    let workload = start(&runner, &plan).await;
    drop((runner, events));
    until("the shim ended", || !runs(&pids(&workload).0.to_string())).await;
    let (runner, _events) = node.open();
    let found = runner.find(&plan.instance, Some(&workload)).await.unwrap();
    assert_eq!(found, Found::Ended(workload.clone(), code(9)));
    assert_eq!(runner.stop(&plan.instance, &workload, LONG).await.unwrap(), code(9));
    assert_nothing_left(&node, &runner, &plan).await;
}

#[tokio::test]
async fn what_a_killed_shim_leaves_is_killed_and_its_exit_unknown() {
    let (node, plan) = (Node::new(), script("setsid sleep 3600 & while :; do sleep 0.05; done"));
    let (runner, mut events) = node.open();
    let workload = start(&runner, &plan).await;
    until("all are up", || processes_of(&plan.instance).len() >= 3).await;
    kill(pids(&workload).0, Signal::KILL);
    assert_eq!(exited(&mut events).await, (plan.instance.clone(), Exit::default()));
    assert!(processes_of(&plan.instance).is_empty());
    assert_nothing_left(&node, &runner, &plan).await;
}

#[tokio::test]
async fn a_shim_killed_while_no_executor_ran_leaves_nothing() {
    let (node, plan) = (Node::new(), script("setsid sleep 3600 & while :; do sleep 0.05; done"));
    let (runner, events) = node.open();
    let workload = start(&runner, &plan).await;
    until("all are up", || processes_of(&plan.instance).len() >= 3).await;
    drop((runner, events));
    kill(pids(&workload).0, Signal::KILL);
    until("the shim is dead", || !runs(&pids(&workload).0.to_string())).await;
    let (runner, _events) = node.open();
    let found = runner.find(&plan.instance, Some(&workload)).await.unwrap();
    assert_eq!(found, Found::Ended(workload, Exit::default()));
    assert_nothing_left(&node, &runner, &plan).await;
}

#[tokio::test]
async fn signals_meant_for_others_do_not_end_a_shim() {
    let (node, plan) = (Node::new(), script("trap '' HUP; while :; do sleep 0.05; done"));
    let (runner, _events) = node.open();
    let workload = start(&runner, &plan).await;
    for deaf in [Signal::HUP, Signal::INT, Signal::TERM, Signal::QUIT, Signal::USR1, Signal::PIPE] {
        kill(pids(&workload).0, deaf);
    }
    assert_eq!(runner.find(&plan.instance, None).await.unwrap(), Found::Running(workload.clone()));
    assert_eq!(runner.stop(&plan.instance, &workload, LONG).await.unwrap(), signal(15));
    assert_nothing_left(&node, &runner, &plan).await;
}

#[tokio::test]
async fn a_shim_is_small() {
    let (node, plan) = (Node::new(), script("while :; do sleep 0.05; done"));
    let (runner, _events) = node.open();
    let workload = start(&runner, &plan).await;
    let status = fs::read_to_string(format!("/proc/{}/status", pids(&workload).0)).unwrap();
    let number = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
    };
    // Memory of its own; the program's pages are shared with the executor.
    assert!(number("RssAnon:") < 4096, "{} KiB", number("RssAnon:"));
    assert_eq!(number("Threads:"), 1);
    runner.stop(&plan.instance, &workload, LONG).await.unwrap();
    assert_nothing_left(&node, &runner, &plan).await;
}

#[tokio::test]
async fn a_stopped_shim_does_not_hold_up_a_stop_for_ever() {
    let (node, plan) = (Node::new(), script("while :; do sleep 0.05; done"));
    let (runner, _events) = node.open();
    let workload = start(&runner, &plan).await;
    kill(pids(&workload).0, Signal::STOP);
    let exit = runner.stop(&plan.instance, &workload, Duration::from_millis(50)).await.unwrap();
    assert_eq!(exit, Exit::default(), "its exit status is unknown");
    assert_nothing_left(&node, &runner, &plan).await;
}

#[tokio::test]
async fn a_shim_killed_before_it_could_say_whom_it_started_leaves_nothing() {
    let (node, plan) = (Node::new(), script("setsid sleep 3600 & while :; do sleep 0.05; done"));
    let (runner, events) = node.open();
    let workload = start(&runner, &plan).await;
    until("all are up", || processes_of(&plan.instance).len() >= 3).await;
    drop((runner, events));
    kill(pids(&workload).0, Signal::KILL);
    until("the shim is dead", || !runs(&pids(&workload).0.to_string())).await;
    fs::remove_file(node.dir().join("run").join(plan.instance.as_str()).join("pid.json")).unwrap();
    let (runner, _events) = node.open();
    assert_eq!(runner.find(&plan.instance, None).await.unwrap(), Found::NeverStarted);
    assert!(processes_of(&plan.instance).is_empty());
    assert_nothing_left(&node, &runner, &plan).await;
}

#[tokio::test]
async fn a_prepared_instance_was_never_started() {
    let (node, plan) = (Node::new(), script("exit 0"));
    let (runner, _events) = node.open();
    fs::create_dir(node.dir().join("run").join(plan.instance.as_str())).unwrap();
    let listed = Listed { instance: plan.instance.clone(), place: None, runs: false };
    assert_eq!(runner.list().await.unwrap(), [listed]);
    assert_eq!(runner.find(&plan.instance, None).await.unwrap(), Found::NeverStarted);
    assert_nothing_left(&node, &runner, &plan).await;
}

#[tokio::test]
async fn of_a_workload_of_an_earlier_boot_only_its_end_is_left() {
    let (node, plan) = (Node::new(), script("exit 3"));
    let (runner, mut events) = node.open();
    let workload = start(&runner, &plan).await;
    exited(&mut events).await;
    let path = node.dir().join("run").join(plan.instance.as_str()).join("pid.json");
    let mut pids: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    pids["bootId"] = "another".into();
    fs::write(&path, pids.to_string()).unwrap();
    drop((runner, events));
    let (runner, _events) = node.open();
    assert_eq!(runner.find(&plan.instance, None).await.unwrap(), Found::Ended(workload, code(3)));
    // It ran when the machine went down: nobody saw its end.
    fs::remove_file(path.with_file_name("exit.json")).unwrap();
    assert_eq!(runner.find(&plan.instance, None).await.unwrap(), Found::Nothing);
    assert_nothing_left(&node, &runner, &plan).await;
}
