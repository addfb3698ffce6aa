//! The program itself: what it says and exits with when it cannot start, and how it ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says so by failing

mod common;
/// One home for all tests; in its own crate it is public.
#[allow(unreachable_pub)]
#[path = "../../tests/src/small_disk.rs"]
mod small_disk;

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use muster_common::exit::Exit;
use muster_controller::{OfflineCommand, RestoreArgs, run_offline};
use muster_platform::{DataDir, World};
use serde_json::json;

use common::program::{Files, Running, until};
use common::{Cluster, spec};
use small_disk::SmallDisk;

/// One clear sentence on stderr, the code, and nothing that looks like a panic.
fn assert_refused(output: &Output, exit: Exit, parts: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or_default();
    assert_eq!(output.status.code(), Some(i32::from(exit.code())), "{said}");
    assert!(last.starts_with("muster: "), "{said}");
    for part in parts {
        assert!(last.contains(part), "{part} is missing in: {last}");
    }
    assert!(!said.contains("panicked") && !said.contains("backtrace"), "{said}");
}

#[test]
fn sigterm_ends_it_in_order_and_it_starts_again_on_its_data() {
    let files = Files::new();
    for _ in 0..2 {
        let mut program = Running(files.command().stderr(Stdio::null()).spawn().unwrap());
        let ping = format!("http://127.0.0.1:{}/apis/v1/ping", files.api);
        until("ping answers", || reqwest::blocking::get(&ping).ok().filter(|answer| answer.status() == 200));
        let pid = rustix::process::Pid::from_child(&program.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = until("it ends", || program.0.try_wait().unwrap());
        assert_eq!(status.code(), Some(0));
    }
}

#[test]
fn a_service_manager_and_a_scraper_are_told() {
    let files = Files::new();
    let socket = files.path("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let heard = || {
        let mut message = [0; 4096];
        manager.recv(&mut message).ok().map(|length| String::from_utf8_lossy(&message[..length]).into_owned())
    };
    let program = files.command().env("NOTIFY_SOCKET", &socket).stderr(Stdio::null()).spawn();
    let mut program = Running(program.unwrap());
    let ready = until("it is ready", heard);
    assert_eq!(ready, format!("READY=1\nSTATUS=serving users at 127.0.0.1:{}", files.api));
    // Whoever is told READY can ask at once.
    let metrics = reqwest::blocking::get(format!("http://127.0.0.1:{}/metrics", files.api)).unwrap();
    let metrics = metrics.text().unwrap();
    assert!(metrics.contains("\nprocess_resident_memory_bytes "), "{metrics}");
    // What it measures of consensus, once it leads and has announced that.
    until("consensus is measured", || {
        let metrics = reqwest::blocking::get(format!("http://127.0.0.1:{}/metrics", files.api)).unwrap();
        let metrics = metrics.text().unwrap();
        let all = [
            "# HELP muster_raft_leads 1 while ",
            "# HELP muster_certificate_expires_timestamp_seconds ",
            "muster_raft_leads 1",
            "muster_raft_leader_changes_total 1",
            "muster_raft_proposals_total{outcome=\"committed\"} ",
            "muster_raft_proposal_seconds_bucket{le=\"0.5\"} ",
            "muster_raft_commit_seconds_bucket{le=\"0.5\"} ",
            "muster_raft_log_write_seconds_bucket{le=\"0.5\"} ",
            "muster_raft_log_bytes ",
            "muster_raft_log_entries ",
            "muster_raft_apply_lag_entries 0",
        ];
        all.iter().all(|line| metrics.contains(&format!("\n{line}"))).then_some(())
    });
    let pid = rustix::process::Pid::from_child(&program.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(until("it says that it ends", heard), "STOPPING=1");
    assert_eq!(until("it ends", || program.0.try_wait().unwrap()).code(), Some(0));
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn a_taken_port_is_named() {
    let files = Files::new();
    let _taken = TcpListener::bind(("127.0.0.1", files.api)).unwrap();
    let output = files.command().output().unwrap();
    assert_refused(&output, Exit::Conflict, &[&format!("127.0.0.1:{}", files.api), "the port is taken"]);
}

#[test]
fn a_directory_in_use_is_named() {
    let files = Files::new();
    let data = files.path("data");
    let _lock = DataDir::lock(&data).unwrap();
    let output = files.command().output().unwrap();
    assert_refused(&output, Exit::Conflict, &[&text(&data), "in use by another process"]);
}

#[test]
fn a_certificate_of_another_cluster_is_refused() {
    let files = Files::new();
    files.certify("other");
    let output = files.command().output().unwrap();
    assert_refused(&output, Exit::Auth, &["muster://other/controller/1", "muster://test/controller/1"]);
}

#[test]
fn a_public_address_without_a_login_is_refused() {
    let files = Files::new();
    files.configure("0.0.0.0");
    let output = files.command().output().unwrap();
    assert_refused(&output, Exit::Validation, &["listen.api", "loopback"]);
}

#[test]
fn a_configuration_that_is_missing_or_wrong_is_named() {
    let files = Files::new();
    let config = files.path("controller.yaml");
    let whole = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{whole}colour: blue\n")).unwrap();
    let output = files.command().output().unwrap();
    assert_refused(&output, Exit::Validation, &[&text(&config), "colour"]);
    fs::remove_file(&config).unwrap();
    assert_refused(&files.command().output().unwrap(), Exit::Usage, &[&text(&config)]);
}

#[test]
fn on_a_full_disk_it_ends_with_the_file_and_the_remedy_and_loses_nothing_that_it_acknowledged() {
    let files = Files::new();
    let data = files.path("data");
    fs::create_dir(&data).unwrap();
    let Some(disk) = SmallDisk::mount(&data, "24m") else { return };
    let said = files.path("said");
    let to_file = fs::File::create(&said).unwrap();
    let mut program = Running(files.command().stderr(to_file).spawn().unwrap());
    let http = reqwest::blocking::Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
    let create = |nth: usize| {
        let mut large = spec(&format!("S{nth}"));
        large["env"] = (0..100).map(|nth| (format!("V{nth}"), json!("x".repeat(3_000)))).collect();
        json!({"type": "CREATE", "spec": large, "instancesPerHost": 1})
    };
    until("it takes what it is asked", || files.submit(&http, &create(0)).then_some(()));
    let filler = disk.fill();
    // There may be some room inside its files.
    let accepted = 1 + (1..100).take_while(|nth| files.submit(&http, &create(*nth))).count();
    assert!(accepted < 100, "the disk never was full");
    let status = until("it ends", || program.0.try_wait().unwrap());
    let output = Output { status, stdout: Vec::new(), stderr: fs::read(said).unwrap() };
    let log = text(&data.join("log.redb"));
    assert_refused(
        &output,
        Exit::Failure,
        &[&log, "its disk is full", "make room there, and start it again"],
    );

    fs::remove_file(filler).unwrap();
    let _program = Running(files.command().stderr(Stdio::null()).spawn().unwrap());
    let kept = files.get("/localservices");
    for nth in 0..accepted {
        assert!(kept.get(format!("S{nth}-1")).is_some(), "S{nth}-1 was acknowledged, and is lost");
    }
    until("it takes more", || files.submit(&http, &create(100)).then_some(()));
}

#[test]
fn a_snapshot_file_that_has_no_room_is_named_and_made_when_there_is() {
    let files = Files::new();
    let (data, small) = (files.path("data"), files.path("small"));
    fs::create_dir(&data).unwrap();
    fs::create_dir(&small).unwrap();
    let Some(disk) = SmallDisk::mount(&small, "8m") else { return };
    std::os::unix::fs::symlink(small.join("state.redb"), data.join("state.redb")).unwrap();
    let filler = disk.fill();
    let state = text(&data.join("state.redb"));
    let output = files.command().output().unwrap();
    assert_refused(
        &output,
        Exit::Failure,
        &[&state, "its disk is full", "make room there, and start it again"],
    );
    fs::remove_file(filler).unwrap();
    let _program = Running(files.command().stderr(Stdio::null()).spawn().unwrap());
    assert_eq!(files.get("/ping"), json!("pong"));
}

/// A backup of a cluster in which a RESTART is at work, and that operation's id.
async fn backup_at_work(path: &Path) -> String {
    let cluster = Cluster::start(1).await;
    let (mut session, table, _) = cluster.with_a_healthy_instance().await;
    let operation = cluster.submit(0, json!({"type": "RESTART", "serviceId": "WEB-1"})).await;
    let begun = table.revision;
    while session.table().await.revision <= begun {}
    let backup = cluster.http.get(cluster.url(0, "/apis/v1/cluster/backup")).send().await.unwrap();
    fs::write(path, backup.bytes().await.unwrap()).unwrap();
    cluster.stop().await;
    operation
}

#[test]
fn what_was_at_work_when_a_backup_was_made_is_paused_by_a_restore() {
    let files = Files::new();
    let backup = files.path("backup");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let operation = runtime.block_on(async {
        let operation = backup_at_work(&backup).await;
        let args = RestoreArgs { backup: backup.clone(), config: files.path("controller.yaml") };
        run_offline(OfflineCommand::Restore(args), &World::system()).await.unwrap();
        operation
    });
    let _program = Running(files.command().stderr(Stdio::null()).spawn().unwrap());
    let path = format!("/localservices/operations/{operation}");
    assert_eq!(files.get(&path)["state"], json!("PAUSED"));
    let http = reqwest::blocking::Client::new();
    let resumed = http.post(files.url(&format!("{path}/resume"))).json(&json!({})).send().unwrap();
    assert_eq!(resumed.status(), 200);
    assert_eq!(files.get(&path)["state"], json!("RUNNING"));
}
