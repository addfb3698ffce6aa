//! Which events are kept, and from where who watches them can go on.

use muster_common::event::EventType;
use muster_common::id::Revision;

use crate::state::codec::{read_snapshot, write_snapshot};
use crate::state::testing::*;
use crate::state::{Change, Command, EventPosition, Retention};

#[test]
fn events_are_kept_for_an_hour_and_say_when_some_are_missing() {
    let mut fixture = Fixture::with_executors(1);
    fixture.create(spec("web"), 1);
    let told = fixture.state.revision();
    assert_eq!(fixture.state.events_compacted().0, 0);
    fixture.advance(3600 + 61);
    fixture.settle();
    assert_eq!(fixture.state.events_after(Revision(0)).count(), 0);
    assert_eq!(fixture.state.events_compacted(), told);
}

#[test]
fn events_are_bounded_in_number_too() {
    const MAX_EVENTS: usize = 1_000;
    let mut fixture = Fixture::with_executors(1);
    fixture.retain(Retention { events: 1_000, ..Retention::default() });
    let slot = slot_id("web-1", "e1", 0);
    for n in 0..MAX_EVENTS / UP_AND_DOWN.len() + 10 {
        fixture.report_in(&format!("i{n}"), &slot, &UP_AND_DOWN);
    }
    assert_eq!(fixture.state.events_after(Revision(0)).count(), MAX_EVENTS);
    assert!(fixture.state.events_compacted().0 > 0);
}

#[test]
fn events_are_resumed_where_nothing_is_missing() {
    let mut fixture = Fixture::with_executors(1);
    let slot = slot_id("web-1", "e1", 0);
    for n in 0..10 {
        fixture.report_in(&format!("i{n}"), &slot, &UP_AND_DOWN);
    }
    assert!(fixture.state.can_resume(EventPosition::end_of(Revision(0))));
    let seen = *fixture.state.events_after(Revision(0)).nth(12).unwrap().0;
    assert!(fixture.state.can_resume(seen), "also in the middle of a revision");
    assert_eq!(
        *fixture.state.events_behind(seen).next().unwrap().0,
        EventPosition::new(seen.revision, seen.n + 1)
    );

    fixture.retain(Retention { events: 20, ..Retention::default() });
    let compacted = fixture.state.events_compacted();
    assert!(!fixture.state.can_resume(seen));
    assert!(
        !fixture.state.can_resume(EventPosition::new(compacted, 0)),
        "the rest of that revision may be missing"
    );
    assert!(fixture.state.can_resume(EventPosition::end_of(compacted)));
    let now = fixture.state.revision();
    assert!(fixture.state.can_resume(EventPosition::end_of(now)));
    assert!(!fixture.state.can_resume(EventPosition::end_of(now.next())), "that did not happen here");
}

#[test]
fn in_another_history_nobody_goes_on_from_before_and_revisions_do_not_go_back() {
    let mut fixture = Fixture::with_executors(1);
    let slot = slot_id("web-1", "e1", 0);
    fixture.report_in("i0", &slot, &UP_AND_DOWN);
    let kept = fixture.state.clone();
    fixture.report_in("i1", &slot, &UP_AND_DOWN);
    let lost = fixture.state.revision();

    let begin = Revision(1_000_000);
    let mut state = kept.clone();
    state.begin_history(begin, "restored".to_owned());
    let mut state = read_snapshot(&write_snapshot(&state)).unwrap();
    assert_eq!((state.revision(), state.history()), (begin, "restored"));
    for seen in [Revision(0), kept.revision(), lost] {
        assert!(kept.revision() < lost && !state.can_resume(EventPosition::end_of(seen)), "{seen:?}");
    }
    assert!(state.can_resume(EventPosition::end_of(begin)));
    assert!(!state.can_resume(EventPosition::end_of(begin.next())));
    // What happened before is still told to whoever asks for the events by their time.
    assert_eq!(state.events_after(Revision(0)).count(), kept.events_after(Revision(0)).count());
    state.apply(begin.next(), &Command::AnnounceLeader { at: fixture.now, address: "c1:4000".to_owned() });
    let news = state.events_behind(EventPosition::end_of(begin)).map(|(at, _)| at.revision);
    assert_eq!(news.collect::<Vec<_>>(), [begin.next()]);
    // What is forgotten of before brings nobody back.
    let forget = Change::Retain(Retention { events: 1, ..Retention::default() });
    state.apply(begin.next().next(), &Command::Plan { at: fixture.now, changes: vec![forget] });
    assert!(!state.can_resume(EventPosition::end_of(lost)));
}

#[test]
fn a_leader_that_follows_another_tells_of_both() {
    let mut fixture = Fixture::new();
    let mut lead = |address: &str| {
        let since = fixture.state.revision();
        fixture.apply(&Command::AnnounceLeader { at: fixture.now, address: address.to_owned() });
        let told = fixture.state.events_after(since);
        told.map(|(_, event)| event.what.kind()).collect::<Vec<_>>()
    };
    assert_eq!(lead("c1:4000"), [EventType::LeadershipAcquired]);
    assert_eq!(lead("c2:4000"), [EventType::LeadershipLost, EventType::LeadershipAcquired]);
    assert_eq!(lead("c2:4000"), [EventType::LeadershipAcquired]);
}
