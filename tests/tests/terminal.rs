//! The client on a real terminal: what it shows there and not in a pipe, and how it leaves the terminal behind.
#![allow(clippy::unwrap_used)] // a test that cannot go on should say where

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use muster_tests::cluster::DevCluster;
use muster_tests::terminal::Terminal;
use rustix::termios::LocalModes;

const PROGRAM: &str = env!("CARGO_BIN_EXE_muster-under-test");
/// What begins a healthy state on a terminal.
const GREEN: &str = "\u{1b}[38;5;2m";

/// `muster login`, which waits for a token and shows nothing of it.
fn asked_for_a_token(home: &Path) -> Terminal {
    let args = ["login", "--unchecked", "--server", "http://127.0.0.1:1"];
    let terminal = Terminal::start(PROGRAM, &args, &[("XDG_CONFIG_HOME", &home.to_string_lossy())], 24, 80);
    terminal.until("Token for http://127.0.0.1:1: ");
    terminal.until_it(|_| !terminal.mode().local_modes.contains(LocalModes::ECHO), "no echo");
    terminal
}

#[test]
fn a_token_is_asked_for_without_echo_and_kept_for_its_owner_only() {
    let home = tempfile::tempdir().unwrap();
    let mut terminal = asked_for_a_token(home.path());
    terminal.press("s3cret\n");
    let (status, shown) = terminal.end();
    assert!(status.success(), "{shown}");
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(terminal.mode().local_modes.contains(LocalModes::ECHO), "the terminal is as it was");
    let file = home.path().join("muster").join("config.yaml");
    assert!(std::fs::read_to_string(&file).unwrap().contains("s3cret"));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_token_in_a_file_is_not_asked_for() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("token");
    std::fs::write(&file, "s3cret\n").unwrap();
    let login = |args: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(["login", "--unchecked", "--token-file"]).arg(&file).args(args);
        command.env("XDG_CONFIG_HOME", home.path()).stdin(Stdio::null()).output().unwrap()
    };
    let unknown = login(&["--context", "new"]);
    let advice = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(advice.contains("'muster login --context new --server URL'"), "{advice}");
    assert!(login(&["--server", "http://127.0.0.1:1"]).status.success());
    let config = std::fs::read_to_string(home.path().join("muster").join("config.yaml")).unwrap();
    assert!(config.contains("s3cret"), "{config}");
}

#[test]
fn who_ends_the_question_for_a_token_finds_the_terminal_as_it_was() {
    let home = tempfile::tempdir().unwrap();
    let mut terminal = asked_for_a_token(home.path());
    terminal.press("\u{3}"); // Ctrl-C
    let (status, shown) = terminal.end();
    assert_eq!(status.code(), Some(130), "{shown}");
    assert!(terminal.mode().local_modes.contains(LocalModes::ECHO), "the terminal is as it was");
    assert!(!home.path().join("muster").exists(), "nothing is kept");
}

#[test]
fn waiting_outlives_the_controller_that_was_asked_and_who_ends_it_is_told_what_goes_on() {
    let cluster = DevCluster::start(PROGRAM, 1, &[]);
    let servers: Vec<String> = cluster.controllers().into_iter().map(|controller| controller.rest).collect();
    let servers = servers.join(",");
    let wait = |args: &[&str]| {
        let args = [&["restart", "example", "--server", &servers], args].concat();
        let terminal = Terminal::start(PROGRAM, &args, &[], 24, 200);
        terminal.until("0 of 1 slots done");
        terminal
    };

    let mut restart = wait(&["--settle", "5s"]);
    cluster.dev("kill", "controller-1");
    let (status, shown) = restart.end();
    assert!(status.success() && shown.contains("example-1 restarted"), "{shown}");

    let mut restart = wait(&["--settle", "4m"]);
    restart.press("\u{3}"); // Ctrl-C
    let (status, shown) = restart.end();
    assert_eq!(status.code(), Some(130), "{shown}");
    let id = shown.split("'muster ops show ").nth(1).and_then(|rest| rest.split('\'').next());
    let id = id.unwrap_or_else(|| panic!("its id is named: {shown}"));
    let muster = |args: &[&str]| {
        let output = cluster.muster(&[args, &["--server", &servers]].concat());
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (_, operation) = muster(&["ops", "show", id, "-o", "json"]);
    assert!(operation.contains("\"state\": \"RUNNING\""), "{operation}");
    assert_eq!(muster(&["ops", "cancel", id]).0, Some(0));
    assert_eq!(muster(&["rollout", "status", "example"]).0, Some(0));
    assert_eq!(muster(&["rollout", "status", "example", "-w"]).0, Some(1), "as the operation ended");

    assert_eq!(muster(&["scale", "example", "2"]).0, Some(0));
    let (code, shown) = muster(&["restart", "example", "--canary", "50%"]);
    assert!(code == Some(0) && shown.contains("muster rollout promote example-1"), "{code:?} {shown}");
    assert_eq!(muster(&["rollout", "status", "example", "-w"]).0, Some(7), "it is not over");
    assert_eq!(muster(&["rollout", "promote", "example"]).0, Some(0));
    assert_eq!(muster(&["rollout", "status", "example", "-w", "--wait-timeout", "1m"]).0, Some(0));
}

#[test]
fn a_terminal_is_given_colours_a_fitting_table_and_progress_and_a_pipe_is_not() {
    let cluster = DevCluster::start(PROGRAM, 1, &[]);
    let server = cluster.controllers()[0].rest.clone();
    let on_terminal = |args: &[&str], variables: &[(&str, &str)]| {
        let args = [args, &["--server", &server]].concat();
        let (status, shown) = Terminal::start(PROGRAM, &args, variables, 24, 72).end();
        assert!(status.success(), "{shown}");
        shown
    };
    let in_pipe = |args: &[&str]| {
        let output = Command::new(PROGRAM).args(args).args(["--server", &server]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };

    let list = ["get", "instances"];
    assert!(on_terminal(&list, &[]).contains(&format!("{GREEN}HEALTHY")));
    let plain = on_terminal(&list, &[("NO_COLOR", "1")]);
    assert!(!plain.contains('\u{1b}'), "{plain:?}");
    assert!(plain.lines().all(|line| line.trim_end().chars().count() <= 72), "{plain}");
    let (piped, _) = in_pipe(&list);
    assert!(!piped.contains('\u{1b}') && piped.lines().count() == 2, "{piped}");
    let id = piped.lines().nth(1).unwrap().split(' ').next().unwrap();
    assert_eq!(id.len(), 39, "an id is whole in a pipe");
    assert!(plain.contains(&id[..11]) && !plain.contains(id), "and short where there is no room: {plain}");
    let (colored, _) = in_pipe(&["get", "instances", "--color", "always"]);
    assert!(colored.contains(GREEN), "{colored:?}");

    let restart = ["restart", "example"];
    let shown = on_terminal(&restart, &[]);
    assert!(shown.contains("slots done") && shown.contains("\u{1b}[2K"), "one line is drawn anew: {shown:?}");
    let (stdout, stderr) = in_pipe(&restart);
    assert_eq!(stdout, "example-1 restarted\n");
    assert!(stderr.lines().count() >= 2 && !stderr.contains('\u{1b}'), "a line for each step: {stderr}");

    let mut watched = Terminal::start(PROGRAM, &["get", "services", "-w", "--server", &server], &[], 24, 72);
    watched.until("1/1");
    in_pipe(&["scale", "example", "2"]);
    watched.until("2/2");
    watched.press("\u{3}"); // Ctrl-C
    let (status, shown) = watched.end();
    assert!(!status.success() && shown.matches("\u{1b}[J").count() >= 2, "it is drawn anew: {shown:?}");
}
