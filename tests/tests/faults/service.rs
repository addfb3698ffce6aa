//! A service as an object that clients change: it is made, switched on and off, scaled and destroyed.

use muster_common::service::{ActivationState, ServiceState, ServiceSummary};
use muster_tests::api::{self, Api, CallError};
use serde_json::{Value, json};

use crate::history::{Object, Told};
use crate::idle;

/// A service, as far as clients change it here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Service;

/// How it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Seen {
    Absent,
    Present {
        count: u32,
        active: bool,
    },
    /// It is destroyed, and gone at some time from then on: nobody knows when, before somebody finds it so.
    Leaving,
}

/// What a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Create(u32),
    Scale(u32),
    Activate,
    Deactivate,
    Destroy,
    Read,
}

impl Object for Service {
    type Seen = Seen;
    type Call = Call;
    const BEGINNING: Seen = Seen::Absent;

    fn after(call: Call, told: Told<Seen>, before: Seen) -> Option<Seen> {
        match (before, call, told) {
            (Seen::Leaving, Call::Read, Told::Saw(Seen::Absent)) => Some(Seen::Absent),
            // It was gone by then. Where nobody knows, and it was not, the call has its place at the end.
            (Seen::Leaving, Call::Create(count), Told::Done | Told::Nothing) => Some(created(count)),
            _ => told.of_a_call(before, leads_to(call, before)),
        }
    }
}

fn created(count: u32) -> Seen {
    Seen::Present { count, active: false }
}

/// The service after a call, unless its state forbids it (docs/drove-api.md §3.2).
fn leads_to(call: Call, before: Seen) -> Option<Seen> {
    match (call, before) {
        (Call::Create(count), Seen::Absent) => Some(created(count)),
        (Call::Scale(count), Seen::Present { active, .. }) => Some(Seen::Present { count, active }),
        (Call::Activate, Seen::Present { count, active: false }) => {
            Some(Seen::Present { count, active: true })
        }
        (Call::Deactivate, Seen::Present { count, active: true }) => {
            Some(Seen::Present { count, active: false })
        }
        (Call::Destroy, Seen::Present { active: false, .. }) => Some(Seen::Leaving),
        (Call::Read, _) => Some(before),
        (Call::Create(_) | Call::Activate | Call::Deactivate | Call::Destroy, Seen::Present { .. })
        | (Call::Create(_), Seen::Leaving)
        | (
            Call::Scale(_) | Call::Activate | Call::Deactivate | Call::Destroy,
            Seen::Absent | Seen::Leaving,
        ) => None,
    }
}

/// Its name.
pub(crate) fn name(service: usize) -> String {
    format!("object{service}")
}

/// What is submitted for a call; none for a read.
pub(crate) fn request(service: usize, call: Call) -> Option<Value> {
    let id = format!("{}-1", name(service));
    match call {
        Call::Create(count) => {
            Some(json!({"type": "CREATE", "spec": idle(&name(service)), "instancesPerHost": count}))
        }
        Call::Scale(count) => Some(api::scale(&id, count)),
        Call::Activate => Some(json!({"type": "ACTIVATE", "serviceId": id})),
        Call::Deactivate => Some(json!({"type": "DEACTIVATE", "serviceId": id})),
        Call::Destroy => Some(json!({"type": "DESTROY", "serviceId": id})),
        Call::Read => None,
    }
}

/// What a controller shows of it, if it answers.
pub(crate) fn read(controller: &Api, service: usize) -> Option<Told<Seen>> {
    match controller.get::<ServiceSummary>(&format!("localservices/{}-1", name(service))) {
        Ok(summary) if summary.state == ServiceState::DestroyRequested => Some(Told::Saw(Seen::Leaving)),
        Ok(summary) => Some(Told::Saw(Seen::Present {
            count: summary.instances_per_host,
            active: summary.activation_state == ActivationState::Active,
        })),
        Err(CallError::NotFound(_)) => Some(Told::Saw(Seen::Absent)),
        Err(CallError::NotNow(_) | CallError::Unknown(_)) => None,
        Err(error @ (CallError::Refused(_) | CallError::Wrong(_))) => panic!("a read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Record, assert_verdicts, record};

    const ONE: Seen = Seen::Present { count: 1, active: false };
    const TWO: Seen = Seen::Present { count: 2, active: false };

    #[test]
    fn the_checker_takes_what_has_an_order_and_catches_what_has_none() {
        use Call::{Activate, Create, Read, Scale};
        use Told::{Done, Nothing, Refused, Saw};
        let created: Record<Service> = record(Create(1), Done, 0, 10);
        assert_verdicts(&[
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
            ("a lost write", false, &[created, record(Read, Saw(Seen::Absent), 20, 30)]),
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
        ]);
    }

    #[test]
    fn what_is_destroyed_is_gone_once_and_for_all_but_nobody_knows_when() {
        use Call::{Create, Destroy, Read, Scale};
        use Told::{Done, Nothing, Refused, Saw};
        let created: Record<Service> = record(Create(1), Done, 0, 10);
        let destroyed = record(Destroy, Done, 20, 30);
        let leaving = record(Read, Saw(Seen::Leaving), 40, 50);
        let absent = record(Read, Saw(Seen::Absent), 60, 70);
        assert_verdicts(&[
            ("on its way, then gone", true, &[created, destroyed, leaving, absent]),
            ("gone at once", true, &[created, destroyed, absent]),
            (
                "on its way again",
                false,
                &[created, destroyed, absent, record(Read, Saw(Seen::Leaving), 80, 90)],
            ),
            ("there again", false, &[created, destroyed, leaving, record(Read, Saw(ONE), 60, 70)]),
            ("changed on its way", false, &[created, destroyed, record(Scale(2), Done, 40, 50), absent]),
            ("in its own way", true, &[created, destroyed, record(Create(2), Refused, 40, 50), absent]),
            (
                "made anew",
                true,
                &[created, destroyed, record(Create(2), Done, 40, 50), record(Read, Saw(TWO), 60, 70)],
            ),
            ("made anew, and not", false, &[created, destroyed, absent, record(Create(2), Refused, 80, 90)]),
            (
                "perhaps destroyed, and made anew",
                true,
                &[created, record(Destroy, Nothing, 20, 30), record(Create(2), Done, 40, 50)],
            ),
            ("destroyed, and not", false, &[created, record(Destroy, Refused, 20, 30)]),
        ]);
    }
}
