//! openraft's type parameters, chosen once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use openraft::impls::leader_id_std;
use openraft::type_config::alias::{
    EntryOf, LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf, VoteOf,
};
use openraft_rt::deterministic_rng::DeterministicRng;
use openraft_rt_tokio::TokioRuntime;

/// Tokio, with the randomness of elections drawn from a seed that the world's entropy gives: a
/// simulation replays its elections with everything else.
pub(crate) type Runtime = DeterministicRng<TokioRuntime>;

openraft::declare_raft_types!(
    /// The type parameters.
    pub(crate) TypeConfig:
        D = Proposal,
        R = Vec<Bytes>,
        NodeId = u64,
        Node = Addresses,
        LeaderId = leader_id_std::LeaderId<Self::Term, Self::NodeId>,
        AsyncRuntime = Runtime,
);

/// Some commands that share a log entry. Clones share the commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proposal {
    pub(crate) commands: Arc<[Bytes]>,
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} commands", self.commands.len())
    }
}

/// Which files a member works on; drawn at random when they are made. A member whose files were lost comes
/// back as another incarnation: it has forgotten whom it voted for and what it acknowledged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Incarnation(pub(crate) String);

/// Where a member is, and on which files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) cluster: String,
    pub(crate) api: String,
    pub(crate) incarnation: Incarnation,
}

pub(crate) type Raft = openraft::Raft<TypeConfig, super::applier::Applier>;
pub(crate) type Vote = VoteOf<TypeConfig>;
pub(crate) type LogId = LogIdOf<TypeConfig>;
pub(crate) type Entry = EntryOf<TypeConfig>;
pub(crate) type Payload = openraft::EntryPayload<Proposal, u64, Addresses>;
pub(crate) type Membership = openraft::Membership<u64, Addresses>;
pub(crate) type StoredMembership = StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = SnapshotMetaOf<TypeConfig>;
pub(crate) type Snapshot = SnapshotOf<TypeConfig, Vec<Bytes>>;
pub(crate) type Nodes = BTreeMap<u64, Addresses>;
