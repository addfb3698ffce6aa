//! An operation as an object that clients change: they pause, resume, promote and cancel it.
//!
//! It is one that nothing else changes while a test lasts: its only slot is a canary that must stay HEALTHY for longer
//! than that before it counts as done.

use muster_common::operation::{Operation as Shown, OperationState, SlotOutcome};
use muster_tests::api::{Api, CallError};
use muster_tests::lab::Lab;
use serde_json::json;

use crate::history::{Object, Told};

/// An operation, as far as clients change it here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operation;

/// How it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    state: OperationState,
    promoted: bool,
}

/// What a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Pause,
    Resume,
    Promote,
    Cancel,
    Read,
}

impl Object for Operation {
    type Seen = Seen;
    type Call = Call;
    const BEGINNING: Seen = Seen { state: OperationState::Running, promoted: false };

    fn after(call: Call, told: Told<Seen>, before: Seen) -> Option<Seen> {
        told.of_a_call(before, leads_to(call, before))
    }
}

/// The operation after a call, unless its state forbids it. Where it is already as it should be, it stays so.
fn leads_to(call: Call, before: Seen) -> Option<Seen> {
    use OperationState::{Cancelled, Paused, Running};
    let is_over = before.state.is_final();
    match call {
        Call::Pause => (!is_over).then_some(Seen { state: Paused, ..before }),
        Call::Resume => (!is_over).then_some(Seen { state: Running, ..before }),
        Call::Promote if before.promoted => Some(before),
        Call::Promote => (before.state == Running).then_some(Seen { promoted: true, ..before }),
        Call::Cancel => Some(Seen { state: Cancelled, ..before }),
        Call::Read => Some(before),
    }
}

/// How a call is named in a path; a read is none.
pub(crate) fn verb(call: Call) -> Option<&'static str> {
    match call {
        Call::Pause => Some("pause"),
        Call::Resume => Some("resume"),
        Call::Promote => Some("promote"),
        Call::Cancel => Some("cancel"),
        Call::Read => None,
    }
}

/// What a controller shows of it, if it answers.
pub(crate) fn read(controller: &Api, id: &str) -> Option<Told<Seen>> {
    match shown(controller, id) {
        Ok(Shown { state, promoted, .. }) => Some(Told::Saw(Seen { state, promoted })),
        Err(CallError::NotNow(_) | CallError::Unknown(_)) => None,
        Err(error @ (CallError::NotFound(_) | CallError::Refused(_) | CallError::Wrong(_))) => {
            panic!("a read: {error}")
        }
    }
}

fn shown(controller: &Api, id: &str) -> Result<Shown, CallError> {
    controller.get(&format!("localservices/operations/{id}"))
}

/// Begins `count` operations, each on a service of its own that runs on the lab's only executor; returns their ids when
/// nothing but a user changes them any more.
pub(crate) fn begin(lab: &Lab, count: usize) -> Vec<String> {
    let controller = &lab.controllers[0].api;
    let begin = |nth: usize| {
        let name = format!("steered{nth}");
        lab.apply(&sleeper(&name));
        let restart = json!({
            "type": "RESTART", "serviceId": format!("{name}-1"),
            "opSpec": {"timeout": "2h", "settle": "1h", "parallelism": 1, "canary": {"percent": 50}},
        });
        let accepted = controller.operate(&restart).unwrap();
        accepted["operationId"].as_str().unwrap().to_owned()
    };
    let ids: Vec<String> = (0..count).map(begin).collect();
    for id in &ids {
        lab.wait_for("the canary to settle", || {
            let slots = shown(controller, id).ok()?.slots;
            (slots.len() == 1 && slots.iter().all(|slot| slot.outcome == SlotOutcome::Settling)).then_some(())
        });
    }
    ids
}

/// A service that is well for as long as it runs.
fn sleeper(name: &str) -> serde_json::Value {
    let check = json!({"mode": {"type": "CMD", "command": "true"}, "timeout": "30s", "interval": "30s"});
    json!({
        "name": name, "version": "1", "type": "LOCAL_SERVICE",
        "executable": {"type": "PROCESS", "command": ["/bin/sleep", "1000"]},
        "exposedPorts": [{"name": "main", "port": 8080, "type": "TCP"}],
        "resources": [{"type": "CPU", "count": 1}, {"type": "MEMORY", "sizeInMB": 16}],
        "placementPolicy": {"type": "LOCAL", "hostLevel": false},
        "readiness": check, "healthcheck": check,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Record, assert_verdicts, record};

    #[test]
    fn an_operation_does_what_it_was_told_last_and_what_is_cancelled_stays_so() {
        use Call::{Cancel, Pause, Promote, Read, Resume};
        use OperationState::{Cancelled, Paused, Running};
        use Told::{Done, Nothing, Refused, Saw};
        let saw = |state, promoted| Saw(Seen { state, promoted });
        let paused: Record<Operation> = record(Pause, Done, 0, 10);
        let cancelled = record(Cancel, Done, 20, 30);
        assert_verdicts(&[
            ("paused", true, &[paused, record(Read, saw(Paused, false), 20, 30)]),
            ("paused in vain", false, &[paused, record(Read, saw(Running, false), 20, 30)]),
            ("paused again", true, &[paused, record(Pause, Done, 20, 30)]),
            ("promoted while it is held", false, &[paused, record(Promote, Done, 20, 30)]),
            (
                "resumed, then promoted",
                true,
                &[
                    paused,
                    record(Promote, Refused, 20, 30),
                    record(Resume, Done, 40, 50),
                    record(Promote, Done, 60, 70),
                    record(Read, saw(Running, true), 80, 90),
                ],
            ),
            (
                "a promotion that is forgotten",
                false,
                &[
                    record(Promote, Done, 0, 10),
                    record(Pause, Done, 20, 30),
                    record(Read, saw(Paused, false), 40, 50),
                ],
            ),
            ("cancelled", true, &[paused, cancelled, record(Resume, Refused, 40, 50)]),
            ("cancelled, and at work", false, &[paused, cancelled, record(Resume, Done, 40, 50)]),
            (
                "an unknown call that comes too late",
                false,
                &[record(Resume, Nothing, 0, 10), cancelled, record(Read, saw(Running, false), 40, 50)],
            ),
            (
                "perhaps cancelled, and not yet",
                true,
                &[
                    record(Cancel, Nothing, 0, 10),
                    paused,
                    record(Read, saw(Paused, false), 20, 30),
                    record(Read, saw(Cancelled, false), 40, 50),
                ],
            ),
        ]);
    }
}
