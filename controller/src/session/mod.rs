//! Sessions with executors: the gRPC service, and the hub that owns what it serves.
//!
//! One task per stream reads, checks and passes on; one task, the hub, decides. They speak through one
//! bounded queue up and one bounded channel per session down. The hub has sessions only while this
//! controller is the ready leader.
//!
//! | module | noun |
//! |---|---|
//! | `stream` | one stream: identity, limits, messages of the wire |
//! | `threshold` | the streams that have not registered yet |
//! | `message` | what streams tell the hub |
//! | `hub` | the task: follows leadership, state and time |
//! | `leadership` | what the hub has while this controller leads |
//! | `proposals` | what that leadership has proposed, and for whom |
//! | `lobby` | who came while nobody is known to lead |
//! | `roster` | the open sessions, at most one per executor |
//! | `pace` | who is let in when |
//! | `gather` | reports on their way into one proposal |
//! | `liveness` | who is in contact, judged on the leader's monotonic clock |
//! | `rush` | the time in which nobody is missed, because many come |
//! | `summons` | executors that are to dial a controller |

#[cfg(test)]
mod fuzz;
mod gather;
mod hub;
mod leadership;
mod liveness;
mod lobby;
mod message;
mod pace;
mod proposals;
mod roster;
mod rush;
mod stream;
mod summons;
mod threshold;

use std::sync::Arc;

use axum::Router;
use muster_common::id::ControllerId;
use muster_platform::{Crowd, World};
use tokio::sync::{mpsc, watch};

use crate::raft::Consensus;
use crate::state::State;

use lobby::Lobby;
use stream::Streams;

pub(crate) use hub::Hub;
pub(crate) use liveness::Limits;
pub(crate) use summons::{Summoned, Summons};

/// How many messages of all streams wait for the hub; readers wait while it is full.
const INBOX: usize = 4_096;

/// The service, the way to have executors dial, and the hub behind both. The service's calls wait until the hub runs; `crowd` is that at the port where
/// executors come.
pub(crate) fn sessions(
    id: ControllerId,
    world: World,
    crowd: Crowd,
    consensus: Consensus,
    state: watch::Receiver<Arc<State>>,
    limits: Limits,
) -> (Router, Summons, Hub) {
    let (sender, inbox) = mpsc::channel(INBOX);
    let status = consensus.status();
    let routes = Router::new().route_service("/muster.v1.Sessions/{*call}", Streams::server(sender.clone()));
    let lobby = Lobby::default();
    let summons = Summons(sender);
    (
        routes,
        summons,
        Hub { id, world, crowd, consensus, status, state, limits, inbox, lobby, alone_since: None },
    )
}
