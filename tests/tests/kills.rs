//! The executor is killed again and again among thirty services of every kind, processes and containers: healthy
//! ones, crash loops, some that start slowly, some that stop slowly, some that are replaced all the time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::ListContainersOptionsBuilder;
use muster_common::evidence::MAX_TIMELINE;
use muster_common::instance::{InstanceRecord, InstanceState};
use muster_common::reason::Reason;
use muster_common::slot::{ReplaceMode, SlotAssignment};
use muster_common::spec::LocalServiceSpec;
use muster_executor::Place;
use muster_tests::agent::{Agent, is_alive, slot, table};
use muster_tests::controller::{Controller, Records};
use muster_tests::docker_image::{TestImage, engine_or_skip};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_muster-under-test");

/// How often the executor is killed; more by `MUSTER_KILLS`.
const KILLS: u64 = 100;
/// Between a start and the next kill, at most: long enough for a recovery, short enough to hit most of them.
const LIFE_MS: u64 = 600;

/// How long a check takes that hangs; nobody else sleeps as long.
const HANG_SECS: u32 = 98_765;

/// What a service does all day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    /// Runs on. Nothing may ever happen to it.
    Steady,
    /// Ends with this code, again and again.
    Crashes(i32),
    /// Is replaced with every round.
    Replaced,
    /// The same, and takes its time until it is ready.
    StartsSlowly,
    /// The same, and takes its time to stop, with this exit code.
    StopsSlowly(i32),
    /// Runs on, and its health check hangs from the second time on.
    Hangs,
    /// Is replaced with every round, by way of a hook that takes its time.
    Hooked,
}

struct Service {
    name: String,
    habit: Habit,
    in_container: bool,
}

fn services(with_containers: bool) -> Vec<Service> {
    let kinds = [
        (6, Habit::Steady, false),
        (6, Habit::Steady, true),
        (2, Habit::Hangs, false),
        (4, Habit::Crashes(7), false),
        (2, Habit::Crashes(9), true),
        (2, Habit::StartsSlowly, false),
        (2, Habit::StopsSlowly(3), false),
        (2, Habit::Hooked, false),
        (2, Habit::Replaced, false),
        (2, Habit::Replaced, true),
    ];
    let mut services = Vec::new();
    for (count, habit, in_container) in kinds {
        for _ in 0..count {
            let name = format!("s{:02}", services.len());
            services.push(Service { name, habit, in_container: in_container && with_containers });
        }
    }
    assert_eq!(services.len(), 30);
    services
}

impl Service {
    fn is_churned(&self) -> bool {
        !self.is_steady() && !matches!(self.habit, Habit::Crashes(_))
    }

    /// Nothing may ever happen to it.
    fn is_steady(&self) -> bool {
        matches!(self.habit, Habit::Steady | Habit::Hangs)
    }

    fn row(&self, round: u64, image: Option<&TestImage>) -> SlotAssignment {
        let epoch = if self.is_churned() { round } else { 1 };
        let spec = json!({
            "name": self.name, "version": "1", "type": "LOCAL_SERVICE",
            "executable": self.executable(image), "args": self.arguments(),
            "exposedPorts": [{"name": "main", "port": 8000, "type": "TCP"}],
            "resources": [{"type": "CPU", "count": 0.2}, {"type": "MEMORY", "sizeInMB": 32}],
            "placementPolicy": {"type": "LOCAL"},
            "readiness": self.check(), "healthcheck": self.health_check(),
            "preShutdown": {"hooks": self.hooks(), "waitBeforeKill": "0s"},
            "restartPolicy": {"backoff": [if self.in_container { "1s" } else { "200ms" }], "budget": 100_000},
        });
        let spec: LocalServiceSpec = serde_json::from_value(spec).unwrap();
        let mode = if round.is_multiple_of(2) { ReplaceMode::StartFirst } else { ReplaceMode::StopFirst };
        SlotAssignment { mode, ..slot(&Arc::new(spec), 0, epoch) }
    }

    fn executable(&self, image: Option<&TestImage>) -> Value {
        match image.filter(|_| self.in_container) {
            Some(image) => json!({"type": "DOCKER", "url": image.reference(), "dockerPullTimeout": "20s"}),
            None => json!({"type": "PROCESS", "command": ["/bin/sh", "-c", self.script()]}),
        }
    }

    fn arguments(&self) -> Vec<String> {
        match self.habit {
            _ if !self.in_container => Vec::new(),
            Habit::Crashes(code) => vec!["exit".to_owned(), code.to_string()],
            _ => vec!["serve".to_owned(), "8000".to_owned()],
        }
    }

    fn script(&self) -> String {
        match self.habit {
            Habit::Crashes(code) => format!("sleep 0.2; exit {code}"),
            Habit::Steady | Habit::Hangs | Habit::Hooked | Habit::Replaced => "exec sleep 100000".to_owned(),
            Habit::StartsSlowly => "sleep 0.5; touch ready; exec sleep 100000".to_owned(),
            Habit::StopsSlowly(code) => {
                format!("trap 'sleep 0.4; exit {code}' TERM; touch ready; while :; do sleep 0.05; done")
            }
        }
    }

    fn check(&self) -> Value {
        let mode = match self.habit {
            _ if self.in_container => json!({"type": "TCP", "portName": "main"}),
            Habit::StartsSlowly | Habit::StopsSlowly(_) => json!({"type": "CMD", "command": "test -e ready"}),
            _ => json!({"type": "CMD", "command": "true"}),
        };
        json!({"mode": mode, "timeout": "10s", "interval": "2s"})
    }

    fn health_check(&self) -> Value {
        if self.habit != Habit::Hangs {
            return self.check();
        }
        let command =
            format!("test -e asked || {{ touch asked; exit; }}; sleep {HANG_SECS} & sleep {HANG_SECS}");
        json!({
            "mode": {"type": "CMD", "command": command}, "timeout": "10s", "interval": "1s", "attempts": 100,
        })
    }

    fn hooks(&self) -> Value {
        match self.habit {
            Habit::Hooked => json!([{"type": "CMD", "command": "sleep 0.2"}]),
            _ => json!([]),
        }
    }
}

/// The processes that sleep for as long as a hanging check does, for one of these instances.
fn hanging(instances: &BTreeSet<String>) -> usize {
    let of_a_check = |pid: &String| {
        let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        read("cmdline") == format!("sleep\0{HANG_SECS}\0").as_bytes()
            && instance_of(&read("environ")).is_some_and(|id| instances.contains(&id))
    };
    processes().iter().filter(|pid| of_a_check(pid)).count()
}

fn processes() -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).collect()
}

/// Whose process it is, by its environment.
fn instance_of(environ: &[u8]) -> Option<String> {
    let mut entries = environ.split(|&byte| byte == 0);
    let id = entries.find_map(|entry| entry.strip_prefix(b"MUSTER_INSTANCE_ID="))?;
    Some(String::from_utf8_lossy(id).into_owned())
}

/// The node, as somebody sees it who asks neither the executor nor the controller.
struct Witness {
    engine: Option<Docker>,
    data_dir: PathBuf,
}

impl Witness {
    /// Each instance that runs now, and where it belongs.
    async fn running(&self) -> Vec<(String, Place)> {
        let mut places = self.processes();
        for labels in self.containers(false).await {
            let place = serde_json::from_str(&labels["muster.place"]).unwrap();
            places.push((labels["muster.instance"].clone(), place));
        }
        places
    }

    fn processes(&self) -> Vec<(String, Place)> {
        let mut places = Vec::new();
        for run in std::fs::read_dir(self.data_dir.join("run")).into_iter().flatten().flatten() {
            let read = |name: &str| -> Option<Value> {
                serde_json::from_slice(&std::fs::read(run.path().join(name)).ok()?).ok()
            };
            let pid = read("pid.json").and_then(|pids| pids["workload"]["pid"].as_u64());
            let is_running = pid.is_some_and(|pid| is_alive(u32::try_from(pid).unwrap()));
            if let Some(place) = read("place.json").filter(|_| is_running) {
                let instance = run.file_name().into_string().unwrap();
                places.push((instance, serde_json::from_value(place).unwrap()));
            }
        }
        places
    }

    async fn containers(&self, all: bool) -> Vec<HashMap<String, String>> {
        let Some(engine) = &self.engine else { return Vec::new() };
        let label = format!("muster.data-dir={}", self.data_dir.display());
        let filters = HashMap::from([("label".to_owned(), vec![label])]);
        let options = ListContainersOptionsBuilder::default().all(all).filters(&filters).build();
        let containers = engine.list_containers(Some(options)).await.unwrap();
        containers.into_iter().filter_map(|container| container.labels).collect()
    }

    /// The instances that run, of which no two fill one slot and epoch.
    async fn assert_no_twins(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let running = self.running().await;
        for (_, place) in &running {
            let slot = (place.service.to_string(), place.index, place.epoch);
            assert!(seen.insert(slot), "two live workloads of {} epoch {}", place.service, place.epoch.0);
        }
        running.into_iter().map(|(instance, _)| instance).collect()
    }

    async fn assert_nothing_left(&self, records: &Records) {
        assert_eq!(self.containers(true).await, Vec::<HashMap<_, _>>::new(), "containers were left behind");
        for name in ["run", "scratch"] {
            let left = std::fs::read_dir(self.data_dir.join(name)).unwrap().count();
            assert_eq!(left, 0, "{name} is not empty");
        }
        let is_of_these = |pid: &String| {
            let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            instance_of(&environ).is_some_and(|id| records.contains_key(id.as_str()))
        };
        let left: Vec<String> = processes().into_iter().filter(is_of_these).collect();
        assert_eq!(left, Vec::<String>::new(), "processes were left behind");
        let ports: BTreeSet<u16> = records
            .values()
            .flat_map(|record| &record.local_info)
            .flat_map(|info| info.ports.values().map(|port| port.host_port))
            .collect();
        for port in ports {
            std::net::TcpListener::bind(("0.0.0.0", port))
                .unwrap_or_else(|error| panic!("port {port} is still held: {error}"));
        }
    }
}

fn of<'a>(records: &'a Records, service: &'a Service) -> impl Iterator<Item = &'a InstanceRecord> {
    records.values().filter(|record| record.service_name == service.name)
}

fn is_filled(records: &Records, service: &Service, epoch: u64) -> bool {
    of(records, service).any(|record| record.epoch.0 == epoch && record.state == InstanceState::Healthy)
}

/// From its first health on it was only ever looked for and found again, and its timeline tells it from the beginning.
fn assert_undisturbed(record: &InstanceRecord) {
    let beginning = record.timeline.first().map(|transition| transition.from);
    assert_eq!(beginning, Some(InstanceState::Pending), "{} of {}", record.id, record.service_name);
    let disturbed = record.timeline.iter().find(|transition| {
        transition.from == InstanceState::Healthy && transition.to != InstanceState::Unknown
            || transition.from == InstanceState::Unknown && transition.to != InstanceState::Healthy
    });
    assert!(disturbed.is_none(), "{} of {}: {disturbed:?}", record.id, record.service_name);
}

fn assert_end_is_right(record: &InstanceRecord, service: &Service) {
    let evidence = record.evidence.clone().unwrap_or_default();
    let by_itself = !matches!(record.reason, Some(Reason::SlotRemoved | Reason::Replaced));
    match service.habit {
        Habit::Crashes(code) if by_itself => assert_eq!(evidence.exit_code, Some(code), "{record:#?}"),
        // It is healthy once its trap is set.
        Habit::StopsSlowly(code) if record.timeline.iter().any(|step| step.to == InstanceState::Healthy) => {
            assert_eq!(evidence.exit_code, Some(code), "{record:#?}");
        }
        _ => assert!(
            !by_itself || matches!(service.habit, Habit::Crashes(_)),
            "it ended by itself: {record:#?}"
        ),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_the_executor_hurts_nothing() {
    let kills = std::env::var("MUSTER_KILLS").ok().and_then(|count| count.parse().ok()).unwrap_or(KILLS);
    let engine = engine_or_skip("the containers among the services of this test").await;
    let image = match &engine {
        Some(engine) => Some(TestImage::import(engine).await.unwrap()),
        None => None,
    };
    let services = services(image.is_some());
    let rows = |round: u64| services.iter().map(|service| service.row(round, image.as_ref())).collect();
    let controller = Controller::start().await;
    controller.set_table(table(1, rows(1)));
    let mut agent = Agent::with(PROGRAM, &controller, "runner: auto\n");
    let witness = Witness { engine, data_dir: agent.dir.path().canonicalize().unwrap().join("data") };
    let steady = || services.iter().filter(|service| service.is_steady());
    let before = controller
        .until("the steady ones are healthy", |records| steady().all(|one| is_filled(records, one, 1)))
        .await;

    let mut seen = BTreeSet::new();
    let mut random = 0x5EED_u64;
    let is_as_wanted = |records: &Records, epoch: u64| {
        services.iter().all(|service| match service.habit {
            Habit::Crashes(_) => true,
            Habit::Steady | Habit::Hangs => is_filled(records, service, 1),
            _ => is_filled(records, service, epoch),
        })
    };
    for round in 2..2 + kills {
        let epoch = 1 + round / 4;
        controller.set_table(table(round, rows(epoch)));
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        tokio::time::sleep(Duration::from_millis((random >> 33) % LIFE_MS)).await;
        let ended = agent.process.as_mut().and_then(|process| process.try_wait().unwrap());
        assert_eq!(ended, None, "the executor ended by itself");
        let records = controller.records();
        steady().flat_map(|service| of(&records, service)).for_each(assert_undisturbed);
        agent.kill();
        seen.extend(witness.assert_no_twins().await);
        agent.start();
    }

    let last = 1 + (1 + kills) / 4;
    let is_done = |records: &Records| is_as_wanted(records, last);
    let records = controller.until("everything is as wanted again", is_done).await;
    witness.assert_no_twins().await;
    for service in steady() {
        let instances: Vec<_> = of(&records, service).collect();
        assert_eq!(instances.len(), 1, "{} was started anew", service.name);
        assert_eq!(instances[0].id, of(&before, service).next().unwrap().id);
        assert_undisturbed(instances[0]);
    }
    let hangs = services.iter().filter(|service| service.habit == Habit::Hangs);
    let hangs: BTreeSet<String> =
        hangs.flat_map(|service| of(&records, service)).map(|record| record.id.to_string()).collect();
    // One check of each may be under way, which sleeps twice.
    let left = hanging(&hangs);
    assert!(left <= 2 * hangs.len(), "checks of executors that were killed go on: {left}");

    controller.set_table(table(2 + kills, Vec::new()));
    let all_over = |records: &Records| records.values().all(|record| record.state.is_terminal());
    let records = controller.until("all is over", all_over).await;
    let untold: Vec<&String> = seen.iter().filter(|id| !records.contains_key(*id)).collect();
    assert_eq!(untold, Vec::<&String>::new(), "they ran and nobody was told of them");
    let by_name: BTreeMap<&str, &Service> = services.iter().map(|one| (one.name.as_str(), one)).collect();
    for record in records.values() {
        assert_eq!(record.state, InstanceState::Stopped, "{record:#?}");
        let service = by_name[record.service_name.as_str()];
        assert!(record.timeline.len() < MAX_TIMELINE, "not all is told: {record:#?}");
        assert_end_is_right(record, service);
    }
    let ended = |habit: &dyn Fn(Habit) -> bool| {
        records.values().filter(|record| habit(by_name[record.service_name.as_str()].habit)).count()
    };
    println!(
        "{kills} kills, {} instances: {} crashed by themselves, {} were replaced",
        records.len(),
        ended(&|habit| matches!(habit, Habit::Crashes(_))),
        ended(&|habit| !matches!(habit, Habit::Crashes(_) | Habit::Steady | Habit::Hangs)),
    );
    agent.kill();
    witness.assert_nothing_left(&records).await;
}
