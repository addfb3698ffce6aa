//! Nobody tells a member that it was removed from the group: the leader just stops calling it. So each member asks the
//! others now and then. One that learns that it is a member no more says so and ends, instead of waiting for ever for a
//! leader that does not know it.
//!
//! A member believes only a leader that a majority follows, and none of an earlier term than its own: such a leader may
//! speak of the time before this member was added.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use muster_common::id::ControllerId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::founding::{self, Hello};
use super::node::{Leader, Node};

/// Between two rounds of questions.
const PAUSE: Duration = Duration::from_secs(2);
/// How many rounds in a row must say so: a removal that is not committed yet may come to nothing.
const ROUNDS: u32 = 2;

/// Starts the task. If this member was removed, it says why in `excluded` and ends; otherwise it ends with `stop`.
pub(super) fn start(node: Arc<Node>, excluded: watch::Sender<Option<String>>, stop: CancellationToken) {
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            why = exclusion(&node) => {
                excluded.send_replace(Some(why));
            }
        }
    });
}

async fn exclusion(node: &Node) -> String {
    let mut rounds = 0;
    loop {
        tokio::time::sleep(PAUSE).await;
        if matches!(node.leader(), Leader::Me) {
            continue;
        }
        let term = node.status.borrow().term;
        let own = founding::own(node);
        rounds = match excluded_by(&own, term, &ask(node, &own).await) {
            Some(leader) if rounds + 1 >= ROUNDS => return sentence(node.id, leader),
            Some(_) => rounds + 1,
            None => 0,
        };
    }
}

/// What the other members, as far as this one knows them, say of themselves. Who cannot be reached says nothing.
async fn ask(node: &Node, own: &Hello) -> Vec<Hello> {
    let others = own.group.iter().filter(|(id, _)| **id != node.id.0);
    let asked = others.map(|(id, at)| {
        let other = node.peers.member(ControllerId(*id), at);
        async move { founding::hello(node, other.id, &other.cluster_addr).await.ok() }
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// Pure: which leader does not count this member, on these files, among its group.
fn excluded_by(own: &Hello, term: u64, heard: &[Hello]) -> Option<ControllerId> {
    if own.group.is_empty() {
        return None;
    }
    let (me, at) = &own.me;
    let leads = |hello: &&Hello| hello.leads_in.is_some_and(|theirs| theirs >= term);
    let knows_me =
        |hello: &Hello| hello.group.get(me).is_some_and(|known| known.incarnation == at.incarnation);
    heard.iter().find(|hello| leads(hello) && !knows_me(hello)).map(|hello| ControllerId(hello.me.0))
}

fn sentence(me: ControllerId, leader: ControllerId) -> String {
    format!(
        "it is not a member of the group any more, as controller {leader} says, which leads it: it was removed, or the \
         group was made anew without it; to take it in again, run 'muster controller rejoin' here, start it, and then \
         'muster members add {me} <host:port of its cluster port>' on one of the members"
    )
}

#[cfg(test)]
#[path = "tests/exclusion.rs"]
mod tests;
