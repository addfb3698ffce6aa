//! For this crate's tests: a node that outlives the supervisor, as containers and processes do, and the
//! bench around it.

/// One home for all tests; in its own crate it is public.
#[path = "../../tests/src/small_disk.rs"]
#[allow(unreachable_pub)]
pub(crate) mod small_disk;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::future::BoxFuture;
use muster_common::executor::NodeLayout;
use muster_common::id::{Epoch, ExecutorId, Generation, InstanceId, Revision, ServiceId};
use muster_common::instance::{InstanceRecord, InstanceState, LocalInfo, RunnerKind};
use muster_common::slot::{ReplaceMode, SlotAssignment, SlotStatus, SlotTable};
use muster_common::spec::{CheckMode, LocalServiceSpec};
use muster_common::time::Timestamp;
use muster_platform::{Clock, Disk, Entropy, Listener, Network, Stream, World};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::fetched::{Fetched, Fetcher, NotFetched, WantedFile};
use crate::journal::{CommitError, Journal};
use crate::lease::Room;
use crate::probe::{ProbeOutcome, Prober};
use crate::runner::{
    CommandOutput, Exit, Found, LaunchPlan, Listed, LogEnd, Place, ProvisionError, Runner, RunnerError,
    RunnerEvent, Runners, StartError, Workload,
};
use crate::supervisor::{Core, Handle, Message, Parts, Task, spawn};

/// The machine under a supervisor.
#[derive(Clone, Default)]
pub(crate) struct Node(Arc<Mutex<NodeState>>);

#[derive(Default)]
struct NodeState {
    workloads: BTreeMap<InstanceId, (String, Option<Exit>)>,
    places: BTreeMap<InstanceId, Place>,
    /// Of instances of an earlier boot, there are only files.
    files: BTreeSet<InstanceId>,
    starts: usize,
    hooks: usize,
    removed: usize,
    announce: Option<mpsc::Sender<RunnerEvent>>,
    unwell: bool,
    checks_take: Duration,
    never_provisions: bool,
    unlistable: bool,
    listing_takes: Duration,
    log_trouble: Option<String>,
    most_at_once: BTreeMap<String, usize>,
}

impl Node {
    fn state(&self) -> MutexGuard<'_, NodeState> {
        self.0.lock().unwrap()
    }

    pub(crate) fn runners(&self) -> Runners {
        let (announce, events) = mpsc::channel(64);
        self.state().announce = Some(announce);
        Runners { docker: None, process: Some(Arc::new(self.clone())), events }
    }

    pub(crate) fn starts(&self) -> usize {
        self.state().starts
    }

    pub(crate) fn hooks(&self) -> usize {
        self.state().hooks
    }

    /// How many workloads of one slot ever ran at the same time.
    pub(crate) fn most_at_once(&self) -> usize {
        self.state().most_at_once.values().copied().max().unwrap_or(0)
    }

    pub(crate) fn running(&self) -> Vec<InstanceId> {
        let state = self.state();
        state.workloads.iter().filter(|(_, (_, exit))| exit.is_none()).map(|(id, _)| id.clone()).collect()
    }

    pub(crate) fn known(&self) -> usize {
        let state = self.state();
        state.workloads.len() + state.files.len()
    }

    /// Checks fail from now on, or pass again.
    pub(crate) fn set_unwell(&self, unwell: bool) {
        self.state().unwell = unwell;
    }

    /// How long each of the two ways of a check takes.
    pub(crate) fn set_checks_take(&self, takes: Duration) {
        self.state().checks_take = takes;
    }

    pub(crate) fn set_never_provisions(&self, never: bool) {
        self.state().never_provisions = never;
    }

    /// Something runs that no journal knows.
    pub(crate) fn plant_orphan(&self, id: &str) {
        let id = InstanceId::new(id).unwrap();
        self.state().workloads.insert(id, ("orphan".to_owned(), None));
    }

    /// Whether the runner says what it knows.
    pub(crate) fn set_listable(&self, listable: bool) {
        self.state().unlistable = !listable;
    }

    /// How long the runner takes to say what it knows.
    pub(crate) fn set_listing_takes(&self, takes: Duration) {
        self.state().listing_takes = takes;
    }

    /// Why logs are not up to date from now on; none: they are.
    pub(crate) fn set_log_trouble(&self, trouble: Option<&str>) {
        self.state().log_trouble = trouble.map(str::to_owned);
    }

    /// The workload ends by itself; announced when a supervisor listens.
    pub(crate) fn crash(&self, id: &InstanceId, code: i32) {
        let exit = Exit { code: Some(code), ..Exit::default() };
        let mut state = self.state();
        state.workloads.get_mut(id).unwrap().1 = Some(exit.clone());
        if let Some(announce) = &state.announce {
            // Nobody may be listening: then `find` tells it later.
            let _ = announce.try_send(RunnerEvent::Exited { instance: id.clone(), exit });
        }
    }
}

fn workload() -> Workload {
    Workload::Process { shim_pid: 1, shim_start_ticks: 0, pid: 2, start_ticks: 0, warnings: Vec::new() }
}

impl Runner for Node {
    fn kind(&self) -> RunnerKind {
        RunnerKind::Process
    }

    fn provision<'a>(&'a self, _: &'a LaunchPlan) -> BoxFuture<'a, Result<(), ProvisionError>> {
        Box::pin(async {
            sleep(Duration::from_millis(5)).await;
            if self.state().never_provisions {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    }

    fn start<'a>(&'a self, plan: &'a LaunchPlan) -> BoxFuture<'a, Result<Workload, StartError>> {
        Box::pin(async move {
            sleep(Duration::from_millis(10)).await;
            let mut state = self.state();
            let slot = format!("{}/{}", plan.place.service, plan.place.index);
            state.places.insert(plan.instance.clone(), plan.place.clone());
            if !state.workloads.contains_key(&plan.instance) {
                state.starts += 1;
                state.workloads.insert(plan.instance.clone(), (slot.clone(), None));
                let at_once =
                    state.workloads.values().filter(|(of, exit)| *of == slot && exit.is_none()).count();
                let most = state.most_at_once.entry(slot).or_default();
                *most = at_once.max(*most);
            }
            Ok(workload())
        })
    }

    fn stop<'a>(
        &'a self,
        instance: &'a InstanceId,
        _: &'a Workload,
        _: Duration,
    ) -> BoxFuture<'a, Result<Exit, RunnerError>> {
        Box::pin(async move {
            sleep(Duration::from_millis(10)).await;
            let mut state = self.state();
            let term = Exit { signal: Some(15), ..Exit::default() };
            Ok(match state.workloads.get_mut(instance) {
                Some((_, exit)) => exit.get_or_insert(term).clone(),
                None => term,
            })
        })
    }

    fn remove<'a>(&'a self, instance: &'a InstanceId) -> BoxFuture<'a, Result<(), RunnerError>> {
        Box::pin(async move {
            sleep(Duration::from_millis(5)).await;
            let mut state = self.state();
            state.files.remove(instance);
            let gone = state.workloads.remove(instance);
            assert!(!matches!(gone, Some((_, None))), "a running workload was removed");
            state.removed += 1;
            Ok(())
        })
    }

    fn find<'a>(
        &'a self,
        instance: &'a InstanceId,
        _: Option<&'a Workload>,
    ) -> BoxFuture<'a, Result<Found, RunnerError>> {
        Box::pin(async move {
            sleep(Duration::from_millis(3)).await;
            Ok(match self.state().workloads.get(instance) {
                Some((_, None)) => Found::Running(workload()),
                Some((_, Some(exit))) => Found::Ended(workload(), exit.clone()),
                None => Found::Nothing,
            })
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, RunnerError>> {
        Box::pin(async move {
            let takes = self.state().listing_takes;
            sleep(takes).await;
            let state = self.state();
            if state.unlistable {
                return Err(RunnerError::Unavailable("nobody answers".to_owned()));
            }
            let listed = |instance: &InstanceId| Listed {
                instance: instance.clone(),
                place: state.places.get(instance).cloned(),
                runs: matches!(state.workloads.get(instance), Some((_, None))),
            };
            Ok(state.workloads.keys().chain(&state.files).map(listed).collect())
        })
    }

    fn command<'a>(
        &'a self,
        _: &'a LaunchPlan,
        _: &'a Workload,
        _: &'a [String],
        _: Duration,
    ) -> BoxFuture<'a, Result<CommandOutput, RunnerError>> {
        Box::pin(async { Ok(CommandOutput { code: 0, output: String::new() }) })
    }

    fn freshen_log<'a>(&'a self, _: &'a InstanceId) -> BoxFuture<'a, Result<bool, RunnerError>> {
        let trouble = self.state().log_trouble.clone();
        Box::pin(async move { trouble.map_or(Ok(false), |why| Err(RunnerError::Unavailable(why))) })
    }

    fn log_tail<'a>(
        &'a self,
        instance: &'a InstanceId,
        _: &'a Workload,
        _: usize,
    ) -> BoxFuture<'a, Result<LogEnd, RunnerError>> {
        Box::pin(async move { Ok(LogEnd::kept(format!("last words of {instance}"))) })
    }
}

impl Prober for Node {
    fn probe<'a>(
        &'a self,
        mode: &'a CheckMode,
        _: Duration,
        plan: &'a LaunchPlan,
        _: &'a Workload,
    ) -> BoxFuture<'a, ProbeOutcome> {
        Box::pin(async move {
            sleep(Duration::from_millis(1)).await;
            let takes = self.state().checks_take;
            if !takes.is_zero() {
                sleep(takes).await;
                sleep(takes).await;
            }
            let mut state = self.state();
            if matches!(mode, CheckMode::Cmd { .. }) {
                state.hooks += 1;
            }
            let passed = !state.unwell && matches!(state.workloads.get(&plan.instance), Some((_, None)));
            let answer = if passed { "ok" } else { "connection refused" };
            ProbeOutcome {
                passed,
                asked: true,
                latency: Duration::from_millis(1),
                code: None,
                answer: answer.to_owned(),
            }
        })
    }
}

/// Wall-clock time that goes with tokio's paused one.
struct TestClock(Instant);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_000_000).plus(self.0.elapsed())
    }
}

struct Counter(AtomicU64);

impl Entropy for Counter {
    fn next_u64(&self) -> u64 {
        self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed).rotate_left(17)
    }
}

/// Every port is free, nobody can be reached.
struct Alone;

impl Network for Alone {
    fn connect<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) })
    }

    fn bind<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        struct Free;
        impl Listener for Free {
            fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, std::net::SocketAddr)>> {
                Box::pin(std::future::pending())
            }
            fn local_addr(&self) -> io::Result<std::net::SocketAddr> {
                Err(io::ErrorKind::Unsupported.into())
            }
        }
        Box::pin(async { Ok(Box::new(Free) as Box<dyn Listener>) })
    }
}

impl Fetcher for Alone {
    fn fetch<'a>(&'a self, _: &'a WantedFile) -> BoxFuture<'a, Result<Vec<u8>, NotFetched>> {
        Box::pin(async { Err(NotFetched::Unanswered("nobody can be reached".to_owned())) })
    }
}

/// A machine of its own, whose time goes with tokio's.
pub(crate) fn world() -> World {
    World {
        clock: Arc::new(TestClock(Instant::now())),
        entropy: Arc::new(Counter(AtomicU64::new(1))),
        network: Arc::new(Alone),
        disk: Disk::Inline,
    }
}

/// The place of an instance that was leased nothing.
pub(crate) fn place() -> Place {
    Place {
        service: ServiceId::new("web-1").unwrap(),
        service_name: "web".to_owned(),
        index: 0,
        epoch: Epoch(1),
        generation: Generation(1),
        created: Timestamp(0),
        local_info: LocalInfo { hostname: "node".to_owned(), ports: BTreeMap::new() },
        resources: Vec::new(),
    }
}

pub(crate) fn spec() -> LocalServiceSpec {
    serde_json::from_str(
        r#"{
          "name": "web", "version": "1", "executable": {"type": "PROCESS", "command": ["/bin/web"]},
          "exposedPorts": [{"name": "http", "port": 8080, "type": "HTTP"}],
          "resources": [{"type": "CPU", "count": 1}, {"type": "MEMORY", "sizeInMB": 64}],
          "placementPolicy": {"type": "LOCAL"},
          "readiness": {"mode": {"type": "TCP", "portName": "http"}, "timeout": "1s", "interval": "1s"},
          "healthcheck": {"mode": {"type": "TCP", "portName": "http"}, "timeout": "1s", "interval": "1s"},
          "preShutdown": {"hooks": [{"type": "CMD", "command": "drain"}]},
          "grace": "5s"
        }"#,
    )
    .unwrap()
}

/// One row per slot of the one service.
pub(crate) fn table(revision: u64, epoch: u64, slots: u32) -> SlotTable {
    let spec = Arc::new(spec());
    let row = |index| SlotAssignment {
        service: ServiceId::new("web-1").unwrap(),
        index,
        epoch: Epoch(epoch),
        generation: Generation(epoch),
        mode: ReplaceMode::StartFirst,
        spec: Arc::clone(&spec),
    };
    SlotTable { revision: Revision(revision), rows: (0..slots).map(row).collect(), unreadable: Vec::new() }
}

/// A supervisor that can be killed and started again on what it left behind.
pub(crate) struct Bench {
    pub(crate) node: Node,
    world: World,
    dir: tempfile::TempDir,
    boot_id: String,
    running: Option<(Handle, Task, CancellationToken)>,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let world = world();
        let dir = tempfile::tempdir().unwrap();
        let mut bench =
            Self { node: Node::default(), world, dir, boot_id: "boot-1".to_owned(), running: None };
        bench.start().await;
        bench
    }

    pub(crate) async fn start(&mut self) {
        let id = ExecutorId::new("e1").unwrap();
        let (journal, incarnation, contents) =
            Journal::open(self.dir.path(), Disk::Inline, &id, &self.boot_id, self.world.clock.now())
                .await
                .unwrap();
        let room = Room {
            hostname: "node".to_owned(),
            layout: NodeLayout {
                cores: BTreeMap::from([(0, (0..8).collect())]),
                memory: BTreeMap::from([(0, 4096)]),
            },
            core_overcommit: 1,
            ports: 5000..=5999,
        };
        let core = Core::new(id, room, contents, incarnation.rebooted);
        let parts = Parts {
            world: self.world.clone(),
            core,
            journal,
            runners: self.node.runners(),
            prober: Arc::new(self.node.clone()),
            fetched: Arc::new(Fetched::new(self.world.clone(), self.dir.path(), Arc::new(Alone))),
        };
        let shutdown = CancellationToken::new();
        let (handle, task) = spawn(parts, shutdown.clone());
        self.running = Some((handle, task, shutdown));
    }

    /// As SIGKILL does: whatever was in flight is no more.
    pub(crate) async fn kill(&mut self) {
        let (handle, task, _) = self.running.take().unwrap();
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        drop(handle);
        self.node.state().announce = None;
    }

    /// Waits until the supervisor ends by itself.
    pub(crate) async fn ended(&mut self) -> Result<(), CommitError> {
        let (_, task, _) = self.running.take().unwrap();
        task.await.unwrap()
    }

    /// Its data directory.
    pub(crate) fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Somebody removes the journal, or its disk does not hold it any more.
    pub(crate) fn lose_journal(&mut self) {
        assert!(self.running.is_none());
        std::fs::remove_file(self.dir.path().join("journal.redb")).unwrap();
    }

    /// The machine boots: of every workload only its files are left.
    pub(crate) fn reboot(&mut self) {
        assert!(self.running.is_none());
        "boot-2".clone_into(&mut self.boot_id);
        let mut state = self.node.state();
        let gone = std::mem::take(&mut state.workloads);
        state.files.extend(gone.into_keys());
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.running.as_ref().unwrap().0
    }

    pub(crate) async fn table(&self, table: SlotTable) {
        self.handle().tell(Message::Table { term: 1, table }).await.unwrap();
    }

    pub(crate) async fn inspect(&self) -> (Vec<InstanceRecord>, Vec<SlotStatus>) {
        self.handle().inspect().await.unwrap()
    }

    /// Waits until `wanted` holds of all records and statuses, for at most ten (virtual) minutes.
    pub(crate) async fn until(
        &self,
        what: &str,
        wanted: impl Fn(&[InstanceRecord], &[SlotStatus]) -> bool,
    ) -> (Vec<InstanceRecord>, Vec<SlotStatus>) {
        let deadline = Instant::now() + Duration::from_secs(600);
        loop {
            let (records, slots) = self.inspect().await;
            if wanted(&records, &slots) {
                return (records, slots);
            }
            assert!(Instant::now() < deadline, "never: {what}: {:#?}", summary(&records));
            sleep(Duration::from_millis(1)).await;
        }
    }

    pub(crate) async fn until_state(&self, state: InstanceState) -> InstanceRecord {
        let is = |record: &InstanceRecord| record.state == state;
        let (records, _) = self.until(state.as_str(), |records, _| records.iter().any(is)).await;
        records.into_iter().find(is).unwrap()
    }
}

fn summary(records: &[InstanceRecord]) -> Vec<String> {
    records.iter().map(|record| format!("{} {} {}", record.id, record.state, record.error_message)).collect()
}
