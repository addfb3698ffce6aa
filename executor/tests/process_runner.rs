//! The process runner with real processes: what starts, ends, is stopped, killed and found again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use muster_common::spec::{ConfigSource, ConfigSpec, LoggingSpec, UserSpec};
use muster_executor::ProcessRunner;
use muster_executor::{
    COMMAND_OUTPUT_MAX, Exit, Found, LaunchPlan, Listed, ProvisionError, Runner, RunnerError, RunnerEvent,
    StartError, Workload,
};
use rustix::process::{Pid, Signal};
use tokio::sync::mpsc;
use tokio::time::timeout;

use support::{Node, PATIENCE, plan, processes_of, script, until, zombies};

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
    let log = runner.log_tail(&plan.instance, &workload, 4096).await.unwrap();
    let scratch = node.dir().join("scratch").join(plan.instance.as_str()).canonicalize().unwrap();
    let mut lines: Vec<&str> = log.lines().filter(|line| !line.starts_with("PWD=")).collect();
    lines.retain(|line| !["SHLVL=0", "SHLVL=1", "_=/usr/bin/env"].contains(line));
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let mark = format!("MUSTER_INSTANCE_ID={}", plan.instance);
    assert_eq!(lines, ["GREETING=hello", &mark, path, scratch.to_str().unwrap(), "oops"]);
    assert_eq!(runner.log_tail(&plan.instance, &workload, 3).await.unwrap(), "ps\n");
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
    assert!(runner.log_tail(&plan.instance, &workload, 100).await.unwrap().ends_with("bye\n"));
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
    assert_eq!(runner.log_tail(&plan.instance, &workload, 100).await.unwrap(), "done\n");
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

#[test]
fn a_start_that_was_let_go_is_waited_for() {
    let (node, plan) = (Node::new(), script("exec sleep 1000"));
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (runner, _events) = node.open();
        // As on a disk that hangs: the start has not even made its directory.
        let (release, held) = std::sync::mpsc::channel::<()>();
        let hung = tokio::task::spawn_blocking(move || held.recv());
        timeout(Duration::ZERO, runner.start(&plan)).await.unwrap_err();
        let mut find = runner.find(&plan.instance, None);
        timeout(Duration::ZERO, &mut find).await.unwrap_err();
        release.send(()).unwrap();
        hung.await.unwrap().unwrap();
        assert!(matches!(find.await.unwrap(), Found::Running(_)));
        runner.remove(&plan.instance).await.unwrap();
        assert_nothing_left(&node, &runner, &plan).await;
    });
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

#[tokio::test]
async fn what_cannot_start_says_why() {
    let node = Node::new();
    let (runner, _events) = node.open();
    let missing = plan(&["/no/such/program"]);
    let error = runner.provision(&missing).await.unwrap_err();
    assert!(
        matches!(&error, ProvisionError::Unavailable { what, .. } if what == "/no/such/program"),
        "{error}"
    );
    let error = runner.start(&missing).await.unwrap_err();
    assert!(matches!(&error, StartError::Failed { step: "spawn", why } if why.contains("/no/such/program")));
    assert_eq!(runner.find(&missing.instance, None).await.unwrap(), Found::NeverStarted);
    assert_nothing_left(&node, &runner, &missing).await;

    let mut odd = script("exit 0");
    let spec = std::sync::Arc::make_mut(&mut odd.spec);
    spec.user_spec = Some(UserSpec { user: "no-such-user-here".to_owned(), group: None });
    let error = runner.start(&odd).await.unwrap_err().to_string();
    assert!(error.contains("no user 'no-such-user-here'"), "{error}");
    assert_nothing_left(&node, &runner, &odd).await;
}

#[tokio::test]
async fn a_user_switch_needs_root() {
    let (node, mut plan) =
        (Node::new(), script("id -u; id -G; touch mine; ls ../../run || echo no; sleep 1000"));
    std::sync::Arc::make_mut(&mut plan.spec).user_spec =
        Some(UserSpec { user: "54321".to_owned(), group: Some("54322".to_owned()) });
    let (runner, _events) = node.open();
    match runner.start(&plan).await {
        Ok(workload) => {
            assert!(rustix::process::geteuid().is_root());
            until("it is done", || {
                let log = node.dir().join("logs/test-1").join(plan.instance.as_str()).join("output.log");
                fs::read_to_string(log).is_ok_and(|log| log.ends_with("no\n"))
            })
            .await;
            let run = |argv: &[&str]| {
                let argv: Vec<String> = argv.iter().map(|&word| word.to_owned()).collect();
                let (runner, plan, workload) = (&runner, &plan, &workload);
                async move { runner.command(plan, workload, &argv, LONG).await }
            };
            // A command beside it is the same user, in the same directory, and nothing more.
            let output = run(&["sh", "-c", "id -u; id -G; ls; exit 3"]).await.unwrap();
            assert_eq!((output.code, output.output.as_str()), (3, "54321\n54322\nmine\n"));
            let error = run(&["/no/such"]).await.unwrap_err();
            assert!(error.to_string().contains("/no/such"), "{error}");
            let log = runner.log_tail(&plan.instance, &workload, 200).await.unwrap();
            assert!(log.starts_with("54321\n54322\n") && log.ends_with("no\n"), "{log}");
            let scratch = node.dir().join("scratch").join(plan.instance.as_str());
            assert_eq!(fs::metadata(scratch.join("mine")).unwrap().uid(), 54321);
            let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
            let modes = ["", "scratch", "run", "logs"].map(|name| mode(&node.dir().join(name)));
            assert_eq!((modes, mode(&scratch)), ([0o711, 0o711, 0o700, 0o700], 0o700));
        }
        Err(error) => assert!(error.to_string().contains("only root"), "{error}"),
    }
    runner.remove(&plan.instance).await.unwrap();
    assert_nothing_left(&node, &runner, &plan).await;
}

/// The node's own users and groups cannot be counted on: this speaks to the entry itself.
#[test]
fn a_process_has_its_users_further_groups_and_none_of_the_executors() {
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped a_process_has_its_users_further_groups: only root can switch users");
        return;
    }
    let entry = serde_json::json!({
        "command": ["sh", "-c", "id -u; id -G; grep -h CapEff /proc/self/status"],
        "env": {},
        "workingDirectory": "/",
        "account": {"uid": 54321, "gid": 54322, "groups": [54323, 54324]},
        "group": {"places": []},
        "limits": {"openFiles": null, "coreBytes": 0},
    });
    let (mut output, writer) = std::io::pipe().unwrap();
    let mut process = Command::new(env!("CARGO_BIN_EXE_muster-executor"))
        .arg("shim")
        .env("MUSTER_SHIM_ENTERS", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(writer)
        .spawn()
        .unwrap();
    process.stdin.take().unwrap().write_all(entry.to_string().as_bytes()).unwrap();
    let mut said = String::new();
    process.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "ready\n");
    assert!(process.wait().unwrap().success());
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert_eq!(text, "54321\n54322 54323 54324\nCapEff:\t0000000000000000\n");
}

#[tokio::test]
async fn files_are_placed_in_the_scratch_directory() {
    let (node, mut plan) = (Node::new(), script("cat etc/greeting; stat -c %a etc/greeting"));
    std::sync::Arc::make_mut(&mut plan.spec).configs = vec![ConfigSpec {
        local_filename: "/etc/greeting".to_owned(),
        source: ConfigSource::Inline { data: "aGVsbG8K".to_owned() },
    }];
    let (runner, mut events) = node.open();
    let workload = start(&runner, &plan).await;
    assert_eq!(exited(&mut events).await.1, code(0));
    assert_eq!(runner.log_tail(&plan.instance, &workload, 100).await.unwrap(), "hello\n600\n");
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
        runner.log_tail(&plan.instance, &workload, 64).await.unwrap().ends_with("line 19998\nline 19999\n")
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
    let error = run("echo slow; sleep 3600 & sleep 3600", Duration::from_millis(200)).await.unwrap_err();
    assert!(begun.elapsed() < PATIENCE);
    assert!(matches!(&error, RunnerError::Failed { why, .. } if why.contains("slow")), "{error}");
    until("the command's processes are gone", || processes_of(&plan.instance).len() <= before).await;
    // One that ends, but leaves a child that holds its output open.
    let begun = Instant::now();
    assert_eq!(run("sleep 3600 & exit 0", LONG).await.unwrap().code, 0);
    assert!(begun.elapsed() < PATIENCE);
    until("what it left is gone", || processes_of(&plan.instance).len() <= before).await;

    runner.stop(&plan.instance, &workload, LONG).await.unwrap();
    assert_nothing_left(&node, &runner, &plan).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_quick_starts_leave_nothing() {
    let node = Node::new();
    let (runner, mut events) = node.open();
    let plans: Vec<LaunchPlan> = (0..100).map(|number| script(&format!("exit {number}"))).collect();
    let starts = plans.iter().map(|plan| start(&runner, plan));
    futures::future::join_all(starts).await;
    for _ in &plans {
        let (instance, exit) = exited(&mut events).await;
        let number = plans.iter().position(|plan| plan.instance == instance).unwrap();
        assert_eq!(exit, code(i32::try_from(number).unwrap()));
    }
    // Those of other tests are buried a moment after they end.
    until("there are no zombies", || zombies().is_empty()).await;
    for plan in &plans {
        assert_nothing_left(&node, &runner, plan).await;
    }
    assert_eq!(runner.list().await.unwrap(), []);
}
