//! The process runner with real processes: how they end and are stopped, and what runs beside them.
//!
//! | module | noun |
//! |---|---|
//! | `starting` | what a process is given, and what cannot start |
//! | `shim` | what a shim keeps for the executor, and what is found again when one of them was away |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod shim;
mod starting;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::time::{Duration, Instant};

use muster_common::spec::LoggingSpec;
use muster_executor::{
    COMMAND_OUTPUT_MAX, Exit, Found, LaunchPlan, ProcessRunner, Runner, RunnerError, RunnerEvent, Workload,
};
use rustix::process::{Pid, Signal};
use tokio::sync::mpsc;
use tokio::time::timeout;

use support::leftovers::processes_of;
use support::{Node, PATIENCE, script, until, zombies};

const LONG: Duration = Duration::from_secs(60);

async fn exited(events: &mut mpsc::Receiver<RunnerEvent>) -> (muster_common::id::InstanceId, Exit) {
    let RunnerEvent::Exited { instance, exit } = timeout(PATIENCE, events.recv()).await.unwrap().unwrap();
    (instance, exit)
}

fn pids(workload: &Workload) -> (u32, u32) {
    match workload {
        Workload::Process { shim_pid, pid, .. } => (*shim_pid, *pid),
        Workload::Docker { .. } => panic!("a container"),
    }
}

fn kill(pid: u32, signal: Signal) {
    rustix::process::kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

fn code(code: i32) -> Exit {
    Exit { code: Some(code), ..Exit::default() }
}

fn signal(signal: i32) -> Exit {
    Exit { signal: Some(signal), ..Exit::default() }
}

async fn start(runner: &ProcessRunner, plan: &LaunchPlan) -> Workload {
    runner.provision(plan).await.unwrap();
    runner.start(plan).await.unwrap()
}

/// Everything of an instance is gone but its log.
async fn assert_nothing_left(node: &Node, runner: &ProcessRunner, plan: &LaunchPlan) {
    until("no process is left", || processes_of(&plan.instance).is_empty()).await;
    runner.remove(&plan.instance).await.unwrap();
    runner.remove(&plan.instance).await.unwrap();
    assert_eq!(runner.find(&plan.instance, None).await.unwrap(), Found::Nothing);
    for name in ["run", "scratch"] {
        assert!(!node.dir().join(name).join(plan.instance.as_str()).exists(), "{name} is still there");
    }
}

#[tokio::test]
async fn an_exit_code_a_log_and_an_exact_environment() {
    let (node, plan) = (Node::new(), script("env | sort; pwd; echo oops >&2; exit 7"));
    let (runner, mut events) = node.open();
    let workload = start(&runner, &plan).await;
    assert_eq!(exited(&mut events).await, (plan.instance.clone(), code(7)));
    let log = runner.log_tail(&plan.instance, &workload, 4096).await.unwrap().text;
    let scratch = node.dir().join("scratch").join(plan.instance.as_str()).canonicalize().unwrap();
    let mut lines: Vec<&str> = log.lines().filter(|line| !line.starts_with("PWD=")).collect();
    lines.retain(|line| !["SHLVL=0", "SHLVL=1", "_=/usr/bin/env"].contains(line));
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let mark = format!("MUSTER_INSTANCE_ID={}", plan.instance);
    assert_eq!(lines, ["GREETING=hello", &mark, path, scratch.to_str().unwrap(), "oops"]);
    assert_eq!(runner.log_tail(&plan.instance, &workload, 3).await.unwrap().text, "ps\n");
    assert_eq!(runner.find(&plan.instance, None).await.unwrap(), Found::Ended(workload, code(7)));
    assert_nothing_left(&node, &runner, &plan).await;
}

#[tokio::test]
async fn a_signal_is_told_from_a_code() {
    let (node, plan) = (Node::new(), script("kill -SEGV $$"));
    let (runner, mut events) = node.open();
    start(&runner, &plan).await;
    assert_eq!(exited(&mut events).await.1, signal(11));
    assert_nothing_left(&node, &runner, &plan).await;
}

#[tokio::test]
async fn a_stop_asks_first() {
    let (node, plan) =
        (Node::new(), script("trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done"));
    let (runner, mut events) = node.open();
    let workload = start(&runner, &plan).await;
    let log = node.dir().join("logs/test-1").join(plan.instance.as_str()).join("output.log");
    until("it is up", || fs::read_to_string(&log).is_ok_and(|log| log.contains("up"))).await;
    assert_eq!(runner.stop(&plan.instance, &workload, LONG).await.unwrap(), code(3));
    assert_eq!(exited(&mut events).await.1, code(3));
    assert_eq!(runner.stop(&plan.instance, &workload, LONG).await.unwrap(), code(3), "a repeated stop");
    assert!(runner.log_tail(&plan.instance, &workload, 100).await.unwrap().text.ends_with("bye\n"));
    assert_nothing_left(&node, &runner, &plan).await;
}

#[tokio::test]
async fn who_ignores_the_stop_is_killed_with_its_children() {
    let node = Node::new();
    let plan =
        script("trap '' TERM; sh -c 'while :; do sleep 0.05; done' & echo up; while :; do sleep 0.05; done");
    let (runner, _events) = node.open();
    let workload = start(&runner, &plan).await;
    until("all are up", || processes_of(&plan.instance).len() >= 3).await;
    let exit = runner.stop(&plan.instance, &workload, Duration::from_millis(100)).await.unwrap();
    assert_eq!(exit, signal(9));
    assert!(processes_of(&plan.instance).is_empty(), "the stop came back before all were gone");
    assert_nothing_left(&node, &runner, &plan).await;
}

/// Leaves its group, its session and its parent, and drops the mark from its environment: only the
/// sub-reaper still has it.
const ESCAPE: &str = "setsid sh -c 'setsid env -i sleep 3600 & echo $! > escaped; exit 0' & wait; ";

fn runs(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn a_grandchild_that_left_everything_does_not_escape_a_stop() {
    let (node, plan) =
        (Node::new(), script(&format!("{ESCAPE} trap 'exit 0' TERM; while :; do sleep 0.05; done")));
    let (runner, _events) = node.open();
    let workload = start(&runner, &plan).await;
    let escape_note = node.dir().join("scratch").join(plan.instance.as_str()).join("escaped");
    until("the grandchild is on its way", || {
        fs::read_to_string(&escape_note).is_ok_and(|pid| runs(pid.trim()))
    })
    .await;
    let escaped = fs::read_to_string(&escape_note).unwrap();
    runner.stop(&plan.instance, &workload, LONG).await.unwrap();
    assert!(!runs(escaped.trim()), "the grandchild escaped");
    assert_nothing_left(&node, &runner, &plan).await;
}

#[tokio::test]
async fn a_grandchild_goes_when_the_main_process_ends_by_itself() {
    let (node, plan) = (Node::new(), script(&format!("{ESCAPE} exit 5")));
    let (runner, mut events) = node.open();
    start(&runner, &plan).await;
    assert_eq!(exited(&mut events).await.1, code(5));
    let escape_note = node.dir().join("scratch").join(plan.instance.as_str()).join("escaped");
    assert!(!runs(fs::read_to_string(escape_note).unwrap().trim()), "the grandchild escaped");
    assert_nothing_left(&node, &runner, &plan).await;
}

#[tokio::test]
async fn what_is_removed_while_it_runs_is_killed() {
    let (node, plan) = (Node::new(), script("trap '' TERM; touch deaf; while :; do sleep 0.05; done"));
    let (runner, mut events) = node.open();
    start(&runner, &plan).await;
    let deaf = node.dir().join("scratch").join(plan.instance.as_str()).join("deaf");
    until("it ignores the stop signal", || deaf.exists()).await;
    runner.remove(&plan.instance).await.unwrap();
    assert_eq!(exited(&mut events).await.1, signal(9));
    assert_nothing_left(&node, &runner, &plan).await;
}

#[tokio::test]
async fn output_is_rotated() {
    // More than the shim takes in at once, however late it comes to it.
    let (node, mut plan) =
        (Node::new(), script("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done"));
    std::sync::Arc::make_mut(&mut plan.spec).logging =
        Some(LoggingSpec::Local { max_size: "4k".to_owned(), max_files: 2, compress: true });
    let (runner, mut events) = node.open();
    let workload = start(&runner, &plan).await;
    assert_eq!(exited(&mut events).await.1, code(0));
    assert!(
        runner
            .log_tail(&plan.instance, &workload, 64)
            .await
            .unwrap()
            .text
            .ends_with("line 19998\nline 19999\n")
    );
    let logs = node.dir().join("logs/test-1").join(plan.instance.as_str());
    let mut names: Vec<_> = fs::read_dir(logs).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let segments: Vec<_> =
        names.iter().filter_map(|name| name.to_str()?.strip_prefix("output.log")).collect();
    assert_eq!(segments.len(), 2, "{names:?}");
    assert_nothing_left(&node, &runner, &plan).await;
}

#[tokio::test]
async fn a_command_runs_beside_the_workload_and_no_longer_than_it_may() {
    let (node, plan) = (Node::new(), script("echo x > here; while :; do sleep 0.05; done"));
    let (runner, _events) = node.open();
    let workload = start(&runner, &plan).await;
    let run = |text: &'static str, limit| {
        let argv = ["sh", "-c", text].map(str::to_owned);
        let (runner, plan, workload) = (&runner, &plan, &workload);
        async move { runner.command(plan, workload, &argv, limit).await }
    };
    until("it wrote", || node.dir().join("scratch").join(plan.instance.as_str()).join("here").exists()).await;
    let output = run("echo $GREETING; cat here >&2; exit 3", LONG).await.unwrap();
    assert_eq!((output.code, output.output.as_str()), (3, "hello\nx\n"));
    let output = run("kill -KILL $$", LONG).await.unwrap();
    assert_eq!(output.code, 137);
    let output = run("yes | head -c 100000; exit 0", LONG).await.unwrap();
    assert_eq!((output.code, output.output.len()), (0, COMMAND_OUTPUT_MAX));

    let before = processes_of(&plan.instance).len();
    let begun = Instant::now();
    // A busy machine may not have come to it by then: the next try has more time.
    let mut limit = Duration::from_millis(200);
    loop {
        let error = run("echo slow; sleep 3600 & sleep 3600", limit).await.unwrap_err();
        assert!(begun.elapsed() < PATIENCE, "{error}");
        if matches!(&error, RunnerError::Failed { why, .. } if why.contains("slow")) {
            break;
        }
        limit *= 2;
    }
    until("the command's processes are gone", || processes_of(&plan.instance).len() <= before).await;
    // One that ends, but leaves a child that holds its output open.
    let begun = Instant::now();
    assert_eq!(run("sleep 3600 & exit 0", LONG).await.unwrap().code, 0);
    assert!(begun.elapsed() < PATIENCE);
    until("what it left is gone", || processes_of(&plan.instance).len() <= before).await;
    // One that leaves a child in a session of its own.
    let away =
        "setsid sh -c 'touch away; exec sleep 3600' & while [ ! -e away ]; do sleep 0.02; done; exit 0";
    assert_eq!(run(away, LONG).await.unwrap().code, 0);
    until("what left its session is gone", || processes_of(&plan.instance).len() <= before).await;

    runner.stop(&plan.instance, &workload, LONG).await.unwrap();
    assert_nothing_left(&node, &runner, &plan).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_quick_starts_leave_nothing() {
    let node = Node::new();
    let (runner, mut events) = node.open();
    let plans: Vec<LaunchPlan> = (0..100).map(|number| script(&format!("exit {number}"))).collect();
    let starts = plans.iter().map(|plan| start(&runner, plan));
    let started = futures::future::join_all(starts).await;
    for _ in &plans {
        let (instance, exit) = exited(&mut events).await;
        let number = plans.iter().position(|plan| plan.instance == instance).unwrap();
        assert_eq!(exit, code(i32::try_from(number).unwrap()));
    }
    let shims = started.iter().map(|workload| pids(workload).0).collect();
    // What other tests leave when they drop a runner is not looked at.
    until("all shims are buried", || zombies().is_disjoint(&shims)).await;
    for plan in &plans {
        assert_nothing_left(&node, &runner, plan).await;
    }
    assert_eq!(runner.list().await.unwrap(), []);
}
