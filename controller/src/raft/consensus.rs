//! The handle that the rest of the controller holds.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use muster_common::id::{ControllerId, Revision};
use muster_common::identity::Role as PeerRole;
use muster_platform::{TlsIdentity, World};
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{InitializeError, RaftError};
use openraft::{Config, SnapshotPolicy};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::applier::Applier;
use super::config::{RaftConfig, Timings};
use super::error::{ProposeError, ReadError, StartError};
use super::machine::{Machine, UnreadableCommand};
use super::network::Network;
use super::node::Node;
use super::peers::Peers;
use super::propose::Proposals;
use super::read::Reads;
use super::service;
use super::status::{self, RaftStatus};
use super::types::{Addresses, Nodes, Raft, Runtime};
use crate::store::{self, Owner};

/// Entries in one append at most; their bytes are limited by the log store.
const APPEND_ENTRIES: u64 = 256;
/// Entries that stay in the log behind a snapshot, for followers that are a little behind.
const KEPT_ENTRIES: u64 = 2_000;
/// A whole snapshot must have been sent, received and installed by then.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a leader that stops waits for its successor.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long it waits for consensus to end and for the files to be closed.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// One member of the Raft group. Clones are the same member.
#[derive(Clone)]
pub(crate) struct Consensus {
    node: Arc<Node>,
    proposals: Proposals,
    reads: Reads,
    stop: CancellationToken,
    closed: [CancellationToken; 2],
    /// For the randomness of tasks that openraft starts in calls from outside.
    seed: u64,
}

impl std::fmt::Debug for Consensus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consensus").field("id", &self.node.id).finish_non_exhaustive()
    }
}

impl Consensus {
    /// Starts a member: opens its storage, brings the machine up to date with it, and joins the group
    /// (which a first start founds). Returns before there is a leader.
    pub(crate) async fn start<M: Machine>(
        config: RaftConfig,
        world: World,
        tls: TlsIdentity,
        machine: M,
    ) -> Result<Self, StartError> {
        start(config, world, tls, Box::new(machine), M::check).await
    }

    /// Has `command` replicated and applied, wherever the leader is, and returns the machine's reply.
    /// When it returns, this member has not necessarily applied it yet: see
    /// [`read_barrier`](Self::read_barrier). Takes 10 s at most. It is not
    /// begun later than that; only what was [`Unknown`](ProposeError::Unknown) may still be carried out.
    pub(crate) async fn propose(&self, command: Bytes) -> Result<Bytes, ProposeError> {
        self.proposals.propose(command).await
    }

    /// Waits until this member has applied everything that was acknowledged anywhere before the call;
    /// then local state is safe to read. Returns what it has applied at least. Takes 5 s at most.
    pub(crate) async fn read_barrier(&self) -> Result<Revision, ReadError> {
        self.reads.barrier().await
    }

    /// What this member knows, as it changes.
    #[must_use]
    pub(crate) fn status(&self) -> watch::Receiver<RaftStatus> {
        self.node.status.clone()
    }

    /// The gRPC services for the other members, to be served on the cluster port.
    pub(crate) fn routes(&self) -> axum::Router {
        service::routes(Arc::clone(&self.node), self.seed)
    }

    /// Hands the lead over if this member has it, stops, and closes the files. Takes 17 s at most.
    pub(crate) async fn shutdown(&self) {
        self.hand_over().await;
        self.stop.cancel();
        if timeout(STOP_TIMEOUT, self.node.raft.shutdown()).await.is_err() {
            tracing::warn!("consensus did not stop within {} s", STOP_TIMEOUT.as_secs());
        }
        for closed in &self.closed {
            if timeout(STOP_TIMEOUT, closed.cancelled()).await.is_err() {
                tracing::warn!("the log was not closed within {} s", STOP_TIMEOUT.as_secs());
            }
        }
    }

    /// Gives the lead to the voter that has most of the log.
    async fn hand_over(&self) {
        let raft = &self.node.raft;
        let metrics = raft.metrics().borrow_watched().clone();
        if metrics.current_leader != Some(self.node.id.0) {
            return;
        }
        let voters: BTreeSet<u64> = metrics.membership_config.voter_ids().collect();
        let replication = metrics.replication.unwrap_or_default();
        let successor = replication
            .into_iter()
            .filter(|(id, _)| *id != self.node.id.0 && voters.contains(id))
            .max_by_key(|(_, matched)| *matched);
        let Some((successor, _)) = successor else { return };
        if raft.trigger().transfer_leader(successor).await.is_err() {
            return; // it has stopped already
        }
        let mut status = self.node.status.clone();
        let handed_over =
            status.wait_for(|status| status.leader.as_ref().is_some_and(|leader| leader.id != self.node.id));
        if timeout(TRANSFER_TIMEOUT, handed_over).await.is_ok() {
            tracing::info!(successor, "handed the lead over");
        } else {
            tracing::warn!(successor, "could not hand the lead over; the others will elect");
        }
    }
}

/// Not generic, so that consensus is compiled once.
async fn start(
    config: RaftConfig,
    world: World,
    tls: TlsIdentity,
    machine: Box<dyn Machine>,
    check_command: fn(&[u8]) -> Result<(), UnreadableCommand>,
) -> Result<Consensus, StartError> {
    let nodes = check(&config, &tls)?;
    let settings = settings(&tls.identity().cluster.to_string(), config.timings, config.snapshot_every)?;
    let owner = Owner { cluster: tls.identity().cluster.clone(), controller: config.id };
    let (storage, disk) = (config.storage.clone(), world.disk);
    let stores = disk
        .run(move || store::open(&storage, &owner, disk))
        .await
        .map_err(|error| StartError::Recovery(error.to_string()))??;

    let (seed, seed_of_calls) = (world.entropy.next_u64(), world.entropy.next_u64());
    let peers = Peers::new(world, tls, &config.members);
    let (published, applied) = watch::channel(Revision(0));
    let network = Network { id: config.id, peers: peers.clone() };
    let machine = Applier::new(machine, stores.snapshots, published);
    let raft = Raft::new(config.id.0, Arc::new(settings), network, stores.log, machine);
    let raft = Runtime::scope(seed, raft).await.map_err(|error| StartError::Recovery(error.to_string()))?;

    // Every member founds the same group; who has been founded or called before is refused, rightly.
    match raft.initialize(nodes).await {
        Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
        Err(error) => return Err(StartError::Recovery(error.to_string())),
    }

    let status = status::watch_metrics(&raft, peers.clone());
    let node = Arc::new(Node { id: config.id, raft, check: check_command, peers, status, applied });
    let stop = CancellationToken::new();
    Ok(Consensus {
        proposals: Proposals::start(Arc::clone(&node), stop.clone()),
        reads: Reads::start(Arc::clone(&node), stop.clone()),
        node,
        stop,
        closed: stores.closed,
        seed: seed_of_calls,
    })
}

fn check(config: &RaftConfig, tls: &TlsIdentity) -> Result<Nodes, StartError> {
    let refuse = |problem: String| Err(StartError::Config(problem));
    if tls.identity().role != PeerRole::Controller(config.id) {
        return refuse(format!(
            "the certificate is for {}, and this is controller {}",
            tls.identity(),
            config.id
        ));
    }
    let mut nodes = Nodes::new();
    for member in &config.members {
        let at = Addresses { cluster: member.cluster_addr.clone(), api: member.api_addr.clone() };
        if nodes.insert(member.id.0, at).is_some() {
            return refuse(format!("the id {} is given twice", member.id));
        }
    }
    if !nodes.contains_key(&config.id.0) {
        return refuse(format!("controller {} is not one of them", config.id));
    }
    if nodes.contains_key(&ControllerId(0).0) {
        return refuse("ids begin at 1".to_owned());
    }
    Ok(nodes)
}

fn settings(cluster: &str, timings: Timings, snapshot_every: u64) -> Result<Config, StartError> {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let settings = Config {
        cluster_name: cluster.to_owned(),
        heartbeat_interval: ms(timings.heartbeat),
        election_timeout_min: ms(timings.election_min),
        election_timeout_max: ms(timings.election_max),
        enable_pre_vote: Some(true),
        // A restarted leader may have forgotten what it knew to be committed.
        enable_leader_restore: Some(false),
        install_snapshot_timeout: ms(SNAPSHOT_TIMEOUT),
        max_payload_entries: APPEND_ENTRIES,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(snapshot_every),
        max_in_snapshot_log_to_keep: KEPT_ENTRIES.min(snapshot_every / 2),
        ..Config::default()
    };
    settings.validate().map_err(|error| StartError::Config(error.to_string()))
}
