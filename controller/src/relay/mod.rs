//! Relays: what a user asks of one node. Any controller takes the call, and data takes one hop: the executor dials the
//! controller that was called, which needs the leader only to tell it to, since the leader has its session. So the
//! leader carries nothing of this, and a relay outlives a change of leader.
//!
//! | module | noun |
//! |---|---|
//! | `awaited` | who is expected to dial, by the relay that he must name |
//! | `summon` | the leader is asked to have an executor dial |
//! | `service` | the gRPC service: executors that dial, controllers that ask the leader |
//! | `link` | an open relay: what goes down, what comes up, and how much of it |
//! | `reading` | a log that is read through relays, one after the other where that must be |
//! | `places` | how many are open at once |
//! | `error` | why there is none, or none any more |
//!
//! It must not know REST, nor what is in what it carries.

mod awaited;
mod error;
mod link;
mod places;
mod reading;
mod service;
mod summon;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use muster_common::id::{ControllerId, ExecutorId};
use muster_platform::{TlsIdentity, World};
use muster_proto::v1;
use muster_proto::v1::relay_down::Body as Down;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::raft::RaftStatus;
use crate::session::Summons;
use crate::state::{Contact, State};

use awaited::Awaited;
use places::Places;
use service::Service;
use summon::Summoner;

pub(crate) use error::RelayError;
pub(crate) use link::{Relay, RelaySender, Up};
pub(crate) use reading::LogReading;

/// How long an executor that was told to dial may take: a connection, a handshake that may have to queue.
const DIALS_WITHIN: Duration = Duration::from_secs(10);

/// Opens relays.
#[derive(Clone)]
pub(crate) struct Relays {
    summoner: Arc<Summoner>,
    awaited: Awaited,
    state: watch::Receiver<Arc<State>>,
    places: Places,
}

/// The gRPC routes, and what opens relays for calls of users.
pub(crate) fn relays(
    id: ControllerId,
    world: World,
    tls: TlsIdentity,
    status: watch::Receiver<RaftStatus>,
    summons: Summons,
    state: watch::Receiver<Arc<State>>,
) -> (Router, Relays) {
    let awaited = Awaited::default();
    let routes = Service::routes(awaited.clone(), summons.clone());
    let summoner = Arc::new(Summoner { id, world, tls, status, summons });
    (routes, Relays { summoner, awaited, state, places: Places::default() })
}

impl Relays {
    /// Has the executor dial, and asks it. Bounded in time; dropping the future gives it up.
    pub(crate) async fn open(&self, executor: &ExecutorId, request: Down) -> Result<Relay, RelayError> {
        let who = self.present(executor)?;
        let place = self.places.take(&request)?;
        let relay = self.summoner.world.uuid().simple().to_string();
        let (_awaiting, arrival) = self.awaited.expect(relay.clone(), executor.clone());
        let address = self.summoner.summon(&who, relay).await?;
        match timeout_at(Instant::now() + DIALS_WITHIN, arrival).await {
            Ok(Ok(arrival)) => Relay::begin(who, arrival, request, place).await,
            Ok(Err(_)) | Err(_) => Err(RelayError::NotDialled { who, within: DIALS_WITHIN, address }),
        }
    }

    /// The executor as people know it, if it is heard.
    pub(crate) fn present(&self, executor: &ExecutorId) -> Result<Who, RelayError> {
        let state = self.state.borrow();
        let known = state.executor(executor).ok_or_else(|| RelayError::Gone(executor.clone()))?;
        let who = Who { executor: executor.clone(), hostname: known.record.hostname.clone() };
        match known.contact {
            Contact::Connected => Ok(who),
            Contact::Unreachable | Contact::Lost => {
                Err(RelayError::Away { who, since: known.contact_since.at })
            }
        }
    }
}

/// An executor as people know it: `executor e1 on host-7`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Who {
    pub executor: ExecutorId,
    pub hostname: String,
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "executor {} on {}", self.executor, self.hostname)
    }
}

/// What goes down.
fn down(body: Down) -> v1::RelayDown {
    v1::RelayDown { body: Some(body) }
}
