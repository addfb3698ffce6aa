//! Time that leaders led, whatever their machines' clocks show.

use std::time::Duration;

use muster_common::executor::{Contact, ExecutorState};
use muster_common::id::Revision;
use muster_common::time::Timestamp;

use crate::state::codec::{read_snapshot, write_snapshot};
use crate::state::testing::*;
use crate::state::{Change, Command, Reply, Wish};

const DAY: Duration = Duration::from_secs(86_400);
/// By how much a clock is wrong.
const WRONG: Duration = Duration::from_secs(30 * 86_400);

/// The clocks of three machines: right, ahead, behind.
fn clocks() -> [Timestamp; 3] {
    let right = Timestamp(1_719_892_354_194);
    [right, right.plus(WRONG), Timestamp(right.0 - u64::try_from(WRONG.as_millis()).unwrap())]
}

/// With something of all that is forgotten some day: `e1` is LOST, `e2` was removed, an instance ended.
fn with_history() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.lead_at(clocks()[0]);
    for id in ["e1", "e2", "e3"] {
        fixture.register(id, None);
    }
    fixture.running(spec("web"), 1);
    fixture.report_in("web-1.e3.0", &slot_id("web-1", "e3", 0), &UP_AND_DOWN);
    fixture.tag("e1", &["given"]);
    fixture.change_duty("e1", Wish::Blacklist).unwrap();
    fixture.contact("e1", Contact::Lost);
    fixture.contact("e2", Contact::Lost);
    fixture.change_duty("e2", Wish::Remove).unwrap();
    fixture.settle();
    fixture
}

/// What could be forgotten: executors, instances, operations, events.
fn kept(fixture: &Fixture) -> [usize; 4] {
    let state = &fixture.state;
    let instances = state.old_instances(&service_id("web-1")).count();
    [
        state.executors().count(),
        instances,
        state.operations().count(),
        state.events_after(Revision(0)).count(),
    ]
}

#[test]
fn a_leader_whose_clock_is_wrong_forgets_nothing_and_removes_nobody() {
    let [right, ahead, behind] = clocks();
    for order in [[ahead, behind, right], [behind, ahead, behind], [ahead, right, ahead]] {
        let mut fixture = with_history();
        let mut before = kept(&fixture);
        for (n, clock) in order.into_iter().enumerate() {
            fixture.lead_at(clock);
            fixture.advance(600);
            fixture.report_in(&format!("ended-{n}"), &slot_id("web-1", "e3", 0), &UP_AND_DOWN);
            fixture.settle();
            let after = kept(&fixture);
            assert_eq!(after[..3], [before[0], before[1] + 1, before[2]], "{order:?} {n}");
            assert!(after[3] > before[3], "{order:?} {n}: events were forgotten");
            before = after;
        }
        assert_eq!(fixture.shown_state("e1"), ExecutorState::BlacklistRequested);
        assert!(fixture.state.executor(&executor_id("e1")).unwrap().has_tag("given"));
    }
}

#[test]
fn what_leaders_led_counts_together_and_what_nobody_led_does_not() {
    let [right, ahead, behind] = clocks();
    let removal = Change::RemoveLost { executor: executor_id("e1") };
    let mut fixture = with_history();
    for clock in [ahead, behind, right, ahead, behind, right, ahead] {
        assert_eq!(fixture.shown_state("e1"), ExecutorState::BlacklistRequested);
        assert!(fixture.state.old_instances(&service_id("web-1")).count() > 0);
        let early = Command::Plan { at: fixture.now, changes: vec![removal.clone()] };
        assert_eq!(fixture.apply(&early), Reply::Planned { applied: 0, skipped: 1 });
        // What it knows of the time that was led is in the snapshot.
        fixture.state = read_snapshot(&write_snapshot(&fixture.state)).unwrap();
        fixture.lead_at(clock);
        fixture.settle();
        fixture.advance(DAY.as_secs());
        fixture.settle();
    }
    assert_eq!(fixture.shown_state("e1"), ExecutorState::Removed, "after seven days of seven leaders");
    assert!(fixture.state.executor(&executor_id("e2")).is_none(), "it was shown for two of them");
    fixture.advance(61);
    fixture.settle();
    // Those of the removed one count from now on.
    assert_eq!(fixture.old_instances("web-1").len(), 1);
    let events: Vec<_> = fixture.state.events_after(Revision(0)).map(|(at, _)| at.revision).collect();
    assert!(events.iter().all(|at| *at == events[0]), "only those of the removal are left: {events:?}");
}

#[test]
fn what_comes_late_of_a_term_takes_no_time_twice() {
    let mut fixture = Fixture::new();
    fixture.lead_at(Timestamp(1_000_000));
    for ms in [10, 5, 12, 7, 20] {
        let at = Timestamp(1_000_000 + ms);
        fixture.apply(&Command::NoteSkews { at, skews: Vec::new() });
    }
    assert_eq!(fixture.state.led_at(Timestamp(1_000_020)).as_ms(), 20);
    assert_eq!(fixture.state.led_at(Timestamp(1_000_025)).as_ms(), 25);
}
