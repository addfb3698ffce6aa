//! Names on a real cluster: of whatever kind, also of a service that is destroyed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

use std::process::Command;

use muster_tests::cluster::DevCluster;

const PROGRAM: &str = env!("CARGO_BIN_EXE_muster-under-test");

/// What a command wrote to its output and to its errors, and what it exited with.
struct Answer {
    stdout: String,
    stderr: String,
    exit: i32,
}

#[test]
fn a_name_serves_wherever_an_id_does_also_when_its_service_is_only_history() {
    let cluster = DevCluster::start(PROGRAM, 1, &[]);
    let server = cluster.controllers()[0].rest.clone();
    let muster = |args: &[&str]| {
        let output = Command::new(PROGRAM).args(args).args(["--server", &server]).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Answer {
            stdout: text(output.stdout),
            stderr: text(output.stderr),
            exit: output.status.code().unwrap(),
        }
    };
    let first_word = |args: &[&str]| {
        let answer = muster(args);
        assert_eq!(answer.exit, 0, "{args:?}: {}", answer.stderr);
        answer.stdout.split_whitespace().next().unwrap_or_default().to_owned()
    };
    cluster.wait_for("a healthy instance", || cluster.healthy("example-1").pop());

    assert_eq!(first_word(&["rollout", "status", "example", "-w"]), "Operation");

    assert_eq!(first_word(&["describe", "executor-1"]), "Executor");
    assert_eq!(first_word(&["describe", "example"]), "Service");
    let tied = muster(&["describe", "ex"]);
    assert_eq!(tied.exit, 2);
    assert!(
        tied.stderr.contains("service example-1") && tied.stderr.contains("executor executor-1"),
        "{}",
        tied.stderr
    );
    assert_eq!(first_word(&["get", "executors", "executor-1", "-o", "name"]), "executor-1");
    let operation = first_word(&["get", "operations", "example", "-o", "name"]);
    assert_eq!(first_word(&["get", "operations", &operation[..11], "-o", "name"]), operation);
    assert_eq!(first_word(&["ops", "example", "-o", "name"]), operation);
    let stop = muster(&["stop", "example"]);
    assert_eq!(stop.exit, 2);
    assert!(stop.stderr.contains("muster deactivate example-1"), "{}", stop.stderr);
    let over = muster(&["ops", "cancel", &operation]);
    assert_eq!(over.exit, 5, "{}", over.stderr);

    assert_eq!(first_word(&["deactivate", "example"]), "example-1");
    let quiet = muster(&["logs", "example"]);
    assert_eq!((quiet.exit, quiet.stdout.as_str()), (0, ""));
    assert!(quiet.stderr.contains("'muster logs example-1 --previous'"), "{}", quiet.stderr);

    assert_eq!(first_word(&["destroy", "example"]), "example-1");
    let gone = muster(&["logs", "example"]);
    assert_eq!(gone.exit, 4);
    assert!(gone.stderr.contains("example-1 was destroyed"), "{}", gone.stderr);
    let past = muster(&["describe", "example"]);
    assert!(past.exit == 0 && past.stdout.contains("DESTROYED"), "{}{}", past.stdout, past.stderr);
    assert!(first_word(&["get", "instances", "example", "--old", "-o", "name"]).starts_with("SI-"));
    assert_eq!(muster(&["logs", "example", "--previous"]).exit, 0);
    assert!(first_word(&["ops", "example", "-o", "name"]).starts_with("OP-"));
    assert_eq!(first_word(&["rollout", "status", "example"]), "Operation");
}
