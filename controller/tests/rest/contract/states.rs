//! §2.5, §3.2: which instances are in which list, and what each state of a service allows.

use muster_common::id::InstanceId;
use muster_common::instance::{InstanceRecord, InstanceState};
use muster_controller::State;
use serde_json::{Value, json};

use super::rules::refused;
use super::{COMMAND, ENDED, Fleet, INSTANCE, OPERATIONS, SERVICE, healthy, refusal, spec_with};

/// §1.3, §2.5: nine states are active, and all others old.
#[tokio::test]
async fn an_instance_is_in_the_list_of_its_state() {
    use InstanceState::{
        Deprovisioning, Healthy, Lost, Pending, Provisioning, ProvisioningFailed, ReadinessCheckFailed,
        Ready, StartFailed, Starting, Stopping, Unhealthy, Unknown, Unready,
    };
    const ACTIVE: [InstanceState; 9] =
        [Pending, Provisioning, Starting, Unready, Ready, Healthy, Unhealthy, Deprovisioning, Stopping];
    // STOPPED is the other one, which is there.
    const OLD: [InstanceState; 5] = [ProvisioningFailed, StartFailed, ReadinessCheckFailed, Unknown, Lost];
    let fleet = Fleet::start().await;
    let of_service = format!("/localservices/{SERVICE}/instances");
    let ids = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|one| one["instanceId"].as_str().unwrap().to_owned()).collect()
    };
    let id = InstanceId::new(INSTANCE).unwrap();
    for (version, state) in (2..).zip(ACTIVE.into_iter().chain(OLD)) {
        let whole = healthy(&fleet.row);
        let has_container = !matches!(state, Pending | Provisioning | Starting);
        let local_info = whole.local_info.clone().filter(|_| has_container);
        let told = InstanceRecord { version, state, local_info, ..whole };
        fleet.executor.report(vec![(&told).into()], Vec::new()).await;
        let is_known =
            |known: &State| known.instance(&id).is_some_and(|found| found.record.version == version);
        fleet.cluster.until(0, "its state is told", is_known).await;

        let is_active = ACTIVE.contains(&state);
        let now: &[&str] = if is_active { &[INSTANCE] } else { &[] };
        assert_eq!(ids(&fleet.get(&of_service).await), now, "§1.3: {state}");
        assert_eq!(ids(&fleet.get(&format!("{of_service}?state={state}")).await), now, "§1.3: {state}");
        let old = ids(&fleet.get(&format!("{of_service}/old")).await);
        assert_eq!(old.iter().any(|id| id == INSTANCE), !is_active, "§1.3: {state}: {old:?}");
        assert!(old.iter().any(|id| id == ENDED), "§1.3: STOPPED: {old:?}");
        let one = fleet.get(&format!("{of_service}/{INSTANCE}")).await;
        assert_eq!(one["state"], state.as_str(), "§1.3, §2.5");
        assert_eq!(one.get("localInfo").is_some(), has_container, "§2.5: {one}");
        assert_eq!(one["errorMessage"], "", "§2.5");
    }
    fleet.stop().await;
}

/// §3.2: what a state allows is not refused for its sake.
#[tokio::test]
async fn each_state_takes_what_the_wire_allows() {
    let fleet = Fleet::start().await;
    for ((state, allowed), into) in
        ALLOWED.into_iter().zip([None, Some("DEPLOY_TEST_INSTANCE"), Some("ACTIVATE")])
    {
        for kind in allowed {
            let service = format!("{state}_{kind}-1");
            let spec = spec_with(service.trim_end_matches("-1"), &[]);
            fleet.cluster.submit(0, json!({"type": "CREATE", "spec": spec, "instancesPerHost": 1})).await;
            if let Some(into) = into {
                fleet.cluster.submit(0, json!({"type": into, "serviceId": service})).await;
            }
            let operation = operations(&service).into_iter().find(|one| one["type"] == *kind).unwrap();
            let (status, answer) = fleet.cluster.post(0, OPERATIONS, operation.to_string()).await;
            // The next stage looks for its instances, of which there are none yet.
            let missing = match *kind {
                "REPLACE_INSTANCES" => Some("There are no replaceable healthy instances with ids"),
                "STOP_INSTANCES" => Some("There are no healthy instances with ids"),
                _ => None,
            };
            match missing {
                Some(sentence) => {
                    let errors = [format!("{sentence}: [{INSTANCE}]")];
                    let errors: Vec<&str> = errors.iter().map(String::as_str).collect();
                    assert_eq!(
                        (status, answer),
                        (400, refusal(COMMAND, &errors, "NOT_FOUND")),
                        "§3.2 {state} {kind}"
                    );
                }
                None => assert_eq!(
                    (status, &answer["data"]["serviceId"]),
                    (200, &json!(service)),
                    "§3.2 {state} {kind}: {answer}"
                ),
            }
        }
    }
    fleet.stop().await;
}

/// What each state of a service allows; the rest it refuses with this list.
const ALLOWED: [(&str, &[&str]); 3] = [
    (
        "INACTIVE",
        &["ACTIVATE", "ADJUST_INSTANCES", "DEPLOY_TEST_INSTANCE", "DESTROY", "UPDATE_INSTANCE_COUNT"],
    ),
    (
        "CONFIG_TESTING",
        &["ACTIVATE", "ADJUST_INSTANCES", "DEACTIVATE", "REPLACE_INSTANCES", "RESTART", "STOP_INSTANCES"],
    ),
    (
        "ACTIVE",
        &[
            "ADJUST_INSTANCES",
            "DEACTIVATE",
            "REPLACE_INSTANCES",
            "RESTART",
            "STOP_INSTANCES",
            "UPDATE_INSTANCE_COUNT",
        ],
    ),
];

/// Every operation of the wire's for a service that exists (§2.7).
fn operations(service: &str) -> Vec<Value> {
    let pace =
        |parallelism: u32| json!({"timeout": "5m", "parallelism": parallelism, "failureStrategy": "STOP"});
    vec![
        json!({"type": "ACTIVATE", "serviceId": service}),
        json!({"type": "DEACTIVATE", "serviceId": service}),
        json!({"type": "DEPLOY_TEST_INSTANCE", "serviceId": service}),
        json!({"type": "ADJUST_INSTANCES", "serviceId": service, "opSpec": pace(4)}),
        json!({"type": "UPDATE_INSTANCE_COUNT", "serviceId": service, "instancesPerHost": 2}),
        json!({"type": "RESTART", "serviceId": service, "stopFirst": false, "clusterOpSpec": pace(4)}),
        json!({
            "type": "REPLACE_INSTANCES", "serviceId": service, "instanceIds": [INSTANCE], "stopFirst": false,
            "opSpec": pace(1)
        }),
        json!({"type": "STOP_INSTANCES", "serviceId": service, "instanceIds": [INSTANCE], "opSpec": pace(1)}),
        json!({"type": "DESTROY", "serviceId": service}),
    ]
}

/// §3.2: the states in which a service rests, and one in which it does not. All others are in the tests of
/// the state itself, which can be put into any.
#[tokio::test]
async fn each_state_allows_what_the_wire_says() {
    let fleet = Fleet::start().await;
    for (name, first) in [("IDLE", None), ("TESTED", Some("DEPLOY_TEST_INSTANCE"))] {
        fleet
            .cluster
            .submit(0, json!({"type": "CREATE", "spec": spec_with(name, &[]), "instancesPerHost": 1}))
            .await;
        if let Some(kind) = first {
            fleet.cluster.submit(0, json!({"type": kind, "serviceId": format!("{name}-1")})).await;
        }
    }
    for ((state, allowed), service) in ALLOWED.into_iter().zip(["IDLE-1", "TESTED-1", SERVICE]) {
        assert_eq!(fleet.get(&format!("/localservices/{service}")).await["state"], state);
        let sentence = format!(
            "Only [{}] allowed for local service {service} as it is in {state} state",
            allowed.join(", ")
        );
        for operation in operations(service) {
            if !allowed.contains(&operation["type"].as_str().unwrap()) {
                let errors = refused(&fleet.cluster, state, &operation).await;
                assert_eq!(errors, [sentence.as_str()], "§3.2: {operation}");
            }
        }
    }

    let restart = json!({"type": "RESTART", "serviceId": SERVICE}).to_string();
    assert_eq!(fleet.cluster.post(0, OPERATIONS, restart).await.0, 200);
    assert_eq!(fleet.get(&format!("/localservices/{SERVICE}")).await["state"], "REPLACING_INSTANCES");
    let nothing = format!("No operations allowed for {SERVICE} as it is in REPLACING_INSTANCES state");
    for operation in operations(SERVICE) {
        let errors = refused(&fleet.cluster, "another state", &operation).await;
        assert_eq!(errors[0], nothing, "§3.2, §3.1: {operation}");
        assert!(errors.len() == 2 && errors[1].ends_with("is at work on it"), "what is added: {errors:?}");
    }
    // §3.2: that can be cancelled.
    let cancel = format!("{OPERATIONS}/{SERVICE}/cancel");
    assert_eq!(fleet.cluster.post(0, &cancel, "").await.0, 200, "§3.2");
    assert_eq!(fleet.cluster.post(0, &cancel, "").await.0, 400, "§3.2: nothing is left to cancel");
    fleet.stop().await;
}
