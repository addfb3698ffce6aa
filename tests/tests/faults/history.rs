//! What clients asked of an object and what they were told, as a history whose order an existing checker looks for.
//!
//! Each service and each operation is an object of its own: all of it is in order if the history of each of them is.

use std::fmt::{self, Debug};
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::mpsc;
use std::time::Duration;

use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History};
use todc_utils::specifications::Specification;

/// The histories that tests make are decided in a second or two.
const DECIDED_WITHIN: Duration = Duration::from_secs(60);

/// What clients change, and how it behaves when nothing happens at the same time.
pub(crate) trait Object: Copy + Debug + 'static {
    /// As it shows itself.
    type Seen: Copy + Debug + Eq + Hash + Send;
    /// What is asked of it.
    type Call: Copy + Debug + Send;
    /// As it is when the history begins.
    const BEGINNING: Self::Seen;

    /// What becomes of it by a call that was answered so; none if it cannot be answered so.
    fn after(call: Self::Call, told: Told<Self::Seen>, before: Self::Seen) -> Option<Self::Seen>;
}

/// What a client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told<S> {
    /// It was accepted.
    Done,
    /// The object's state forbids it.
    Refused,
    /// The object is like that.
    Saw(S),
    /// Nobody knows: it may be carried out at any time from the call on, or never.
    Nothing,
}

impl<S: PartialEq> Told<S> {
    /// What becomes of an object that only calls change, whose state allows a call if there is one that it `leads_to`.
    pub(crate) fn of_a_call(self, before: S, leads_to: Option<S>) -> Option<S> {
        match self {
            Self::Done => leads_to,
            Self::Refused => leads_to.is_none().then_some(before),
            Self::Saw(seen) => (seen == before).then_some(before),
            Self::Nothing => Some(leads_to.unwrap_or(before)),
        }
    }
}

/// One call, with its times since the beginning.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<O: Object> {
    pub(crate) client: usize,
    pub(crate) call: O::Call,
    pub(crate) told: Told<O::Seen>,
    pub(crate) called: Duration,
    pub(crate) answered: Duration,
}

impl<O: Object> fmt::Display for Record<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, call, told, called, answered } = self;
        write!(f, "{:>9.3} ms to {:>9.3} ms  client {client}: {call:?} {told:?}", ms(*called), ms(*answered))
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// An object, as the checker wants it.
struct Model<O>(PhantomData<O>);

impl<O: Object> Specification for Model<O> {
    type State = O::Seen;
    type Operation = (O::Call, Told<O::Seen>);

    fn init() -> O::Seen {
        O::BEGINNING
    }

    fn apply(&(call, told): &Self::Operation, &before: &O::Seen) -> (bool, O::Seen) {
        let after = O::after(call, told, before);
        (after.is_some(), after.unwrap_or(before))
    }
}

/// Whether the calls to one object can be put in one order, each at a time between its call and its answer, in which
/// all answers are right.
pub(crate) fn is_linearizable<O: Object>(records: &[Record<O>]) -> bool {
    if records.is_empty() {
        return true;
    }
    // What nobody knows of has no answer: it comes after everything.
    let end = |record: &Record<O>| if record.told == Told::Nothing { Duration::MAX } else { record.answered };
    let mut events = Vec::new();
    for (nth, record) in records.iter().enumerate() {
        let operation = (record.call, record.told);
        // Of what is at the same time the call is first: then they may be in either order.
        events.push(((record.called, false), nth, Action::Call(operation)));
        events.push(((end(record), true), nth, Action::Response(operation)));
    }
    events.sort_by_key(|(at, nth, _)| (*at, *nth));
    let actions = events.into_iter().map(|(_, nth, action)| (nth, action)).collect();
    let (verdict, decided) = mpsc::channel();
    std::thread::spawn(move || {
        verdict.send(WGLChecker::<Model<O>>::is_linearizable(History::from_actions(actions)))
    });
    decided.recv_timeout(DECIDED_WITHIN).expect("the checker decides in time")
}

/// A call of the only client of a test's history, with its times in ms.
#[cfg(test)]
pub(crate) fn record<O: Object>(call: O::Call, told: Told<O::Seen>, called: u64, answered: u64) -> Record<O> {
    let (called, answered) = (Duration::from_millis(called), Duration::from_millis(answered));
    Record { client: 0, call, told, called, answered }
}

/// Checks what the checker says of histories that were made by hand.
#[cfg(test)]
pub(crate) fn assert_verdicts<O: Object>(table: &[(&str, bool, &[Record<O>])]) {
    for (name, expected, records) in table {
        assert_eq!(is_linearizable(records), *expected, "{name}");
    }
}
