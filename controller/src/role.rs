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
use crate::api::{self, Api, Frames};
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

impl Controller {
    /// Takes what the configuration names, and starts. Nothing is checked here that only a file can
    /// get wrong; see [`ControllerConfig::check`].
    pub async fn start(config: ControllerConfig, world: World, tls: TlsIdentity) -> Result<Self, RoleError> {
        let resources = Resources::take(&config, &world).await?;
        Self::start_on(resources, config, world, tls).await
    }

    /// Starts on what was taken already.
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
        tasks.spawn(hub.run(peers.clone()));
        let reconciler = Reconciler::new(
            state.clone(),
            consensus.status(),
            consensus.clone(),
            leaders_world,
            config.kept(),
        );
        tasks.spawn(reconciler.run(peers.clone()));
        tasks.spawn(gauges::follow(state.clone(), consensus.clone(), peers.clone()));

        let files = FileService::routes(state.clone(), config.spec_limits.allowed_fetch_urls.clone());
        let (relay_routes, relays) =
            relay::relays(config.id, world.clone(), tls.clone(), consensus.status(), summons, state.clone());
        let cluster_routes = consensus.routes().merge(sessions).merge(files).merge(relay_routes);
        tasks.spawn(serve_cluster(cluster, tls, crowd, cluster_routes, peers.clone()));

        let frames = Frames::new(Arc::clone(&state.borrow()));
        tasks.spawn(frames.clone().follow(state.clone(), users.clone()));
        let routes = api::router(Api::new(api::Parts {
            id: config.id,
            world: world.clone(),
            consensus: consensus.clone(),
            state: state.clone(),
            limits: config.spec_limits,
            cluster: config.cluster.clone(),
            backups: Arc::new(Semaphore::new(1)),
            users: Users::new(config.users.clone()),
            hosts: config.members.iter().map(|member| host(&member.api).to_owned()).collect(),
            shutdown: users.clone(),
            frames,
            watches: Arc::new(Semaphore::new(MAX_WATCHES)),
            service_logs: Arc::new(Semaphore::new(MAX_SERVICE_LOGS)),
            arriving: Arc::new(Semaphore::new(api::ARRIVING_BYTES)),
            relays,
        }));
        let serving_users = tasks.spawn(serve_plain(api, routes, users.clone()));

        tasks.close();
        tracing::info!(id = %config.id, cluster = %cluster_addr, api = %api_addr, "controller started");
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

    /// Raft as it sees it.
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
