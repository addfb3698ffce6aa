//! While the cluster is closed for maintenance it stands as it is.

use muster_common::cluster::ClusterState;
use muster_common::event::EventType;
use muster_common::operation::{ClusterOpSpec, OperationRequest, OperationState};
use muster_common::time::LedTime;

use crate::reconcile::plan;
use crate::state::testing::*;
use crate::state::{Command, Refusal, Reply, view};

const ID: &str = "web-1";

fn running() -> Fixture {
    let mut fixture = Fixture::with_executors(2);
    fixture.running(spec("web"), 1);
    fixture
}

#[test]
fn no_operation_is_accepted_until_it_is_over_and_then_at_once() {
    let mut fixture = running();
    fixture.set_cluster_state(ClusterState::Maintenance);
    let restart =
        OperationRequest::Restart { service_id: ID.to_owned(), stop_first: false, cluster_op_spec: None };
    assert_eq!(fixture.submit(restart.clone()), Err(Refusal::Maintenance));
    let create = OperationRequest::Create { spec: Box::new(spec_with("log", true)), instances_per_host: 2 };
    assert_eq!(fixture.submit(create), Err(Refusal::Maintenance), "before what is wrong with it");
    fixture.set_cluster_state(ClusterState::Normal);
    assert!(fixture.submit(restart).is_ok());
}

#[test]
fn nothing_is_assigned_taken_away_or_raised_also_by_a_plan_that_was_made_before() {
    let mut fixture = running();
    let operation = fixture.restart(ID, ClusterOpSpec::default(), false);
    fixture.create(spec("log"), 1);
    fixture.activate("log-1");
    let made_before = plan(&fixture.state, fixture.now).changes;
    assert!(!made_before.is_empty());

    fixture.set_cluster_state(ClusterState::Maintenance);
    let skipped = u32::try_from(made_before.len()).unwrap();
    let late = fixture.apply(&Command::Plan { at: fixture.now, changes: made_before });
    assert_eq!(late, Reply::Planned { applied: 0, skipped });
    fixture.contact("e2", muster_common::executor::Contact::Lost);
    assert_eq!(fixture.reconcile(), []);
    assert_eq!(fixture.state.slots().count(), 2, "slots stay where they are");

    fixture.set_cluster_state(ClusterState::Normal);
    fixture.settle();
    assert_eq!(fixture.state.slots().count(), 4);
    assert_eq!(fixture.operation(&operation).state, OperationState::Running);
}

#[test]
fn it_costs_an_operation_none_of_its_time() {
    let mut fixture = running();
    let operation = fixture.restart(ID, ClusterOpSpec::default(), false);
    fixture.settle();
    fixture.advance(100);
    fixture.apply(&Command::Plan { at: fixture.now, changes: Vec::new() });
    fixture.set_cluster_state(ClusterState::Maintenance);
    assert_eq!(fixture.operation(&operation).deadline, None);
    fixture.advance(1800);
    assert_eq!(fixture.reconcile(), []);
    fixture.set_cluster_state(ClusterState::Normal);
    fixture.settle();
    let operation = fixture.operation(&operation);
    assert_eq!(operation.state, OperationState::Running);
    assert_eq!(operation.deadline, Some(fixture.now.plus(std::time::Duration::from_secs(500))));
}

#[test]
fn each_change_is_told_once_and_what_is_old_is_forgotten_all_the_same() {
    let mut fixture = running();
    let since = fixture.state.revision();
    fixture.set_cluster_state(ClusterState::Maintenance);
    let set_at = fixture.now;
    fixture.advance(10);
    fixture.set_cluster_state(ClusterState::Maintenance);
    assert_eq!(fixture.state.cluster_state().updated, set_at);
    fixture.set_cluster_state(ClusterState::Normal);
    let told: Vec<_> = fixture
        .state
        .events_after(since)
        .map(|(position, record)| view::event::event(*position, record))
        .collect();
    let kinds: Vec<EventType> = told.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventType::MaintenanceModeSet, EventType::MaintenanceModeRemoved]);
    assert_eq!(told[0].metadata["HOSTNAME"], "127.0.0.1", "and no port");

    fixture.set_cluster_state(ClusterState::Maintenance);
    fixture.advance(3600 + 61);
    fixture.settle();
    assert_eq!(fixture.state.oldest_event(), None::<LedTime>);
}
