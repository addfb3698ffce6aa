//! Services go to the executors whose tags match, and it is said why not to others.

use std::time::Duration;

use muster_common::executor::Contact;
use muster_common::id::Revision;
use muster_common::operation::OperationRequest;
use muster_common::placement::{ExecutorPlacement, Obstacle};
use serde_json::json;

use crate::state::codec::{read_snapshot, write_snapshot};
use crate::state::testing::*;
use crate::state::view::WHOLE;
use crate::state::{Wish, view};

const ID: &str = "web-1";

fn places(fixture: &Fixture) -> Vec<String> {
    fixture.state.slots_of(&service_id(ID)).map(|(slot, _)| slot.executor.to_string()).collect()
}

fn obstacles(placement: &[ExecutorPlacement]) -> Vec<Vec<Obstacle>> {
    placement.iter().map(|one| one.reasons.iter().map(|reason| reason.code).collect()).collect()
}

#[test]
fn slots_follow_the_tags_of_executors() {
    let mut fixture = Fixture::with_executors(3);
    fixture.tag("e1", &["ssd"]);
    fixture.running(spec_for("web", &json!({"all": ["ssd"], "none": ["zone=b"]})), 1);
    assert_eq!(places(&fixture), ["e1"]);
    assert_eq!(fixture.state.wanted_count(fixture.service(ID)), 1);
    fixture.tag("e2", &["ssd"]);
    fixture.tag("e1", &["ssd", "zone=b"]);
    fixture.settle();
    assert_eq!(places(&fixture), ["e2"]);
    // What users gave stays when the executor registers anew.
    fixture.register("e2", None);
    fixture.settle();
    assert_eq!(places(&fixture), ["e2"]);
    let shown = view::executor_summary(&fixture.state, fixture.state.executor(&executor_id("e2")).unwrap());
    assert_eq!(shown.tags, ["e2.example.org", "ssd"]);
}

#[test]
fn slots_follow_an_expression_over_tags_and_each_executor_is_told_what_does_not_match() {
    let mut fixture = Fixture::with_executors(3);
    for (executor, tags) in [("e1", &["ssd", "gpu", "zone=a"][..]), ("e2", &["gpu"]), ("e3", &[])] {
        fixture.tag(executor, tags);
    }
    let service = fixture.running(spec_for("web", &json!({"matches": "(ssd and zone=a) or not \"gpu\""})), 1);
    assert_eq!(places(&fixture), ["e1", "e3"]);
    let expected = "it does not match '(ssd and zone=a) or not gpu': it lacks the tag ssd, it lacks the tag zone=a, it \
                    has the tag gpu";
    let placement = view::placement(&fixture.state, fixture.state.service(&service).unwrap(), WHOLE).items;
    assert_eq!(obstacles(&placement), [vec![], vec![Obstacle::Tags], vec![]]);
    assert_eq!(placement[1].reasons[0].message, expected);
    let spec = fixture.service(ID).spec();
    let simulated = view::simulated_placement(&fixture.state, spec, 1, false);
    assert_eq!((simulated.requested, simulated.placed), (2, 2));
    // It survives what is stored.
    let again = read_snapshot(&write_snapshot(&fixture.state)).unwrap();
    assert_eq!(again.service(&service).unwrap().spec(), spec);
    fixture.tag("e3", &["gpu"]);
    fixture.tag("e2", &[]);
    fixture.settle();
    assert_eq!(places(&fixture), ["e1", "e2"]);
}

#[test]
fn a_test_instance_goes_where_the_tags_match() {
    let mut fixture = Fixture::with_executors(5);
    fixture.tag("e4", &["ssd"]);
    fixture.create(spec_for("web", &json!({"any": ["ssd", "nvme"]})), 1);
    fixture.submit(OperationRequest::DeployTestInstance { service_id: ID.to_owned() }).unwrap();
    fixture.settle();
    assert_eq!(places(&fixture), ["e4"]);
    fixture.tag("e4", &[]);
    fixture.tag("e5", &["nvme"]);
    fixture.settle();
    assert_eq!(places(&fixture), ["e5"]);
}

#[test]
fn every_obstacle_is_named() {
    let mut fixture = Fixture::with_executors(6);
    for executor in ["e1", "e2", "e3", "e4", "e5"] {
        fixture.tag(executor, &["ssd"]);
    }
    let service = fixture.running(spec_for("web", &json!({"all": ["ssd"]})), 1);
    fixture.change_duty("e2", Wish::Blacklist).unwrap();
    fixture.change_duty("e3", Wish::Drain { within: Duration::from_secs(9) }).unwrap();
    fixture.contact("e4", Contact::Unreachable);
    fixture.contact("e5", Contact::Lost);
    fixture.change_duty("e5", Wish::Remove).unwrap();
    fixture.settle();
    let placement = view::placement(&fixture.state, fixture.state.service(&service).unwrap(), WHOLE).items;
    assert_eq!(
        obstacles(&placement),
        [
            vec![],
            vec![Obstacle::Blacklisted],
            vec![Obstacle::Draining],
            vec![Obstacle::NotHeard],
            vec![Obstacle::Removed],
            vec![Obstacle::Tags],
        ]
    );
    let counts: Vec<_> = placement.iter().map(|one| (one.wanted, one.live)).collect();
    assert_eq!(counts, [(1, 1), (0, 1), (0, 1), (1, 1), (0, 0), (0, 0)]);
    assert_eq!(placement[5].reasons[0].message, "it lacks the tag ssd");

    fixture.deactivate(ID);
    let placement = view::placement(&fixture.state, fixture.state.service(&service).unwrap(), WHOLE).items;
    assert_eq!(placement[0].reasons[0].message, "the service is INACTIVE");
}

#[test]
fn a_dry_run_tells_where_there_is_no_room_and_changes_nothing() {
    let mut fixture = Fixture::with_executors(2);
    fixture.running(spec_for("web", &json!({"all": ["e1.example.org"]})), 1);
    let before = fixture.state.revision();
    // Each executor has four cores; one of them is taken on the first.
    let placement = view::placement_of_spec(&fixture.state, &spec("other"), 4, WHOLE).items;
    assert_eq!(obstacles(&placement), [vec![Obstacle::NoRoom], vec![]]);
    assert_eq!(
        placement[0].reasons[0].message,
        "4 more are wanted, and there is room for 3: each asks for 1 cores and 128 MB; 3 cores and 18898 MB are free"
    );
    assert_eq!(fixture.state.revision(), before);
    assert!(before > Revision(0));
}

#[test]
fn a_fixed_host_port_that_somebody_else_has_is_no_room() {
    let mut fixture = Fixture::with_executors(2);
    fixture.running(spec_for("other", &json!({"none": ["e2.example.org"]})), 1);
    fixture.create(spec_with("log", true), 1);
    fixture.activate("log-1");
    fixture.settle();
    let message = |spec| {
        let placement = view::placement_of_spec(&fixture.state, &spec, 1, WHOLE).items;
        placement
            .iter()
            .map(|one| one.reasons.iter().map(|why| why.message.clone()).collect())
            .collect::<Vec<Vec<_>>>()
    };
    let promised = "host port 8000 is fixed, and log-1 is to have it too".to_owned();
    assert_eq!(message(spec_with("web", true)), [[promised.clone()], [promised.clone()]]);
    assert_eq!(message(spec_with("log", true)), [[""; 0]; 2], "it does not stand in its own way");
    assert_eq!(message(spec("web")), [[""; 0]; 2], "any port will do");
    let mut taken = spec_with("web", true);
    taken.exposed_ports[0].port = 33_857;
    let held = "host port 33857 is fixed, and other-1.e1.0 of other-1 has it".to_owned();
    assert_eq!(message(taken), [vec![held], vec![]]);
}

#[test]
fn a_simulation_counts_what_fits_and_tells_what_does_not() {
    let mut fixture = Fixture::with_executors(2);
    let simulate = |fixture: &Fixture, count, detail| {
        view::simulated_placement(&fixture.state, &spec("web"), count, detail)
    };
    let two_each = simulate(&fixture, 2, true);
    assert_eq!((two_each.requested, two_each.placed, two_each.errors.len()), (4, 4, 0));
    let hosts: Vec<&str> = two_each.placements.iter().map(|place| place.executor_id.as_str()).collect();
    assert_eq!(hosts, ["e1", "e1", "e2", "e2"]);
    assert!(simulate(&fixture, 2, false).placements.is_empty());

    // Four cores on each.
    let many = simulate(&fixture, 10, false);
    assert_eq!((many.requested, many.placed), (20, 8));
    assert!(
        many.errors[0].starts_with("e1.example.org: 10 more are wanted, and there is room for 4"),
        "{many:?}"
    );

    fixture.contact("e2", Contact::Unreachable);
    let away = simulate(&fixture, 1, false);
    assert_eq!((away.requested, away.placed), (2, 1));
    assert!(away.errors[0].contains("no contact with executor e2"), "{away:?}");

    let elsewhere = spec_for("web", &json!({"all": ["gpu"]}));
    let nowhere = view::simulated_placement(&fixture.state, &elsewhere, 1, false);
    assert_eq!((nowhere.requested, nowhere.placed), (0, 0));
    assert_eq!(
        nowhere.errors,
        [
            "no executor that takes instances has the tags that the spec asks for: e1.example.org: it lacks the tag gpu; \
             e2.example.org: it lacks the tag gpu; e2.example.org: no contact with executor e2 since \
             1970-01-01T00:16:40.000Z"
        ]
    );
}
