//! Everything that the hub has while this controller leads: the sessions, when each executor was heard, the reports that
//! wait, and the proposals under way. A leadership begins empty, with full grace for every executor. When it ends, every
//! session is told to look for the next leader.

use std::collections::BTreeMap;
use std::sync::Arc;

use metrics::{counter, gauge};
use muster_common::id::{ExecutorId, Revision};
use muster_common::time::Timestamp;
use muster_platform::World;
use muster_proto::v1;
use muster_proto::v1::controller_message::Body;
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use super::gather::{Gather, Gathered};
use super::hub::send_not_leader;
use super::liveness::{Limits, Liveness, Verdict};
use super::message::{self, Message, Registration};
use super::pace::{Pace, Turn};
use super::proposals::{Awaiting, Done, Proposals, Proposed};
use super::roster::{Admission, Outgoing, Phase, Roster, Session, SessionKey};
use super::rush::Sign;
use super::summons::Summoned;
use crate::raft::Consensus;
use crate::state::{Command, Contact, Executor, Reply, State, as_ms, slot_table};

/// How many heartbeats fit into `unknownAfter`: three may be lost before anybody is suspected.
const HEARTBEATS_PER_UNKNOWN_AFTER: u32 = 4;
/// How often an executor that waits for its turn asks again within `unknownAfter`, at least.
const ASKS_PER_UNKNOWN_AFTER: u32 = 2;

/// How many executors one command speaks of: however long their ids are, it is far from what the log takes.
const MAX_JUDGED: usize = 1_000;

/// What clocks differ by within this is the way that a heartbeat takes, and not worth a log entry.
const SHOWN_SKEW_MS: u64 = 1_000;

/// One leadership's sessions.
pub(super) struct Leadership {
    limits: Limits,
    world: World,
    proposals: Proposals,
    roster: Roster,
    liveness: Liveness,
    pace: Pace,
    gather: Gather,
    /// Somebody was told to wait since everybody was last judged.
    is_deferring: bool,
    /// By how many ms executors' clocks are ahead of this controller's, where that is worth recording.
    skews: BTreeMap<ExecutorId, i64>,
    /// The last state whose tables were compared with what the sessions were sent.
    seen: Arc<State>,
}

impl Leadership {
    /// Begins over the executors that `state` knows.
    pub(super) fn begin(
        term: u64,
        limits: Limits,
        state: Arc<State>,
        world: World,
        consensus: Consensus,
    ) -> Self {
        let now = Instant::now();
        let executors = state.executors().count();
        Self {
            limits,
            world,
            proposals: Proposals::begin(term, consensus),
            roster: Roster::default(),
            liveness: Liveness::begin(limits, executors, now),
            pace: Pace::begin(now, limits.unknown_after / ASKS_PER_UNKNOWN_AFTER),
            gather: Gather::default(),
            is_deferring: false,
            skews: BTreeMap::new(),
            seen: state,
        }
    }

    /// Tells every session where to look next and closes it. What is under way is committed or not;
    /// executors report again what was not acknowledged.
    pub(super) fn end(self, leader: &str) {
        tracing::info!(term = self.term(), sessions = self.roster.open_count(), "sessions are closed");
        for (_, session) in self.roster.iter() {
            send_not_leader(&session.outgoing, self.term(), leader);
        }
        gauge!("muster_sessions").set(0.0);
    }

    pub(super) const fn term(&self) -> u64 {
        self.proposals.term()
    }

    /// Handles what a stream said.
    pub(super) fn take(&mut self, message: Message, state: &State) {
        match message {
            Message::Open { registration, key, outgoing, reader } => {
                self.open(registration, key, outgoing, reader, state);
            }
            Message::Report(report) => {
                let (executor, key) = (report.report.executor.clone(), report.key);
                if self.heard(&executor, key) {
                    self.gather.push(report);
                }
            }
            Message::Heartbeat { executor, key, table, now } => {
                if self.heard(&executor, key) {
                    let Some(known) = state.executor(&executor) else { return };
                    self.measure_skew(known, now);
                    self.compare_table(known, key, table, state);
                }
            }
            Message::Summon { executor, dial, answer } => {
                // An error means that nobody waits for the answer any more.
                let _ = answer.send(self.summon(&executor, dial));
            }
            Message::Closed { executor, key } => {
                if self.roster.remove(&executor, key).is_some() {
                    tracing::info!(%executor, "session ended");
                    self.count_sessions();
                }
            }
        }
    }

    /// Lets a session in, and registers its executor if anything about it is new.
    fn open(
        &mut self,
        registration: Registration,
        key: SessionKey,
        outgoing: Outgoing,
        reader: DropGuard,
        state: &State,
    ) {
        let table = registration.table;
        let (record, holds) = registration.comparable(state.history());
        let executor = record.id.clone();
        let now = Instant::now();
        // Whoever has to wait was heard: he is not missed because of it.
        self.liveness.hear(&executor, now);
        if let Turn::Later(wait) = self.pace.turn(&executor, self.proposals.registrations(), now) {
            counter!("muster_sessions_deferred_total").increment(1);
            self.is_deferring = true;
            return self.say(&outgoing, Body::Wait(v1::Wait { retry_after_ms: as_ms(wait) }));
        }
        let session = Session {
            key,
            incarnation: record.incarnation,
            phase: Phase::Registering,
            table,
            table_sent: None,
            outgoing,
            _reader: reader,
        };
        match self.roster.admit(executor.clone(), session) {
            Admission::Admitted { replaced: None } => {}
            Admission::Admitted { replaced: Some(old) } => {
                close(&executor, &old, "a newer session replaced it");
            }
            Admission::Outdated(refused) => return close(&executor, &refused, "a newer session is open"),
        }
        self.count_sessions();
        if state.learns_from(&record, holds.as_deref()) {
            let at = self.world.clock.now();
            let command = Command::RegisterExecutor { at, record: Box::new(record), holds };
            self.proposals.propose(Proposed::Registration { executor, key }, &command);
        } else {
            self.welcome(&executor, key, state);
        }
    }

    /// Tells an executor to dial a controller.
    fn summon(&mut self, executor: &ExecutorId, dial: v1::Dial) -> Summoned {
        let Some(key) = self.roster.open(executor) else { return Summoned::NoSession };
        self.send(executor, key, Body::Dial(dial));
        // Who does not take it has no session any more.
        if self.roster.open(executor) == Some(key) { Summoned::Told } else { Summoned::NoSession }
    }

    /// The executor is committed: the session is open, and it is told what must run.
    fn welcome(&mut self, executor: &ExecutorId, key: SessionKey, state: &State) {
        let interval = self.limits.unknown_after / HEARTBEATS_PER_UNKNOWN_AFTER;
        let heartbeat_interval_ms = as_ms(interval);
        if !self.roster.welcome(executor, key) {
            return;
        }
        self.count_sessions();
        tracing::info!(%executor, term = self.term(), "session open");
        let history = Some(state.history().to_owned());
        self.send(executor, key, Body::Welcome(v1::Welcome { heartbeat_interval_ms, history }));
        self.send_table(executor, key, state);
    }

    /// Notes that the executor spoke. Returns whether it did so on its present session.
    fn heard(&mut self, executor: &ExecutorId, key: SessionKey) -> bool {
        let Some(session) = self.roster.get(executor, key) else { return false };
        if session.phase != Phase::Open {
            self.drop_session(executor, key, "it spoke before it was welcomed");
            return false;
        }
        self.liveness.hear(executor, Instant::now());
        true
    }

    fn measure_skew(&mut self, known: &Executor, now: Option<Timestamp>) {
        let Some(now) = now else { return };
        let (theirs, ours) = (now.as_ms(), self.world.clock.now().as_ms());
        let distance = i64::try_from(theirs.abs_diff(ours)).unwrap_or(i64::MAX);
        let skew_ms = if theirs < ours { -distance } else { distance };
        if known.clock_skew_ms.abs_diff(skew_ms) >= SHOWN_SKEW_MS {
            self.skews.insert(known.record.id.clone(), skew_ms);
        }
    }

    /// Proposes what is worth showing of the skews that were measured.
    fn note_skews(&mut self) {
        if self.proposals.has_verdicts() {
            return;
        }
        let at = self.world.clock.now();
        let skews: Vec<_> = std::mem::take(&mut self.skews).into_iter().collect();
        for skews in skews.chunks(MAX_JUDGED) {
            let command = Command::NoteSkews { at, skews: skews.to_vec() };
            self.proposals.propose(Proposed::Verdicts(Vec::new()), &command);
        }
    }

    /// The executor says which table it works on. If that is not the present one, and the present one
    /// was not sent just now, it is sent again.
    fn compare_table(&mut self, known: &Executor, key: SessionKey, table: Revision, state: &State) {
        let executor = &known.record.id;
        let on_its_way = self.limits.unknown_after / HEARTBEATS_PER_UNKNOWN_AFTER;
        let Some(session) = self.roster.get(executor, key) else { return };
        let sent_just_now = session.table_sent.is_some_and(|sent| sent.elapsed() < on_its_way);
        if table != known.table_revision && !sent_just_now {
            session.table = table;
            self.send_table(executor, key, state);
        }
    }

    /// Sends their tables to all executors whose slots changed.
    pub(super) fn send_tables(&mut self, state: &Arc<State>) {
        // Sessions that open later are sent theirs when they are welcomed.
        let seen = std::mem::replace(&mut self.seen, Arc::clone(state));
        for executor in state.executors_changed_since(&seen) {
            if let Some(key) = self.roster.open(executor) {
                self.send_table(executor, key, state);
            }
        }
    }

    fn send_table(&mut self, executor: &ExecutorId, key: SessionKey, state: &State) {
        let Some(session) = self.roster.get(executor, key) else { return };
        // Nothing is assigned to a newcomer during maintenance, and an empty table would stop what it runs. It is sent its
        // own as soon as it has one.
        if state.is_in_maintenance() && state.slots_on(executor).next().is_none() {
            return;
        }
        if state.executor(executor).map_or(Revision(0), |known| known.table_revision) == session.table {
            return;
        }
        let table = slot_table(state, executor);
        session.table = table.revision;
        session.table_sent = Some(Instant::now());
        self.send(executor, key, Body::Table((&table).into()));
    }

    /// Proposes what was reported, if now is the time for it.
    pub(super) fn propose_reports(&mut self) {
        while let Some(batch) = self.gather.next() {
            let at = self.world.clock.now();
            let split = batch.into_iter().map(|Gathered { key, report, share, .. }| {
                (Awaiting { executor: report.executor.clone(), key, _share: share }, report)
            });
            let (waiting, reports) = split.unzip();
            self.proposals.propose(Proposed::Reports(waiting), &Command::Reports { at, reports });
        }
    }

    /// Judges everybody, and proposes what is not recorded yet. Who is silent for too long loses its
    /// session too: nothing comes from it any more. `sign` says who waits elsewhere.
    pub(super) fn judge(&mut self, state: &State, sign: Sign) {
        if self.liveness.len() > state.executor_count() {
            self.liveness.retain(|executor| state.executor(executor).is_some() || self.roster.has(executor));
        }
        let now = Instant::now();
        self.pace.tidy(now);
        let sign = if std::mem::take(&mut self.is_deferring) { Sign::Crowd } else { sign };
        self.liveness.listen(now, sign);
        let judged = self.liveness.verdicts(state.executors().map(|executor| &executor.record.id), now);
        let mut verdicts = Vec::new();
        for (executor, verdict) in state.executors().zip(judged) {
            let id = &executor.record.id;
            let Some(contact) = contact_after(verdict, executor.contact, self.roster.open(id).is_some())
            else {
                continue;
            };
            if contact != Contact::Connected
                && let Some(session) = self.roster.evict(id)
            {
                close(id, &session, "it was silent for too long");
                self.count_sessions();
            }
            if contact != executor.contact {
                verdicts.push((id.clone(), contact));
            }
        }
        self.note_verdicts(&verdicts);
        self.note_skews();
    }

    /// Proposes the contact of executors that it changed for, unless such a proposal is under way already.
    fn note_verdicts(&mut self, verdicts: &[(ExecutorId, Contact)]) {
        if self.proposals.has_verdicts() {
            return;
        }
        for (executor, contact) in verdicts {
            tracing::info!(%executor, ?contact, "contact changes");
        }
        let at = self.world.clock.now();
        for verdicts in verdicts.chunks(MAX_JUDGED) {
            let contacts = verdicts.iter().map(|(_, contact)| *contact).collect();
            let command = Command::ExecutorContact { at, verdicts: verdicts.to_vec() };
            self.proposals.propose(Proposed::Verdicts(contacts), &command);
        }
    }

    /// The next proposal that is through; never while none is under way.
    pub(super) async fn next_done(&mut self) -> Done {
        self.proposals.next_done().await
    }

    /// A proposal is through: tell those whom it concerns.
    pub(super) fn settle(&mut self, done: Done, state: &State) {
        self.proposals.settle(&done);
        match (done.what, done.outcome) {
            (Proposed::Registration { executor, key }, Ok(_)) => self.welcome(&executor, key, state),
            (Proposed::Registration { executor, key }, Err(reason)) => {
                self.drop_session(&executor, key, &reason);
            }
            (Proposed::Verdicts(contacts), Ok(_)) => count_verdicts(&contacts),
            (Proposed::Verdicts(_), Err(reason)) => {
                tracing::warn!(reason, "contact could not be recorded; the next look repeats it");
            }
            (Proposed::Reports(batch), outcome) => {
                self.gather.settled();
                self.acknowledge(&batch, outcome);
                self.propose_reports();
            }
        }
    }

    fn acknowledge(&mut self, batch: &[Awaiting], outcome: Result<Reply, String>) {
        match outcome {
            Ok(Reply::Reported(acks)) if acks.len() == batch.len() => {
                // One message per session, however many of its reports the proposal held.
                let mut messages = BTreeMap::new();
                for (Awaiting { executor, key, .. }, ack) in batch.iter().zip(&acks) {
                    if !ack.refused.is_empty() {
                        tracing::warn!(%executor, refused = ?ack.refused, "reported what is not its own");
                    }
                    let (_, message) = messages.entry(*key).or_insert_with(|| (executor, v1::Ack::default()));
                    message::acknowledge(message, ack);
                }
                for (key, (executor, message)) in messages {
                    self.send(executor, key, Body::Ack(message));
                }
            }
            // Not acknowledged: when the session opens anew, the executor reports it again.
            outcome => {
                let reason =
                    outcome.map_or_else(|reason| reason, |reply| format!("unexpected answer {reply:?}"));
                for Awaiting { executor, key, .. } in batch {
                    self.drop_session(executor, *key, &reason);
                }
            }
        }
    }

    /// Sends `body` down. Who does not take what it is sent is cut off: it will come back and be told
    /// everything anew.
    fn send(&mut self, executor: &ExecutorId, key: SessionKey, body: Body) {
        let message = self.message(body);
        let Some(session) = self.roster.get(executor, key) else { return };
        if session.outgoing.try_send(Ok(message)).is_err() {
            self.drop_session(executor, key, "it does not take what it is sent");
        }
    }

    /// Sends `body` to an executor that has no session. A full channel is left alone: the end of the stream says enough.
    fn say(&self, outgoing: &Outgoing, body: Body) {
        let _ = outgoing.try_send(Ok(self.message(body)));
    }

    const fn message(&self, body: Body) -> v1::ControllerMessage {
        v1::ControllerMessage { term: self.term(), body: Some(body) }
    }

    fn drop_session(&mut self, executor: &ExecutorId, key: SessionKey, reason: &str) {
        if let Some(session) = self.roster.remove(executor, key) {
            close(executor, &session, reason);
            self.count_sessions();
        }
    }

    #[allow(clippy::cast_precision_loss)] // far fewer sessions than 2^52
    fn count_sessions(&self) {
        gauge!("muster_sessions").set(self.roster.open_count() as f64);
    }
}

/// Closes a session; dropping it then ends its stream and its reader.
fn close(executor: &ExecutorId, session: &Session, reason: &str) {
    tracing::warn!(%executor, reason, "session closed");
    counter!("muster_sessions_closed_total").increment(1);
    // A full channel cannot take the reason; the end of the stream follows either way.
    let _ = session.outgoing.try_send(Err(tonic::Status::aborted(format!("session closed: {reason}"))));
}

/// The contact to record of an executor, given the one that is `recorded` and whether its session is open. `None` where
/// nothing is to be done.
const fn contact_after(verdict: Verdict, recorded: Contact, has_session: bool) -> Option<Contact> {
    match (verdict, recorded) {
        // Lost stays lost until it is heard.
        (Verdict::Undecided, _)
        | (Verdict::Connected, Contact::Connected)
        | (Verdict::Unreachable, Contact::Lost) => None,
        // Who waits for his turn is not missed, but is here only once he registers: what he holds comes with that.
        (Verdict::Connected, _) if !has_session => None,
        (Verdict::Connected, _) => Some(Contact::Connected),
        // One step after the other: so a verdict that a registration overtook takes nothing for lost.
        (Verdict::Unreachable, _) | (Verdict::Lost, Contact::Connected) => Some(Contact::Unreachable),
        (Verdict::Lost, _) => Some(Contact::Lost),
    }
}

fn count_verdicts(contacts: &[Contact]) {
    for contact in contacts {
        counter!("muster_contact_verdicts_total", "contact" => contact.as_str()).increment(1);
    }
}

#[cfg(test)]
#[path = "tests/leadership.rs"]
mod tests;
