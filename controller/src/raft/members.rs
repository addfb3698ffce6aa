//! Who is in the group, and how that changes. The leader decides on a change; any member can be asked for it.

use std::collections::BTreeSet;
use std::time::Duration;

use muster_common::id::ControllerId;
use muster_proto::v1;
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{ChangeMembers, Instant as _, RaftMetrics};
use tokio::time::{Instant, timeout, timeout_at};

use super::codec;
use super::config::Member;
use super::error::ChangeError;
use super::founding;
use super::node::{Elsewhere, Leader, Node};
use super::types::{Addresses, Nodes, TypeConfig};

/// How long the leader may take to list the members.
const LIST_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a change may take from the request to its answer, a change of leader included.
const DEADLINE: Duration = Duration::from_secs(20);
/// How long the leader may take for one change: two entries, each on a majority's disks.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(8);
/// A member that has not answered for this many leases is not counted on.
const LEASES: u32 = 2;

/// One member, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Who and where.
    pub(crate) member: Member,
    /// Whether it has a vote; a learner has none yet.
    pub(crate) votes: bool,
    /// The last entry that it is known to have.
    pub(crate) last: Option<u64>,
    /// For how long it has not answered the leader.
    pub(crate) silent: Option<Duration>,
}

/// The group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberList {
    /// Ordered by id.
    pub(crate) members: Vec<Standing>,
    /// The last entry of the leader's log; unknown: no leader answered, and this is what is known here.
    pub(crate) last: Option<u64>,
}

/// A change that a user asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MemberChange {
    /// To add a member.
    Add {
        /// The controller.
        id: ControllerId,
        /// Its cluster port.
        address: String,
    },
    /// To remove a member.
    Remove {
        /// The controller.
        id: ControllerId,
    },
}

/// Why a leader did not make a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotChanged {
    /// Another one leads; nothing was done.
    Elsewhere(Elsewhere),
    /// The change would harm the group.
    Refused(String),
    /// There is no such member.
    NoMember,
    /// Nobody knows whether it was done.
    Unknown(String),
}

/// Which members vote, and which of all members answer: a change is judged by that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Electorate {
    pub(super) voters: BTreeSet<u64>,
    pub(super) live: BTreeSet<u64>,
}

impl Electorate {
    fn of(metrics: &RaftMetrics<TypeConfig>, patience: Duration) -> Self {
        let heard = metrics.heartbeat.iter().flatten();
        let live = heard.filter(|(_, at)| at.is_some_and(|at| at.elapsed() < patience)).map(|(id, _)| *id);
        Self {
            voters: metrics.membership_config.voter_ids().collect(),
            live: live.chain([metrics.id]).collect(),
        }
    }

    /// Refuses a group of `voters` if no majority of them answers now: such a group could decide nothing.
    fn admit(&self, voters: &BTreeSet<u64>) -> Result<(), String> {
        let live = voters.intersection(&self.live).count();
        let needed = voters.len() / 2 + 1;
        if voters.is_empty() {
            return Err("it is the last one that votes".to_owned());
        }
        if live >= needed {
            return Ok(());
        }
        let silent: Vec<_> = voters.difference(&self.live).map(ToString::to_string).collect();
        let (count, silent) = (voters.len(), silent.join(", "));
        Err(format!(
            "{count} controllers would vote, of whom {needed} must answer, and {live} do; not answering: {silent}. \
             Start or remove those first"
        ))
    }

    /// Whether the group can do without `id`.
    pub(super) fn admit_removal(&self, id: u64) -> Result<(), String> {
        let mut voters = self.voters.clone();
        if voters.remove(&id) { self.admit(&voters) } else { Ok(()) }
    }

    /// Whether the group can do with `id` as a voter.
    pub(super) fn admit_vote(&self, id: u64) -> Result<(), String> {
        let mut voters = self.voters.clone();
        voters.insert(id);
        self.admit(&voters)
    }
}

/// The members of the group.
pub(super) async fn list(node: &Node) -> MemberList {
    match node.leader() {
        Leader::Other(leader) => match timeout(LIST_TIMEOUT, ask_list(node, &leader)).await {
            Ok(Some(list)) => list,
            Ok(None) | Err(_) => known_here(node),
        },
        Leader::Me | Leader::Nobody => known_here(node),
    }
}

/// What this member knows of the group: a leader knows all, others know who is in it.
pub(super) fn known_here(node: &Node) -> MemberList {
    let metrics = node.raft.metrics().borrow_watched().clone();
    let membership = metrics.membership_config.membership();
    let voters: BTreeSet<u64> = membership.voter_ids().collect();
    let leads = metrics.current_leader == Some(metrics.id) && metrics.replication.is_some();
    let standing = |(id, at): (&u64, &Addresses)| {
        let (last, silent) = if *id == metrics.id {
            (metrics.last_log_index, None)
        } else {
            let matched = metrics.replication.as_ref().and_then(|matched| *matched.get(id)?);
            let heard = metrics.heartbeat.as_ref().and_then(|heard| *heard.get(id)?);
            (matched.map(|matched| matched.index), heard.map(|heard| heard.elapsed()))
        };
        Standing {
            member: node.peers.member(ControllerId(*id), at),
            votes: voters.contains(id),
            last,
            silent,
        }
    };
    MemberList {
        members: membership.nodes().map(standing).collect(),
        last: metrics.last_log_index.filter(|_| leads),
    }
}

/// What the leader says. `None` where it cannot be asked or leads no more: then what is known here has to do.
async fn ask_list(node: &Node, leader: &Member) -> Option<MemberList> {
    use v1::list_members_response::Outcome;
    let mut members = node.peers.clients(leader.id, &leader.cluster_addr).ok()?.members;
    match members.list(v1::ListMembersRequest {}).await.ok()?.into_inner().outcome? {
        Outcome::Standings(standings) => Some(MemberList {
            members: standings.members.into_iter().filter_map(standing_from).collect(),
            last: Some(standings.last),
        }),
        Outcome::LeaderElsewhere(_) => None,
    }
}

fn standing_from(message: v1::MemberStanding) -> Option<Standing> {
    let (id, at) = codec::member_from(message.member?);
    Some(Standing {
        member: Member { id: ControllerId(id), cluster_addr: at.cluster, api_addr: at.api },
        votes: message.votes,
        last: message.last,
        silent: message.silent_ms.map(Duration::from_millis),
    })
}

/// Asks the leader, wherever it is, to make a change. Asking twice does no harm: a change says how the group shall be.
pub(super) async fn change(node: &Node, change: &MemberChange) -> Result<(), ChangeError> {
    let deadline = Instant::now() + DEADLINE;
    let mut unknown = None;
    loop {
        let made = match node.leader() {
            Leader::Me => timeout_at(deadline, make(node, change)).await,
            Leader::Other(leader) => timeout_at(deadline, ask(node, &leader, change)).await,
            Leader::Nobody => Ok(Err(NotChanged::Elsewhere(Elsewhere(None)))),
        };
        match made {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(NotChanged::Refused(why))) => return Err(ChangeError::Refused { why }),
            // Gone after an answer that was lost: that is what was asked for.
            Ok(Err(NotChanged::NoMember)) if unknown.is_some() => return Ok(()),
            Ok(Err(NotChanged::NoMember)) => return Err(ChangeError::NoMember),
            Ok(Err(NotChanged::Unknown(cause))) => unknown = Some(cause),
            Ok(Err(NotChanged::Elsewhere(_))) | Err(_) => {}
        }
        if !node.pause(deadline).await {
            return Err(match unknown {
                Some(cause) => ChangeError::Unknown { cause },
                None => ChangeError::NoLeader { waited: DEADLINE },
            });
        }
    }
}

async fn ask(node: &Node, leader: &Member, change: &MemberChange) -> Result<(), NotChanged> {
    use v1::member_change_response::Outcome;
    let nobody = || NotChanged::Elsewhere(Elsewhere(None));
    let mut members = node.peers.clients(leader.id, &leader.cluster_addr).map_err(|_| nobody())?.members;
    let answer = match change {
        MemberChange::Add { id, address } => {
            members.add(v1::AddMemberRequest { id: id.0, cluster_addr: address.clone() }).await
        }
        MemberChange::Remove { id } => members.remove(v1::RemoveMemberRequest { id: id.0 }).await,
    };
    let answer = answer.map_err(|status| NotChanged::Unknown(status.message().to_owned()))?;
    match answer.into_inner().outcome {
        Some(Outcome::Done(v1::MemberChangeDone {})) => Ok(()),
        Some(Outcome::Refused(refused)) if refused.is_unknown => Err(NotChanged::NoMember),
        Some(Outcome::Refused(refused)) => Err(NotChanged::Refused(refused.why)),
        Some(Outcome::LeaderElsewhere(at)) => {
            Err(NotChanged::Elsewhere(Elsewhere(at.leader.map(ControllerId))))
        }
        Some(Outcome::Unknown(unknown)) => Err(NotChanged::Unknown(unknown.cause)),
        None => Err(NotChanged::Unknown("the leader's answer cannot be understood".to_owned())),
    }
}

/// Makes a change, if this member leads.
pub(super) async fn make(node: &Node, change: &MemberChange) -> Result<(), NotChanged> {
    let _one_at_a_time = node.changing.lock().await;
    if !matches!(node.leader(), Leader::Me) {
        return Err(NotChanged::Elsewhere(Elsewhere(None)));
    }
    match change {
        MemberChange::Add { id, address } => add(node, *id, address).await,
        MemberChange::Remove { id } => remove(node, *id).await,
    }
}

async fn add(node: &Node, id: ControllerId, address: &str) -> Result<(), NotChanged> {
    let refuse = |why: String| Err(NotChanged::Refused(why));
    let group = node.group();
    match group.get(&id.0) {
        Some(known) if known.cluster == address => return is_the_same(node, id, known).await,
        Some(known) => {
            return refuse(format!(
                "controller {id} is a member already, at {}; remove it first",
                known.cluster
            ));
        }
        None => {}
    }
    if let Some((other, _)) = group.iter().find(|(_, known)| known.cluster == address) {
        return refuse(format!("controller {other} is at {address}"));
    }
    // What is configured goes before what the group knows, and would lead elsewhere.
    let configured = node.peers.configured().find(|member| member.id == id);
    if let Some(other) = configured.filter(|member| member.cluster_addr != address) {
        return refuse(format!(
            "the configuration of controller {}, which leads, has controller {id} at {}; start it there, or with an \
             id of its own, or change that configuration",
            node.id, other.cluster_addr
        ));
    }
    let found = match founding::hello(node, id, address).await {
        Ok(found) => found,
        Err(cause) => {
            return refuse(format!(
                "controller {id} does not answer at {address}: {cause}; start it first, with an empty data \
                 directory and all members in its configuration"
            ));
        }
    };
    if !found.group.is_empty() {
        return refuse(format!(
            "controller {id} is in a group already; stop it, remove its data directory, and start it again"
        ));
    }
    let (_, at) = found.me;
    let taken_in = Addresses { cluster: address.to_owned(), ..at };
    commit(node, ChangeMembers::AddNodes(Nodes::from([(id.0, taken_in)]))).await?;
    tracing::info!(%id, address, "took a controller in as a learner");
    Ok(())
}

/// Whether a member works on the files that the group knows. One whose files were lost answers at the same address and
/// is not the same member.
async fn is_the_same(node: &Node, id: ControllerId, known: &Addresses) -> Result<(), NotChanged> {
    if id == node.id {
        return Ok(());
    }
    let refuse = |why: &str| {
        let at = &known.cluster;
        Err(NotChanged::Refused(format!("controller {id} is a member already, at {at}, but {why}")))
    };
    match founding::hello(node, id, &known.cluster).await {
        Ok(found) if found.me.1.incarnation == known.incarnation => Ok(()),
        Ok(_) => refuse("on files that are gone; remove it first, and then add it again"),
        Err(cause) => refuse(&format!("does not answer there: {cause}; start it")),
    }
}

async fn remove(node: &Node, id: ControllerId) -> Result<(), NotChanged> {
    if !node.group().contains_key(&id.0) {
        return Err(NotChanged::NoMember);
    }
    let electorate = node.electorate();
    electorate
        .admit_removal(id.0)
        .map_err(|why| NotChanged::Refused(format!("controller {id} cannot be removed: {why}")))?;
    if id == node.id {
        // The successor does it: a leader outside of its own group would answer nobody.
        node.hand_over().await;
        return Err(NotChanged::Elsewhere(Elsewhere(None)));
    }
    let only = BTreeSet::from([id.0]);
    let change = if electorate.voters.contains(&id.0) {
        ChangeMembers::RemoveVoters(only)
    } else {
        ChangeMembers::RemoveNodes(only)
    };
    commit(node, change).await?;
    tracing::info!(%id, "removed a controller from the group");
    Ok(())
}

/// Has a change committed. A member that loses its vote leaves the group altogether.
pub(super) async fn commit(node: &Node, change: ChangeMembers<u64, Addresses>) -> Result<(), NotChanged> {
    match timeout(CHANGE_TIMEOUT, node.raft.change_membership(change, false)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(at)))) => {
            Err(NotChanged::Elsewhere(Elsewhere(at.leader_id.map(ControllerId))))
        }
        Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(
            error @ ChangeMembershipError::InProgress(_),
        )))) => Err(NotChanged::Unknown(error.to_string())),
        Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error)))) => {
            Err(NotChanged::Refused(error.to_string()))
        }
        Ok(Err(error)) => Err(NotChanged::Unknown(error.to_string())),
        Err(_) => Err(NotChanged::Unknown("the change was not committed in time".to_owned())),
    }
}

impl Node {
    /// The group as this member knows it.
    pub(super) fn group(&self) -> Nodes {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.nodes().map(|(id, at)| (*id, at.clone())).collect()
    }

    /// Which members vote and which answer, as a leader sees it.
    pub(super) fn electorate(&self) -> Electorate {
        let patience = Duration::from_millis(self.raft.config().election_timeout_max) * LEASES;
        let metrics = self.raft.metrics().borrow_watched().clone();
        Electorate::of(&metrics, patience)
    }
}

#[cfg(test)]
#[path = "tests/members.rs"]
mod tests;
