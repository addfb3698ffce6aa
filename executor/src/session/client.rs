//! The task that keeps a session: which controller to try, and when to try again.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_common::executor::ExecutorRecord;
use muster_platform::{TlsIdentity, World};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::link::{End, Link};
use super::targets::Targets;
use crate::relay::Dials;
use crate::supervisor::Handle;

/// How long the session waits until it is known what became of every instance. A runner that hangs must not
/// keep the rest of the node from being heard; what is not known by then is reported as UNKNOWN.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);
/// How much pauses vary, in percent: executors that lost the same leader do not come back in step.
const JITTER: u32 = 50;

/// When a session breaks, so do those of all others, and the next leader is elected within a second: everybody comes
/// back at some moment of twice this time.
const AFTER_SESSION: Duration = Duration::from_secs(1);
/// How long a session must have lasted for the next trouble to begin with short pauses again.
const PROVEN_AFTER: Duration = Duration::from_secs(5);

/// Of how many controllers it is remembered; hints may name ever new ones.
const COMPLAINTS_MAX: usize = 64;

/// What a session needs.
pub(crate) struct Session {
    /// The machine.
    pub world: World,
    /// This executor's certificate.
    pub tls: TlsIdentity,
    /// Addresses of the controllers' cluster ports.
    pub controllers: Vec<String>,
    /// What this executor registers with.
    pub executor: ExecutorRecord,
    /// The supervisor, which takes slot tables and has what is to be reported.
    pub supervisor: Handle,
    /// Publishes the address of the leader while there is a session with it.
    pub leader: watch::Sender<Option<String>>,
    /// Takes the addresses that the leader wants dialled.
    pub relays: Dials,
}

/// What was last said of each controller that there is no session with.
#[derive(Default)]
struct Complaints(BTreeMap<String, String>);

impl Complaints {
    /// Says it once, not with every try.
    fn note(&mut self, address: &str, why: &str) {
        if self.is_news(address, why) {
            tracing::info!(%address, %why, "no session with this controller");
        } else {
            tracing::debug!(%address, %why, "still no session with this controller");
        }
    }

    /// Whether that is something else than before.
    fn is_news(&mut self, address: &str, why: &str) -> bool {
        if self.0.len() >= COMPLAINTS_MAX {
            self.0.clear();
        }
        self.0.insert(address.to_owned(), why.to_owned()).is_none_or(|before| before != why)
    }
}

/// Keeps a session with the leader until `shutdown`.
pub(crate) async fn run(session: Session, shutdown: CancellationToken) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = keep_connected(&session) => {}
    }
}

async fn keep_connected(session: &Session) {
    let mut standing = session.supervisor.standing();
    let settled = standing.wait_for(|standing| standing.is_settled);
    match tokio::time::timeout(SETTLE_LIMIT, settled).await {
        Ok(Ok(_)) => {}
        Ok(Err(_)) => return,
        Err(_) => tracing::warn!("some instances are still UNKNOWN; opening the session without them"),
    }
    let mut targets = Targets::new(session.controllers.clone());
    let mut complaints = Complaints::default();
    let mut highest_term = session.supervisor.standing().borrow().term;
    while let Some(address) = targets.next() {
        let mut link = Link::new(session, &mut highest_term);
        let begun = Instant::now();
        let end = link.run(&address).await;
        session.leader.send_if_modified(|leader| leader.take().is_some());
        // A welcome alone proves nothing: what this executor has to say, or is told, may break every session.
        let was_proven = link.was_welcomed() && begun.elapsed() >= PROVEN_AFTER;
        if was_proven {
            targets.welcomed();
            complaints = Complaints::default();
        }
        let pause = match end {
            End::SupervisorGone => return,
            End::NotLeader { leader } => {
                tracing::debug!(%address, %leader, "not the leader");
                session.world.jitter(targets.hinted(leader), JITTER)
            }
            End::TurnedAway { why } => {
                complaints.note(&address, &why);
                session.world.jitter(targets.turned_away(), JITTER)
            }
            End::Lost { why } => {
                complaints.note(&address, &why);
                let pause = targets.failed();
                if was_proven {
                    session.world.jitter(AFTER_SESSION, 100)
                } else {
                    session.world.jitter(pause, JITTER)
                }
            }
        };
        tokio::time::sleep(pause).await;
    }
    tracing::info!("no controllers are configured; working on the last slot table");
    std::future::pending::<()>().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_words_of_the_same_controller_are_said_once() {
        let mut complaints = Complaints::default();
        let said = [
            ("a", "refused"),
            ("b", "refused"),
            ("a", "refused"),
            ("a", "late"),
            ("b", "refused"),
            ("a", "refused"),
        ]
        .map(|(address, why)| complaints.is_news(address, why));
        assert_eq!(said, [true, true, false, true, false, true]);
        for nth in 0..1000 {
            complaints.is_news(&nth.to_string(), "refused");
        }
        assert!(complaints.0.len() <= COMPLAINTS_MAX);
    }
}
