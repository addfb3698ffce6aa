//! Logs and commands on a real terminal, against a real cluster.
#![allow(clippy::unwrap_used)] // a test that cannot go on should say where

use std::process::Command;

use muster_tests::cluster::DevCluster;
use muster_tests::terminal::Terminal;
use rustix::termios::LocalModes;
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_muster-under-test");

/// Counts lines as long as it lives.
fn counter() -> Value {
    let check =
        json!({"mode": {"type": "CMD", "command": "true"}, "timeout": "1s", "interval": "1s", "attempts": 3});
    let script = "i=0; while true; do i=$((i+1)); echo line $i; sleep 0.1; done";
    json!({
        "name": "counter", "version": "1", "type": "LOCAL_SERVICE",
        "executable": {"type": "PROCESS", "command": ["sh", "-c", script]},
        "exposedPorts": [{"name": "main", "port": 8080, "type": "HTTP"}],
        "resources": [{"type": "CPU", "count": 0.5}, {"type": "MEMORY", "sizeInMB": 64}],
        "placementPolicy": {"type": "LOCAL", "hostLevel": false},
        "readiness": check, "healthcheck": check,
    })
}

/// All controllers, the first one first.
fn servers(cluster: &DevCluster) -> String {
    let addresses: Vec<String> =
        cluster.controllers().into_iter().map(|controller| controller.rest).collect();
    addresses.join(",")
}

/// The numbers of the lines that were shown of an executor.
fn numbers(shown: &str, executor: &str) -> Vec<u64> {
    let lines = shown.lines().filter(|line| line.contains(executor));
    lines.filter_map(|line| line.rsplit_once("| line ")?.1.trim().parse().ok()).collect()
}

#[test]
fn logs_of_a_service_go_on_line_by_line_when_the_controller_and_an_executor_are_killed() {
    let cluster = DevCluster::start(PROGRAM, 2, &[counter()]);
    let servers = servers(&cluster);
    let args = ["logs", "counter", "-f", "--tail", "1", "--server", &servers];
    let mut terminal = Terminal::start(PROGRAM, &args, &[], 24, 100);
    let until = |terminal: &Terminal, count: usize| {
        terminal.until_it(
            |shown| ["executor-1", "executor-2"].iter().all(|name| numbers(shown, name).len() >= count),
            "lines of both",
        );
    };
    until(&terminal, 5);
    cluster.dev("kill", "controller-1");
    let seen = numbers(&terminal.shown(), "executor-1").len();
    until(&terminal, seen + 30);
    cluster.dev("kill", "executor-1");
    cluster.dev("start", "executor-1");
    let seen = numbers(&terminal.shown(), "executor-1").len();
    until(&terminal, seen + 30);
    terminal.press("\u{3}"); // Ctrl-C
    let (_, shown) = terminal.end();
    assert!(shown.contains("\u{1b}[36mexecutor-"), "sources are coloured: {shown:?}");
    for executor in ["executor-1", "executor-2"] {
        let numbers = numbers(&shown, executor);
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{executor}: {numbers:?}");
    }
}

#[test]
fn a_command_has_a_terminal_of_this_ones_size_and_leaves_it_as_it_was() {
    let cluster = DevCluster::start(PROGRAM, 1, &[counter()]);
    let server = cluster.controllers()[0].rest.clone();
    let args = ["exec", "--server", &server, "-it", "counter", "--", "sh", "-c", "stty size; exec sh"];
    let mut terminal = Terminal::start(PROGRAM, &args, &[], 33, 91);
    terminal.until_it(|shown| shown.contains('\n'), "a first line");
    assert!(terminal.shown().starts_with("33 91\r\n"), "from the beginning: {:?}", terminal.shown());
    terminal.until_it(|_| !terminal.mode().local_modes.contains(LocalModes::ICANON), "keys as they are");
    // Later sizes come beside the keys, not before them.
    terminal.resize(44, 120);
    terminal.press("until [ \"$(stty size)\" = '44 120' ]; do :; done; echo as large as $((2+2))\n");
    terminal.until("as large as 4");
    terminal.press("echo going to $((3+3)); sleep 600\n");
    terminal.until("going to 6");
    terminal.press("\u{3}"); // Ctrl-C ends the sleep, not us
    terminal.press("exit 5\n");
    let (status, shown) = terminal.end();
    assert_eq!(status.code(), Some(5), "{shown}");
    let modes = terminal.mode().local_modes;
    assert!(modes.contains(LocalModes::ICANON | LocalModes::ECHO), "the terminal is as it was");
}

#[test]
fn keys_that_no_command_reads_end_it_and_who_insists_does_not_wait_for_it() {
    let cluster = DevCluster::start(PROGRAM, 1, &[counter()]);
    let server = cluster.controllers()[0].rest.clone();
    let exec = |options: &[&str], script: &str| {
        let args = [&["exec", "--server", &server], options, &["counter", "--", "sh", "-c", script]].concat();
        let terminal = Terminal::start(PROGRAM, &args, &[], 24, 80);
        terminal.until("begun");
        terminal
    };

    let mut terminal = exec(&["-t"], "echo begun; exec sleep 600");
    terminal.press("\u{3}"); // Ctrl-C
    let (status, shown) = terminal.end();
    assert_eq!(status.code(), Some(130), "it is ended by the signal: {shown}");

    let mut terminal = exec(&[], "trap '' INT; echo begun; exec sleep 600");
    // Signals that come before the first is seen are one with it.
    for count in 1..=5 {
        terminal.press("\u{3}");
        terminal.until_it(|shown| shown.matches("^C").count() >= count, "the key");
    }
    let (status, shown) = terminal.end();
    assert_eq!(status.code(), Some(130), "{shown}");
    assert!(shown.contains("ended without an answer"), "{shown}");
}

#[test]
fn a_command_in_a_pipe_exits_as_it_does_there() {
    let cluster = DevCluster::start(PROGRAM, 1, &[counter()]);
    let server = cluster.controllers()[0].rest.clone();
    let exec = |options: &[&str], script: &str| {
        let args = [&["exec", "--server", &server], options, &["counter", "--", "sh", "-c", script]].concat();
        let output = Command::new(PROGRAM).args(args).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    assert_eq!(exec(&["-e", "A=b"], "echo $A; echo err >&2; exit 3"), (3, "b\n".into(), "err\n".into()));
    assert_eq!(exec(&[], "kill -9 $$").0, 137);
    let (code, _, stderr) = exec(&["--timeout", "1s"], "sleep 600");
    assert!(code == 124 && stderr.contains("ended after 1 second"), "{code} {stderr}");
    for (command, code) in [("nonesuch", 127), ("/etc/passwd", 126)] {
        let args = ["exec", "--server", &server, "counter", "--", command];
        let output = Command::new(PROGRAM).args(args).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(code),
            "{command}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
