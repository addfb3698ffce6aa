//! A controller as a whole: its parts wired together, started and ended in order.
//!
//! [`Controller::start`] is what a simulation, a test or a benchmark runs in-process;
//! [`run`] is the program around it: configuration, certificates, signals.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use muster_common::exit::Exit;
use muster_platform::systemd::{Notice, Notifier};
use muster_platform::tls::keep_current;
use muster_platform::{
    Crowd, DataDir, Listener, RoleError, TlsIdentity, World, bind, serve_cluster, serve_plain,
};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::address::host;
use crate::api::{self, Api, Arriving, Frames};
use crate::config::ControllerConfig;
use crate::described;
use crate::files::FileService;
use crate::gauges;
use crate::leaders_clock::LeadersClock;
use crate::offline::{self, OfflineCommand};
use crate::raft::{Consensus, Member, RaftConfig, RaftStatus, Storage};
use crate::reconcile::Reconciler;
use crate::relay;
use crate::session;
use crate::state::{Replica, State};
use crate::store::MemoryDisk;
use crate::users::Users;

/// How many streams of events are open at once.
const MAX_WATCHES: usize = 1_024;
/// How many large answers are made at once: as many as there are processors for it, mostly, and each may be of a hundred MB.
const MAX_MAKING: usize = 8;
/// How many readers of whole services' logs there are at once: each keeps some 100 KiB for who does not read.
const MAX_SERVICE_LOGS: usize = 256;
/// How long calls and sessions may take to end; then they are cut.
const END_WITHIN: Duration = Duration::from_secs(5);

/// The command line of a controller.
#[derive(Debug, Clone, clap::Args)]
#[command(subcommand_negates_reqs = true, args_conflicts_with_subcommands = true)]
pub struct ControllerArgs {
    /// The configuration file (YAML)
    #[arg(long, value_name = "FILE", required = true)]
    pub config: Option<PathBuf>,
    /// What to do to its files instead of running it
    #[command(subcommand)]
    pub offline: Option<OfflineCommand>,
}

/// Runs a controller until SIGTERM, SIGINT or SIGHUP, or does to its files what the command line says.
pub async fn run(args: ControllerArgs, world: World) -> Result<(), RoleError> {
    muster_platform::telemetry::init_logs();
    match (args.offline, args.config) {
        (Some(command), _) => offline::run(command, &world).await,
        (None, Some(config)) => serve(&config, world).await,
        (None, None) => Err(RoleError::new(Exit::Usage, "name the configuration file: --config FILE")),
    }
}

async fn serve(path: &Path, world: World) -> Result<(), RoleError> {
    // An allocator gives memory back and takes it again all the time. With huge pages the kernel clears 2 MiB each
    // time, in the middle of an answer: twice the p99 of writes, more than three times that of reads while a fleet
    // comes, and two fifths more memory (bench/RESULTS.md).
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::warn!(%error, "cannot do without huge pages; some answers may take longer");
    }
    // Installs the recorder before the first count.
    muster_platform::telemetry::metrics();
    described::describe();
    let _upkeep = muster_platform::telemetry::keep_up();
    let config: ControllerConfig = muster_platform::config::read_yaml(path)?;
    config.check()?;
    let Some(files) = &config.tls else {
        let sentence = format!("{} has no 'tls'; name the controller's ca, cert and key", path.display());
        return Err(RoleError::new(Exit::Validation, sentence));
    };
    if config.data_dir.is_none() {
        let sentence = format!("{} has no 'dataDir'; name a directory of its own", path.display());
        return Err(RoleError::new(Exit::Validation, sentence));
    }
    let tls = TlsIdentity::load(files, &config.identity())?;
    let _renewal = keep_current(tls.clone(), files.clone());
    let shutdown = muster_platform::shutdown::shutdown_signal()
        .map_err(|error| RoleError::caused_by(Exit::Failure, "cannot listen for signals", &error))?;
    let controller = Controller::start(config, world, tls).await?;
    let manager = Notifier::from_env();
    if let Some(manager) = &manager {
        let status = Notice::Status(format!("serving users at {}", controller.api_addr()));
        manager.tell(&[Notice::Ready, status]);
    }
    let outcome = tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        reason = controller.failure() => {
            let sentence = format!("the controller cannot go on: {reason}");
            Err(RoleError::new(Exit::Failure, sentence))
        }
    };
    if let Some(manager) = &manager {
        manager.tell(&[Notice::Stopping]);
    }
    controller.shutdown().await;
    outcome
}

/// What a controller needs of the machine, taken before it starts: sockets that are bound, and a
/// place for its files that nobody else uses.
pub struct Resources {
    /// gRPC for controllers and executors.
    pub cluster: Box<dyn Listener>,
    /// REST and metrics.
    pub api: Box<dyn Listener>,
    /// Where the log and the state are kept.
    pub storage: Storage,
    /// Holds the lock on the storage's directory, where it has one.
    pub lock: Option<DataDir>,
}

impl Resources {
    /// Binds the sockets and locks the directory that `config` names; without one everything is kept
    /// in memory.
    pub async fn take(config: &ControllerConfig, world: &World) -> Result<Self, RoleError> {
        let (lock, storage) = match &config.data_dir {
            Some(dir) => (Some(DataDir::lock(dir)?), Storage::Directory(dir.clone())),
            None => (None, Storage::Memory(MemoryDisk::default())),
        };
        Ok(Self {
            cluster: bind(world, "other controllers and executors", &config.listen.cluster).await?,
            api: bind(world, "the REST API", &config.listen.api).await?,
            storage,
            lock,
        })
    }
}

/// A running controller.
pub struct Controller {
    consensus: Consensus,
    state: watch::Receiver<Arc<State>>,
    cluster_addr: SocketAddr,
    api_addr: SocketAddr,
    tasks: TaskTracker,
    /// Ends with the last call of a user.
    serving_users: JoinHandle<()>,
    /// Ends what serves users.
    users: CancellationToken,
    /// Ends what serves executors and the other controllers.
    cluster: CancellationToken,
    _lock: Option<DataDir>,
}

impl fmt::Debug for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster_addr, api_addr, .. } = self;
        write!(f, "Controller(cluster {cluster_addr}, api {api_addr})")
    }
}

/// What all parts of a running controller need.
struct Parts {
    config: ControllerConfig,
    world: World,
    tls: TlsIdentity,
    consensus: Consensus,
    state: watch::Receiver<Arc<State>>,
    tasks: TaskTracker,
}

impl Parts {
    /// Starts what acts for the cluster until `stop`: the session hub and the reconciler, which work while this controller
    /// leads, and the cluster port. Returns the way to open relays.
    fn serve_peers(&self, listener: Box<dyn Listener>, stop: &CancellationToken) -> relay::Relays {
        let Self { config, world, tls, consensus, state, tasks } = self;
        let clock = Arc::new(LeadersClock::new(Arc::clone(&world.clock), consensus.status()));
        let leaders_world = World { clock, ..world.clone() };
        let limits = session::Limits {
            unknown_after: config.liveness.unknown_after.as_duration(),
            lost_after: config.liveness.lost_after.as_duration(),
        };
        let crowd = Crowd::default();
        let (sessions, summons, hub) = session::sessions(
            config.id,
            leaders_world.clone(),
            crowd.clone(),
            consensus.clone(),
            state.clone(),
            limits,
        );
        tasks.spawn(hub.run(stop.clone()));
        let reconciler = Reconciler::new(
            state.clone(),
            consensus.status(),
            consensus.clone(),
            leaders_world,
            config.kept(),
        );
        tasks.spawn(reconciler.run(stop.clone()));
        tasks.spawn(gauges::follow(state.clone(), consensus.clone(), stop.clone()));

        let files = FileService::routes(state.clone(), config.spec_limits.allowed_fetch_urls.clone());
        let (relay_routes, relays) =
            relay::relays(config.id, world.clone(), tls.clone(), consensus.status(), summons, state.clone());
        let routes = consensus.routes().merge(sessions).merge(files).merge(relay_routes);
        tasks.spawn(serve_cluster(listener, tls.clone(), crowd, routes, stop.clone()));
        relays
    }

    /// Starts the API port, which serves users until `stop`. The returned task ends with the last call of a user.
    fn serve_users(
        &self,
        listener: Box<dyn Listener>,
        relays: relay::Relays,
        stop: &CancellationToken,
    ) -> JoinHandle<()> {
        let Self { config, world, consensus, state, tasks, .. } = self;
        let frames = Frames::new(Arc::clone(&state.borrow()));
        tasks.spawn(frames.clone().follow(state.clone(), stop.clone()));
        let routes = api::router(Api::new(api::Parts {
            id: config.id,
            world: world.clone(),
            consensus: consensus.clone(),
            state: state.clone(),
            limits: config.spec_limits.clone(),
            cluster: config.cluster.clone(),
            backups: Arc::new(Semaphore::new(1)),
            users: Users::new(config.users.clone()),
            hosts: config.members.iter().map(|member| host(&member.api).to_owned()).collect(),
            shutdown: stop.clone(),
            frames,
            watches: Arc::new(Semaphore::new(MAX_WATCHES)),
            service_logs: Arc::new(Semaphore::new(MAX_SERVICE_LOGS)),
            arriving: Arriving::default(),
            making: Arc::new(Semaphore::new(MAX_MAKING)),
            relays,
        }));
        tasks.spawn(serve_plain(listener, routes, stop.clone()))
    }
}

impl Controller {
    /// Binds the sockets, locks the data directory and starts. What only a configuration file can get wrong is not checked
    /// here; see [`ControllerConfig::check`].
    pub async fn start(config: ControllerConfig, world: World, tls: TlsIdentity) -> Result<Self, RoleError> {
        let resources = Resources::take(&config, &world).await?;
        Self::start_on(resources, config, world, tls).await
    }

    /// Starts on sockets and storage that were taken already.
    pub async fn start_on(
        resources: Resources,
        config: ControllerConfig,
        world: World,
        tls: TlsIdentity,
    ) -> Result<Self, RoleError> {
        let Resources { cluster, api, storage, lock } = resources;
        let unbound = |error| RoleError::caused_by(Exit::Failure, "a bound socket has no address", &error);
        let cluster_addr = cluster.local_addr().map_err(unbound)?;
        let api_addr = api.local_addr().map_err(unbound)?;

        let (replica, state) = Replica::new();
        let consensus =
            Consensus::start(raft_config(&config, storage), world.clone(), tls.clone(), replica).await?;
        let (users, peers) = (CancellationToken::new(), CancellationToken::new());
        let tasks = TaskTracker::new();
        let id = config.id;
        let parts = Parts { config, world, tls, consensus, state, tasks };
        let relays = parts.serve_peers(cluster, &peers);
        let serving_users = parts.serve_users(api, relays, &users);
        let Parts { consensus, state, tasks, .. } = parts;
        tasks.close();
        tracing::info!(%id, cluster = %cluster_addr, api = %api_addr, "controller started");
        Ok(Self {
            consensus,
            state,
            cluster_addr,
            api_addr,
            tasks,
            serving_users,
            users,
            cluster: peers,
            _lock: lock,
        })
    }

    /// Where it serves controllers and executors.
    #[must_use]
    pub fn cluster_addr(&self) -> SocketAddr {
        self.cluster_addr
    }

    /// Where it serves users.
    #[must_use]
    pub fn api_addr(&self) -> SocketAddr {
        self.api_addr
    }

    /// What this controller knows of the Raft group, as it changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<RaftStatus> {
        self.consensus.status()
    }

    /// Its copy of the state.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<Arc<State>> {
        self.state.clone()
    }

    /// Waits until it cannot go on, and says why; never while all is well.
    pub async fn failure(&self) -> String {
        let mut status = self.consensus.status();
        match status.wait_for(|status| status.failed.is_some()).await {
            Ok(status) => status.failed.clone().unwrap_or_default(),
            Err(_) => "consensus ended".to_owned(),
        }
    }

    /// Ends in order: users first, then consensus, which hands the lead over if it has it and so sends
    /// the executors to the next leader, then the rest. Every step is bounded; about 25 s in all.
    pub async fn shutdown(self) {
        self.users.cancel();
        // Calls that are open need consensus for their answers.
        if timeout(END_WITHIN, self.serving_users).await.is_err() {
            tracing::warn!("some calls of users did not end in time and are cut");
        }
        self.consensus.shutdown().await;
        self.cluster.cancel();
        if timeout(END_WITHIN, self.tasks.wait()).await.is_err() {
            tracing::warn!("some calls did not end in time and are cut");
        }
        tracing::info!("controller stopped");
    }
}

fn raft_config(config: &ControllerConfig, storage: Storage) -> RaftConfig {
    let members = config.members.iter().map(|member| Member {
        id: member.id,
        cluster_addr: member.cluster.clone(),
        api_addr: member.api.clone(),
    });
    RaftConfig::new(config.id, storage, members.collect())
}
