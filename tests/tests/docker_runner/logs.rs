//! What containers wrote: kept when they are gone, and read while they run.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig};
use muster_common::id::InstanceId;
use muster_common::instance::RunnerKind;
use muster_common::spec::LoggingSpec;
use muster_executor::{
    Found, LaunchPlan, LogEnd, LogPosition, LogReader, Logs, LogsConfig, Runner, RunnerChoice, Runners,
};
use muster_tests::agent::until;
use muster_tests::small_disk::SmallDisk;
use tokio::time::timeout;

use super::{Bench, LONG, PATIENCE, exited, id, remove, start};

pub(super) fn local(max_size: &str, max_files: u32) -> LoggingSpec {
    LoggingSpec::Local { max_size: max_size.to_owned(), max_files, compress: true }
}

pub(super) fn lines(count: usize) -> String {
    (0..count).map(|number| format!("line {number}\n")).collect()
}

/// Prints numbered lines; the engine rotates its log many times meanwhile.
fn talker(bench: &Bench, count: usize, pause: &str) -> LaunchPlan {
    let count = count.to_string();
    bench.plan_with(&["lines", &count, pause], |spec| spec.logging = Some(local("16k", 100)))
}

/// All that is in the files of an instance's log, from its beginning.
pub(super) fn kept(data_dir: &Path, instance: &InstanceId) -> String {
    let Some(reader) = LogReader::find(data_dir, instance).unwrap() else { return String::new() };
    let (mut at, mut text) = (LogPosition::default(), Vec::new());
    loop {
        let piece = reader.read(at, 1 << 20).unwrap();
        assert!(!piece.is_after_gap);
        if piece.bytes.is_empty() {
            return String::from_utf8(text).unwrap();
        }
        text.extend_from_slice(&piece.bytes);
        at = piece.next;
    }
}

pub(super) fn log_dir(data_dir: &Path, instance: &InstanceId) -> PathBuf {
    data_dir.join("logs/test-1").join(instance.as_str())
}

#[tokio::test]
async fn docker_log_outlives_its_container() {
    let Some(bench) = Bench::new("docker_log_outlives_its_container").await else { return };
    let (runner, mut events) = bench.open();
    let plan = talker(&bench, 5000, "0");
    let workload = start(&runner, &plan).await;
    exited(&mut events).await;
    let tail = Runner::log_tail(&runner, &plan.instance, &workload, 20).await.unwrap().text;
    assert_eq!(tail, "line 4998\nline 4999\n");
    remove(&runner, &plan).await;
    assert!(log_dir(bench.dir.path(), &plan.instance).join("output.log.2").exists(), "it was rotated");
    assert_eq!(kept(bench.dir.path(), &plan.instance), lines(5000));

    // One that nobody asked for before it was removed: what a lost journal leaves.
    let plan = talker(&bench, 300, "0");
    start(&runner, &plan).await;
    exited(&mut events).await;
    let (runner, _events) = bench.open();
    remove(&runner, &plan).await;
    assert_eq!(kept(bench.dir.path(), &plan.instance), lines(300));
}

#[tokio::test]
async fn docker_log_copy_that_is_cut_short_is_continued() {
    let Some(bench) = Bench::new("docker_log_copy_that_is_cut_short_is_continued").await else { return };
    let (runner, mut events) = bench.open();
    let plan = bench.plan_with(&["lines", "8000"], |spec| spec.logging = Some(local("64k", 100)));
    let workload = start(&runner, &plan).await;
    exited(&mut events).await;
    let mut limit = Duration::from_millis(1);
    let mut cuts = 0;
    let tail = loop {
        // Each time by an executor that knows nothing of the one before.
        let (runner, _events) = bench.open();
        let collected = Runner::log_tail(&runner, &plan.instance, &workload, 100_000);
        if let Ok(end) = timeout(limit, collected).await
            && let LogEnd { text, is_kept: true } = end.unwrap()
        {
            break text;
        }
        (limit, cuts) = (limit * 2, cuts + 1);
    };
    assert!(cuts > 0);
    assert!(tail.ends_with("line 7998\nline 7999\n"), "{tail}");
    remove(&runner, &plan).await;
    assert!(kept(bench.dir.path(), &plan.instance) == lines(8000));
}

#[tokio::test]
async fn docker_log_is_followed_across_the_end_of_its_container() {
    const LINES: usize = 4000;
    let Some(bench) = Bench::new("docker_log_is_followed_across_the_end_of_its_container").await else {
        return;
    };
    let mut runners = bench.open_all().await;
    let docker = Arc::clone(runners.of(RunnerKind::Docker).unwrap());
    let plan = talker(&bench, LINES, "1000");
    docker.provision(&plan).await.unwrap();
    let workload = docker.start(&plan).await.unwrap();
    let logs = Logs::new(bench.dir.path().to_owned(), &runners);
    let (seen, at) = read_on(&logs, &plan.instance, LogPosition::default(), 10).await;
    assert!(matches!(docker.find(&plan.instance, None).await.unwrap(), Found::Running(_)));
    let log = logs.of(&plan.instance).await.unwrap().unwrap();
    let tail = log.tail(2, 1024).await.unwrap();
    assert!(tail.bytes.starts_with(b"line "), "{tail:?}");
    assert_eq!(log.since(std::time::UNIX_EPOCH).await.unwrap(), LogPosition::default());

    // A reader that goes on where the last one was, piece by piece, while the container ends and is removed.
    let reading = tokio::spawn(async move {
        let (more, end) = read_on(&logs, &plan.instance, at, lines(LINES).len() - seen.len()).await;
        let log = logs.of(&plan.instance).await.unwrap().unwrap();
        assert_eq!(log.follow(end).next().await.unwrap(), None, "it is over, and that is said");
        (plan, seen + &more)
    });
    timeout(PATIENCE, runners.events.recv()).await.unwrap().unwrap();
    let instance = docker.list().await.unwrap()[0].instance.clone();
    let tail = docker.log_tail(&instance, &workload, 1024).await.unwrap().text;
    assert!(tail.ends_with(&format!("line {}\n", LINES - 1)), "{tail}");
    docker.remove(&instance).await.unwrap();
    let (plan, seen) = timeout(PATIENCE, reading).await.unwrap().unwrap();
    assert!(seen == lines(LINES), "{} bytes", seen.len());
    assert_eq!(kept(bench.dir.path(), &plan.instance), seen);
}

/// Follows until so many bytes are read, each piece by a follower of its own.
async fn read_on(
    logs: &Logs,
    instance: &InstanceId,
    mut at: LogPosition,
    min_bytes: usize,
) -> (String, LogPosition) {
    let mut seen = Vec::new();
    while seen.len() < min_bytes {
        let log = logs.of(instance).await.unwrap().unwrap();
        let mut following = log.follow(at);
        let next = timeout(PATIENCE, following.next()).await.unwrap().unwrap();
        let piece = next.expect("it is not over before all is read");
        assert!(!piece.is_after_gap);
        seen.extend_from_slice(&piece.bytes);
        at = following.position();
    }
    (String::from_utf8(seen).unwrap(), at)
}

#[tokio::test]
async fn docker_log_that_a_full_disk_has_no_room_for_is_counted_and_holds_up_no_end() {
    const LINES: usize = 8000;
    let test = "docker_log_that_a_full_disk_has_no_room_for_is_counted_and_holds_up_no_end";
    let Some(bench) = Bench::new(test).await else { return };
    let logs = bench.dir.path().join("logs");
    std::fs::create_dir(&logs).unwrap();
    let Some(_disk) = SmallDisk::mount(&logs, "64k") else { return };
    let (runner, mut events) = bench.open();
    let plan = bench.plan(&["lines", &LINES.to_string()]);
    let workload = start(&runner, &plan).await;
    exited(&mut events).await;
    let tail = Runner::log_tail(&runner, &plan.instance, &workload, 20).await.unwrap().text;
    assert_eq!(tail, "line 7998\nline 7999\n", "evidence needs no disk");
    remove(&runner, &plan).await;
    let reader = LogReader::find(bench.dir.path(), &plan.instance).unwrap().unwrap();
    let (all, kept) = (lines(LINES), kept(bench.dir.path(), &plan.instance));
    assert!(!kept.is_empty() && all.starts_with(&kept), "{} bytes", kept.len());
    assert_eq!(reader.lost_bytes().unwrap(), (all.len() - kept.len()) as u64);
}

#[tokio::test]
async fn docker_log_of_a_container_that_runs_is_copied_without_being_read() {
    let test = "docker_log_of_a_container_that_runs_is_copied_without_being_read";
    let Some(bench) = Bench::new(test).await else { return };
    let runners = bench.open_all().await;
    let docker = runners.of(RunnerKind::Docker).unwrap();
    let plan = bench.plan(&["sleep"]);
    docker.provision(&plan).await.unwrap();
    docker.start(&plan).await.unwrap();
    until("it is copied", || kept(bench.dir.path(), &plan.instance) == "asleep\n").await;
    docker.remove(&plan.instance).await.unwrap();
    assert_eq!(kept(bench.dir.path(), &plan.instance), "asleep\n");
}

#[tokio::test]
async fn docker_log_is_kept_for_its_time() {
    let Some(bench) = Bench::new("docker_log_is_kept_for_its_time").await else { return };
    let (runner, mut events) = bench.open();
    let (over, running) = (talker(&bench, 100, "0"), bench.plan(&["sleep"]));
    let ended = start(&runner, &over).await;
    exited(&mut events).await;
    start(&runner, &running).await;
    Runner::log_tail(&runner, &over.instance, &ended, 10).await.unwrap();
    let begun = Instant::now();
    while kept(bench.dir.path(), &running.instance) != "asleep\n" {
        assert!(begun.elapsed() < PATIENCE, "it does not say that it sleeps");
        assert!(Runner::freshen_log(&runner, &running.instance).await.unwrap());
    }
    let gone = LogsConfig { max_age: "0s".parse().unwrap(), ..LogsConfig::default() };
    let runners: Runners = bench.open_as(RunnerChoice::Docker, gone).await;
    until("the log is swept", || !log_dir(bench.dir.path(), &over.instance).exists()).await;
    assert_eq!(kept(bench.dir.path(), &running.instance), "asleep\n", "that of a living one stays");
    drop(runners);
    for plan in [over, running] {
        remove(&runner, &plan).await;
    }
}

#[tokio::test]
async fn docker_log_that_cannot_be_read_says_so() {
    let Some(bench) = Bench::new("docker_log_that_cannot_be_read_says_so").await else { return };
    let (runner, mut events) = bench.open();
    // One that goes to a server: the engine keeps a copy of its own.
    let syslog = bench.plan_with(&["exit", "3"], |spec| {
        let server = "udp://127.0.0.1:9".to_owned();
        spec.logging = Some(LoggingSpec::Rsyslog { server, tag_prefix: None, tag_suffix: None });
    });
    let workload = start(&runner, &syslog).await;
    exited(&mut events).await;
    let tail = Runner::log_tail(&runner, &syslog.instance, &workload, 100).await.unwrap().text;
    assert_eq!(tail, "exit 3 \n");

    // The same container with a driver that keeps nothing.
    let labels = bench.inspect(&workload).await.config.unwrap().labels;
    remove(&runner, &syslog).await;
    let none = HostConfigLogConfig { typ: Some("none".to_owned()), config: None };
    let body = ContainerCreateBody {
        image: Some(bench.image.reference().to_owned()),
        cmd: Some(vec!["exit".to_owned(), "4".to_owned()]),
        labels,
        host_config: Some(HostConfig { log_config: Some(none), ..HostConfig::default() }),
        ..ContainerCreateBody::default()
    };
    let made = bench.engine.create_container(None, body).await.unwrap();
    bench.engine.start_container(&made.id, None).await.unwrap();
    let found = Runner::find(&runner, &syslog.instance, None).await.unwrap();
    let (Found::Running(workload) | Found::Ended(workload, _)) = found else { panic!("{found:?}") };
    Runner::stop(&runner, &syslog.instance, &workload, LONG).await.unwrap();
    let error = Runner::log_tail(&runner, &syslog.instance, &workload, 100).await.unwrap_err().to_string();
    assert!(error.contains("does not support reading"), "{error}");
    // What was copied before is read all the same, and what is the matter is told.
    let runners = bench.open_all().await;
    runners.of(RunnerKind::Docker).unwrap().find(&syslog.instance, None).await.unwrap();
    let logs = Logs::new(bench.dir.path().to_owned(), &runners);
    let log = logs.of(&syslog.instance).await.unwrap().unwrap();
    let tail = log.tail(10, 100).await.unwrap();
    assert_eq!(tail.bytes, b"exit 3 \n");
    assert!(tail.trouble.unwrap().contains("does not support reading"));
    drop(runners);
    remove(&runner, &syslog).await;

    // And one that somebody took away.
    let plan = bench.plan(&["exit", "5"]);
    let workload = start(&runner, &plan).await;
    // That of the one before may still be told.
    while exited(&mut events).await.0 != plan.instance {}
    bench.engine.remove_container(id(&workload), None).await.unwrap();
    let error = Runner::log_tail(&runner, &plan.instance, &workload, 100).await.unwrap_err().to_string();
    assert!(error.contains("gone"), "{error}");
    let said = kept(bench.dir.path(), &plan.instance);
    assert!(said.starts_with("muster: the rest of the output was not kept: "), "{said}");
    assert!(log_dir(bench.dir.path(), &plan.instance).join("output.ended").exists());
    remove(&runner, &plan).await;
}
