//! Asking the leader to have an executor dial this controller. Only the leader has a session with the executor.

use std::time::Duration;

use muster_common::id::ControllerId;
use muster_platform::channel::words_of;
use muster_platform::{ExpectedPeer, TlsIdentity, World, channel};
use muster_proto::v1;
use muster_proto::v1::relays_client::RelaysClient;
use muster_proto::v1::summon_response::Outcome;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::{RelayError, Who};
use crate::raft::{Member, RaftStatus};
use crate::session::{Summoned, Summons};

/// How long an election, or an executor that is about to open its session, is waited for.
const SUMMONED_WITHIN: Duration = Duration::from_secs(10);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(200);
/// One question to the leader.
const ATTEMPT: Duration = Duration::from_secs(2);

pub(super) struct Summoner {
    pub(super) id: ControllerId,
    pub(super) world: World,
    pub(super) tls: TlsIdentity,
    pub(super) status: watch::Receiver<RaftStatus>,
    pub(super) summons: Summons,
}

impl Summoner {
    /// Asks whichever controller leads to tell an executor to dial this controller. Returns the address that it was told.
    pub(super) async fn summon(&self, who: &Who, relay: String) -> Result<String, RelayError> {
        let begun = Instant::now();
        loop {
            let status = self.status.borrow().clone();
            let me = status.members.iter().find(|member| member.id == self.id);
            let address = me.map(|member| member.cluster_addr.clone()).unwrap_or_default();
            let dial = v1::Dial { relay: relay.clone(), controller: self.id.0, address: address.clone() };
            let summoned = match &status.leader {
                Some(leader) if leader.id == self.id => self.summons.summon(who.executor.clone(), dial).await,
                Some(leader) => self.ask(leader, who, dial).await,
                None => Summoned::NotLeader,
            };
            let waited = begun.elapsed();
            match summoned {
                Summoned::Told => return Ok(address),
                Summoned::NoSession | Summoned::NotLeader if waited < SUMMONED_WITHIN => sleep(PAUSE).await,
                Summoned::NoSession => return Err(RelayError::NoSession { who: who.clone(), waited }),
                Summoned::NotLeader => return Err(RelayError::NoLeader { who: who.clone(), waited }),
            }
        }
    }

    /// Telling an executor twice does no harm: its second call is not expected any more.
    async fn ask(&self, leader: &Member, who: &Who, dial: v1::Dial) -> Summoned {
        let expected = ExpectedPeer::Controller(leader.id);
        let channel = match channel(&self.world, &self.tls, &leader.cluster_addr, expected) {
            Ok(channel) => channel,
            Err(error) => {
                tracing::warn!(%error, "the leader cannot be asked to have an executor dial");
                return Summoned::NotLeader;
            }
        };
        let request = v1::SummonRequest { executor: who.executor.to_string(), dial: Some(dial) };
        match timeout(ATTEMPT, RelaysClient::new(channel).summon(request)).await {
            Ok(Ok(answer)) => match answer.into_inner().outcome {
                Some(Outcome::Summoned(_)) => Summoned::Told,
                Some(Outcome::NoSession(_)) => Summoned::NoSession,
                Some(Outcome::LeaderElsewhere(_)) | None => Summoned::NotLeader,
            },
            Ok(Err(status)) => {
                tracing::debug!(leader = %leader.id, why = words_of(&status), "the leader had no executor dial");
                Summoned::NotLeader
            }
            Err(_) => Summoned::NotLeader,
        }
    }
}
