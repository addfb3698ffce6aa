//! What holds a process: its control groups and its own limits, and that nothing gets out of them.
//!
//! Without permission for control groups, tests that need them are skipped by name; they fail instead where
//! `MUSTER_REQUIRE_DOCKER=1` is set, as an engine needs the same permission.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use muster_common::spec::{CpuCount, ResourceRequirement};
use muster_executor::{Exit, Found, LaunchPlan, ProcessConfig, ProcessRunner, Runner, RunnerEvent, Workload};
use rustix::process::{Pid, Signal};
use tokio::sync::mpsc;
use tokio::time::timeout;

use support::leftovers::processes_of;
use support::{Node, PATIENCE, script, until};

const GRACE: Duration = Duration::from_millis(200);

/// Every directory below `/sys/fs/cgroup` that is named after the instance.
fn groups_of(plan: &LaunchPlan) -> Vec<PathBuf> {
    fn search(dir: &Path, name: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name() == name {
                    found.push(entry.path());
                }
                search(&entry.path(), name, found);
            }
        }
    }
    let mut found = Vec::new();
    search(Path::new("/sys/fs/cgroup"), plan.instance.as_str(), &mut found);
    found
}

/// The contents of a file of one of the instance's groups, under its name in either interface.
fn value(plan: &LaunchPlan, names: [&str; 2]) -> Option<String> {
    let groups = groups_of(plan);
    let mut values = groups.iter().flat_map(|dir| names.map(|name| fs::read_to_string(dir.join(name)).ok()));
    values.find_map(|value| value.map(|value| value.trim().to_owned()))
}

fn skip(test: &str, why: &str) {
    assert!(std::env::var("MUSTER_REQUIRE_DOCKER").as_deref() != Ok("1"), "{test}: {why}");
    eprintln!("skipped {test}: {why}");
}

fn with_resources(mut plan: LaunchPlan, cores: u64, memory_mb: u64) -> LaunchPlan {
    Arc::make_mut(&mut plan.spec).resources = vec![
        ResourceRequirement::Cpu { count: CpuCount::from_millis(cores) },
        ResourceRequirement::Memory { size_in_mb: memory_mb },
    ];
    plan
}

async fn start(runner: &ProcessRunner, plan: &LaunchPlan) -> Workload {
    runner.provision(plan).await.unwrap();
    runner.start(plan).await.unwrap()
}

async fn exited(events: &mut mpsc::Receiver<RunnerEvent>) -> Exit {
    let RunnerEvent::Exited { exit, .. } = timeout(PATIENCE, events.recv()).await.unwrap().unwrap();
    exit
}

fn pids(workload: &Workload) -> (u32, u32) {
    match workload {
        Workload::Process { shim_pid, pid, .. } => (*shim_pid, *pid),
        Workload::Docker { .. } => panic!("a container"),
    }
}

fn kill(pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
}

fn runs(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

async fn remove(runner: &ProcessRunner, plan: &LaunchPlan) {
    runner.remove(&plan.instance).await.unwrap();
    assert_eq!(groups_of(plan), Vec::<PathBuf>::new(), "a group is left");
    assert!(processes_of(&plan.instance).is_empty(), "a process is left");
}

#[tokio::test]
async fn a_workload_is_in_its_groups_and_its_shim_is_not() {
    let node = Node::new();
    let plan = with_resources(script("while :; do sleep 0.05; done"), 500, 64);
    let (runner, _events) = node.open();
    let workload = start(&runner, &plan).await;
    let (shim, pid) = pids(&workload);
    let groups = groups_of(&plan);
    if groups.is_empty() {
        skip("a_workload_is_in_its_groups_and_its_shim_is_not", "control groups are not permitted here");
        return remove(&runner, &plan).await;
    }
    for dir in &groups {
        eprintln!("limited by {}", dir.display());
        // One down in the unified hierarchy.
        let own = [dir.join("muster-workload"), dir.clone()].into_iter().find(|own| own.is_dir()).unwrap();
        let procs = fs::read_to_string(own.join("cgroup.procs")).unwrap();
        let has = |pid: u32| procs.lines().any(|line| line == pid.to_string());
        assert!(has(pid) && !has(shim), "{}: {procs}", dir.display());
    }
    let memory = value(&plan, ["memory.max", "memory.limit_in_bytes"]);
    let share = value(&plan, ["cpu.max", "cpu.cfs_quota_us"]);
    let most = value(&plan, ["pids.max", "pids.max"]);
    for (found, wanted) in [(memory, "67108864"), (share, "50000"), (most, "8192")] {
        // A hierarchy that is not there limits nothing; this is said at the start.
        assert!(found.as_deref().is_none_or(|found| found.starts_with(wanted)), "{found:?}, not {wanted}");
    }
    remove(&runner, &plan).await;
}

/// The last core that this process may use.
fn last_core() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    list.rsplit([',', '-']).next().unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn a_limit_that_holds_nobody_is_told_for_as_long_as_the_workload_runs() {
    let node = Node::new();
    let plan = with_resources(script("sleep 1000"), 500, 64);
    let (runner, events) =
        node.open_with(ProcessConfig { control_groups: false, ..ProcessConfig::default() });
    let workload = start(&runner, &plan).await;
    let warnings = workload.warnings();
    for limit in ["memory limit", "CPU limit", "limit on processes"] {
        let told = warnings.iter().any(|warning| {
            warning.starts_with(&format!("{limit} not enforced: "))
                && warning.contains("process.controlGroups")
        });
        assert!(told, "{limit}: {warnings:?}");
    }
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    // Also by an executor that could set them now: they were not set then.
    drop((runner, events));
    let (runner, _events) = node.open();
    assert_eq!(runner.find(&plan.instance, None).await.unwrap(), Found::Running(workload));
    remove(&runner, &plan).await;
}

#[tokio::test]
async fn leased_cores_are_pinned() {
    use muster_common::instance::ResourceAllocation;
    let node = Node::new();
    let mut plan = with_resources(script("grep Cpus_allowed_list /proc/self/status; sleep 1000"), 1000, 64);
    let last = last_core();
    let cores = [(0, vec![last])].into();
    plan.place.resources = vec![ResourceAllocation::Cpu { cores }];
    let (runner, _events) = node.open();
    let workload = start(&runner, &plan).await;
    if value(&plan, ["cpuset.cpus", "cpuset.cpus"]).is_none() {
        skip("leased_cores_are_pinned", "the cpuset controller is not permitted here");
        return remove(&runner, &plan).await;
    }
    let log = node.dir().join("logs/test-1").join(plan.instance.as_str()).join("output.log");
    until("it spoke", || fs::read_to_string(&log).is_ok_and(|log| log.ends_with('\n'))).await;
    let log = runner.log_tail(&plan.instance, &workload, 100).await.unwrap().text;
    assert_eq!(log, format!("Cpus_allowed_list:\t{last}\n"));
    remove(&runner, &plan).await;
}

#[tokio::test]
async fn want_of_memory_is_told_from_another_kill() {
    let node = Node::new();
    // Keeps everything that it reads until there is a line: there is none.
    let plan = with_resources(script("exec tail /dev/zero"), 500, 32);
    let calm = with_resources(script("kill -KILL $$"), 500, 32);
    let (runner, mut events) = node.open();
    start(&runner, &calm).await;
    if value(&calm, ["memory.max", "memory.limit_in_bytes"]).is_none() {
        skip("want_of_memory_is_told_from_another_kill", "the memory controller is not permitted here");
        return remove(&runner, &calm).await;
    }
    assert_eq!(exited(&mut events).await, Exit { signal: Some(9), ..Exit::default() });
    remove(&runner, &calm).await;

    let workload = start(&runner, &plan).await;
    let oom = Exit { signal: Some(9), oom_killed: true, ..Exit::default() };
    assert_eq!(exited(&mut events).await, oom);
    assert_eq!(runner.find(&plan.instance, None).await.unwrap(), Found::Ended(workload, oom));
    remove(&runner, &plan).await;
}

#[tokio::test]
async fn a_child_that_the_kernel_killed_before_is_not_why_a_stop_ends_the_workload() {
    let node = Node::new();
    let (runner, _events) = node.open();
    let plan = with_resources(
        script("trap '' TERM; tail /dev/zero; touch survived; while :; do sleep 0.05; done"),
        500,
        32,
    );
    let workload = start(&runner, &plan).await;
    if value(&plan, ["memory.max", "memory.limit_in_bytes"]).is_none() {
        let test = "a_child_that_the_kernel_killed_before_is_not_why_a_stop_ends_the_workload";
        skip(test, "the memory controller is not permitted here");
        return remove(&runner, &plan).await;
    }
    let survived = node.dir().join("scratch").join(plan.instance.as_str()).join("survived");
    until("the kernel killed its child", || survived.exists()).await;
    let exit = runner.stop(&plan.instance, &workload, GRACE).await.unwrap();
    assert_eq!(exit, Exit { signal: Some(9), ..Exit::default() });
    remove(&runner, &plan).await;
}

#[tokio::test]
async fn a_process_has_as_many_files_as_may_be_and_leaves_no_core() {
    let node = Node::new();
    let plan = script("ulimit -n; ulimit -c");
    let (runner, mut events) = node.open();
    let workload = start(&runner, &plan).await;
    exited(&mut events).await;
    let hard = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let files = hard.map_or("unlimited".to_owned(), |hard| hard.to_string());
    let log = runner.log_tail(&plan.instance, &workload, 100).await.unwrap().text;
    assert_eq!(log, format!("{files}\n0\n"));
    remove(&runner, &plan).await;
    drop((runner, events));

    let config = ProcessConfig { open_files: Some(64), ..ProcessConfig::default() };
    let (runner, mut events) = node.open_with(config);
    let plan = script("ulimit -n");
    let workload = start(&runner, &plan).await;
    exited(&mut events).await;
    assert_eq!(runner.log_tail(&plan.instance, &workload, 100).await.unwrap().text, "64\n");
    remove(&runner, &plan).await;
}

/// Forks twice, leaves group, session and parent, drops the mark, and is deaf to SIGTERM.
const ESCAPE: &str = "trap '' TERM; setsid sh -c '(setsid env -i sleep 3600 & echo $! > escaped) &' & \
    while :; do sleep 0.05; done";

async fn start_escape(node: &Node, runner: &ProcessRunner, plan: &LaunchPlan) -> (Workload, String) {
    let workload = start(runner, plan).await;
    let path = node.dir().join("scratch").join(plan.instance.as_str()).join("escaped");
    until("the escaped one is on its way", || {
        fs::read_to_string(&path).is_ok_and(|pid| runs(pid.trim()) && is_bare(pid.trim()))
    })
    .await;
    (workload, fs::read_to_string(&path).unwrap().trim().to_owned())
}

fn is_bare(pid: &str) -> bool {
    fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environ| environ.is_empty())
}

#[tokio::test]
async fn nobody_escapes_a_stop_with_control_groups_and_without() {
    for control_groups in [true, false] {
        let node = Node::new();
        let (runner, _events) = node.open_with(ProcessConfig { control_groups, ..ProcessConfig::default() });
        let plan = script(ESCAPE);
        let (workload, escaped) = start_escape(&node, &runner, &plan).await;
        assert!(control_groups || groups_of(&plan).is_empty());
        let exit = runner.stop(&plan.instance, &workload, GRACE).await.unwrap();
        assert_eq!(exit, Exit { signal: Some(9), ..Exit::default() });
        assert!(!runs(&escaped), "it escaped (control groups: {control_groups})");
        remove(&runner, &plan).await;
    }
}

#[tokio::test]
async fn a_killed_shim_leaves_nobody_not_even_who_dropped_every_mark() {
    let node = Node::new();
    let (runner, mut events) = node.open();
    let plan = script(ESCAPE);
    let (workload, escaped) = start_escape(&node, &runner, &plan).await;
    let permitted = !groups_of(&plan).is_empty();
    kill(pids(&workload).0);
    assert_eq!(exited(&mut events).await, Exit::default());
    if permitted {
        assert!(!runs(&escaped), "it escaped");
    } else {
        // Only its group could have told whose it was.
        skip("a_killed_shim_leaves_nobody", "control groups are not permitted here");
        kill(escaped.parse().unwrap());
    }
    remove(&runner, &plan).await;
}

#[tokio::test]
async fn what_an_earlier_executor_left_without_a_trace_is_removed() {
    let node = Node::new();
    let (runner, events) = node.open();
    let plan = script(ESCAPE);
    let (workload, escaped) = start_escape(&node, &runner, &plan).await;
    if groups_of(&plan).is_empty() {
        skip("what_an_earlier_executor_left_without_a_trace", "control groups are not permitted here");
        return remove(&runner, &plan).await;
    }
    drop((runner, events));
    kill(pids(&workload).0);
    fs::remove_dir_all(node.dir().join("run").join(plan.instance.as_str())).unwrap();
    let (runner, _events) = node.open();
    assert!(!runs(&escaped), "it survived");
    remove(&runner, &plan).await;
}

/// What a command gave, run through a shell.
async fn command(runner: &dyn Runner, plan: &LaunchPlan, workload: &Workload, text: &str) -> (i32, String) {
    let argv = ["sh", "-c", text].map(str::to_owned);
    let output = runner.command(plan, workload, &argv, PATIENCE).await.unwrap();
    (output.code, output.output)
}

/// Leaves somebody of whom neither parent nor session tells whose it is, nor, where it is started by `env -i`, its
/// environment.
async fn leave(runner: &dyn Runner, plan: &LaunchPlan, workload: &Workload, through: &str) -> String {
    // Who is still in the command's group when it ends is ended with it.
    let text = format!(
        "setsid {through} sh -c 'echo $$ > left; exec sleep 3600' >/dev/null 2>&1 & \
         while ! [ -s left ]; do sleep 0.02; done; cat left"
    );
    let (code, pid) = command(runner, plan, workload, &text).await;
    assert_eq!(code, 0, "{pid}");
    let pid = pid.trim().to_owned();
    assert!(runs(&pid), "nobody was left");
    pid
}

#[tokio::test]
async fn what_holds_a_workload_holds_a_command_beside_it() {
    let node = Node::new();
    // It asks for no memory, which would all be in the command's hands.
    let plan = with_resources(script("trap '' TERM; exec sleep 1000"), 500, 32);
    let config = ProcessConfig { open_files: Some(64), ..ProcessConfig::default() };
    let (runner, _events) = node.open_with(config);
    let workload = start(&runner, &plan).await;
    assert_eq!(command(&runner, &plan, &workload, "ulimit -n; ulimit -c").await, (0, "64\n0\n".to_owned()));
    let groups = groups_of(&plan);
    if groups.is_empty() {
        skip("what_holds_a_workload_holds_a_command_beside_it", "control groups are not permitted here");
        return remove(&runner, &plan).await;
    }
    let inside = format!("grep -c {}/ /proc/self/cgroup", plan.instance);
    assert_eq!(command(&runner, &plan, &workload, &inside).await, (0, format!("{}\n", groups.len())));
    if value(&plan, ["memory.max", "memory.limit_in_bytes"]).is_some() {
        assert_eq!(command(&runner, &plan, &workload, "exec tail /dev/zero").await.0, 137);
        assert!(runs(&pids(&workload).1.to_string()), "the workload was killed for it");
    }
    // A stop also ends who left the command's group and session, and its environment.
    let left = leave(&runner, &plan, &workload, "env -i").await;
    let exit = runner.stop(&plan.instance, &workload, GRACE).await.unwrap();
    assert_eq!(
        exit,
        Exit { signal: Some(9), ..Exit::default() },
        "it was not the workload that wanted memory"
    );
    assert!(!runs(&left), "it outlived the stop");
    remove(&runner, &plan).await;
}

#[tokio::test]
async fn a_command_that_the_kernel_killed_is_not_why_the_workload_was_killed() {
    let node = Node::new();
    // It asks for no memory: until the killed one has given his back, the kernel may kill who does.
    let plan = with_resources(script("exec sleep 1000"), 500, 32);
    let (runner, mut events) = node.open();
    let workload = start(&runner, &plan).await;
    if value(&plan, ["memory.max", "memory.limit_in_bytes"]).is_none() {
        let test = "a_command_that_the_kernel_killed_is_not_why_the_workload_was_killed";
        skip(test, "the memory controller is not permitted here");
        return remove(&runner, &plan).await;
    }
    assert_eq!(command(&runner, &plan, &workload, "exec tail /dev/zero").await.0, 137);
    let pid = pids(&workload).1;
    assert!(runs(&pid.to_string()), "the workload ended, too: {:?}", events.try_recv());
    kill(pid);
    assert_eq!(exited(&mut events).await, Exit { signal: Some(9), ..Exit::default() });
    remove(&runner, &plan).await;
}

#[tokio::test]
async fn the_next_executor_ends_what_commands_left_and_nobody_else() {
    let node = Node::new();
    let plan = script("while :; do sleep 0.05; done");
    let (runner, events) = node.open();
    let workload = start(&runner, &plan).await;
    if groups_of(&plan).is_empty() {
        skip("the_next_executor_ends_what_commands_left", "control groups are not permitted here");
        return remove(&runner, &plan).await;
    }
    let left = leave(&runner, &plan, &workload, "env -i").await;
    drop((runner, events));
    let (runner, _events) = node.open();
    assert!(!runs(&left), "it outlived the executor that asked for it");
    assert_eq!(runner.find(&plan.instance, None).await.unwrap(), Found::Running(workload.clone()));
    assert_eq!(command(&runner, &plan, &workload, "true").await.0, 0);
    remove(&runner, &plan).await;
}

/// Without control groups it is its mark that tells whose it is.
#[tokio::test]
async fn a_node_that_opens_its_runners_ends_what_commands_left() {
    let node = Node::new();
    let plan = script("while :; do sleep 0.05; done");
    let config = ProcessConfig { control_groups: false, ..ProcessConfig::default() };
    let runner = node.open_all(config.clone()).await.process.unwrap();
    runner.provision(&plan).await.unwrap();
    let workload = runner.start(&plan).await.unwrap();
    // As another command of the same executor: what its own command leaves is ended at once.
    let another = "env MUSTER_COMMAND=${MUSTER_COMMAND%-*}-another";
    let left = leave(runner.as_ref(), &plan, &workload, another).await;
    drop(runner);
    let runner = node.open_all(config.clone()).await.process.unwrap();
    assert!(!runs(&left), "it outlived the executor that asked for it");
    assert_eq!(runner.find(&plan.instance, None).await.unwrap(), Found::Running(workload));
    runner.remove(&plan.instance).await.unwrap();
}

/// The exit status is on the disk before the shim ends, and only its end is announced.
#[tokio::test]
async fn an_exit_is_written_down_before_anybody_is_told() {
    let node = Node::new();
    let (runner, mut events) = node.open();
    let plan = script("exit 6");
    start(&runner, &plan).await;
    exited(&mut events).await;
    let path = node.dir().join("run").join(plan.instance.as_str()).join("exit.json");
    let written: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert_eq!((&written["exit"]["code"], &written["alone"]), (&6.into(), &true.into()));
    remove(&runner, &plan).await;
}
