//! The Docker runner with a real engine and real containers. Each test says by its name that it needs
//! one, is skipped where none answers, and fails instead where `MUSTER_REQUIRE_DOCKER=1` is set.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod addresses;
mod configured;
mod copies;
mod logs;
mod slow_engine;
mod started_again;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::models::ContainerInspectResponse;
use muster_common::id::{ExecutorId, InstanceId};
use muster_common::instance::{InstancePort, RunnerKind};
use muster_common::spec::{CheckMode, Executable, LocalServiceSpec, MountMode, MountedVolume, PortType};
use muster_executor::{CALL_LIMIT, DockerRunner};
use muster_executor::{DockerConfig, HostAccess, HostAccessConfig};
use muster_executor::{
    Exit, Found, LaunchPlan, Listed, ProvisionError, Runner, RunnerConfig, RunnerError, RunnerEvent, Runners,
    StartError, Workload,
};
use muster_executor::{LogsConfig, ProcessConfig, RunnerChoice};
use muster_executor::{NodeProber, Prober};
use muster_tests::agent::place;
use muster_tests::docker_image::{TestImage, engine_or_skip};
use muster_tests::ports::free_port;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(30);

const ENGINE: &str = "/var/run/docker.sock";

/// An engine, an image of its own, and an executor of its own.
struct Bench {
    engine: Docker,
    image: TestImage,
    executor: ExecutorId,
    dir: tempfile::TempDir,
}

impl Bench {
    async fn new(test: &str) -> Option<Self> {
        let engine = engine_or_skip(test).await?;
        let image = TestImage::import(&engine).await.unwrap();
        let executor = ExecutorId::new(format!("test-{}", Uuid::new_v4())).unwrap();
        Some(Self { engine, image, executor, dir: tempfile::tempdir().unwrap() })
    }

    fn open(&self) -> (DockerRunner, mpsc::Receiver<RunnerEvent>) {
        self.open_at(Path::new(ENGINE))
    }

    /// The same, where the engine is asked by way of this socket.
    fn open_at(&self, socket: &Path) -> (DockerRunner, mpsc::Receiver<RunnerEvent>) {
        let (sender, events) = mpsc::channel(256);
        let runner = DockerRunner::open(socket, &self.executor, self.dir.path(), CALL_LIMIT, sender);
        let open = vec![self.dir.path().to_owned()];
        let paths = HostAccessConfig { volumes: open.clone(), files: open, env: Vec::new() };
        (runner.allowing(HostAccess { paths, devices: false }), events)
    }

    /// All runners of a node.
    async fn open_all(&self) -> Runners {
        self.open_as(RunnerChoice::Auto, LogsConfig::default()).await
    }

    async fn open_as(&self, choice: RunnerChoice, logs: LogsConfig) -> Runners {
        let config = RunnerConfig {
            choice,
            executor: self.executor.clone(),
            data_dir: self.dir.path().to_owned(),
            shim: None,
            process: ProcessConfig::default(),
            logs,
            docker: DockerConfig::default(),
            host_access: HostAccessConfig::default(),
        };
        Runners::open(&config).await.unwrap()
    }

    fn plan(&self, args: &[&str]) -> LaunchPlan {
        self.plan_with(args, |_| {})
    }

    fn plan_with(&self, args: &[&str], change: impl FnOnce(&mut LocalServiceSpec)) -> LaunchPlan {
        let mut spec = LocalServiceSpec::from_json(
            json!({
                "name": "test", "version": "1", "args": args,
                "executable": {"type": "DOCKER", "url": self.image.reference(), "dockerPullTimeout": "20s"},
                "resources": [{"type": "CPU", "count": 0.5}, {"type": "MEMORY", "sizeInMB": 32}],
            })
            .to_string()
            .as_bytes(),
        )
        .unwrap();
        change(&mut spec);
        let instance = InstanceId::from_uuid(Uuid::new_v4());
        LaunchPlan {
            env: BTreeMap::from([
                ("MUSTER_INSTANCE_ID".to_owned(), instance.to_string()),
                ("MUSTER_SLOT".to_owned(), "0".to_owned()),
                ("PASSWORD".to_owned(), "hush-hush".to_owned()),
            ]),
            instance,
            place: place(),
            spec: Arc::new(spec),
        }
    }

    async fn inspect(&self, workload: &Workload) -> ContainerInspectResponse {
        self.engine.inspect_container(id(workload), None).await.unwrap()
    }
}

fn id(workload: &Workload) -> &str {
    match workload {
        Workload::Docker { container_id, .. } => container_id,
        Workload::Process { .. } => panic!("a process"),
    }
}

async fn start(runner: &DockerRunner, plan: &LaunchPlan) -> Workload {
    Runner::provision(runner, plan).await.unwrap();
    Runner::start(runner, plan).await.unwrap()
}

async fn exited(events: &mut mpsc::Receiver<RunnerEvent>) -> (InstanceId, Exit) {
    let RunnerEvent::Exited { instance, exit } = timeout(PATIENCE, events.recv()).await.unwrap().unwrap();
    (instance, exit)
}

async fn remove(runner: &DockerRunner, plan: &LaunchPlan) {
    Runner::remove(runner, &plan.instance).await.unwrap();
    Runner::remove(runner, &plan.instance).await.unwrap();
    assert_eq!(Runner::find(runner, &plan.instance, None).await.unwrap(), Found::Nothing);
}

fn code(code: i32) -> Exit {
    Exit { code: Some(code), ..Exit::default() }
}

#[tokio::test]
async fn docker_runs_to_an_exit_code_with_its_log() {
    let Some(bench) = Bench::new("docker_runs_to_an_exit_code_with_its_log").await else { return };
    let (runner, mut events) = bench.open();
    let plan = bench.plan(&["exit", "7"]);
    let workload = start(&runner, &plan).await;
    assert_eq!(exited(&mut events).await, (plan.instance.clone(), code(7)));
    let found = Runner::find(&runner, &plan.instance, Some(&workload)).await.unwrap();
    assert_eq!(found, Found::Ended(workload.clone(), code(7)));
    let log = Runner::log_tail(&runner, &plan.instance, &workload, 1024).await.unwrap().text;
    assert_eq!(log, "exit 7 \n");
    assert_eq!(Runner::log_tail(&runner, &plan.instance, &workload, 3).await.unwrap().text, "7 \n");
    let listed = Listed { instance: plan.instance.clone(), place: Some(plan.place.clone()), runs: false };
    assert_eq!(Runner::list(&runner).await.unwrap(), [listed]);
    remove(&runner, &plan).await;
    assert_eq!(Runner::list(&runner).await.unwrap(), []);
}

#[tokio::test]
async fn docker_serves_a_port_and_is_probed() {
    let Some(bench) = Bench::new("docker_serves_a_port_and_is_probed").await else { return };
    let runners = bench.open_all().await;
    let prober = NodeProber::new(&runners);
    let runner = runners.of(RunnerKind::Docker).unwrap();
    let mut plan = bench.plan(&["serve", "8000"]);
    let port = InstancePort { container_port: 8000, host_port: free_port(), port_type: PortType::Http };
    plan.place.local_info.ports.insert("main".to_owned(), port);
    runner.provision(&plan).await.unwrap();
    let workload = runner.start(&plan).await.unwrap();

    let check = |text: serde_json::Value| serde_json::from_value::<CheckMode>(text).unwrap();
    let http = check(json!({"type": "HTTP", "portName": "main", "path": "/", "successCodes": [200]}));
    let begun = Instant::now();
    let outcome = loop {
        let outcome = prober.probe(&http, LONG, &plan, &workload).await;
        if outcome.passed || begun.elapsed() > PATIENCE {
            break outcome;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!((outcome.passed, outcome.code, outcome.answer.as_str()), (true, Some(200), "ok\n"));
    let inside = |command: &str| check(json!({"type": "CMD", "command": command, "shellDisabled": true}));
    let outcome = prober.probe(&inside("/service exit 3"), LONG, &plan, &workload).await;
    assert_eq!((outcome.passed, outcome.code, outcome.answer.as_str()), (false, Some(3), "exit 3 \n"));
    let outcome = prober.probe(&inside("/service env PASSWORD"), LONG, &plan, &workload).await;
    assert_eq!((outcome.passed, outcome.answer.as_str()), (true, "hush-hush\n"));

    assert_eq!(runner.stop(&plan.instance, &workload, LONG).await.unwrap(), code(0));
    runner.remove(&plan.instance).await.unwrap();
}

#[tokio::test]
async fn docker_kills_who_ignores_the_stop() {
    let Some(bench) = Bench::new("docker_kills_who_ignores_the_stop").await else { return };
    let (runner, mut events) = bench.open();
    let plan = bench.plan(&["deaf"]);
    let workload = start(&runner, &plan).await;
    let killed = Exit { signal: Some(9), ..Exit::default() };
    let exit = Runner::stop(&runner, &plan.instance, &workload, Duration::from_millis(100)).await.unwrap();
    assert_eq!(exit, killed);
    assert_eq!(exited(&mut events).await.1, killed);
    let again = Runner::stop(&runner, &plan.instance, &workload, LONG).await.unwrap();
    assert_eq!(again, killed, "a repeated stop");
    remove(&runner, &plan).await;
    let gone = Runner::stop(&runner, &plan.instance, &workload, LONG).await.unwrap();
    assert_eq!(gone, Exit::default(), "a stop after the end of all");
}

#[tokio::test]
async fn docker_tells_an_oom_kill() {
    let Some(bench) = Bench::new("docker_tells_an_oom_kill").await else { return };
    let (runner, mut events) = bench.open();
    let plan = bench.plan(&["eat"]);
    start(&runner, &plan).await;
    let exit = exited(&mut events).await.1;
    assert_eq!(exit, Exit { code: None, signal: Some(9), oom_killed: true, ..Exit::default() });
    remove(&runner, &plan).await;
}

#[tokio::test]
async fn docker_containers_are_found_by_the_next_executor() {
    let Some(bench) = Bench::new("docker_containers_are_found_by_the_next_executor").await else { return };
    let (runner, events) = bench.open();
    let (running, ended) = (bench.plan(&["sleep"]), bench.plan(&["exit", "5"]));
    let kept = start(&runner, &running).await;
    let over = start(&runner, &ended).await;
    let wait = bench.engine.wait_container(id(&over), None);
    assert_eq!(futures::StreamExt::collect::<Vec<_>>(wait).await.len(), 1);
    drop((runner, events));

    let (runner, mut events) = bench.open();
    let found = Runner::find(&runner, &running.instance, Some(&kept)).await.unwrap();
    assert_eq!(found, Found::Running(kept.clone()));
    assert_eq!(
        Runner::start(&runner, &running).await.unwrap(),
        kept,
        "a repeated start is the same container"
    );
    assert_eq!(Runner::list(&runner).await.unwrap().len(), 2);
    assert_eq!(Runner::stop(&runner, &ended.instance, &over, LONG).await.unwrap(), code(5));

    // By hand, behind the executor's back.
    bench.engine.kill_container(id(&kept), None).await.unwrap();
    let killed = Exit { signal: Some(9), ..Exit::default() };
    assert_eq!(exited(&mut events).await, (running.instance.clone(), killed));
    remove(&runner, &running).await;
    remove(&runner, &ended).await;
}

#[tokio::test]
async fn docker_container_removed_by_hand_is_seen_to_end() {
    let Some(bench) = Bench::new("docker_container_removed_by_hand_is_seen_to_end").await else { return };
    let (runner, mut events) = bench.open();
    let plan = bench.plan(&["sleep"]);
    let workload = start(&runner, &plan).await;
    let force = bollard::query_parameters::RemoveContainerOptionsBuilder::default().force(true).build();
    bench.engine.remove_container(id(&workload), Some(force)).await.unwrap();
    // First that it ended, then that it was removed; in one word where the engine tells late.
    let (instance, exit) = loop {
        let (instance, exit) = exited(&mut events).await;
        assert!(exit.removed || exit.signal == Some(9), "{exit:?}");
        if exit.removed {
            break (instance, exit);
        }
    };
    assert_eq!(instance, plan.instance);
    assert!(exit.signal.is_none_or(|signal| signal == 9), "{exit:?}");
    assert_eq!(Runner::find(&runner, &plan.instance, None).await.unwrap(), Found::Nothing);
}

#[tokio::test]
async fn docker_start_that_crashed_half_way_is_finished() {
    let Some(bench) = Bench::new("docker_start_that_crashed_half_way_is_finished").await else { return };
    let (runner, mut events) = bench.open();
    let plan = bench.plan(&["exit", "0"]);
    let first = start(&runner, &plan).await;
    exited(&mut events).await;
    // What a crash between create and start leaves: the same labels, never started.
    let container = bench.inspect(&first).await;
    remove(&runner, &plan).await;
    let body = bollard::models::ContainerCreateBody {
        image: Some(bench.image.reference().to_owned()),
        cmd: Some(vec!["exit".to_owned(), "4".to_owned()]),
        labels: container.config.unwrap().labels,
        ..Default::default()
    };
    let name = container.name.unwrap();
    let options = bollard::query_parameters::CreateContainerOptionsBuilder::default()
        .name(name.trim_start_matches('/'))
        .build();
    let half = bench.engine.create_container(Some(options), body).await.unwrap();
    assert_eq!(Runner::find(&runner, &plan.instance, None).await.unwrap(), Found::NeverStarted);
    let workload = Runner::start(&runner, &plan).await.unwrap();
    assert_eq!(id(&workload), half.id);
    assert_eq!(exited(&mut events).await.1, code(4));
    remove(&runner, &plan).await;
}

#[tokio::test]
async fn docker_failures_say_why() {
    let Some(bench) = Bench::new("docker_failures_say_why").await else { return };
    let (runner, _events) = bench.open();
    let missing = bench.plan_with(&[], |spec| {
        spec.executable = Some(Executable::Docker {
            url: "registry.invalid/no/such".to_owned(),
            docker_pull_timeout: "20s".parse().unwrap(),
        });
    });
    let error = Runner::provision(&runner, &missing).await.unwrap_err();
    // Nobody is there to ask, which is charged to nobody.
    let ProvisionError::RunnerUnavailable(why) = &error else { panic!("{error}") };
    assert!(why.starts_with("image registry.invalid/no/such:latest could not be fetched: "), "{why}");

    let mut taken = bench.plan(&["serve", "8000"]);
    let holder = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let host_port = holder.local_addr().unwrap().port();
    let port = InstancePort { container_port: 8000, host_port, port_type: PortType::Tcp };
    taken.place.local_info.ports.insert("main".to_owned(), port);
    let error = Runner::start(&runner, &taken).await.unwrap_err();
    let StartError::Failed { step, why } = &error else { panic!("{error}") };
    assert_eq!(*step, "start container");
    assert!(why.contains(&host_port.to_string()), "{why}");
    assert_eq!(Runner::find(&runner, &taken.instance, None).await.unwrap(), Found::NeverStarted);
    remove(&runner, &taken).await;

    let mounted = bench.plan_with(&["sleep"], |spec| {
        spec.volumes = vec![MountedVolume {
            path_in_container: "/node".to_owned(),
            path_on_host: bench.dir.path().join("..").display().to_string(),
            mode: Some(MountMode::ReadWrite),
        }];
    });
    let error = Runner::start(&runner, &mounted).await.unwrap_err().to_string();
    assert!(error.contains("volumes[0].pathOnHost") && error.contains("hostAccess.volumes"), "{error}");
    assert_eq!(Runner::find(&runner, &mounted.instance, None).await.unwrap(), Found::Nothing);
}

#[tokio::test]
async fn docker_command_is_killed_when_its_time_is_up() {
    let Some(bench) = Bench::new("docker_command_is_killed_when_its_time_is_up").await else { return };
    let (runner, _events) = bench.open();
    let plan = bench.plan(&["sleep"]);
    let workload = start(&runner, &plan).await;
    let argv = ["/service", "deaf"].map(str::to_owned);
    // A busy engine may not have begun it by then: such a try says nothing, and the next one has more time.
    let mut limit = Duration::from_millis(500);
    loop {
        let error = Runner::command(&runner, &plan, &workload, &argv, limit).await.unwrap_err();
        if matches!(&error, RunnerError::Failed { why, .. } if why.contains("deaf")) {
            break;
        }
        limit *= 2;
        assert!(limit < PATIENCE, "{error}");
    }
    let begun = Instant::now();
    loop {
        let top = bench.engine.top_processes(id(&workload), None).await.unwrap();
        if top.processes.unwrap().len() == 1 {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "the command goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let found = Runner::find(&runner, &plan.instance, None).await.unwrap();
    assert_eq!(found, Found::Running(workload.clone()), "the container was not touched");
    Runner::stop(&runner, &plan.instance, &workload, LONG).await.unwrap();
    remove(&runner, &plan).await;
}

#[tokio::test]
async fn docker_command_that_a_killed_executor_left_is_ended_by_the_next() {
    let name = "docker_command_that_a_killed_executor_left_is_ended_by_the_next";
    let Some(bench) = Bench::new(name).await else { return };
    let (runner, _events) = bench.open();
    let plan = bench.plan(&["sleep"]);
    let workload = start(&runner, &plan).await;
    let processes = async || {
        let top = bench.engine.top_processes(id(&workload), None).await.unwrap();
        top.processes.unwrap().len()
    };
    let argv = ["/service", "deaf"].map(str::to_owned);
    let command = Runner::command(&runner, &plan, &workload, &argv, LONG);
    tokio::select! {
        ended = command => panic!("{ended:?}"),
        () = async { while processes().await < 2 { tokio::time::sleep(Duration::from_millis(20)).await } } => {}
    }
    // Whoever asked for it is gone without a word.
    drop(runner);
    assert_eq!(processes().await, 2, "an engine does not end it");
    let runner = bench.open_all().await.docker.unwrap();
    assert_eq!(processes().await, 1, "it outlived the executor that asked for it");
    let found = runner.find(&plan.instance, None).await.unwrap();
    assert_eq!(found, Found::Running(workload.clone()), "the container was not touched");
    runner.stop(&plan.instance, &workload, LONG).await.unwrap();
    runner.remove(&plan.instance).await.unwrap();
}

#[tokio::test]
async fn docker_container_of_a_data_directory_that_was_moved_is_not_taken_for_gone() {
    let test = "docker_container_of_a_data_directory_that_was_moved_is_not_taken_for_gone";
    let Some(bench) = Bench::new(test).await else { return };
    let (runner, _events) = bench.open();
    let plan = bench.plan(&["sleep"]);
    let workload = start(&runner, &plan).await;
    let (sender, _events) = mpsc::channel(1);
    let moved = tempfile::tempdir().unwrap();
    let other = DockerRunner::open(Path::new(ENGINE), &bench.executor, moved.path(), CALL_LIMIT, sender);
    let error = Runner::find(&other, &plan.instance, Some(&workload)).await.unwrap_err();
    let RunnerError::Unavailable(words) = &error else { panic!("{error}") };
    for dir in [bench.dir.path(), moved.path()] {
        assert!(words.contains(dir.to_str().unwrap()), "{words}");
    }
    assert_eq!(
        Runner::find(&runner, &plan.instance, Some(&workload)).await.unwrap(),
        Found::Running(workload)
    );
    remove(&runner, &plan).await;
}

#[tokio::test]
async fn an_engine_that_hangs_or_is_away_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("hung.sock");
    // Takes connections, never answers.
    let _listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let executor = ExecutorId::new("test").unwrap();
    for path in [socket, dir.path().join("away.sock")] {
        let (sender, _events) = mpsc::channel(1);
        let runner = DockerRunner::open(&path, &executor, dir.path(), Duration::from_millis(200), sender);
        let list = timeout(PATIENCE, Runner::list(&runner)).await;
        let error = list.expect("it holds up a listing").unwrap_err();
        let RunnerError::Unavailable(words) = &error else { panic!("{error}") };
        assert!(words.contains(path.to_str().unwrap()), "{words}");
        let instance = InstanceId::new("SI-1").unwrap();
        let workload = Workload::container("x");
        let find = timeout(PATIENCE, Runner::find(&runner, &instance, None)).await;
        let error = find.expect("it holds up who is looked for").unwrap_err();
        assert!(matches!(error, RunnerError::Unavailable(_)), "{error}");
        let tail = timeout(PATIENCE, Runner::log_tail(&runner, &instance, &workload, 10)).await;
        let error = tail.expect("it holds up evidence").unwrap_err();
        assert!(matches!(error, RunnerError::Unavailable(_)), "{error}");
    }
}
