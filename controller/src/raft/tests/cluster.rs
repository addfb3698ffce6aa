//! Members that can be started, stopped and killed, each in a runtime of its own.

use std::future::Future;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_common::id::{ClusterId, ControllerId, ExecutorId};
use muster_common::identity::{Identity, Role as PeerRole};
use muster_platform::{Authority, Crowd, TlsIdentity, World, serve_cluster};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::partition::{Cut, CutNetwork};
use super::{Adder, Seen};
use crate::raft::config::Timings;
use crate::raft::{Consensus, Member, RaftConfig, RaftStatus, StartError, Storage};

/// Whatever a test waits for happens by then, on a machine that does much else.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Members, some of them running.
pub(super) struct Cluster {
    authority: Authority,
    directory: tempfile::TempDir,
    pub(super) members: Vec<Member>,
    pub(super) running: Vec<Option<Running>>,
    /// Each member's way to the network.
    pub(super) cuts: Vec<Arc<Cut>>,
    snapshot_every: u64,
    snapshot_bytes: Option<u64>,
    timings: Timings,
    /// How many of the members found the group; the configurations of the others name all.
    founders: usize,
}

pub(super) struct Running {
    pub(super) consensus: Consensus,
    pub(super) seen: Arc<Mutex<Seen>>,
    stop: CancellationToken,
    runtime: Option<Runtime>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A loopback address that nobody else has: a port of 127.0.0.1 could be taken, by somebody's outgoing
/// connection, while the member that had it is down.
fn loopback() -> Ipv4Addr {
    static COUNT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high | 0x80, low, COUNT.fetch_add(1, Ordering::Relaxed))
}

impl Cluster {
    /// `size` members, none of them running.
    pub(super) fn new(size: usize) -> Self {
        let cluster = ClusterId::new("test").unwrap();
        let members = (1..=size as u64)
            .map(|id| Member {
                id: ControllerId(id),
                cluster_addr: format!("{}:4100", loopback()),
                api_addr: format!("127.0.0.1:{id}"),
            })
            .collect();
        Self {
            authority: Authority::new(&cluster).unwrap(),
            directory: tempfile::tempdir().unwrap(),
            members,
            running: (0..size).map(|_| None).collect(),
            cuts: (0..size).map(|_| Arc::default()).collect(),
            snapshot_every: 20_000,
            snapshot_bytes: None,
            timings: Timings::default(),
            founders: size,
        }
    }

    /// The first `founders` found the group; the others may be added.
    pub(super) fn founded_by(mut self, founders: usize) -> Self {
        self.founders = founders;
        self
    }

    pub(super) fn snapshot_bytes(mut self, bytes: u64) -> Self {
        self.snapshot_bytes = Some(bytes);
        self
    }

    pub(super) fn snapshot_every(mut self, entries: u64) -> Self {
        self.snapshot_every = entries;
        self
    }

    pub(super) fn timed(mut self, timings: Timings) -> Self {
        self.timings = timings;
        self
    }

    pub(super) async fn started(size: usize) -> Self {
        let mut cluster = Self::new(size);
        for nth in 0..size {
            cluster.start(nth).await;
        }
        cluster
    }

    pub(super) fn directory(&self, nth: usize) -> PathBuf {
        let directory = self.directory.path().join(nth.to_string());
        std::fs::create_dir_all(&directory).unwrap();
        directory
    }

    pub(super) fn config(&self, nth: usize) -> RaftConfig {
        let storage = Storage::Directory(self.directory(nth));
        let named = if nth < self.founders { &self.members[..self.founders] } else { &self.members[..] };
        let mut config = RaftConfig::new(self.members[nth].id, storage, named.to_vec());
        config.snapshot_every = self.snapshot_every;
        config.snapshot_bytes = self.snapshot_bytes.unwrap_or(config.snapshot_bytes);
        config.timings = self.timings;
        config
    }

    pub(super) fn identity(&self, role: PeerRole) -> TlsIdentity {
        let identity = Identity { cluster: ClusterId::new("test").unwrap(), role };
        let issued = self.authority.issue(&identity).unwrap();
        TlsIdentity::from_pem(&self.authority.ca_pem(), &issued.cert_pem, &issued.key_pem, &identity).unwrap()
    }

    pub(super) fn controller(&self, nth: usize) -> TlsIdentity {
        self.identity(PeerRole::Controller(self.members[nth].id))
    }

    pub(super) fn executor(&self) -> TlsIdentity {
        self.identity(PeerRole::Executor(ExecutorId::new("executor-1").unwrap()))
    }

    pub(super) async fn start(&mut self, nth: usize) {
        let (config, tls) = (self.config(nth), self.controller(nth));
        let address = self.members[nth].cluster_addr.clone();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let stop = CancellationToken::new();
        let (stopping, cut) = (stop.clone(), Arc::clone(&self.cuts[nth]));
        let start = runtime.spawn(async move {
            let world = World::system();
            let network = Arc::new(CutNetwork { inner: Arc::clone(&world.network), cut });
            let world = World { network, ..world };
            // The one before may not have let go yet.
            let bind = async || world.network.bind(&address).await.ok();
            let listener = eventually("its address is free", bind).await;
            let machine = Adder::default();
            let seen = Arc::clone(&machine.seen);
            let consensus = Consensus::start(config, world, tls.clone(), machine).await?;
            tokio::spawn(serve_cluster(listener, tls, Crowd::default(), consensus.routes(), stopping));
            Ok::<_, StartError>((consensus, seen))
        });
        let (consensus, seen) = start.await.unwrap().unwrap();
        self.running[nth] = Some(Running { consensus, seen, stop, runtime: Some(runtime) });
    }

    pub(super) fn member(&self, nth: usize) -> &Running {
        self.running[nth].as_ref().expect("it runs")
    }

    pub(super) fn consensus(&self, nth: usize) -> &Consensus {
        &self.member(nth).consensus
    }

    pub(super) fn running(&self) -> impl Iterator<Item = usize> {
        (0..self.running.len()).filter(|nth| self.running[*nth].is_some())
    }

    /// Stops a member as its program would.
    pub(super) async fn stop(&mut self, nth: usize) {
        let running = self.running[nth].take().unwrap();
        running.consensus.shutdown().await;
        running.stop.cancel();
    }

    /// Drops a member and everything that it is in the middle of.
    pub(super) async fn kill(&mut self, nth: usize) {
        let mut running = self.running[nth].take().unwrap();
        let runtime = running.runtime.take().unwrap();
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(PATIENCE)).await.unwrap();
        drop(running);
        // The log's thread ends once nobody can reach it.
        let path = self.directory(nth).join("log.redb");
        eventually("its files are closed", async || redb::Database::open(&path).ok().map(drop)).await;
    }

    /// Waits until a member says that it leads and may be asked to.
    pub(super) async fn leader(&self) -> usize {
        eventually("a leader is ready", async || {
            self.running().find(|nth| self.consensus(*nth).status().borrow().is_ready_leader)
        })
        .await
    }

    /// A running member that does not lead.
    pub(super) async fn follower(&self) -> usize {
        let leader = self.leader().await;
        self.running().find(|nth| *nth != leader).unwrap()
    }

    pub(super) async fn status(&self, nth: usize, accept: impl FnMut(&RaftStatus) -> bool) -> RaftStatus {
        let mut status = self.consensus(nth).status();
        let waited = tokio::time::timeout(PATIENCE, status.wait_for(accept)).await;
        waited.expect("its status comes about").unwrap().clone()
    }

    pub(super) fn numbers(&self, nth: usize) -> Vec<u64> {
        self.member(nth).seen.lock().unwrap().numbers.clone()
    }
}

/// Asks until there is an answer.
pub(super) async fn eventually<T, F>(what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}
