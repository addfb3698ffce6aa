//! The leader's task: plans whenever the state changes, and proposes what the plan says.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use metrics::{counter, histogram};
use muster_platform::World;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::plan_on;
use super::unsettled::Unsettled;
use crate::raft::{Consensus, ProposeError, RaftStatus};
use crate::state::{Change, Command, Reply, Retention, State};

/// How often to look even if nothing seems to have happened.
const SAFETY_PASS: Duration = Duration::from_secs(5);
/// How often to look at every executor, whether anything about it changed or not.
const FULL_PASS: Duration = Duration::from_secs(60);
/// How long to gather changes before planning, at least.
const MIN_REST: Duration = Duration::from_millis(2);
/// The same, at most.
const MAX_REST: Duration = Duration::from_millis(500);
/// Planning takes at most one part in this many of a core, however large the cluster is.
const REST_PER_WORK: u32 = 4;
/// How long to wait after a proposal that failed.
const RETRY: Duration = Duration::from_millis(200);

/// Where plans are proposed.
pub(crate) trait Log: Send + Sync {
    /// Has `command` of the leader of `term` replicated and applied; the machine's reply.
    fn propose(&self, term: u64, command: Bytes) -> impl Future<Output = Result<Bytes, ProposeError>> + Send;
}

impl Log for Consensus {
    fn propose(&self, term: u64, command: Bytes) -> impl Future<Output = Result<Bytes, ProposeError>> + Send {
        self.propose_as_leader(term, command)
    }
}

/// Plans while this controller leads. Owns nothing: all that it knows is in the state.
pub(crate) struct Reconciler<L> {
    state: watch::Receiver<Arc<State>>,
    status: watch::Receiver<RaftStatus>,
    log: L,
    /// With the leaders' clock.
    world: World,
    /// How much history this controller's configuration keeps. The leader's setting applies to all.
    retention: Retention,
}

/// Why leading came to an end.
enum End {
    /// Another controller leads, or none.
    Deposed,
    /// The controller is stopping.
    Stopping,
}

impl<L: Log> Reconciler<L> {
    /// A task that is not running yet.
    #[must_use]
    pub(crate) const fn new(
        state: watch::Receiver<Arc<State>>,
        status: watch::Receiver<RaftStatus>,
        log: L,
        world: World,
        retention: Retention,
    ) -> Self {
        Self { state, status, log, world, retention }
    }

    /// Runs until `shutdown`, or until the state or the status has no owner any more.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let ended = shutdown.clone();
        let work = async {
            while self.status.wait_for(|status| status.is_ready_leader).await.is_ok() {
                tracing::info!("reconciling: this controller leads");
                match self.lead().await {
                    End::Deposed => tracing::info!("not reconciling any more: this controller does not lead"),
                    End::Stopping => return,
                }
            }
        };
        tokio::select! {
            biased;
            () = ended.cancelled() => {}
            () = work => {}
        }
    }

    /// Leads in one term. Each term has to be announced anew, even if the same controller leads again.
    async fn lead(&mut self) -> End {
        let term = self.status.borrow().term;
        if let Some(end) = self.announce(term).await {
            return end;
        }
        let mut unsettled = Unsettled::default();
        let mut full_pass = Instant::now() + FULL_PASS;
        loop {
            if !self.leads(term) {
                return End::Deposed;
            }
            let state = Arc::clone(&self.state.borrow_and_update());
            let started = Instant::now();
            if started >= full_pass {
                unsettled.doubt();
                full_pass = started + FULL_PASS;
            }
            let mut plan = plan_on(&state, unsettled.in_state(&state), self.world.clock.now());
            unsettled.settled(&plan.settled);
            if state.retention() != self.retention {
                plan.changes.insert(0, Change::Retain(self.retention));
            }
            let work = started.elapsed();
            histogram!("muster_reconcile_seconds").record(work.as_secs_f64());
            if plan.changes.is_empty() {
                let wait = plan.wake.map_or(SAFETY_PASS, |wake| {
                    wake.since(self.world.clock.now()).clamp(MIN_REST, SAFETY_PASS)
                });
                if let Some(end) = self.wait(wait).await {
                    return end;
                }
            } else {
                self.propose(term, plan).await;
            }
            sleep((work * REST_PER_WORK).clamp(MIN_REST, MAX_REST)).await;
        }
    }

    fn leads(&self, term: u64) -> bool {
        let status = self.status.borrow();
        status.is_ready_leader && status.term == term
    }

    /// Announces this leader. Nothing is planned before that: operations would still go by another leader's clock.
    async fn announce(&self, term: u64) -> Option<End> {
        while self.leads(term) {
            let leader = self.status.borrow().leader.clone();
            let address = leader.map(|leader| leader.api_addr).unwrap_or_default();
            let command = Command::AnnounceLeader { at: self.world.clock.now(), address };
            match self.log.propose(term, command.encode_in_term(term)).await {
                Ok(_) => return None,
                Err(error) => {
                    tracing::warn!(%error, term, "the beginning of a leadership could not be recorded; it is tried again");
                    sleep(self.world.jitter(RETRY, 50)).await;
                }
            }
        }
        Some(End::Deposed)
    }

    /// Until there is a reason to look again.
    async fn wait(&mut self, at_most: Duration) -> Option<End> {
        // In a fixed order, so that a simulation replays.
        tokio::select! {
            biased;
            changed = self.state.changed() => changed.err().map(|_| End::Stopping),
            changed = self.status.changed() => changed.err().map(|_| End::Stopping),
            () = sleep(at_most) => None,
        }
    }

    /// Failures are harmless: what is still to do is planned again.
    async fn propose(&self, term: u64, plan: super::Plan) {
        let count = plan.changes.len();
        let command = Command::Plan { at: self.world.clock.now(), changes: plan.changes };
        match self.log.propose(term, command.encode_in_term(term)).await {
            Ok(reply) => match Reply::decode(&reply) {
                Ok(Reply::Planned { applied, skipped }) => {
                    tracing::debug!(applied, skipped, "a plan is applied");
                    counter!("muster_reconcile_changes_total").increment(u64::from(applied));
                }
                Ok(reply) => tracing::error!(?reply, "a plan got an answer that is not one to plans"),
                Err(error) => tracing::error!(%error, "the answer to a plan cannot be read"),
            },
            Err(error) => {
                tracing::warn!(%error, count, "a plan could not be proposed; it is made again");
                sleep(self.world.jitter(RETRY, 50)).await;
            }
        }
    }
}
