//! How a member with empty files comes into a group: it founds one together with all members that the configuration
//! names, or it waits to be added to a group that exists.
//!
//! Nobody founds while one of the others is silent: that one may be in a group already, in which this member
//! was before its files were lost. The lowest id founds; the others hear of it from their leader.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use muster_common::id::ControllerId;
use muster_proto::v1;
use openraft::errors::{InitializeError, RaftError};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::codec;
use super::node::Node;
use super::types::{Addresses, Incarnation, Nodes};

/// One question to one other.
const HELLO_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two rounds of questions.
const PAUSE: Duration = Duration::from_millis(100);

/// What another member said of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Hello {
    /// Where it is, and on which files.
    pub(super) me: (u64, Addresses),
    /// The members that its configuration names.
    pub(super) configured: Vec<u64>,
    /// The members of the group that it is in; empty where it is in none.
    pub(super) group: Nodes,
    /// The term in which it leads, followed by a majority.
    pub(super) leads_in: Option<u64>,
}

/// What a member with empty files does.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It founds this group.
    Found(Nodes),
    /// It waits.
    Wait(Waiting),
}

/// What it waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Waiting {
    /// For these to answer.
    For(Vec<ControllerId>),
    /// For this one to found the group.
    Founder(ControllerId),
    /// For this one's configuration to name the same members.
    Agreement(ControllerId),
    /// To be added to the group that there is.
    ToBeAdded(ControllerId),
    /// To be removed from the group, which knows it on other files, and added anew.
    ToBeReplaced(ControllerId),
    /// For the leader, which will call.
    Leader,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::For(silent) => {
                let silent: Vec<_> = silent.iter().map(ToString::to_string).collect();
                let silent = silent.join(", ");
                write!(f, "no group is founded before these controllers have answered: {silent}; start them")
            }
            Self::Founder(id) => write!(f, "controller {id} will found the group"),
            Self::Agreement(id) => write!(
                f,
                "no group is founded: the configuration of controller {id} names other members; make them the \
                 same on all"
            ),
            Self::ToBeAdded(me) => write!(
                f,
                "there is a group, and this controller is not in it; 'muster members add {me} <host:port of its \
                 cluster port>' on one of its members takes it in"
            ),
            Self::ToBeReplaced(me) => write!(
                f,
                "the group knows this controller, but on files that are gone; 'muster members remove {me}' and \
                 then 'muster members add {me} <host:port of its cluster port>' on one of its members take it in \
                 again"
            ),
            Self::Leader => write!(f, "the group's leader will call"),
        }
    }
}

/// Starts the task. It ends once this member is in a group, or with `stop`.
pub(super) fn start(node: Arc<Node>, stop: CancellationToken) {
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = enter(&node) => {}
        }
    });
}

async fn enter(node: &Node) {
    let mut told = None;
    // An error means that consensus has ended, which its status says.
    while let Ok(false) = node.raft.is_initialized().await {
        let others: Vec<_> = node.peers.configured().filter(|member| member.id != node.id).collect();
        let answers =
            join_all(others.iter().map(|member| hello(node, member.id, &member.cluster_addr))).await;
        let heard = others.iter().zip(answers).map(|(member, answer)| (member.id, answer.ok())).collect();
        match decide(&own(node), &heard) {
            Verdict::Found(nodes) => found(node, nodes).await,
            Verdict::Wait(waiting) => {
                if told.as_ref() != Some(&waiting) {
                    tracing::warn!("waiting: {waiting}");
                    told = Some(waiting);
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn found(node: &Node, nodes: Nodes) {
    match node.raft.initialize(nodes).await {
        Ok(()) => tracing::info!("founded the group"),
        // Somebody's vote came in between.
        Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
        Err(error) => tracing::error!(%error, "cannot found the group"),
    }
}

/// What this member says of itself.
pub(super) fn own(node: &Node) -> Hello {
    let configured: Vec<u64> = node.peers.configured().map(|member| member.id.0).collect();
    let group = node.group();
    let me = node.peers.configured().find(|member| member.id == node.id);
    let (cluster, api) =
        me.map_or_else(Default::default, |me| (me.cluster_addr.clone(), me.api_addr.clone()));
    let me = Addresses { cluster, api, incarnation: node.incarnation.clone() };
    let status = node.status.borrow();
    let leads_in = status.is_ready_leader.then_some(status.term);
    Hello { me: (node.id.0, me), configured, group, leads_in }
}

/// Asks the controller at `address` who it is.
pub(super) async fn hello(node: &Node, id: ControllerId, address: &str) -> Result<Hello, String> {
    let clients = node.peers.clients(id, address).map_err(|error| error.to_string())?;
    let mut members = clients.members;
    let answer = timeout(HELLO_TIMEOUT, members.hello(v1::HelloRequest {})).await;
    let answer = answer.map_err(|_| format!("no answer within {} s", HELLO_TIMEOUT.as_secs()))?;
    let answer = answer.map_err(|status| status.message().to_owned())?.into_inner();
    Ok(Hello {
        me: codec::member_from(answer.me.unwrap_or_default()),
        configured: answer.configured.iter().map(|member| member.id).collect(),
        group: answer.group.into_iter().map(codec::member_from).collect(),
        leads_in: answer.leads_in,
    })
}

/// Pure: what `own` does with what it `heard` of the others; `None` was silence.
fn decide(own: &Hello, heard: &BTreeMap<ControllerId, Option<Hello>>) -> Verdict {
    let me = ControllerId(own.me.0);
    let groups = heard.values().flatten().map(|hello| &hello.group).filter(|group| !group.is_empty());
    // One that was left behind may answer from before: the kindest answer counts, since nothing but calls
    // of a leader that means these very files takes this member in.
    let verdict = |group: &Nodes| match group.get(&me.0).map(|node| &node.incarnation) {
        Some(known) if *known == own.me.1.incarnation => Waiting::Leader,
        Some(Incarnation(_)) => Waiting::ToBeReplaced(me),
        None => Waiting::ToBeAdded(me),
    };
    let rank = |waiting: &Waiting| match waiting {
        Waiting::Leader => 0,
        Waiting::ToBeAdded(_) => 1,
        _ => 2,
    };
    if let Some(waiting) = groups.map(verdict).min_by_key(rank) {
        return Verdict::Wait(waiting);
    }
    let silent: Vec<_> = heard.iter().filter(|(_, hello)| hello.is_none()).map(|(id, _)| *id).collect();
    if !silent.is_empty() {
        return Verdict::Wait(Waiting::For(silent));
    }
    let hellos = || heard.iter().filter_map(|(id, hello)| Some((*id, hello.as_ref()?)));
    if let Some((other, _)) = hellos().find(|(_, hello)| hello.configured != own.configured) {
        return Verdict::Wait(Waiting::Agreement(other));
    }
    match hellos().map(|(id, _)| id).min() {
        Some(lowest) if lowest < me => Verdict::Wait(Waiting::Founder(lowest)),
        _ => {
            let others = hellos().map(|(_, hello)| hello.me.clone());
            Verdict::Found(others.chain([own.me.clone()]).collect())
        }
    }
}

impl Hello {
    /// As it travels.
    pub(super) fn to_message(&self) -> v1::HelloResponse {
        let named = |id: &u64| v1::RaftMember { id: *id, ..v1::RaftMember::default() };
        v1::HelloResponse {
            me: Some(codec::member_to(self.me.0, &self.me.1)),
            configured: self.configured.iter().map(named).collect(),
            group: self.group.iter().map(|(id, node)| codec::member_to(*id, node)).collect(),
            leads_in: self.leads_in,
        }
    }
}

#[cfg(test)]
#[path = "tests/founding.rs"]
mod tests;
