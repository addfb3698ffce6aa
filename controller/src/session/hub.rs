//! The one task that owns all sessions. It has sessions only while this controller is the ready
//! leader: everything that belongs to a leadership lives in [`Leadership`] and ends with it.
//!
//! It turns what the streams say into commands, and the state into slot tables and acknowledgements.
//! It must not know how commands are committed or what applying them means.

use std::sync::Arc;
use std::time::Duration;

use muster_common::id::ControllerId;
use muster_platform::{Crowd, World};
use muster_proto::v1;
use muster_proto::v1::controller_message::Body;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::leadership::Leadership;
use super::liveness::Limits;
use super::lobby::Lobby;
use super::message::Message;
use super::proposals::Done;
use super::roster::Outgoing;
use super::rush::Sign;
use super::summons::Summoned;
use crate::raft::{Consensus, RaftStatus, Role};
use crate::state::State;

/// How many messages are taken in one go, so that their reports travel together.
const INBOX_BATCH: usize = 256;
/// How often silence is judged: a twentieth of `unknownAfter`, so that a verdict is at most 5 % late.
const JUDGEMENTS_PER_UNKNOWN_AFTER: u32 = 20;

/// How long a leader that has no quorum keeps its sessions: a third of `unknownAfter`. Where another one leads by then,
/// everybody has time enough to find it.
const ALONE_PER_UNKNOWN_AFTER: u32 = 3;

/// The hub, before it runs and while it does.
pub(crate) struct Hub {
    pub(super) id: ControllerId,
    pub(super) world: World,
    pub(super) crowd: Crowd,
    pub(super) consensus: Consensus,
    pub(super) status: watch::Receiver<RaftStatus>,
    pub(super) state: watch::Receiver<Arc<State>>,
    pub(super) limits: Limits,
    pub(super) inbox: mpsc::Receiver<Message>,
    pub(super) lobby: Lobby<Message>,
    /// Since when this leader has no quorum's answer, while its sessions are kept.
    pub(super) alone_since: Option<Instant>,
}

impl Hub {
    /// Runs until `shutdown`; then every session is told to look for another leader.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let period =
            (self.limits.unknown_after / JUDGEMENTS_PER_UNKNOWN_AFTER).max(Duration::from_millis(10));
        let mut judgement = interval(period);
        judgement.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut leadership = None;
        let mut messages = Vec::with_capacity(INBOX_BATCH);
        let mut signs = 0;
        self.follow(&mut leadership);
        loop {
            // In a fixed order, so that a simulation replays; nothing here can starve the rest, since
            // each branch waits for something that the others' work brings about.
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                changed = self.status.changed() => match changed {
                    Ok(()) => self.follow(&mut leadership),
                    Err(_) => break,
                },
                done = next_done(&mut leadership) => {
                    if let Some(leadership) = &mut leadership {
                        leadership.settle(done, &self.state.borrow().clone());
                    }
                }
                _ = judgement.tick() => {
                    let before = std::mem::replace(&mut signs, self.crowd.signs());
                    self.judge(&mut leadership, signs != before);
                }
                changed = self.state.changed() => match changed {
                    Ok(()) => {
                        let state = self.state.borrow_and_update().clone();
                        if let Some(leadership) = &mut leadership {
                            leadership.send_tables(&state);
                        }
                    }
                    Err(_) => break,
                },
                taken = self.inbox.recv_many(&mut messages, INBOX_BATCH) => {
                    if taken == 0 {
                        break;
                    }
                    self.take(&mut leadership, &mut messages);
                }
            }
        }
        let waiting = self.lobby.empty();
        self.send_away(waiting);
        if let Some(leadership) = leadership {
            leadership.end(&self.another_leader(&self.status.borrow()));
        }
    }

    /// Has the leader judge who is silent. Silence does not count while many wait at the port (`is_crowded`), or while what
    /// executors said waits in the inbox.
    fn judge(&mut self, leadership: &mut Option<Leadership>, is_crowded: bool) {
        let sign = if is_crowded {
            Sign::Crowd
        } else if self.inbox.len() >= INBOX_BATCH {
            Sign::Backlog
        } else {
            Sign::Quiet
        };
        if self.alone_since.is_some() {
            self.follow(leadership);
        }
        match leadership {
            Some(leadership) => leadership.judge(&self.state.borrow().clone(), sign),
            None => self.send_away_the_weary(),
        }
    }

    /// Begins or ends a leadership as Raft says. A leader that its peers do not answer for a moment, be it for a slow disk,
    /// keeps its sessions: making those of a whole fleet anew costs more than to wait. Nothing can be proposed meanwhile.
    fn follow(&mut self, leadership: &mut Option<Leadership>) {
        let status = self.status.borrow_and_update().clone();
        let leads = status.is_ready_leader;
        let waits = !leads && status.role == Role::Leader && leadership.is_some();
        self.alone_since = waits.then(|| self.alone_since.unwrap_or_else(Instant::now));
        let is_left = |since: Instant| since.elapsed() >= self.limits.unknown_after / ALONE_PER_UNKNOWN_AFTER;
        let ends = !leads && self.alone_since.is_none_or(is_left);
        if leadership.as_ref().is_some_and(|present| ends || present.term() != status.term)
            && let Some(ended) = leadership.take()
        {
            ended.end(&self.another_leader(&status));
        }
        if leads && leadership.is_none() {
            tracing::info!(term = status.term, "sessions are open");
            let (world, consensus) = (self.world.clone(), self.consensus.clone());
            let state = self.state.borrow().clone();
            *leadership = Some(Leadership::begin(status.term, self.limits, state, world, consensus));
        }
        if leadership.is_some() {
            let mut waiting = self.lobby.empty();
            self.take(leadership, &mut waiting);
        } else if !self.another_leader(&status).is_empty() {
            let waiting = self.lobby.empty();
            self.send_away(waiting);
        }
    }

    /// Handles what the streams said.
    fn take(&mut self, leadership: &mut Option<Leadership>, messages: &mut Vec<Message>) {
        let state = self.state.borrow().clone();
        for message in messages.drain(..) {
            match leadership {
                Some(leadership) => leadership.take(message, &state),
                None => self.refuse(message),
            }
        }
        if let Some(leadership) = leadership {
            leadership.propose_reports();
        }
    }

    /// Where to look for the leader: empty when nobody else is known to lead.
    fn another_leader(&self, status: &RaftStatus) -> String {
        let other = status.leader.as_ref().filter(|leader| leader.id != self.id);
        other.map(|leader| leader.cluster_addr.clone()).unwrap_or_default()
    }

    /// Sends whoever wants a session to the leader, or lets him wait for the next one. Anything else belongs to a
    /// session that ended.
    fn refuse(&mut self, message: Message) {
        match message {
            Message::Open { key, .. } if self.another_leader(&self.status.borrow()).is_empty() => {
                self.lobby.enter(key, message, Instant::now());
            }
            Message::Open { .. } => self.send_away(vec![message]),
            Message::Closed { key, .. } => self.lobby.leave(key),
            Message::Summon { answer, .. } => {
                // An error means that nobody waits for the answer any more.
                let _ = answer.send(Summoned::NotLeader);
            }
            Message::Report(_) | Message::Heartbeat { .. } => {}
        }
    }

    fn send_away_the_weary(&mut self) {
        let weary = self.lobby.weary(Instant::now());
        self.send_away(weary);
    }

    /// Tells them where the leader is, if that is known.
    fn send_away(&self, waiting: Vec<Message>) {
        let status = self.status.borrow().clone();
        let leader = self.another_leader(&status);
        for message in waiting {
            if let Message::Open { outgoing, registration, .. } = message {
                tracing::debug!(executor = %registration.record.id, "refused a session: not the leader");
                send_not_leader(&outgoing, status.term, &leader);
            }
        }
    }
}

/// The next proposal that is through; never while there is no leadership.
async fn next_done(leadership: &mut Option<Leadership>) -> Done {
    match leadership {
        Some(leadership) => leadership.next_done().await,
        None => std::future::pending().await,
    }
}

/// Tells an executor where the leader is. A full channel is left alone: the end that follows says enough.
pub(super) fn send_not_leader(outgoing: &Outgoing, term: u64, leader: &str) {
    let body = Body::NotLeader(v1::NotLeader { leader_address: leader.to_owned() });
    let _ = outgoing.try_send(Ok(v1::ControllerMessage { term, body: Some(body) }));
}
