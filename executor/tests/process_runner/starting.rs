//! What a process is given, and what cannot start.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use muster_common::spec::{ConfigSource, ConfigSpec, UserSpec};
use muster_executor::{Found, ProcessConfig, ProvisionError, Runner, StartError};
use tokio::time::timeout;

use crate::support::{Node, plan, script, until};
use crate::{LONG, assert_nothing_left, code, exited, start};

#[test]
fn a_start_that_was_let_go_is_waited_for() {
    let (node, plan) = (Node::new(), script("exec sleep 1000"));
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (runner, _events) = node.open();
        // As on a disk that hangs: the start has looked what there is, and has not even made its directory.
        let (release, held) = std::sync::mpsc::channel::<()>();
        let (hangs, is_hung) = std::sync::mpsc::channel();
        let mut start = runner.start(&plan);
        timeout(Duration::ZERO, &mut start).await.unwrap_err();
        let hung = tokio::task::spawn_blocking(move || {
            hangs.send(()).unwrap();
            held.recv()
        });
        is_hung.recv().unwrap();
        timeout(Duration::ZERO, &mut start).await.unwrap_err();
        drop(start);
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
async fn two_starts_of_an_instance_are_one() {
    let (node, plan) = (Node::new(), script("exec sleep 1000"));
    let (runner, _events) = node.open();
    let (one, other) = tokio::join!(runner.start(&plan), runner.start(&plan));
    let (workload, other) = match (one, other) {
        (Ok(workload), other) | (other, Ok(workload)) => (workload, other),
        neither => panic!("{neither:?}"),
    };
    match other {
        Ok(same) => assert_eq!(same, workload),
        // It is tried again, and then it is the same.
        Err(StartError::RunnerUnavailable(why)) => assert!(why.contains("another start"), "{why}"),
        Err(other) => panic!("{other}"),
    }
    assert_eq!(runner.start(&plan).await.unwrap(), workload);
    runner.remove(&plan.instance).await.unwrap();
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
            let log = runner.log_tail(&plan.instance, &workload, 200).await.unwrap().text;
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

#[tokio::test]
async fn nobody_runs_as_a_user_that_the_node_does_not_name() {
    let node = Node::new();
    let users = |users: &[&str]| {
        let users = Some(users.iter().map(|&user| user.to_owned()).collect());
        ProcessConfig { users, ..ProcessConfig::default() }
    };
    let own = format!("{}:{}", rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let plan = script("exit 0");
    let (runner, _events) = node.open_with(users(&["54321:54321"]));
    let error = runner.start(&plan).await.unwrap_err().to_string();
    assert!(error.contains("process.users") && error.contains("54321:54321"), "{error}");
    assert_nothing_left(&node, &runner, &plan).await;
    drop(runner);

    let (runner, mut events) = node.open_with(users(&[&own]));
    start(&runner, &plan).await;
    assert_eq!(exited(&mut events).await.1, code(0));
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
    assert_eq!(runner.log_tail(&plan.instance, &workload, 100).await.unwrap().text, "hello\n600\n");
    assert_nothing_left(&node, &runner, &plan).await;
}
