//! What containers wrote: kept when they are gone, and read while they run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig};
use muster_common::id::InstanceId;
use muster_common::instance::{InstanceState, RunnerKind};
use muster_common::spec::{LocalServiceSpec, LoggingSpec};
use muster_executor::{
    Found, LaunchPlan, LogPosition, LogReader, Logs, LogsConfig, Runner, RunnerChoice, Runners,
};
use muster_tests::agent::{Agent, row, table};
use muster_tests::controller::Controller;
use muster_tests::docker_image::{TestImage, engine_or_skip};
use serde_json::json;
use tokio::time::timeout;

use super::{Bench, LONG, PATIENCE, exited, id, remove, start};

fn local(max_size: &str, max_files: u32) -> LoggingSpec {
    LoggingSpec::Local { max_size: max_size.to_owned(), max_files, compress: true }
}

fn lines(count: usize) -> String {
    (0..count).map(|number| format!("line {number}\n")).collect()
}

/// Prints numbered lines; the engine rotates its log many times meanwhile.
fn talker(bench: &Bench, count: usize, pause: &str) -> LaunchPlan {
    let count = count.to_string();
    bench.plan_with(&["lines", &count, pause], |spec| spec.logging = Some(local("16k", 100)))
}

/// All that is in the files of an instance's log, from its beginning.
fn kept(data_dir: &Path, instance: &InstanceId) -> String {
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

fn log_dir(data_dir: &Path, instance: &InstanceId) -> PathBuf {
    data_dir.join("logs/test-1").join(instance.as_str())
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn docker_log_outlives_its_container() {
    let Some(bench) = Bench::new("docker_log_outlives_its_container").await else { return };
    let (runner, mut events) = bench.open();
    let plan = talker(&bench, 5000, "0");
    let workload = start(&runner, &plan).await;
    exited(&mut events).await;
    let tail = Runner::log_tail(&runner, &plan.instance, &workload, 20).await.unwrap();
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
        if let Ok(tail) = timeout(limit, collected).await {
            break tail.unwrap();
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
        let (more, _) = read_on(&logs, &plan.instance, at, lines(LINES).len() - seen.len()).await;
        (plan, seen + &more)
    });
    timeout(PATIENCE, runners.events.recv()).await.unwrap().unwrap();
    let instance = docker.list().await.unwrap()[0].instance.clone();
    let tail = docker.log_tail(&instance, &workload, 1024).await.unwrap();
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
        let piece = timeout(PATIENCE, following.next()).await.unwrap().unwrap();
        assert!(!piece.is_after_gap);
        seen.extend_from_slice(&piece.bytes);
        at = following.position();
    }
    (String::from_utf8(seen).unwrap(), at)
}

/// A small file system of its own; gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`: it may not be mounted here.
    fn mount(at: &Path, size: &str) -> Option<Self> {
        let options = format!("size={size}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "muster-test"]).arg(at).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a test that failed may still have a file open in it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test]
async fn docker_log_that_a_full_disk_has_no_room_for_is_counted_and_holds_up_no_end() {
    const LINES: usize = 8000;
    let test = "docker_log_that_a_full_disk_has_no_room_for_is_counted_and_holds_up_no_end";
    let Some(bench) = Bench::new(test).await else { return };
    let logs = bench.dir.path().join("logs");
    std::fs::create_dir(&logs).unwrap();
    let Some(_disk) = SmallDisk::mount(&logs, "64k") else {
        assert!(std::env::var("MUSTER_REQUIRE_DOCKER").as_deref() != Ok("1"), "no disk can be mounted");
        eprintln!("SKIPPED {test}: it may not mount");
        return;
    };
    let (runner, mut events) = bench.open();
    let plan = bench.plan(&["lines", &LINES.to_string()]);
    let workload = start(&runner, &plan).await;
    exited(&mut events).await;
    let tail = Runner::log_tail(&runner, &plan.instance, &workload, 20).await.unwrap();
    assert_eq!(tail, "line 7998\nline 7999\n", "evidence needs no disk");
    remove(&runner, &plan).await;
    let reader = LogReader::find(bench.dir.path(), &plan.instance).unwrap().unwrap();
    let (all, kept) = (lines(LINES), kept(bench.dir.path(), &plan.instance));
    assert!(!kept.is_empty() && all.starts_with(&kept), "{} bytes", kept.len());
    assert_eq!(reader.lost_bytes().unwrap(), (all.len() - kept.len()) as u64);
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
    let tail = Runner::log_tail(&runner, &syslog.instance, &workload, 100).await.unwrap();
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
    remove(&runner, &syslog).await;

    // And one that somebody took away.
    let plan = bench.plan(&["exit", "5"]);
    let workload = start(&runner, &plan).await;
    exited(&mut events).await;
    bench.engine.remove_container(id(&workload), None).await.unwrap();
    let error = Runner::log_tail(&runner, &plan.instance, &workload, 100).await.unwrap_err().to_string();
    assert!(error.contains("gone"), "{error}");
    remove(&runner, &plan).await;
}

#[tokio::test]
async fn docker_log_is_whole_after_its_executor_was_killed_copying_it() {
    const LINES: usize = 60_000;
    const KILLS: usize = 3;
    let test = "docker_log_is_whole_after_its_executor_was_killed_copying_it";
    let Some(engine) = engine_or_skip(test).await else { return };
    let image = TestImage::import(&engine).await.unwrap();
    let controller = Controller::start().await;
    let mut agent = Agent::with(env!("CARGO_BIN_EXE_muster-under-test"), &controller, "runner: docker\n");
    let check = json!({"mode": {"type": "CMD", "command": "/service exit 0", "shellDisabled": true},
        "timeout": "5s", "interval": "1s"});
    let spec = json!({
        "name": "test", "version": "1", "type": "LOCAL_SERVICE", "args": ["lines", LINES.to_string()],
        "executable": {"type": "DOCKER", "url": image.reference(), "dockerPullTimeout": "20s"},
        "resources": [{"type": "CPU", "count": 0.5}, {"type": "MEMORY", "sizeInMB": 32}],
        "placementPolicy": {"type": "LOCAL"}, "readiness": check, "healthcheck": check,
        "restartPolicy": {"backoff": ["1h"], "budget": 10},
    });
    let mut spec: LocalServiceSpec = serde_json::from_value(spec).unwrap();
    spec.logging = Some(local("1m", 100));
    let mut talker = row("test", 1, "");
    talker.spec = Arc::new(spec);
    controller.set_table(table(1, vec![talker]));

    let data = agent.dir.path().join("data");
    let records = controller.until("it is started", |records| !records.is_empty()).await;
    let instance = records.values().next().unwrap().id.clone();
    let dir = log_dir(&data, &instance);
    let anchor = || std::fs::read_to_string(dir.join("output.copied")).unwrap_or_default();
    let mut kills = 0;
    let mut last = anchor();
    while kills < KILLS && !dir.join("output.ended").exists() {
        until("the copy gets on", || anchor() != last || dir.join("output.ended").exists()).await;
        last = anchor();
        agent.kill();
        agent.start();
        kills += 1;
    }
    let stopped = |state: InstanceState| state == InstanceState::Stopped;
    let over = controller.until("it is over", |records| {
        records.get(instance.as_str()).is_some_and(|record| stopped(record.state))
    });
    let records = over.await;
    let evidence = records[instance.as_str()].evidence.clone().unwrap();
    assert!(evidence.log_tail.ends_with(&format!("line {}\n", LINES - 1)), "{kills} kills");
    assert!(kept(&data, &instance) == lines(LINES), "{kills} kills");
    assert!(kills > 1, "it was killed too late: {kills}");
    controller.set_table(table(2, vec![]));
    agent.terminate();
}
