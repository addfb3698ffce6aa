//! Sessions with executors: the gRPC service, and the hub that owns the sessions.
//!
//! Each stream has a task, which reads messages, checks them and hands them to the hub. The hub is one task, which decides.
//! One bounded queue leads to the hub, and one bounded channel per session leads back. The hub has sessions only while this
//! controller is the ready leader.
//!
//! | module | noun |
//! |---|---|
//! | `stream` | the task of one stream: identity, limits, messages of the wire |
//! | `threshold` | the streams that have not registered yet |
//! | `message` | what streams tell the hub |
//! | `hub` | the task: follows leadership, state and time |
//! | `leadership` | what the hub has while this controller leads |
//! | `proposals` | what that leadership has proposed, and for whom |
//! | `lobby` | executors that came while no leader is known |
//! | `roster` | the open sessions, at most one per executor |
//! | `pace` | when each executor is let in, after all of them came at once |
//! | `gather` | reports on their way into one proposal |
//! | `liveness` | which executors are in contact, judged on the leader's monotonic clock |
//! | `rush` | times in which silence does not count, because too many executors come at once |
//! | `summons` | telling an executor to dial a controller |

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

/// The routes of the service, the way to have executors dial, and the hub behind both. Calls of the service wait until the
/// hub runs. `crowd` counts who waits at the port where executors come.
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
