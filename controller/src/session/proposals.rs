//! The proposals of one leadership that are under way, and the sessions that wait for each of them. All are made in the
//! term of that leadership. This module must not know what the commands mean.

use std::time::Duration;

use bytes::Bytes;
use metrics::counter;
use muster_common::id::ExecutorId;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::roster::SessionKey;
use crate::raft::Consensus;
use crate::state::{Command, Contact, Reply};

/// How long a proposal may take. Longer than an election, so that what was proposed just before one
/// is not given up needlessly; shorter than `unknownAfter`.
const PROPOSAL_TIMEOUT: Duration = Duration::from_secs(5);

/// A proposal that is through.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) what: Proposed,
    /// What applying it came to, or why it was not committed.
    pub(super) outcome: Result<Reply, String>,
}

/// What was proposed, and for whom.
#[derive(Debug)]
pub(super) enum Proposed {
    Registration {
        executor: ExecutorId,
        key: SessionKey,
    },
    Reports(Vec<Awaiting>),
    /// Verdicts on contact, to be counted when they are through. Empty where clock skews were proposed, which take turns
    /// with verdicts.
    Verdicts(Vec<Contact>),
}

/// The session that waits for a report's acknowledgement.
#[derive(Debug)]
pub(super) struct Awaiting {
    pub(super) executor: ExecutorId,
    pub(super) key: SessionKey,
    /// The report's share of what all sessions may have on the way. It is given back when the report is through.
    pub(super) _share: Option<OwnedSemaphorePermit>,
}

/// The proposals of one leadership.
pub(super) struct Proposals {
    term: u64,
    consensus: Consensus,
    under_way: JoinSet<Done>,
    registrations: usize,
    verdicts: usize,
}

impl Proposals {
    pub(super) fn begin(term: u64, consensus: Consensus) -> Self {
        Self { term, consensus, under_way: JoinSet::new(), registrations: 0, verdicts: 0 }
    }

    pub(super) const fn term(&self) -> u64 {
        self.term
    }

    /// How many registrations are on their way to the log.
    pub(super) const fn registrations(&self) -> usize {
        self.registrations
    }

    /// Whether verdicts or skews are under way. Until they are through the state does not show them, and proposing
    /// them again would repeat them.
    pub(super) const fn has_verdicts(&self) -> bool {
        self.verdicts > 0
    }

    pub(super) fn propose(&mut self, what: Proposed, command: &Command) {
        match &what {
            Proposed::Registration { .. } => self.registrations += 1,
            Proposed::Verdicts(_) => self.verdicts += 1,
            Proposed::Reports(_) => {}
        }
        let (consensus, term, bytes) = (self.consensus.clone(), self.term, command.encode_in_term(self.term));
        self.under_way.spawn(async move { Done { what, outcome: commit(&consensus, term, bytes).await } });
    }

    /// The next proposal that is through; never while none is under way.
    pub(super) async fn next_done(&mut self) -> Done {
        loop {
            match self.under_way.join_next().await {
                Some(Ok(done)) => return done,
                // Only a panic or an abort ends one without its answer, and nobody aborts.
                Some(Err(error)) => tracing::error!(%error, "a proposal ended without an answer"),
                None => std::future::pending().await,
            }
        }
    }

    /// Takes a proposal that is through out of the counts.
    pub(super) fn settle(&mut self, done: &Done) {
        let kind = match &done.what {
            Proposed::Registration { .. } => {
                self.registrations = self.registrations.saturating_sub(1);
                "registration"
            }
            Proposed::Verdicts(_) => {
                self.verdicts = self.verdicts.saturating_sub(1);
                "verdicts"
            }
            Proposed::Reports(batch) => {
                counter!("muster_session_reports_total").increment(batch.len() as u64);
                "reports"
            }
        };
        let outcome = if done.outcome.is_ok() { "committed" } else { "failed" };
        counter!("muster_session_proposals_total", "kind" => kind, "outcome" => outcome).increment(1);
    }
}

/// Proposes `command` and waits until it is applied.
async fn commit(consensus: &Consensus, term: u64, command: Bytes) -> Result<Reply, String> {
    match timeout(PROPOSAL_TIMEOUT, consensus.propose_as_leader(term, command)).await {
        Ok(Ok(reply)) => match Reply::decode(&reply) {
            Ok(reply) => Ok(reply),
            Err(error) => Err(error.to_string()),
        },
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("not committed within {} s", PROPOSAL_TIMEOUT.as_secs())),
    }
}
