//! One executor: its tasks, started together and ended together.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use muster_common::executor::ExecutorRecord;
use muster_common::exit::Exit;
use muster_common::id::ExecutorId;
use muster_common::instance::InstanceRecord;
use muster_common::slot::SlotStatus;
use muster_common::spec::DrainPolicy;
use muster_platform::{DataDir, Listener, RoleError, TlsIdentity, World, bind, serve_plain, telemetry};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::ExecutorConfig;
use crate::fetched::{Controllers, Fetched};
use crate::journal::{Contents, Incarnation, Journal, OpenError};
use crate::lease::{Room, discover, outgoing_overlap};
use crate::probe::Prober;
use crate::relay;
use crate::runner::{Logs, Runners};
use crate::session::{self, Session};
use crate::supervisor::{
    self, Core, Handle, JOURNAL_TROUBLE, Message, Parts, Standing, SupervisorGone, Task,
};
use crate::systemd::Subject;

/// How long tasks may take to end once they were told to. None of them waits for anything then.
const END_LIMIT: Duration = Duration::from_secs(5);

/// How long a drained executor waits until controllers have confirmed what it told them: a commit takes milliseconds.
const TELL_LIMIT: Duration = Duration::from_secs(5);

/// A running executor.
pub struct Executor {
    supervisor: Handle,
    leader: watch::Receiver<Option<String>>,
    logs: Logs,
    shutdown: CancellationToken,
    tasks: Vec<(&'static str, Task)>,
    _data_dir: DataDir,
}

/// Workloads are left although a drain was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{left} instances are still running after {after:.1?}")]
pub struct DrainIncomplete {
    /// How many are left.
    pub left: usize,
    /// How long the executor waited for their end.
    pub after: Duration,
}

/// One of the executor's tasks has ended although nobody told it to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the executor's {task} task ended unasked ({why}); what runs keeps running, start the executor again"
)]
pub struct TaskEnded {
    /// The task.
    pub task: &'static str,
    /// Its last words.
    pub why: String,
}

impl Executor {
    /// Locks the data directory and starts with what its journal says. Returns as soon as the tasks run. Whether everything
    /// has been found again is in [`Executor::standing`].
    pub async fn start(
        config: ExecutorConfig,
        world: World,
        tls: TlsIdentity,
        runners: Runners,
        prober: Arc<dyn Prober>,
    ) -> Result<Self, RoleError> {
        config.check()?;
        let data_dir = DataDir::lock(&config.data_dir)?;
        Self::start_in(data_dir, config, world, tls, runners, prober).await
    }

    /// The same, in a data directory that is locked already.
    pub async fn start_in(
        data_dir: DataDir,
        config: ExecutorConfig,
        world: World,
        tls: TlsIdentity,
        runners: Runners,
        prober: Arc<dyn Prober>,
    ) -> Result<Self, RoleError> {
        let boot_id = read_line(Path::new("/proc/sys/kernel/random/boot_id"));
        let now = world.clock.now();
        let opened = Journal::open(data_dir.path(), world.disk, &config.id, &boot_id, now).await;
        let (journal, incarnation, contents) = opened.map_err(|error| refused(&error))?;
        say_what_is_known(&config.id, &incarnation, &contents);
        // Only now: who finds the port open may take it that the executor knows what it is in charge of.
        let listener = bind(&world, "the executor's metrics", &config.listen.api).await?;
        let room = room(&config);
        warn_of_outgoing(&room.ports);
        let executor = record_of(&config, &room, incarnation.number, boot_id);
        let core = Core::new(config.id.clone(), room, contents, incarnation.rebooted);
        let shutdown = CancellationToken::new();
        let controllers =
            Controllers { world: world.clone(), tls: tls.clone(), addresses: config.controllers.clone() };
        let fetched = Arc::new(Fetched::new(world.clone(), data_dir.path(), Arc::new(controllers)));
        let logs = Logs::new(data_dir.path().to_owned(), &runners);
        let set = runners.set();
        let parts = Parts { world: world.clone(), core, journal, runners, prober, fetched };
        let (handle, supervising) = supervisor::spawn(parts, shutdown.clone());
        let (leader, seen_leader) = watch::channel(None);
        let (dials, dialled) = relay::dials();
        let node = relay::Node {
            world: world.clone(),
            tls: tls.clone(),
            logs: logs.clone(),
            supervisor: handle.clone(),
            runners: set,
        };
        let session = Session {
            world,
            tls,
            controllers: config.controllers.clone(),
            executor,
            supervisor: handle.clone(),
            leader,
            relays: dials,
        };
        let tasks = vec![
            ("supervisor", supervising),
            ("session", task(session::run(session, shutdown.clone()))),
            ("relays", task(relay::run(node, dialled, shutdown.clone()))),
            ("api", task(serve(listener, handle.clone(), shutdown.clone()))),
        ];
        Ok(Self { supervisor: handle, leader: seen_leader, logs, shutdown, tasks, _data_dir: data_dir })
    }

    /// How things stand, now and later.
    #[must_use]
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.supervisor.standing()
    }

    /// The logs of its instances, living and over.
    #[must_use]
    pub const fn logs(&self) -> &Logs {
        &self.logs
    }

    /// What is needed to report to the service manager.
    pub(crate) fn subject(&self) -> Subject {
        Subject { supervisor: self.supervisor.clone(), leader: self.leader.clone() }
    }

    /// Every instance and slot, as they are now.
    pub async fn inspect(&self) -> Result<(Vec<InstanceRecord>, Vec<SlotStatus>), SupervisorGone> {
        self.supervisor.inspect().await
    }

    /// Stops workloads in their ordinary way, hooks included, and waits for their end: one drain policy after the other, up
    /// to `last`, all of one policy at once. Then it reports that to the controllers, if there is a session. Returns how many
    /// workloads go on running.
    pub async fn drain(&self, last: DrainPolicy, limit: Duration) -> Result<usize, DrainIncomplete> {
        let begun = Instant::now();
        let mut standing = self.standing();
        let drained = async {
            self.supervisor.tell(Message::Drain(last)).await.ok()?;
            let drained = standing.wait_for(|standing| standing.is_drained).await.ok()?;
            Some(drained.live)
        };
        if let Ok(Some(left)) = tokio::time::timeout(limit, drained).await {
            self.tell_all(limit.saturating_sub(begun.elapsed()).min(TELL_LIMIT)).await;
            return Ok(left);
        }
        // Time is up, or the supervisor is gone and nobody is left to ask: what runs keeps running. Where nothing could be
        // decided, nothing is known to be left alone.
        let standing = self.standing();
        let now = standing.borrow();
        let left = if now.undrained > 0 { now.undrained } else { now.live };
        Err(DrainIncomplete { left, after: begun.elapsed() })
    }

    /// Waits until controllers have confirmed everything, as long as there is a session: the node may not come back
    /// to tell them.
    async fn tell_all(&self, limit: Duration) {
        let (mut standing, mut leader) = (self.standing(), self.leader.clone());
        let is_told =
            |standing: &Standing| standing.unacked_instances.is_empty() && standing.unacked_slots.is_empty();
        tokio::select! {
            _ = standing.wait_for(is_told) => {}
            _ = leader.wait_for(Option::is_none) => {}
            () = tokio::time::sleep(limit) => {}
        }
        let left = self.standing().borrow().unacked_instances.len();
        if left > 0 {
            tracing::warn!(
                left,
                "no controller has confirmed the end of some instances; they are told at the next start"
            );
        }
    }

    /// Waits for a task that ends although nobody told it to. The executor cannot go on without it: the next one must see what
    /// this one no longer sees.
    ///
    /// Panics end up here only where they unwind. In the shipped programs a panic of any task ends the process at once, and
    /// its last words say where it was.
    pub async fn failed(&mut self) -> TaskEnded {
        let tasks = self.tasks.iter_mut().map(|(_, task)| task);
        let (outcome, index, _) = futures::future::select_all(tasks).await;
        let (task, _) = self.tasks.swap_remove(index);
        let why = match outcome {
            Ok(Ok(())) => "it just returned".to_owned(),
            Ok(Err(damage)) => format!("the journal is damaged: {damage}; the next start puts it aside"),
            Err(panic) => panic.to_string(),
        };
        TaskEnded { task, why }
    }

    /// Ends every task. What runs keeps running; the next start finds it.
    pub async fn shutdown(self) {
        self.shutdown.cancel();
        for (name, task) in self.tasks {
            if tokio::time::timeout(END_LIMIT, task).await.is_err() {
                tracing::warn!(task = name, "a task did not end in time");
            }
        }
    }
}

fn task(work: impl Future<Output = ()> + Send + 'static) -> Task {
    tokio::spawn(async move {
        work.await;
        Ok(())
    })
}

/// Answers from the supervisor's first turn on.
async fn serve(listener: Box<dyn Listener>, supervisor: Handle, shutdown: CancellationToken) {
    let mut standing = supervisor.standing();
    let begun = tokio::select! {
        () = shutdown.cancelled() => false,
        changed = standing.changed() => changed.is_ok(),
    };
    if begun {
        serve_plain(listener, api(supervisor), shutdown).await;
    }
}

/// `/metrics` and `/healthz`: users talk to controllers.
fn api(supervisor: Handle) -> Router {
    let standing = supervisor.standing();
    let observe = move || {
        let depth = u32::try_from(supervisor.queue_depth()).unwrap_or(u32::MAX);
        metrics::gauge!("muster_executor_queue_depth", "queue" => "supervisor").set(f64::from(depth));
    };
    let metrics = telemetry::metrics_router_with(observe);
    Router::new()
        .route("/healthz", get(move || std::future::ready(health(&standing.borrow()))))
        .merge(metrics)
}

fn health(standing: &Standing) -> (StatusCode, String) {
    match &standing.journal_trouble {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{JOURNAL_TROUBLE}: {why}\n")),
    }
}

fn refused(error: &OpenError) -> RoleError {
    let (exit, advice) = match error {
        OpenError::InUse { .. } => (Exit::Conflict, "; stop that process, or use another data directory"),
        OpenError::Foreign { .. } => (Exit::Conflict, "; use another data directory, or that executor's id"),
        OpenError::Disk { .. } => (Exit::Failure, ""),
    };
    let mut refused = RoleError::caused_by(exit, "cannot start the executor", error);
    refused.sentence.push_str(advice);
    refused
}

fn room(config: &ExecutorConfig) -> Room {
    let hostname = config
        .hostname
        .clone()
        .unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
    Room {
        hostname,
        layout: discover(Path::new("/"), config.memory_mb),
        core_overcommit: config.core_overcommit,
        ports: config.ports.from..=config.ports.to,
    }
}

fn say_what_is_known(executor: &ExecutorId, incarnation: &Incarnation, contents: &Contents) {
    tracing::info!(
        %executor,
        incarnation = incarnation.number,
        rebooted = incarnation.rebooted,
        journal_was_closed = incarnation.was_closed,
        instances = contents.instances.len(),
        damaged = contents.damaged,
        "starting on what the journal says"
    );
}

/// Not an error: most of the time such ports are free, and the bind check finds those that are not.
fn warn_of_outgoing(ports: &RangeInclusive<u16>) {
    if let Some(outgoing) = outgoing_overlap(Path::new("/"), ports) {
        tracing::warn!(
            configured = ?ports,
            ?outgoing,
            "Linux gives some of the configured 'ports' to outgoing connections, so instances may find theirs \
             taken; choose others, or name them in net.ipv4.ip_local_reserved_ports"
        );
    }
}

fn record_of(config: &ExecutorConfig, room: &Room, incarnation: u64, boot_id: String) -> ExecutorRecord {
    let mut tags = config.tags.clone();
    if !tags.contains(&room.hostname) {
        tags.insert(0, room.hostname.clone());
    }
    let api_port = config.listen.api.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(0);
    ExecutorRecord {
        id: config.id.clone(),
        hostname: room.hostname.clone(),
        api_port,
        incarnation,
        boot_id,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        tags,
        layout: room.layout.clone(),
        core_overcommit: config.core_overcommit,
    }
}

/// A system that does not say when it booted never seems to have booted anew.
fn read_line(path: &Path) -> String {
    std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[tokio::test]
    async fn a_task_that_panics_is_named() {
        let bench = Bench::new().await;
        let dir = tempfile::tempdir().unwrap();
        let (_, events) = tokio::sync::mpsc::channel(1);
        let runners = Runners { docker: None, process: None, events };
        let mut executor = Executor {
            supervisor: bench.handle().clone(),
            logs: Logs::new(dir.path().to_owned(), &runners),
            leader: watch::Sender::new(None).subscribe(),
            shutdown: CancellationToken::new(),
            tasks: vec![
                ("session", tokio::spawn(std::future::pending())),
                ("supervisor", tokio::spawn(async { panic!("out of its mind") })),
            ],
            _data_dir: DataDir::lock(dir.path()).unwrap(),
        };
        let ended = executor.failed().await;
        assert_eq!(ended.task, "supervisor");
        assert!(ended.why.contains("out of its mind"), "{ended}");
        assert_eq!(executor.tasks.len(), 1, "the other one is still there to be ended");
    }
}
