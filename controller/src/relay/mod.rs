//! Relays carry what users ask of one node: logs, and commands beside a workload. Any controller takes the call. It asks
//! the leader, which has the executor's session, to tell the executor to dial the controller that was called. The data then
//! takes this one hop. So the leader carries none of it, and a relay outlives a change of leader.
//!
//! | module | noun |
//! |---|---|
//! | `awaited` | the executors that are expected to dial, by the name of the relay that each must give |
//! | `summon` | asking the leader to tell an executor to dial |
//! | `service` | the gRPC service: executors that dial, controllers that ask the leader |
//! | `link` | an open relay: the messages down and up, and the credit that bounds them |
//! | `reading` | a log that is read through a relay, and through another one when that breaks |
//! | `places` | how many relays are open at once |
//! | `error` | why a relay could not be opened, or broke |
//!
//! This module must not know REST, nor what the data means that it carries.

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
    /// Has the executor dial, and sends it `request`. Takes a bounded time; dropping the future gives it up.
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
