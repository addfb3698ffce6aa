//! The sessions that are open, at most one per executor. Plain data: it decides which of two sessions
//! of one executor is the real one, and must not know what travels in them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use muster_common::id::{ExecutorId, Revision};
use muster_proto::v1;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::DropGuard;
use tonic::Status;

/// The way down to one executor.
pub(super) type Outgoing = mpsc::Sender<Result<v1::ControllerMessage, Status>>;

/// Tells one stream from every other that this controller has had; later streams have higher keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SessionKey(pub u64);

/// How far a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// What the executor said of itself is being committed; it was not welcomed yet.
    Registering,
    /// It was welcomed.
    Open,
}

/// One executor's session.
#[derive(Debug)]
pub(super) struct Session {
    /// Its stream.
    pub key: SessionKey,
    /// Which start of the executor's process it belongs to.
    pub incarnation: u64,
    /// How far it is.
    pub phase: Phase,
    /// The slot table that the executor holds, or was sent.
    pub table: Revision,
    /// When it was last sent a table.
    pub table_sent: Option<Instant>,
    /// The way down; bounded.
    pub outgoing: Outgoing,
    /// Dropped with the session, which ends the task that reads the stream.
    pub _reader: DropGuard,
}

/// What became of a session that asked to be let in.
#[derive(Debug)]
pub(super) enum Admission {
    /// It is the executor's session now.
    Admitted {
        /// The one that it replaced.
        replaced: Option<Session>,
    },
    /// A newer session of the same executor is open.
    Outdated(Session),
}

/// All sessions, by executor.
#[derive(Debug, Default)]
pub(super) struct Roster {
    sessions: BTreeMap<ExecutorId, Session>,
    /// How many of them are [`Phase::Open`]: ten thousand may come in a second, and each is counted.
    open: usize,
}

impl Roster {
    /// Lets `session` in unless a newer one of the same executor is there: one of a higher
    /// incarnation, or of the same one with a later stream.
    pub(super) fn admit(&mut self, executor: ExecutorId, session: Session) -> Admission {
        match self.sessions.entry(executor) {
            Entry::Vacant(vacant) => {
                vacant.insert(session);
                Admission::Admitted { replaced: None }
            }
            Entry::Occupied(mut present) => {
                let rank = |session: &Session| (session.incarnation, session.key);
                if rank(present.get()) > rank(&session) {
                    return Admission::Outdated(session);
                }
                let replaced = present.insert(session);
                self.note_end(&replaced);
                Admission::Admitted { replaced: Some(replaced) }
            }
        }
    }

    /// The executor's session, if it is still the one with this key.
    pub(super) fn get(&mut self, executor: &ExecutorId, key: SessionKey) -> Option<&mut Session> {
        self.sessions.get_mut(executor).filter(|session| session.key == key)
    }

    /// Welcomes the executor, if its session is still the one with this key; whether it is.
    pub(super) fn welcome(&mut self, executor: &ExecutorId, key: SessionKey) -> bool {
        let Some(session) = self.get(executor, key) else { return false };
        let before = std::mem::replace(&mut session.phase, Phase::Open);
        self.open += usize::from(before != Phase::Open);
        true
    }

    /// Takes the executor's session out, if it is still the one with this key.
    pub(super) fn remove(&mut self, executor: &ExecutorId, key: SessionKey) -> Option<Session> {
        self.get(executor, key)?;
        self.evict(executor)
    }

    /// Takes out whatever session the executor has.
    pub(super) fn evict(&mut self, executor: &ExecutorId) -> Option<Session> {
        let session = self.sessions.remove(executor)?;
        self.note_end(&session);
        Some(session)
    }

    /// Whether the executor has a session.
    pub(super) fn has(&self, executor: &ExecutorId) -> bool {
        self.sessions.contains_key(executor)
    }

    /// The executor's session, if it was welcomed.
    pub(super) fn open(&self, executor: &ExecutorId) -> Option<SessionKey> {
        let session = self.sessions.get(executor).filter(|session| session.phase == Phase::Open);
        session.map(|session| session.key)
    }

    /// All sessions, ordered by executor.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&ExecutorId, &Session)> {
        self.sessions.iter()
    }

    /// How many of them were welcomed.
    pub(super) const fn open_count(&self) -> usize {
        self.open
    }

    fn note_end(&mut self, session: &Session) {
        self.open -= usize::from(session.phase == Phase::Open);
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;

    fn session(incarnation: u64, key: u64) -> (Session, CancellationToken) {
        let token = CancellationToken::new();
        let session = Session {
            key: SessionKey(key),
            incarnation,
            phase: Phase::Registering,
            table: Revision(0),
            table_sent: None,
            outgoing: mpsc::channel(1).0,
            _reader: token.clone().drop_guard(),
        };
        (session, token)
    }

    #[test]
    fn the_higher_incarnation_wins_then_the_later_stream() {
        let executor = ExecutorId::new("e").unwrap();
        // (present, newcomer, newcomer is let in), each (incarnation, key)
        for (present, newcomer, admitted) in
            [((1, 1), (2, 2), true), ((1, 1), (1, 2), true), ((2, 1), (1, 2), false), ((1, 2), (1, 1), false)]
        {
            let mut roster = Roster::default();
            let (first, first_ended) = session(present.0, present.1);
            let (second, second_ended) = session(newcomer.0, newcomer.1);
            roster.admit(executor.clone(), first);
            drop(roster.admit(executor.clone(), second));
            let kept = if admitted { newcomer.1 } else { present.1 };
            assert!(roster.get(&executor, SessionKey(kept)).is_some(), "{present:?} {newcomer:?}");
            assert_eq!(roster.sessions.len(), 1);
            assert_eq!(first_ended.is_cancelled(), admitted, "the loser's reader ends");
            assert_eq!(second_ended.is_cancelled(), !admitted, "the loser's reader ends");
        }
    }

    #[test]
    fn sessions_count_from_their_welcome_on() {
        let (one, other) = (ExecutorId::new("one").unwrap(), ExecutorId::new("other").unwrap());
        let mut roster = Roster::default();
        roster.admit(one.clone(), session(1, 1).0);
        roster.admit(other.clone(), session(1, 2).0);
        assert_eq!(roster.open_count(), 0, "they are registering");
        assert!(roster.welcome(&one, SessionKey(1)) && roster.welcome(&one, SessionKey(1)));
        assert!(!roster.welcome(&other, SessionKey(1)));
        assert_eq!(roster.open_count(), 1);
        // One that is replaced begins anew, and one that was turned away changes nothing.
        roster.welcome(&other, SessionKey(2));
        roster.admit(other.clone(), session(1, 3).0);
        roster.admit(one.clone(), session(0, 4).0);
        assert_eq!(roster.open_count(), 1);
        roster.evict(&other);
        assert_eq!(roster.open_count(), 1);
        roster.remove(&one, SessionKey(1));
        assert_eq!((roster.open_count(), roster.sessions.len()), (0, 0));
    }

    #[test]
    fn the_end_of_a_replaced_stream_does_not_end_the_session_that_replaced_it() {
        let executor = ExecutorId::new("e").unwrap();
        let mut roster = Roster::default();
        roster.admit(executor.clone(), session(1, 1).0);
        roster.admit(executor.clone(), session(1, 2).0);
        assert!(roster.remove(&executor, SessionKey(1)).is_none());
        assert!(roster.remove(&executor, SessionKey(2)).is_some());
        assert_eq!(roster.sessions.len(), 0);
    }
}
