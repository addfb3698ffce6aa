//! The wire's exact JSON (docs/drove-api.md §2).

use muster_common::executor::Contact;
use muster_common::id::Revision;
use muster_common::time::Timestamp;
use serde_json::{Value, json};

use crate::state::testing::*;
use crate::state::view;

fn running() -> Fixture {
    let mut fixture = Fixture::with_executors(2);
    fixture.running(spec("web"), 1);
    fixture
}

fn to_json(value: &impl serde::Serialize) -> Value {
    let json = serde_json::to_value(value).unwrap();
    assert!(!json.to_string().contains("null"), "{json}");
    json
}

#[test]
fn a_service_is_summed_up() {
    let fixture = running();
    let service = fixture.service("web-1");
    assert_eq!(
        to_json(&view::service_summary(&fixture.state, service)),
        json!({
            "id": "web-1", "name": "web", "instancesPerHost": 1, "healthyInstances": 2,
            "totalCPUs": 2, "totalMemory": 256, "tags": {"team": "platform"},
            "activationState": "ACTIVE", "state": "ACTIVE",
            "created": 1_000_000, "updated": 1_000_000,
            "generation": service.generation.0, "requiredInstances": 2
        })
    );
}

#[test]
fn a_troubled_slot_is_a_problem_of_its_service() {
    let mut fixture = running();
    let slot = slot_id("web-1", "e2", 0);
    fixture.report_in("web-1.e2.0", &slot, &UP_AND_DOWN);
    fixture.report_status(&slot, muster_common::slot::SlotPhase::Backoff, "exited with code 3");
    let summary = to_json(&view::service_summary(&fixture.state, fixture.service("web-1")));
    assert_eq!(summary["problems"], json!(["e2/0 is BACKOFF: exited with code 3"]));
    assert_eq!(summary["healthyInstances"], 1);
    assert_eq!(summary["totalCPUs"], 1);
}

#[test]
fn an_instance_is_shown_with_everything_the_client_indexes() {
    let fixture = running();
    let instance = fixture.state.instance(&instance_id("web-1.e1.0")).unwrap();
    let json = to_json(&view::instance_info(&fixture.state, instance));
    for (member, value) in [
        ("serviceId", json!("web-1")),
        ("serviceName", json!("web")),
        ("instanceId", json!("web-1.e1.0")),
        ("executorId", json!("e1")),
        (
            "localInfo",
            json!({
                "hostname": "e1.example.org",
                "ports": {"main": {"containerPort": 8000, "hostPort": 33857, "portType": "HTTP"}}
            }),
        ),
        (
            "resources",
            json!([{"type": "CPU", "cores": {"0": [2]}}, {"type": "MEMORY", "memoryInMB": {"0": 128}}]),
        ),
        ("state", json!("HEALTHY")),
        ("metadata", json!({})),
        ("errorMessage", json!("")),
        ("created", json!(1_719_892_354_194_u64)),
        ("updated", json!(1_719_892_359_194_u64)),
    ] {
        assert_eq!(json[member], value, "{member}");
    }
}

#[test]
fn an_instance_on_its_way_up_has_no_place_yet() {
    let mut fixture = running();
    fixture.report_in("young", &slot_id("web-1", "e1", 0), &UP[..1]);
    let instance = fixture.state.instance(&instance_id("young")).unwrap();
    let json = to_json(&view::instance_info(&fixture.state, instance));
    assert!(json.get("localInfo").is_none());
    assert_eq!(json["state"], "PROVISIONING");
}

#[test]
fn an_executor_is_summed_up() {
    let fixture = running();
    let executor = fixture.state.executor(&executor_id("e1")).unwrap();
    assert_eq!(
        to_json(&view::executor_summary(&fixture.state, executor)),
        json!({
            "executorId": "e1", "hostname": "e1.example.org", "port": 4200, "transportType": "HTTP",
            "freeCores": 3, "usedCores": 1, "freeMemory": 18_898, "usedMemory": 128,
            "tags": ["e1.example.org"], "state": "ACTIVE"
        })
    );
}

#[test]
fn an_executor_is_shown_with_its_instances() {
    let fixture = running();
    let executor = fixture.state.executor(&executor_id("e1")).unwrap();
    let mut json = to_json(&view::executor_node_data(&fixture.state, executor));
    let instances = json["serviceInstances"].take();
    assert_eq!(instances.as_array().unwrap().len(), 1);
    assert_eq!(instances[0]["instanceId"], "web-1.e1.0");
    json["serviceInstances"] = json!([]);
    assert_eq!(
        json,
        json!({
            "contact": "CONNECTED", "contactSince": 1_000_000,
            "type": "EXECUTOR", "hostname": "e1.example.org", "port": 4200, "transportType": "HTTP",
            "updated": 1_000_000,
            "state": {
                "executorId": "e1",
                "cpus": {"type": "CPU", "freeCores": {"0": [3, 4, 5]}, "usedCores": {"0": [2]}},
                "memory": {"type": "MEMORY", "freeMemory": {"0": 18_898}, "usedMemory": {"0": 128}},
                "layout": {"cores": {"0": [2, 3, 4, 5]}, "memory": {"0": 19_026}}
            },
            "instances": [], "tasks": [], "serviceInstances": [],
            "tags": ["e1.example.org"], "metadata": {}, "executorState": "ACTIVE", "version": "0.1.0", "clockSkewMs": 0
        })
    );
}

#[test]
fn the_cluster_counts_what_is_in_contact() {
    let mut fixture = running();
    fixture.create(spec("idle"), 1);
    assert_eq!(
        to_json(&view::cluster_summary(&fixture.state, Some("controller1:4000"))),
        json!({
            "leader": "controller1:4000", "state": "NORMAL", "numExecutors": 2,
            "numApplications": 0, "numActiveApplications": 0, "numActiveTasks": 0,
            "numLocalServices": 2, "numActiveLocalServices": 1,
            "freeCores": 6, "usedCores": 2, "totalCores": 8,
            "freeMemory": 37_796, "usedMemory": 256, "totalMemory": 38_052
        })
    );
    fixture.contact("e2", Contact::Unreachable);
    let summary = view::cluster_summary(&fixture.state, None);
    assert_eq!(summary.leader, "Leader election underway");
    assert_eq!((summary.num_executors, summary.total_cores), (1, 4));
}

#[test]
fn the_dashboard_counts_everything_by_its_state() {
    let mut fixture = running();
    fixture.create(spec("idle"), 1);
    let dashboard = to_json(&view::dashboard(&fixture.state, Some("controller1:4000"), fixture.now));
    let services = &dashboard["serviceStats"];
    assert_eq!(services["serviceCountByState"]["ACTIVE"], 1);
    assert_eq!(services["serviceCountByState"]["DESTROY_REQUESTED"], 0, "every state is there");
    let by_activation = json!({"ACTIVE": 1, "CONFIG_TESTING": 0, "INACTIVE": 1});
    assert_eq!(services["serviceCountByActivationState"], by_activation);
    assert_eq!(services["totalHealthyInstances"], 2);
    assert_eq!(services["topServices"][0]["id"], "web-1");
    assert_eq!(services["topServices"].as_array().unwrap().len(), 1, "who rests uses nothing");
    assert_eq!(dashboard["executorStats"]["executorCountByState"]["ACTIVE"], 2);
    // One of four cores on each.
    let utilization = json!({
        "averageUtilization": 0.25, "highestUtilization": 0.25, "lowestUtilization": 0.25, "balanceScore": 0.0
    });
    assert_eq!(dashboard["executorStats"]["utilization"], utilization);
    assert_eq!(dashboard["clusterSummary"]["numExecutors"], 2);
    assert_eq!(
        dashboard["appStats"],
        json!({"appCountByState": {}, "topApps": [], "totalHealthyInstances": 0})
    );
    assert_eq!(dashboard["taskStats"], json!({"taskCountByState": {}, "topTasks": []}));
    assert_eq!(dashboard["generatedAt"], json!(fixture.now));
}

#[test]
fn events_have_droves_tags() {
    let fixture = running();
    let events = view::events_newest_first(&fixture.state, Timestamp(0), 1000);
    assert!(events.is_sorted_by(|newer, older| newer.time >= older.time));
    let find = |state: &str, tag: &str, id: &str| {
        let event = events.iter().find(|event| {
            event.metadata.get("CURRENT_STATE").is_some_and(|value| value == state)
                && event.metadata.get(tag).is_some_and(|value| value == id)
        });
        to_json(&event.unwrap().metadata)
    };
    assert_eq!(
        find("HEALTHY", "INSTANCE_ID", "web-1.e1.0"),
        json!({
            "SERVICE_ID": "web-1", "SERVICE_NAME": "web", "INSTANCE_ID": "web-1.e1.0", "EXECUTOR_ID": "e1",
            "EXECUTOR_HOST": "e1.example.org", "PORTS": "main:33857:http",
            "CREATED": 1_719_892_354_194_u64, "CURRENT_STATE": "HEALTHY"
        })
    );
    assert_eq!(
        find("ACTIVE", "LOCAL_SERVICE_ID", "web-1"),
        json!({
            "LOCAL_SERVICE_ID": "web-1", "LOCAL_SERVICE_NAME": "web", "LOCAL_SERVICE_VERSION": "1",
            "EXECUTABLE": "registry.example.org/team/web:1.0", "CPU_COUNT": 1, "MEMORY": 128,
            "PLACEMENT_POLICY": "LOCAL", "PORTS": "main:8000:http", "CURRENT_INSTANCES_PER_HOST": 1,
            "CURRENT_STATE": "ACTIVE"
        })
    );
    let mut ids: Vec<&str> = events.iter().map(|event| event.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), events.len(), "ids are unique");
    assert_eq!(view::events_newest_first(&fixture.state, Timestamp(0), 3).len(), 3);
}

#[test]
fn who_asks_for_what_is_younger_than_the_newest_sees_every_event_once() {
    let mut fixture = running();
    let (mut newest, mut seen) = (Timestamp(0), 0);
    let mut look = |fixture: &Fixture| {
        let events = view::events_newest_first(&fixture.state, newest, 1000);
        newest = events.first().map_or(newest, |event| event.time);
        seen += events.len();
        assert_eq!(seen, fixture.state.events_after(Revision(0)).count());
    };
    // Several in one millisecond; a request that came by a controller whose clock is ahead; a leader whose clock is behind.
    for ahead_ms in [0, 0, 30_000, -30_000, 0, -2_000, 0] {
        fixture.now = Timestamp(fixture.now.0.saturating_add_signed(ahead_ms));
        for _ in 0..2 {
            fixture.deactivate("web-1");
            look(&fixture);
            fixture.activate("web-1");
            look(&fixture);
        }
    }
}

#[test]
fn the_slot_table_names_every_slot_in_order_and_changes_its_revision_with_them() {
    let mut fixture = Fixture::with_executors(1);
    fixture.running(spec("web"), 2);
    fixture.running(spec("agent"), 1);
    let table = crate::state::slot_table(&fixture.state, &executor_id("e1"));
    let rows: Vec<_> = table.rows.iter().map(|row| (row.service.as_str(), row.index)).collect();
    assert_eq!(rows, [("agent-1", 0), ("web-1", 0), ("web-1", 1)]);
    fixture.report_in("other", &slot_id("web-1", "e1", 0), &UP);
    let same = crate::state::slot_table(&fixture.state, &executor_id("e1"));
    assert_eq!(same.revision, table.revision, "reports do not change it");
    fixture.deactivate("agent-1");
    fixture.settle();
    let fewer = crate::state::slot_table(&fixture.state, &executor_id("e1"));
    assert!(fewer.revision > table.revision);
    assert_eq!(fewer.rows.len(), 2);
    assert!(crate::state::slot_table(&fixture.state, &executor_id("nobody")).rows.is_empty());
}
