//! What clients asked of a service and what they were told, as a history whose order an existing checker looks for.
//!
//! Each service is an object of its own: a history is in order if that of each service is.

use std::fmt;
use std::sync::mpsc;
use std::time::Duration;

use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History};
use todc_utils::specifications::Specification;

/// The histories that tests make are decided in a second or two.
const DECIDED_WITHIN: Duration = Duration::from_secs(60);

/// A service, as far as clients change it here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Service {
    Absent,
    Present { count: u32, active: bool },
}

/// What a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Create(u32),
    Scale(u32),
    Activate,
    Deactivate,
    Read,
}

/// What it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// It was accepted.
    Done,
    /// The state of the service forbids it.
    Refused,
    /// The service is like that.
    Saw(Service),
    /// Nobody knows: it may be carried out at any time from the call on, or never.
    Nothing,
}

/// One call, with its times since the beginning.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    pub(crate) client: usize,
    pub(crate) call: Call,
    pub(crate) told: Told,
    pub(crate) called: Duration,
    pub(crate) answered: Duration,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, call, told, called, answered } = self;
        write!(f, "{:>9.3} ms to {:>9.3} ms  client {client}: {call:?} {told:?}", ms(*called), ms(*answered))
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// What a service does when nothing happens at the same time.
struct Model;

impl Specification for Model {
    type State = Service;
    type Operation = (Call, Told);

    fn init() -> Service {
        Service::Absent
    }

    fn apply(&(call, told): &(Call, Told), &before: &Service) -> (bool, Service) {
        let after = accepted(call, before);
        match told {
            Told::Done => (after.is_some(), after.unwrap_or(before)),
            Told::Refused => (after.is_none(), before),
            Told::Saw(seen) => (seen == before, before),
            Told::Nothing => (true, after.unwrap_or(before)),
        }
    }
}

/// The service after a call, unless its state forbids it (drove-wire.md §3.2).
fn accepted(call: Call, before: Service) -> Option<Service> {
    match (call, before) {
        (Call::Create(count), Service::Absent) => Some(Service::Present { count, active: false }),
        (Call::Scale(count), Service::Present { active, .. }) => Some(Service::Present { count, active }),
        (Call::Activate, Service::Present { count, active: false }) => {
            Some(Service::Present { count, active: true })
        }
        (Call::Deactivate, Service::Present { count, active: true }) => {
            Some(Service::Present { count, active: false })
        }
        (Call::Read, _) => Some(before),
        (Call::Create(_) | Call::Activate | Call::Deactivate, Service::Present { .. })
        | (Call::Scale(_) | Call::Activate | Call::Deactivate, Service::Absent) => None,
    }
}

/// Whether the calls to one service can be put in one order, each at a time between its call and its answer, in which
/// all answers are right.
pub(crate) fn is_linearizable(records: &[Record]) -> bool {
    if records.is_empty() {
        return true;
    }
    // What nobody knows of has no answer: it comes after everything.
    let end = |record: &Record| if record.told == Told::Nothing { Duration::MAX } else { record.answered };
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
        verdict.send(WGLChecker::<Model>::is_linearizable(History::from_actions(actions)))
    });
    decided.recv_timeout(DECIDED_WITHIN).expect("the checker decides in time")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Service = Service::Present { count: 1, active: false };
    const TWO: Service = Service::Present { count: 2, active: false };

    fn record(call: Call, told: Told, called: u64, answered: u64) -> Record {
        let (called, answered) = (Duration::from_millis(called), Duration::from_millis(answered));
        Record { client: 0, call, told, called, answered }
    }

    #[test]
    fn the_checker_takes_what_has_an_order_and_catches_what_has_none() {
        use Call::{Activate, Create, Read, Scale};
        use Told::{Done, Nothing, Refused, Saw};
        let created = record(Create(1), Done, 0, 10);
        let table: &[(&str, bool, &[Record])] = &[
            (
                "one after the other",
                true,
                &[created, record(Scale(2), Done, 20, 30), record(Read, Saw(TWO), 40, 50)],
            ),
            (
                "a stale read",
                false,
                &[created, record(Scale(2), Done, 20, 30), record(Read, Saw(ONE), 40, 50)],
            ),
            (
                "a read beside the write",
                true,
                &[created, record(Scale(2), Done, 20, 60), record(Read, Saw(ONE), 40, 50)],
            ),
            (
                "a read that goes back",
                false,
                &[
                    created,
                    record(Scale(2), Done, 20, 90),
                    record(Read, Saw(TWO), 30, 40),
                    record(Read, Saw(ONE), 50, 60),
                ],
            ),
            ("a lost write", false, &[created, record(Read, Saw(Service::Absent), 20, 30)]),
            (
                "carried out although refused",
                false,
                &[created, record(Create(2), Refused, 20, 30), record(Read, Saw(TWO), 40, 50)],
            ),
            ("refused without a reason", false, &[created, record(Activate, Refused, 20, 30)]),
            (
                "unknown, and late",
                true,
                &[
                    created,
                    record(Scale(2), Nothing, 20, 30),
                    record(Read, Saw(ONE), 40, 50),
                    record(Read, Saw(TWO), 60, 70),
                ],
            ),
            (
                "unknown, and never",
                true,
                &[created, record(Scale(2), Nothing, 20, 30), record(Read, Saw(ONE), 40, 50)],
            ),
            (
                "unknown, and twice",
                false,
                &[
                    created,
                    record(Scale(2), Nothing, 20, 30),
                    record(Read, Saw(TWO), 40, 50),
                    record(Scale(1), Done, 60, 70),
                    record(Read, Saw(TWO), 80, 90),
                ],
            ),
        ];
        for (name, expected, records) in table {
            assert_eq!(is_linearizable(records), *expected, "{name}");
        }
    }
}
