//! Three controllers and some executors as hosts of a simulation.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster_common::id::{ClusterId, ControllerId, ExecutorId};
use muster_common::identity::{Identity, Role};
use muster_common::spec::SpecLimits;
use muster_controller::MemoryDisk;
use muster_controller::Storage;
use muster_controller::{Controller, ControllerConfig, Resources};
use muster_controller::{ListenConfig, LivenessConfig, MemberConfig, RetentionConfig};
use muster_executor::{Executor, ExecutorConfig};
use muster_platform::{Authority, RoleError, TlsIdentity, World, bind};
use serde_json::json;

use super::node::SimulatedNode;
use super::world::{WallClock, world_on};

const CLUSTER_PORT: u16 = 4100;
const API_PORT: u16 = 4000;
/// Every host draws from a stream of its own, this far from its neighbour's.
const SEED_STRIDE: u64 = 0x0100_0000;

/// A cluster to be simulated. Controllers' disks and executors' directories outlive their crashes.
pub struct Fleet {
    seed: u64,
    cluster: ClusterId,
    authority: Authority,
    controllers: BTreeMap<ControllerId, MemoryDisk>,
    executors: BTreeMap<ExecutorId, SimulatedNode>,
    /// Of each host, by its name.
    clocks: BTreeMap<String, WallClock>,
    dir: tempfile::TempDir,
}

impl Fleet {
    /// `controllers` controllers and `executors` executors, whose every choice follows from `seed`.
    #[must_use]
    pub fn new(seed: u64, controllers: u64, executors: u64) -> Self {
        // Only when somebody wants to read them.
        if std::env::var_os("MUSTER_LOG").is_some() {
            muster_platform::telemetry::init_logs();
        }
        let cluster = ClusterId::new("simulated").expect("a cluster id");
        let hosts = (1..=controllers).map(ControllerId).map(controller_host);
        let hosts = hosts.chain((1..=executors).map(executor_host));
        Self {
            seed,
            clocks: hosts.map(|host| (host, WallClock::default())).collect(),
            authority: Authority::new(&cluster).expect("a certificate authority"),
            controllers: (1..=controllers).map(|id| (ControllerId(id), MemoryDisk::new())).collect(),
            executors: (1..=executors)
                .map(|n| (ExecutorId::new(executor_host(n)).expect("an id"), SimulatedNode::default()))
                .collect(),
            dir: tempfile::tempdir().expect("a temporary directory"),
            cluster,
        }
    }

    /// The machine under each executor, ordered by executor.
    #[must_use]
    pub fn nodes(&self) -> Vec<SimulatedNode> {
        self.executors.values().cloned().collect()
    }

    /// The wall clock of a host.
    #[must_use]
    pub fn clock(&self, host: &str) -> WallClock {
        self.clocks.get(host).expect("a host of the simulation").clone()
    }

    /// Makes every role a host of `sim`.
    pub fn join(&self, sim: &mut turmoil::Sim<'_>) {
        let mut seed = self.seed;
        for (id, disk) in &self.controllers {
            seed = seed.wrapping_add(SEED_STRIDE);
            let (config, disk) = (self.controller_config(*id), disk.clone());
            let (host, tls) = (controller_host(*id), self.identity(Role::Controller(*id)));
            let clock = self.clock(&host);
            sim.host(host, move || {
                // What was not yet on disk is gone with the host.
                disk.crash();
                run_controller(config.clone(), disk.clone(), world_on(seed, clock.clone()), tls.clone())
            });
        }
        for (id, node) in &self.executors {
            seed = seed.wrapping_add(SEED_STRIDE);
            let (config, node) = (self.executor_config(id), node.clone());
            let tls = self.identity(Role::Executor(id.clone()));
            let clock = self.clock(id.as_str());
            sim.host(id.to_string(), move || {
                run_executor(config.clone(), node.clone(), world_on(seed, clock.clone()), tls.clone())
            });
        }
    }

    fn identity(&self, role: Role) -> TlsIdentity {
        let identity = Identity { cluster: self.cluster.clone(), role };
        let issued = self.authority.issue(&identity).expect("a certificate");
        TlsIdentity::from_pem(&self.authority.ca_pem(), &issued.cert_pem, &issued.key_pem, &identity)
            .expect("the certificate is its own")
    }

    fn controller_config(&self, id: ControllerId) -> ControllerConfig {
        let member = |id: ControllerId| MemberConfig {
            id,
            cluster: format!("{}:{CLUSTER_PORT}", controller_host(id)),
            api: api_address(id),
        };
        ControllerConfig {
            cluster: self.cluster.clone(),
            id,
            data_dir: None,
            listen: ListenConfig {
                cluster: format!("0.0.0.0:{CLUSTER_PORT}"),
                api: format!("0.0.0.0:{API_PORT}"),
                allow_plain_http: false,
            },
            members: self.controllers.keys().copied().map(member).collect(),
            tls: None,
            liveness: LivenessConfig::default(),
            retention: RetentionConfig::default(),
            spec_limits: SpecLimits::default(),
            users: Vec::new(),
        }
    }

    fn executor_config(&self, id: &ExecutorId) -> ExecutorConfig {
        let controllers: Vec<String> =
            self.controllers.keys().map(|id| format!("{}:{CLUSTER_PORT}", controller_host(*id))).collect();
        serde_json::from_value(json!({
            "cluster": self.cluster,
            "id": id,
            "dataDir": directory(self.dir.path(), id),
            "hostname": id,
            "listen": {"api": format!("0.0.0.0:{API_PORT}")},
            "controllers": controllers,
            "coreOvercommit": 16,
        }))
        .expect("an executor's configuration")
    }
}

/// The host name of a controller.
#[must_use]
pub fn controller_host(id: ControllerId) -> String {
    format!("controller-{}", id.0)
}

/// The host name, and the id, of the `n`-th executor.
#[must_use]
pub fn executor_host(n: u64) -> String {
    format!("executor-{n}")
}

/// Where a controller serves REST.
#[must_use]
pub fn api_address(id: ControllerId) -> String {
    format!("{}:{API_PORT}", controller_host(id))
}

fn directory(base: &Path, id: &ExecutorId) -> PathBuf {
    let dir = base.join(id.as_str());
    std::fs::create_dir_all(&dir).expect("a directory for the executor");
    dir
}

type HostResult = Result<(), Box<dyn std::error::Error>>;

/// Runs until the simulation ends or crashes the host.
async fn run_controller(
    config: ControllerConfig,
    disk: MemoryDisk,
    world: World,
    tls: TlsIdentity,
) -> HostResult {
    let resources = Resources {
        cluster: bind(&world, "other controllers and executors", &config.listen.cluster).await?,
        api: bind(&world, "the REST API", &config.listen.api).await?,
        storage: Storage::Memory(disk),
        lock: None,
    };
    let _controller = Controller::start_on(resources, config, world, tls).await?;
    std::future::pending().await
}

/// Runs until the simulation ends or crashes the host.
async fn run_executor(
    config: ExecutorConfig,
    node: SimulatedNode,
    world: World,
    tls: TlsIdentity,
) -> HostResult {
    let prober = Arc::new(node.clone());
    let started: Result<Executor, RoleError> =
        Executor::start(config, world, tls, node.runners(), prober).await;
    let _executor = started?;
    std::future::pending().await
}
