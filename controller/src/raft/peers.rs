//! How this member reaches the others.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use muster_common::id::ControllerId;
use muster_platform::channel::InvalidAddress;
use muster_platform::{ExpectedPeer, TlsIdentity, World, channel};
use muster_proto::v1::control_client::ControlClient;
use muster_proto::v1::members_client::MembersClient;
use muster_proto::v1::raft_client::RaftClient;
use tonic::transport::Channel;

use super::config::Member;
use super::types::Addresses;

/// The largest message: an append of two entries of the largest size, with room.
pub(super) const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// What shares a connection: a large append or snapshot must not delay a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    /// Votes, heartbeats, and what controllers ask of the leader.
    Quick,
    /// Log entries.
    Log,
    /// Snapshots.
    Bulk,
}

/// The clients for one peer.
#[derive(Debug, Clone)]
pub(super) struct Clients {
    pub(super) quick: RaftClient<Channel>,
    pub(super) log: RaftClient<Channel>,
    pub(super) bulk: RaftClient<Channel>,
    pub(super) control: ControlClient<Channel>,
    pub(super) members: MembersClient<Channel>,
}

/// Connections to the other members, opened when they are first used and kept over leader changes.
#[derive(Clone)]
pub(super) struct Peers {
    world: World,
    tls: TlsIdentity,
    /// Where the configuration says that members are; goes before what the log says, so that a cluster
    /// can be moved while it is stopped.
    configured: Arc<BTreeMap<ControllerId, Member>>,
    channels: Arc<Mutex<Channels>>,
}

type Channels = BTreeMap<(ControllerId, String, Lane), Channel>;

impl Peers {
    pub(super) fn new(world: World, tls: TlsIdentity, members: &[Member]) -> Self {
        let configured = members.iter().map(|member| (member.id, member.clone())).collect();
        Self { world, tls, configured: Arc::new(configured), channels: Arc::default() }
    }

    /// A member, at the addresses that this one uses for it.
    pub(super) fn member(&self, id: ControllerId, node: &Addresses) -> Member {
        self.configured.get(&id).cloned().unwrap_or_else(|| Member {
            id,
            cluster_addr: node.cluster.clone(),
            api_addr: node.api.clone(),
        })
    }

    /// Those that the configuration names.
    pub(super) fn configured(&self) -> impl Iterator<Item = &Member> {
        self.configured.values()
    }

    /// The clients for the member `id` at `address`. Nothing is connected yet.
    pub(super) fn clients(&self, id: ControllerId, address: &str) -> Result<Clients, InvalidAddress> {
        let raft = |lane| {
            Ok(RaftClient::new(self.channel(id, address, lane)?)
                .max_decoding_message_size(MAX_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE))
        };
        Ok(Clients {
            quick: raft(Lane::Quick)?,
            log: raft(Lane::Log)?,
            bulk: raft(Lane::Bulk)?,
            control: ControlClient::new(self.channel(id, address, Lane::Quick)?)
                .max_decoding_message_size(MAX_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE),
            members: MembersClient::new(self.channel(id, address, Lane::Quick)?),
        })
    }

    /// Whether somebody listens at the member's cluster port. The caller sets the deadline.
    pub(super) async fn knock(&self, member: &Member) -> io::Result<()> {
        self.world.network.connect(&member.cluster_addr).await.map(drop)
    }

    fn channel(&self, id: ControllerId, address: &str, lane: Lane) -> Result<Channel, InvalidAddress> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (id, address.to_owned(), lane);
        if let Some(channel) = channels.get(&key) {
            return Ok(channel.clone());
        }
        // A member that has moved leaves its old connections behind.
        channels.retain(|(other, at, _), _| *other != id || at == address);
        let channel = channel(&self.world, &self.tls, address, ExpectedPeer::Controller(id))?;
        channels.insert(key, channel.clone());
        Ok(channel)
    }
}
