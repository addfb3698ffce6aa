//! The handle that the rest of the controller holds.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use muster_common::id::{ControllerId, Revision};
use muster_common::identity::Role as PeerRole;
use muster_platform::{TlsIdentity, World};
use openraft::{Config, SnapshotPolicy};
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::applier::Applier;
use super::compaction::{self, Growth};
use super::config::{RaftConfig, Storage, Timings};
use super::error::{ChangeError, ProposeError, ReadError, StartError};
use super::exclusion;
use super::founding;
use super::machine::{Machine, UnreadableCommand};
use super::members::{self, MemberChange, MemberList};
use super::network::Network;
use super::node::Node;
use super::peers::Peers;
use super::promotion;
use super::propose::Proposals;
use super::read::Reads;
use super::regroup;
use super::service;
use super::status::{self, RaftStatus};
use super::types::{Incarnation, Raft, Runtime};
use super::vacancy::{self, Lines};
use crate::store::{self, Owner, Stores};

/// Entries in one append at most; their bytes are limited by the log store.
const APPEND_ENTRIES: u64 = 256;
/// Entries that stay in the log behind a snapshot, for followers that are a little behind.
const KEPT_ENTRIES: u64 = 2_000;
/// A whole snapshot must have been sent, received and installed by then.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(300);
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
    /// When it returns, this member has not necessarily applied the command yet: see
    /// [`read_barrier`](Self::read_barrier). Takes 10 s at most. After an error the command is never carried out later,
    /// except after [`Unknown`](ProposeError::Unknown).
    pub(crate) async fn propose(&self, command: Bytes) -> Result<Bytes, ProposeError> {
        self.proposals.propose(command, None).await
    }

    /// The same for a command that this member decided on as the leader of `term`. It is carried out while this member leads
    /// in that term, or not at all: the next leader decides for itself, on newer knowledge.
    pub(crate) async fn propose_as_leader(&self, term: u64, command: Bytes) -> Result<Bytes, ProposeError> {
        self.proposals.propose(command, Some(term)).await
    }

    /// Waits until this member has applied everything that was acknowledged anywhere before the call;
    /// then local state is safe to read. Returns what it has applied at least. Takes 5 s at most.
    pub(crate) async fn read_barrier(&self) -> Result<Revision, ReadError> {
        self.reads.barrier().await
    }

    /// The revision up to which this member has applied everything.
    #[must_use]
    pub(crate) fn applied(&self) -> Revision {
        *self.node.applied.borrow()
    }

    /// What this member knows, as it changes.
    #[must_use]
    pub(crate) fn status(&self) -> watch::Receiver<RaftStatus> {
        self.node.status.clone()
    }

    /// Who is in the group: what the leader knows, or what is known here while none answers.
    pub(crate) async fn members(&self) -> MemberList {
        members::list(&self.node).await
    }

    /// Takes the controller `id`, which runs at `address` and is in no group, into this one: as a learner,
    /// which the leader gives a vote once it has caught up.
    pub(crate) async fn add_member(&self, id: ControllerId, address: &str) -> Result<(), ChangeError> {
        members::change(&self.node, &MemberChange::Add { id, address: address.to_owned() }).await
    }

    /// Takes the controller `id` out of the group.
    pub(crate) async fn remove_member(&self, id: ControllerId) -> Result<(), ChangeError> {
        members::change(&self.node, &MemberChange::Remove { id }).await
    }

    #[cfg(test)]
    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    /// The gRPC services for the other members, to be served on the cluster port.
    pub(crate) fn routes(&self) -> axum::Router {
        service::routes(Arc::clone(&self.node), self.seed)
    }

    /// Hands the lead over if this member has it, stops, and closes the files. Takes 17 s at most.
    pub(crate) async fn shutdown(&self) {
        self.node.hand_over().await;
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
}

/// Not generic, so that consensus is compiled once.
async fn start(
    config: RaftConfig,
    world: World,
    tls: TlsIdentity,
    machine: Box<dyn Machine>,
    check_command: fn(&[u8]) -> Result<(), UnreadableCommand>,
) -> Result<Consensus, StartError> {
    check(&config, &tls)?;
    let settings = settings(&tls.identity().cluster.to_string(), config.timings, config.snapshot_every)?;
    let stores = open_stores(&config, &world, &tls).await?;

    let (seed, seed_of_calls) = (world.entropy.next_u64(), world.entropy.next_u64());
    let peers = Peers::new(world, tls, &config.members);
    let (published, applied) = watch::channel(Revision(0));
    let network = Network { id: config.id, peers: peers.clone() };
    let due = Arc::new(Notify::new());
    let growth = Growth::new(config.snapshot_bytes, Arc::clone(&due));
    let machine = Applier::new(machine, stores.snapshots, growth, published);
    let raft = Raft::new(config.id.0, Arc::new(settings), network, stores.log, machine);
    let raft = Runtime::scope(seed, raft).await.map_err(|error| StartError::Recovery(error.to_string()))?;

    let (excluding, excluded) = watch::channel(None);
    let status = status::watch_metrics(&raft, peers.clone(), excluded);
    let (lines, ends) = Lines::new();
    let node = Arc::new(Node {
        id: config.id,
        incarnation: stores.incarnation,
        raft,
        check: check_command,
        peers,
        status,
        applied,
        lines,
        changing: Mutex::default(),
    });
    let stop = CancellationToken::new();
    founding::start(Arc::clone(&node), stop.clone());
    promotion::start(Arc::clone(&node), stop.clone());
    compaction::start(Arc::clone(&node), due, stop.clone());
    exclusion::start(Arc::clone(&node), excluding, stop.clone());
    vacancy::start(Arc::clone(&node), ends, stop.clone());
    Ok(Consensus {
        proposals: Proposals::start(Arc::clone(&node), stop.clone()),
        reads: Reads::start(Arc::clone(&node), stop.clone()),
        node,
        stop,
        closed: stores.closed,
        seed: seed_of_calls,
    })
}

/// Opens the member's files. If a `recover` or a `restore` was cut short, it is finished first.
async fn open_stores(config: &RaftConfig, world: &World, tls: &TlsIdentity) -> Result<Stores, StartError> {
    if let Storage::Directory(directory) = &config.storage {
        let unfinished = |source| StartError::io(directory.clone(), source);
        regroup::finish(directory).map_err(unfinished)?;
    }
    let owner = Owner {
        cluster: tls.identity().cluster.clone(),
        controller: config.id,
        incarnation: Incarnation(world.uuid().to_string()),
    };
    let (storage, disk) = (config.storage.clone(), world.disk);
    let opened = disk.run(move || store::open(&storage, &owner, disk)).await;
    opened.map_err(|error| StartError::Recovery(error.to_string()))?
}

fn check(config: &RaftConfig, tls: &TlsIdentity) -> Result<(), StartError> {
    let refuse = |problem: String| Err(StartError::Config(problem));
    if tls.identity().role != PeerRole::Controller(config.id) {
        return refuse(format!(
            "the certificate is for {}, and this is controller {}",
            tls.identity(),
            config.id
        ));
    }
    let mut ids = BTreeSet::new();
    if let Some(twice) = config.members.iter().find(|member| !ids.insert(member.id)) {
        return refuse(format!("the id {} is given twice", twice.id));
    }
    if !ids.contains(&config.id) {
        return refuse(format!("controller {} is not one of them", config.id));
    }
    if ids.contains(&ControllerId(0)) {
        return refuse("ids begin at 1".to_owned());
    }
    Ok(())
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
