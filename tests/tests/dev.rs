//! `muster dev` as a person uses it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use muster_tests::cluster::{BOUND, DevCluster, is_alive, signal};
use muster_tests::ports::free_port_base;
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_muster-under-test");

/// Every process whose command line or environment names `marker`.
fn processes_naming(marker: &Path) -> Vec<i32> {
    let marker = marker.to_string_lossy().into_owned();
    procfs::process::all_processes()
        .unwrap()
        .flatten()
        .filter(|process| process.pid() != i32::try_from(std::process::id()).unwrap())
        .filter(|process| {
            let named = |text: &std::ffi::OsStr| text.to_string_lossy().contains(&marker);
            process.cmdline().is_ok_and(|args| args.iter().any(|arg| named(arg.as_ref())))
                || process.environ().is_ok_and(|env| env.values().any(|value| named(value.as_ref())))
                || process.cwd().is_ok_and(|cwd| named(cwd.as_os_str()))
        })
        .map(|process| process.pid())
        .collect()
}

fn foreground(temporary: &Path, port_base: u16) -> Child {
    Command::new(PROGRAM)
        .args(["dev", "--executors", "1", "--port-base", &port_base.to_string()])
        .env("TMPDIR", temporary)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn ctrl_c_leaves_no_process_no_socket_and_no_file() {
    let port_base = free_port_base();
    let temporary = tempfile::tempdir().unwrap();
    let mut child = foreground(temporary.path(), port_base);
    let mut lines = until_it_is_up(&mut child);
    assert!(!processes_naming(temporary.path()).is_empty(), "the roles run from the temporary directory");

    signal(child.id(), rustix::process::Signal::INT);
    assert_ends(&mut child);
    assert!(lines.by_ref().map_while(Result::ok).all(|line| !line.contains("has ended")));
    assert_eq!(processes_naming(temporary.path()), Vec::<i32>::new());
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
    for port in [0, 1, 2, 100, 101, 102, 200].map(|offset| port_base + offset) {
        std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    }
}

/// Reads its output up to the last line of the welcome.
fn until_it_is_up(child: &mut Child) -> Lines<BufReader<ChildStdout>> {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = lines.by_ref().map_while(Result::ok).find(|line| line.contains("stops everything"));
    assert!(ready.is_some(), "it did not come up");
    lines
}

fn assert_ends(child: &mut Child) {
    let deadline = Instant::now() + BOUND;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "it does not end");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(status.success(), "{status}");
}

#[test]
fn a_cluster_stopped_from_another_terminal_ends_the_command_that_started_it() {
    let temporary = tempfile::tempdir().unwrap();
    let mut child = foreground(temporary.path(), free_port_base());
    let _lines = until_it_is_up(&mut child);
    let dir = std::fs::read_dir(temporary.path()).unwrap().next().unwrap().unwrap().path();
    let stopped = Command::new(PROGRAM).args(["dev", "stop", "--dir"]).arg(&dir).output().unwrap();
    assert!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
    assert_ends(&mut child);
    assert_eq!(processes_naming(temporary.path()), Vec::<i32>::new());
    assert!(!dir.exists());
}

#[test]
fn what_a_killed_executor_ran_ends_with_the_cluster() {
    let cluster = DevCluster::start(PROGRAM, 1, &[]);
    let dir = cluster.dir();
    cluster.dev("kill", "executor-1");
    assert!(cluster.roles().iter().any(|role| role.pid.is_none()));
    assert!(!processes_naming(&dir).is_empty(), "the service runs on");
    let stopped = cluster.muster(&["dev", "stop", "--dir", &dir.to_string_lossy()]);
    assert!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
    assert_eq!(processes_naming(&dir), Vec::<i32>::new());
}

#[test]
fn a_taken_port_is_one_clear_sentence() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    if port > 60_000 {
        return; // the other ports of such a base would not fit; the kernel rarely gives one
    }
    let temporary = tempfile::tempdir().unwrap();
    let output = foreground(temporary.path(), port).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(words.lines().count(), 1, "{words}");
    assert!(words.contains(&port.to_string()) && words.contains("--port-base"), "{words}");
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[test]
fn the_client_does_what_it_says() {
    let cluster = DevCluster::start(PROGRAM, 1, &[]);
    let server = cluster.controllers()[1].rest.clone();
    let run = |args: &[&str]| {
        let output = cluster.muster(&[args, &["--server", &server]].concat());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let json_of = |args: &[&str]| {
        let (code, stdout, stderr) = run(&[args, &["-o", "json"]].concat());
        assert_eq!(code, Some(0), "{args:?}: {stderr}");
        serde_json::from_str::<Value>(&stdout).unwrap()
    };

    let first = json_of(&["get", "instances", "example"]);
    assert_eq!(first.as_array().unwrap().len(), 1);

    let (code, stdout, stderr) = run(&["restart", "example"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("example-1 restarted"), "{stdout}");
    let second = json_of(&["get", "instances", "example"]);
    assert_ne!(first[0]["instanceId"], second[0]["instanceId"]);

    let id = second[0]["instanceId"].as_str().unwrap();
    let (code, _, stderr) = run(&["stop", &id[..12]]);
    assert_eq!(code, Some(0), "{stderr}");
    let old = json_of(&["get", "instances", "example", "--old"]);
    assert_eq!(old.as_array().unwrap().len(), 2, "{old}");

    let scaled = json_of(&["scale", "example", "2"]);
    assert_eq!(scaled["state"], "SUCCEEDED");
    let (code, stdout, _) = run(&["get", "instances", "example", "-o", "yaml"]);
    assert_eq!((code, stdout.matches("instanceId").count()), (Some(0), 2), "{stdout}");
    let (code, stdout, _) = run(&["get", "executors"]);
    assert!(code == Some(0) && stdout.contains("executor-1"), "{stdout}");
    let replaced = json_of(&["get", "instances", "example"])[0]["instanceId"].clone();
    assert_eq!(run(&["replace", replaced.as_str().unwrap()]).0, Some(0));
    assert!(!json_of(&["get", "instances", "example"]).to_string().contains(replaced.as_str().unwrap()));

    let (code, stdout, _) = run(&["describe", "example"]);
    assert_eq!(code, Some(0));
    assert!(stdout.contains("example-1") && stdout.contains("Next"), "{stdout}");
    let (code, stdout, _) = run(&["describe", "executor-1"]);
    assert!(code == Some(0) && stdout.contains("It takes instances"), "{stdout}");
    let (code, stdout, _) = run(&["get", "operations", "-o", "name"]);
    assert_eq!(code, Some(0));
    let newest = stdout.lines().next().unwrap();
    let (code, stdout, _) = run(&["ops", "show", newest]);
    assert!(code == Some(0) && stdout.contains("SUCCEEDED"), "{stdout}");
    let (code, _, stderr) = run(&["describe", "exmaple"]);
    assert!(code == Some(4) && stderr.contains("did you mean 'example'?"), "{stderr}");
    let (code, _, stderr) = run(&["ops", "show", "OP-"]);
    assert!(code == Some(2) && stderr.contains(newest), "an ambiguous prefix lists its matches: {stderr}");
    let (code, stdout, _) = run(&["health", "example", "--checks"]);
    assert!(code == Some(0) && stdout.contains("READINESS"), "{stdout}");
    let (code, stdout, _) = run(&["events", "--for", "example"]);
    assert!(code == Some(0) && stdout.contains("RESTART of example-1"), "{stdout}");

    assert_eq!(run(&["destroy", "example"]).0, Some(5), "an active service is not destroyed");
    assert_eq!(run(&["get", "instances", "nonesuch"]).0, Some(4));
    assert_eq!(run(&["deactivate", "example"]).0, Some(0));
    assert_eq!(json_of(&["get", "instances", "example"]), json!([]));
    assert_eq!(run(&["destroy", "example"]).0, Some(0));
    assert_eq!(json_of(&["get", "services"]), json!([]));

    let file = cluster.dir().join("worker.yaml");
    let file_name = file.to_string_lossy();
    std::fs::write(&file, worker("exec sleep 600", 2)).unwrap();
    let applied = json_of(&["apply", "-f", &file_name, "-i", "2"]);
    assert_eq!((&applied["id"], &applied["healthyInstances"]), (&json!("worker-2"), &json!(2)));
    assert_eq!(run(&["apply", "-f", &file_name]).0, Some(0), "it is so already");
    assert_eq!(run(&["deactivate", "worker-2"]).0, Some(0));
    std::fs::write(&file, worker("echo no route to host; exit 3", 3)).unwrap();
    let (code, _, stderr) = run(&["apply", "-f", &file_name, "--wait-timeout", "3"]);
    assert_eq!(code, Some(7), "{stderr}");
    assert!(stderr.contains("no route to host") && stderr.contains("exit 3"), "it says why: {stderr}");
    let (code, stdout, stderr) = run(&["apply", "--dry-run", &file_name, "-i", "1"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("worker-3 is so already"), "{stdout}");
    std::fs::write(&file, worker("exec sleep 600", 3)).unwrap();
    let (_, stdout, _) = run(&["apply", "--dry-run", &file_name]);
    assert!(stdout.contains("~ executable.command[2]: \"echo no route to host; exit 3\" -> "), "{stdout}");
    assert_eq!(run(&["rollout", "pause", "worker-3"]).0, Some(5), "nothing is at work");
    assert_eq!(run(&["apply"]).0, Some(2));
    let dir = cluster.dir();
    let (_, stdout, _) = run(&["dev", "status", "--dir", &dir.to_string_lossy()]);
    assert!(stdout.contains("controller-3") && stdout.contains("running"), "{stdout}");
    assert_eq!(run(&["deactivate", "worker-3"]).0, Some(0));
    for service in ["worker-2", "worker-3"] {
        assert_eq!(run(&["destroy", service]).0, Some(0), "{service}");
    }

    let bad = cluster.dir().join("bad.yaml");
    std::fs::write(&bad, "name: 'a b'\nversion: '1'\n").unwrap();
    let (code, _, stderr) = run(&["apply", "-f", &bad.to_string_lossy()]);
    assert_eq!(code, Some(6), "{stderr}");
    assert!(
        stderr.contains("bad.yaml: error: name") && stderr.contains("error: exposedPorts"),
        "every error is named: {stderr}"
    );
    assert_eq!(run(&["lint", &bad.to_string_lossy()]).0, Some(6));
    assert_eq!(json_of(&["get", "services"]), json!([]), "nothing is stored");
}

#[test]
fn a_stopped_cluster_keeps_its_named_directory_and_resumes() {
    let cluster = DevCluster::start(PROGRAM, 1, &[]);
    let pids: Vec<u32> = cluster.roles().iter().filter_map(|role| role.pid).collect();
    assert_eq!(pids.len(), 4);
    let dir = cluster.dir();
    let dir = dir.to_string_lossy();
    assert!(cluster.muster(&["dev", "stop", "--dir", &dir]).status.success());
    assert!(!pids.iter().any(|pid| is_alive(*pid)), "every role ended");
    assert!(cluster.roles().iter().all(|role| role.pid.is_none()));

    let base = cluster.controllers()[0].rest.rsplit(':').next().unwrap().to_owned();
    let resumed =
        cluster.muster(&["dev", "--detach", "--executors", "1", "--port-base", &base, "--dir", &dir]);
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    assert_eq!(cluster.healthy("example-1").len(), 1);
}

/// A service without a port that answers: it is up as long as its process is.
fn worker(script: &str, version: u32) -> String {
    let check =
        json!({"mode": {"type": "CMD", "command": "true"}, "timeout": "1s", "interval": "1s", "attempts": 3});
    json!({
        "name": "worker", "version": version.to_string(), "type": "LOCAL_SERVICE",
        "executable": {"type": "PROCESS", "command": ["sh", "-c", script]},
        "exposedPorts": [{"name": "main", "port": 8080, "type": "HTTP"}],
        "resources": [{"type": "CPU", "count": 1}, {"type": "MEMORY", "sizeInMB": 64}],
        "placementPolicy": {"type": "LOCAL", "hostLevel": false},
        "readiness": check, "healthcheck": check,
    })
    .to_string()
}
