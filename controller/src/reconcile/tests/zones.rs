//! Never all of a zone at once, and what is down before what is up.

use muster_common::executor::Contact;
use muster_common::operation::SlotOutcome::{InProgress, Waiting};
use muster_common::operation::{ClusterOpSpec, OperationRequest, OperationState};
use muster_common::slot::ReplaceMode;

use super::rollout::{asked, content, outcomes, replaced, running, update, wide};
use crate::state::testing::*;
use crate::state::view;

const ID: &str = "web-1";

#[test]
fn those_who_were_away_catch_up_one_of_a_zone_at_a_time_and_as_the_rollout_was_to() {
    let mut fixture = Fixture::new();
    for (executor, zone) in [("a1", "a"), ("a2", "a"), ("a3", "a"), ("n1", ""), ("n2", ""), ("z1", "z")] {
        fixture.register_in_zone(executor, zone);
    }
    fixture.running(content("old"), 1);
    let away = ["a1", "a2", "a3", "n1", "n2"];
    for executor in away {
        fixture.contact(executor, Contact::Unreachable);
    }
    let (spec, op_spec) = (Box::new(content("new")), Some(wide()));
    let request = OperationRequest::UpdateSpec { spec, stop_first: true, op_spec };
    let operation = fixture.submit(request).unwrap();
    fixture.settle();
    replaced(&mut fixture, "z1");
    assert_eq!(fixture.operation(&operation).state, OperationState::Succeeded);
    // One is down before its turn comes: nothing is lost by replacing it.
    fixture.report_in("web-1.a2.0", &slot_id(ID, "a2", 0), &UP_AND_DOWN);
    for executor in away {
        fixture.contact(executor, Contact::Connected);
    }
    fixture.settle();
    assert_eq!(asked(&fixture), ["old", "new", "old", "new", "old", "new"]);
    assert_eq!(fixture.state.slot(&slot_id(ID, "a2", 0)).unwrap().mode, ReplaceMode::StopFirst);
    let problems = view::service_summary(&fixture.state, fixture.service(ID)).problems;
    let waiting = problems.iter().filter(|problem| problem.contains("it was away while"));
    assert_eq!(
        waiting.map(|problem| &problem[..4]).collect::<Vec<_>>(),
        ["a1/0", "a3/0", "n2/0"],
        "{problems:?}"
    );
    replaced(&mut fixture, "n1");
    assert_eq!(asked(&fixture), ["old", "new", "old", "new", "new", "new"]);
    replaced(&mut fixture, "a2");
    assert_eq!(asked(&fixture), ["new", "new", "old", "new", "new", "new"]);
    replaced(&mut fixture, "a1");
    assert_eq!(asked(&fixture), ["new"; 6]);
    assert_eq!(view::service_summary(&fixture.state, fixture.service(ID)).problems, [""; 0]);
}

#[test]
fn a_wave_never_takes_a_whole_zone() {
    let mut fixture = Fixture::new();
    for (executor, zone) in
        [("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b"), ("b3", "b"), ("c1", "c"), ("n1", "")]
    {
        fixture.register_in_zone(executor, zone);
    }
    fixture.running(content("old"), 1);
    let operation = update(&mut fixture, "new", wide());
    let begun: Vec<String> = fixture
        .operation(&operation)
        .slots
        .iter()
        .filter(|slot| slot.outcome == InProgress)
        .map(|slot| slot.slot.executor.to_string())
        .collect();
    assert_eq!(begun, ["a1", "b1", "b2", "c1", "n1"]);
    replaced(&mut fixture, "b1");
    assert_eq!(outcomes(&fixture, &operation)[4], InProgress, "b3 follows when b1 is back");
}

#[test]
fn what_is_down_or_away_by_itself_counts_for_its_zone_though_the_operation_has_nothing_to_do_with_it() {
    for stop_first in [true, false] {
        for (contact, begins_at_once) in
            [(Contact::Connected, false), (Contact::Unreachable, false), (Contact::Lost, true)]
        {
            let mut fixture = Fixture::new();
            for executor in ["a1", "a2"] {
                fixture.register_in_zone(executor, "a");
            }
            fixture.running(content("old"), 1);
            if contact == Contact::Connected {
                fixture.report_in("web-1.a2.0", &slot_id(ID, "a2", 0), &UP_AND_DOWN);
            } else {
                fixture.contact("a2", contact);
            }
            let instance_ids = vec!["web-1.a1.0".to_owned()];
            let (service_id, op_spec) = (ID.to_owned(), Some(wide()));
            let request =
                OperationRequest::ReplaceInstances { service_id, instance_ids, stop_first, op_spec };
            let operation = fixture.submit(request).unwrap();
            fixture.settle();
            // With start-first it goes on serving meanwhile.
            let expected = if begins_at_once || !stop_first { InProgress } else { Waiting };
            assert_eq!(outcomes(&fixture, &operation), [expected], "{contact:?}, {stop_first}");
            fixture.contact("a2", Contact::Connected);
            fixture.report_in("web-1.a2.new", &slot_id(ID, "a2", 0), &UP);
            fixture.settle();
            assert_eq!(outcomes(&fixture, &operation), [InProgress], "{contact:?}, {stop_first}");
        }
    }
}

#[test]
fn what_is_down_is_replaced_before_what_is_up() {
    let mut fixture = running(3);
    fixture.report_in("web-1.e3.0", &slot_id(ID, "e3", 0), &UP_AND_DOWN);
    let operation = update(&mut fixture, "new", ClusterOpSpec::default());
    assert_eq!(outcomes(&fixture, &operation), [Waiting, Waiting, InProgress]);
}
