//! Every operation in every state, against docs/drove-api.md §3.

use muster_common::id::{Generation, OperationId};
use muster_common::operation::{ClusterOpSpec, OperationKind, OperationRequest, OperationState, Steer};
use muster_common::service::{ActivationState, ServiceState};
use muster_common::spec::LocalServiceSpec;

use crate::state::testing::*;
use crate::state::{Happening, Refusal, Reply};

const ID: &str = "web-1";

/// Each kind of request for a service that exists.
fn requests() -> Vec<OperationRequest> {
    let service_id = || ID.to_owned();
    vec![
        OperationRequest::Activate { service_id: service_id() },
        OperationRequest::Deactivate { service_id: service_id() },
        OperationRequest::DeployTestInstance { service_id: service_id() },
        OperationRequest::AdjustInstances { service_id: service_id(), op_spec: None },
        OperationRequest::UpdateInstanceCount { service_id: service_id(), instances_per_host: 2 },
        OperationRequest::Restart { service_id: service_id(), stop_first: false, cluster_op_spec: None },
        OperationRequest::ReplaceInstances {
            service_id: service_id(),
            instance_ids: Vec::new(),
            stop_first: false,
            op_spec: None,
        },
        OperationRequest::StopInstances {
            service_id: service_id(),
            instance_ids: vec!["web-1.e1.0".to_owned()],
            op_spec: None,
        },
        OperationRequest::Destroy { service_id: service_id() },
        update("newer"),
        OperationRequest::Rollback {
            service_id: service_id(),
            generation: None,
            stop_first: false,
            op_spec: None,
        },
        OperationRequest::Retry { service_id: service_id() },
    ]
}

fn update(content: &str) -> OperationRequest {
    let mut spec = Box::new(spec("web"));
    spec.env.insert("CONTENT".to_owned(), content.to_owned());
    OperationRequest::UpdateSpec { spec, stop_first: false, op_spec: None }
}

/// What Muster adds to the wire's operations goes where a service rests.
fn is_an_addition(kind: OperationKind, state: ServiceState) -> bool {
    match kind {
        OperationKind::UpdateSpec | OperationKind::Rollback => {
            matches!(state, ServiceState::Inactive | ServiceState::Active | ServiceState::ConfigTesting)
        }
        OperationKind::Retry => matches!(state, ServiceState::Active | ServiceState::ConfigTesting),
        _ => false,
    }
}

/// What the wire says of a state: the sentence for what it does not allow, with what it does.
const TABLE: [(ServiceState, &str); 15] = {
    use ServiceState as S;
    const NONE: &str = "";
    [
        (S::Init, NONE),
        (S::ActivationRequested, NONE),
        (S::ConfigTestingRequested, NONE),
        (S::DeactivationRequested, NONE),
        (S::EmergencyDeactivationRequested, "DEACTIVATE"),
        (S::Inactive, "ACTIVATE, ADJUST_INSTANCES, DEPLOY_TEST_INSTANCE, DESTROY, UPDATE_INSTANCE_COUNT"),
        (
            S::Active,
            "ADJUST_INSTANCES, DEACTIVATE, REPLACE_INSTANCES, RESTART, STOP_INSTANCES, UPDATE_INSTANCE_COUNT",
        ),
        (
            S::ConfigTesting,
            "ACTIVATE, ADJUST_INSTANCES, DEACTIVATE, REPLACE_INSTANCES, RESTART, STOP_INSTANCES",
        ),
        (S::AdjustingInstances, NONE),
        (S::DeployingTestInstance, NONE),
        (S::ReplacingInstances, NONE),
        (S::StoppingInstances, NONE),
        (S::UpdatingInstancesCount, NONE),
        (S::DestroyRequested, NONE),
        (S::Destroyed, NONE),
    ]
};

#[test]
fn each_operation_in_each_state_is_accepted_or_refused_as_the_wire_says() {
    let mut ready = Fixture::with_executors(1);
    ready.create(spec("web"), 1);
    ready.submit(update("new")).unwrap();
    ready.activate(ID);
    ready.settle();
    ready.report_in("web-1.e1.0", &slot_id(ID, "e1", 0), &UP);
    ready.settle();
    assert_eq!(TABLE.map(|(state, _)| state).len(), ServiceState::ALL.len());
    for (state, allowed) in TABLE {
        for request in requests() {
            let mut fixture = ready.clone();
            fixture.force_state(ID, state);
            let kind = request.kind();
            let expected = if allowed.is_empty() {
                Some(format!("No operations allowed for {ID} as it is in {state} state"))
            } else if allowed.split(", ").any(|name| name == kind.as_str()) || is_an_addition(kind, state) {
                None
            } else {
                Some(format!("Only [{allowed}] allowed for local service {ID} as it is in {state} state"))
            };
            let before = super::determinism::bytes(&fixture.state);
            let refusal = fixture.submit(request).err().map(|refusal| refusal.to_string());
            assert_eq!(refusal, expected, "{kind} in {state}");
            if refusal.is_some() {
                fixture.assert_same_but_for_revision(&before);
            }
        }
    }
}

#[test]
fn requests_that_name_no_known_service_are_refused_before_anything_else() {
    let mut fixture = Fixture::new();
    let unknown = |id: &str| OperationRequest::Activate { service_id: id.to_owned() };
    for (id, message) in [
        ("", "No local service id found in operation"),
        ("web-1", "No state found for local service: web-1"),
        ("../etc", "No state found for local service: ../etc"),
    ] {
        assert_eq!(fixture.submit(unknown(id)).unwrap_err().to_string(), message);
    }
}

#[test]
fn creation_has_its_own_rules() {
    let mut fixture = Fixture::new();
    let mut create = |spec, instances_per_host| {
        let request = OperationRequest::Create { spec: Box::new(spec), instances_per_host };
        fixture.submit(request).map_err(|refusal| refusal.to_string())
    };
    create(spec("web"), 2).unwrap();
    assert_eq!(create(spec("web"), 2).unwrap_err(), "Local service web-1 already exists");
    assert_eq!(create(spec("a"), 0).unwrap_err(), "instancesPerHost must be between 1 and 256");
    assert_eq!(create(spec("a"), 257).unwrap_err(), "instancesPerHost must be between 1 and 256");
    assert_eq!(
        create(spec_with("a", true), 2).unwrap_err(),
        "Host level service cannot have more than one instance"
    );
    assert_eq!(create(spec_with("web", true), 2).unwrap_err(), "Local service web-1 already exists");
    create(spec_with("a", true), 1).unwrap();
    let service = fixture.service("web-1");
    assert_eq!((service.state, service.activation), (ServiceState::Inactive, ActivationState::Inactive));
    assert_eq!(fixture.state.services().count(), 2);
}

#[test]
fn no_spec_of_a_service_with_several_instances_per_host_has_fixed_ports() {
    let mut fixture = Fixture::with_executors(1);
    fixture.create(spec_with("web", true), 1);
    fixture.submit(update("newer")).unwrap();
    let service_id = ID.to_owned();
    fixture.submit(OperationRequest::UpdateInstanceCount { service_id, instances_per_host: 2 }).unwrap();
    let fixed = Box::new(spec_with("web", true));
    let (stop_first, op_spec) = (false, None);
    let refused = fixture.submit(OperationRequest::UpdateSpec { spec: fixed, stop_first, op_spec });
    assert_eq!(refused, Err(Refusal::HostLevelCount));
    let (service_id, generation, op_spec) = (ID.to_owned(), None, None);
    let back = OperationRequest::Rollback { service_id, generation, stop_first, op_spec };
    assert_eq!(fixture.submit(back), Err(Refusal::HostLevelCount));
}

#[test]
fn the_count_is_fixed_while_fixed_ports_may_come_back() {
    let mut fixture = Fixture::with_executors(1);
    fixture.running(spec_with("web", true), 1);
    let operation = fixture.submit(update("newer")).unwrap();
    fixture.settle();
    fixture.steer(&operation, Steer::Cancel).unwrap();
    let service_id = ID.to_owned();
    let refused = fixture.submit(OperationRequest::UpdateInstanceCount { service_id, instances_per_host: 2 });
    assert_eq!(refused, Err(Refusal::HostLevelFixed));
}

#[test]
fn the_count_of_a_host_level_service_is_fixed() {
    let mut fixture = Fixture::new();
    fixture.create(spec_with("web", true), 1);
    let request = OperationRequest::UpdateInstanceCount { service_id: ID.to_owned(), instances_per_host: 2 };
    assert_eq!(
        fixture.submit(request).unwrap_err().to_string(),
        "Instance count update is allowed only for services that do not have Host Level option set"
    );
}

#[test]
fn only_healthy_instances_of_the_service_can_be_named() {
    let mut fixture = Fixture::with_executors(2);
    fixture.running(spec("web"), 1);
    fixture.running(spec("other"), 1);
    let slot = slot_id(ID, "e1", 0);
    fixture.report_in("starting", &slot, &UP[..2]);
    let replace = |ids: &[&str]| OperationRequest::ReplaceInstances {
        service_id: ID.to_owned(),
        instance_ids: ids.iter().map(ToString::to_string).collect(),
        stop_first: false,
        op_spec: None,
    };
    let stop = |ids: &[&str]| OperationRequest::StopInstances {
        service_id: ID.to_owned(),
        instance_ids: ids.iter().map(ToString::to_string).collect(),
        op_spec: None,
    };
    assert_eq!(
        fixture.submit(replace(&["web-1.e1.0", "starting", "other-1.e1.0", "nobody"])).unwrap_err(),
        Refusal::NotReplaceable(["starting", "other-1.e1.0", "nobody"].map(str::to_owned).to_vec())
    );
    assert_eq!(
        fixture.submit(stop(&["starting"])).unwrap_err().to_string(),
        "There are no healthy instances with ids: [starting]"
    );
    assert_eq!(
        fixture.submit(replace(&["nobody"])).unwrap_err().to_string(),
        "There are no replaceable healthy instances with ids: [nobody]"
    );
    // Shown as UNKNOWN, so not HEALTHY.
    fixture.contact("e2", muster_common::executor::Contact::Unreachable);
    assert!(fixture.submit(stop(&["web-1.e2.0"])).is_err());
    assert!(fixture.submit(stop(&["web-1.e1.0"])).is_ok());
}

#[test]
fn a_proposal_that_is_repeated_is_answered_as_the_first_time() {
    let mut fixture = Fixture::with_executors(1);
    fixture.create(spec("web"), 1);
    let first = fixture.activate(ID);
    let before = super::determinism::bytes(&fixture.state);
    let again = crate::state::Command::SubmitOperation {
        id: first.clone(),
        request: Box::new(OperationRequest::Activate { service_id: ID.to_owned() }),
        at: fixture.now,
        by: "tester".to_owned(),
        if_generation: None,
    };
    let reply = fixture.apply(&again);
    assert_eq!(reply, crate::state::Reply::Accepted { operation: first, service: service_id(ID) });
    fixture.assert_same_but_for_revision(&before);
}

#[test]
fn each_transition_that_is_passed_through_is_told() {
    let mut fixture = Fixture::with_executors(1);
    fixture.running(spec("web"), 1);
    fixture.restart(ID, ClusterOpSpec::default(), false);
    fixture.deactivate_after_settling(ID);
    let states: Vec<ServiceState> = fixture
        .state
        .events_after(muster_common::id::Revision(0))
        .filter_map(|(_, event)| match &event.what {
            Happening::Service { state, .. } => Some(*state),
            _ => None,
        })
        .collect();
    assert_eq!(
        states,
        [
            ServiceState::Inactive,
            ServiceState::ActivationRequested,
            ServiceState::Active,
            ServiceState::ReplacingInstances,
            ServiceState::Active,
            ServiceState::DeactivationRequested,
            ServiceState::Inactive,
            ServiceState::DestroyRequested,
            ServiceState::Destroyed,
        ]
    );
}

#[test]
fn generations_grow_with_every_change_also_across_destruction() {
    let mut fixture = Fixture::with_executors(1);
    let mut seen = Vec::new();
    for _ in 0..2 {
        fixture.create(spec("web"), 1);
        seen.push(fixture.service(ID).generation);
        fixture.activate(ID);
        seen.push(fixture.service(ID).generation);
        let update =
            OperationRequest::UpdateInstanceCount { service_id: ID.to_owned(), instances_per_host: 2 };
        fixture.submit(update).unwrap();
        seen.push(fixture.service(ID).generation);
        fixture.deactivate(ID);
        seen.push(fixture.service(ID).generation);
        fixture.destroy(ID);
        fixture.settle();
        assert!(fixture.state.service(&service_id(ID)).is_none());
    }
    assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
}

#[test]
fn what_is_wanted_anew_supersedes_what_was_wanted() {
    let mut fixture = Fixture::with_executors(1);
    fixture.create(spec("web"), 1);
    let activation = fixture.activate(ID);
    let deactivation = fixture.deactivate(ID);
    let superseded = fixture.operation(&activation);
    assert_eq!(superseded.state, OperationState::Cancelled);
    assert_eq!(superseded.message, format!("superseded by DEACTIVATE {deactivation}"));
    assert_eq!(superseded.finished, Some(fixture.now));
    fixture.settle();
    assert_eq!(fixture.operation(&deactivation).state, OperationState::Succeeded);
}

#[test]
fn an_operation_keeps_what_was_asked() {
    let mut fixture = Fixture::with_executors(1);
    let spec = Box::new(spec("web"));
    let created = fixture.submit(OperationRequest::Create { spec, instances_per_host: 2 }).unwrap();
    let generation = fixture.service(ID).generation;
    let created = fixture.operation(&created);
    assert_eq!((created.generation, created.instances_per_host), (Some(generation), Some(2)));
    fixture.activate(ID);
    fixture.settle();
    let slot = slot_id(ID, "e1", 0);
    fixture.report_in("SI-1", &slot, &UP);
    let request = OperationRequest::ReplaceInstances {
        service_id: ID.to_owned(),
        instance_ids: vec!["SI-1".to_owned()],
        stop_first: true,
        op_spec: None,
    };
    let replaced = fixture.submit(request).unwrap();
    let replaced = fixture.operation(&replaced);
    assert_eq!((replaced.instance_ids, replaced.stop_first), (vec![instance_id("SI-1")], true));
}

#[test]
fn who_cannot_say_how_long_it_may_take_has_the_time_that_the_spec_allows() {
    let mut fixture = Fixture::with_executors(1);
    let mut document = serde_json::to_value(spec("web")).unwrap();
    fixture.create(serde_json::from_value(document.clone()).unwrap(), 1);
    let quick = fixture.activate(ID);
    assert_eq!(fixture.operation(&quick).time_left_ms, 300_000);
    document["name"] = "image".into();
    document["executable"]["dockerPullTimeout"] = "15m".into();
    let slow: LocalServiceSpec = serde_json::from_value(document).unwrap();
    let longest_ms = u64::try_from(slow.longest_replacement().as_millis()).unwrap();
    assert!(longest_ms > 900_000);
    fixture.create(slow, 1);
    let slow = fixture.activate("image-1");
    assert_eq!(fixture.operation(&slow).time_left_ms, longest_ms);
}

#[test]
fn a_destroy_beside_a_dead_node_waits_until_that_is_lost() {
    use std::time::Duration;
    let mut fixture = Fixture::with_executors(2);
    let lost_after = Duration::from_secs(3600);
    let retention = crate::state::Retention { lost_after, ..crate::state::Retention::default() };
    let changes = vec![crate::state::Change::Retain(retention)];
    fixture.apply(&crate::state::Command::Plan { at: fixture.now, changes });
    fixture.running(spec("web"), 1);
    fixture.deactivate("web-1");
    fixture.report_in("web-1.e1.0", &slot_id("web-1", "e1", 0), &UP_AND_DOWN);
    fixture.contact("e2", crate::state::Contact::Unreachable);
    // The service rests when its deactivation is over, also where that had to give up on the node.
    fixture.advance(3600);
    fixture.settle();
    let operation = fixture.destroy("web-1");
    fixture.settle();
    fixture.advance(lost_after.as_secs());
    fixture.settle();
    assert_eq!(fixture.operation(&operation).state, OperationState::Running);
    fixture.contact("e2", crate::state::Contact::Lost);
    fixture.settle();
    assert_eq!(fixture.operation(&operation).state, OperationState::Succeeded);
}

#[test]
fn a_request_for_another_generation_is_refused_when_it_is_applied() {
    let mut fixture = Fixture::with_executors(1);
    fixture.running(spec("web"), 1);
    let before = fixture.service(ID).generation;
    let scale = |fixture: &mut Fixture, id: &str, count, generation| {
        let command = crate::state::Command::SubmitOperation {
            id: OperationId::new(id).unwrap(),
            request: Box::new(OperationRequest::UpdateInstanceCount {
                service_id: ID.to_owned(),
                instances_per_host: count,
            }),
            at: fixture.now,
            by: String::new(),
            if_generation: Some(generation),
        };
        let reply = fixture.apply(&command);
        fixture.settle();
        reply
    };
    // Both were right when they were asked; the second one is not any more.
    let first = scale(&mut fixture, "one", 2, before);
    assert!(matches!(first, Reply::Accepted { .. }), "{first:?}");
    let now = fixture.service(ID).generation;
    assert!(now > before);
    let moved = Reply::Refused(Refusal::GenerationMoved(service_id(ID), before, now));
    assert_eq!(scale(&mut fixture, "two", 3, before), moved);
    assert_eq!(fixture.service(ID).instances_per_host, 2);
    // The same call again is answered as the first time.
    assert_eq!(scale(&mut fixture, "one", 2, before), first);
}

#[test]
fn what_is_not_there_yet_is_of_no_generation() {
    let mut fixture = Fixture::with_executors(1);
    let expecting = |fixture: &mut Fixture, id: &str, request| {
        fixture.apply(&crate::state::Command::SubmitOperation {
            id: OperationId::new(id).unwrap(),
            request: Box::new(request),
            at: fixture.now,
            by: String::new(),
            if_generation: Some(Generation(7)),
        })
    };
    let create = OperationRequest::Create { spec: Box::new(spec("web")), instances_per_host: 1 };
    let refused = Reply::Refused(Refusal::NothingToMatch(ID.to_owned(), Generation(7)));
    assert_eq!(expecting(&mut fixture, "one", create), refused);
    let activate = OperationRequest::Activate { service_id: "x".repeat(300) };
    let refused = Reply::Refused(Refusal::UnknownService("x".repeat(255)));
    assert_eq!(expecting(&mut fixture, "two", activate), refused);
    assert!(fixture.state.services().next().is_none());
}
