//! §5: what drove-cli 0.0.14 calls, and what it indexes without looking. The client itself runs in
//! `tests/tests/drove_cli`; here each member is named.

use reqwest::Method;
use serde_json::{Value, json};

use super::{EXECUTOR, Fleet, INSTANCE, OPERATIONS, SERVICE, spec_with};

/// What a member must be.
#[derive(Debug, Clone, Copy)]
enum Is {
    Text,
    Number,
    List,
    Object,
    Empty,
}

impl Is {
    fn admits(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Number => value.is_u64(),
            Self::List => value.is_array(),
            Self::Object => value.is_object(),
            Self::Empty => value.as_object().is_some_and(serde_json::Map::is_empty),
        }
    }
}

/// A command, what it reads, and what it needs of the data.
type Read = (&'static str, String, &'static [(&'static str, Is)]);

#[allow(clippy::too_many_lines)] // one table
fn reads() -> Vec<Read> {
    use Is::{Empty, List, Number, Object, Text};
    let service = format!("/localservices/{SERVICE}");
    let instance = format!("{service}/instances/{INSTANCE}");
    let executor = format!("/cluster/executors/{EXECUTOR}");
    vec![
        ("cluster ping", "/ping".into(), &[("", Text)]),
        (
            "localservices list",
            "/localservices".into(),
            &[
                ("", Object),
                ("/TEST_LOCAL_SERVICE-1/name", Text),
                ("/TEST_LOCAL_SERVICE-1/state", Text),
                ("/TEST_LOCAL_SERVICE-1/activationState", Text),
                ("/TEST_LOCAL_SERVICE-1/totalCPUs", Number),
                ("/TEST_LOCAL_SERVICE-1/totalMemory", Number),
                ("/TEST_LOCAL_SERVICE-1/instancesPerHost", Number),
                ("/TEST_LOCAL_SERVICE-1/healthyInstances", Number),
                ("/TEST_LOCAL_SERVICE-1/created", Number),
                ("/TEST_LOCAL_SERVICE-1/updated", Number),
            ],
        ),
        ("localservices summary", service.clone(), &[("", Object)]),
        ("localservices spec", format!("{service}/spec"), &[("", Object)]),
        (
            "restart --wait, lsinstances list",
            format!("{service}/instances"),
            &[
                ("/0/instanceId", Text),
                ("/0/state", Text),
                ("/0/errorMessage", Text),
                ("/0/created", Number),
                ("/0/updated", Number),
                ("/0/localInfo/hostname", Text),
                ("/0/localInfo/ports/main/hostPort", Number),
            ],
        ),
        (
            "lsinstances list -o",
            format!("{service}/instances/old"),
            &[
                ("/0/instanceId", Text),
                ("/0/state", Text),
                ("/0/errorMessage", Text),
                ("/0/created", Number),
                ("/0/updated", Number),
            ],
        ),
        (
            "lsinstances info, describe lsinstance",
            instance,
            &[
                ("/instanceId", Text),
                ("/serviceId", Text),
                ("/state", Text),
                ("/created", Number),
                ("/updated", Number),
                ("/metadata", Empty),
                ("/localInfo/ports/main/containerPort", Number),
                ("/localInfo/ports/main/hostPort", Number),
                ("/localInfo/ports/main/portType", Text),
                ("/errorMessage", Text),
                ("/executorId", Text),
                ("/resources", List),
            ],
        ),
        (
            "replace --wait, kill --wait",
            format!("/applications/{SERVICE}/instances"),
            &[("/0/instanceId", Text), ("/0/state", Text)],
        ),
        (
            "executor list",
            "/cluster/executors".into(),
            &[
                ("/0/executorId", Text),
                ("/0/hostname", Text),
                ("/0/port", Number),
                ("/0/transportType", Text),
                ("/0/freeCores", Number),
                ("/0/usedCores", Number),
                ("/0/freeMemory", Number),
                ("/0/usedMemory", Number),
                ("/0/tags", List),
                ("/0/state", Text),
            ],
        ),
        (
            "executor info, lsinstances, appinstances and tasks, describe executor",
            executor,
            &[
                ("/state/executorId", Text),
                ("/hostname", Text),
                ("/port", Number),
                ("/transportType", Text),
                ("/state/cpus/freeCores", Object),
                ("/state/cpus/usedCores", Object),
                ("/state/memory/freeMemory", Object),
                ("/state/memory/usedMemory", Object),
                ("/executorState", Text),
                ("/tags", List),
                ("/updated", Number),
                ("/instances", List),
                ("/tasks", List),
                ("/serviceInstances/0/instanceId", Text),
                ("/serviceInstances/0/serviceName", Text),
                ("/serviceInstances/0/serviceId", Text),
                ("/serviceInstances/0/state", Text),
                ("/serviceInstances/0/errorMessage", Text),
                ("/serviceInstances/0/created", Number),
                ("/serviceInstances/0/updated", Number),
            ],
        ),
        (
            "cluster summary, cluster leader, describe cluster",
            "/cluster".into(),
            &[
                ("/state", Text),
                ("/usedCores", Number),
                ("/totalCores", Number),
                ("/freeCores", Number),
                ("/usedMemory", Number),
                ("/totalMemory", Number),
                ("/freeMemory", Number),
                ("/numExecutors", Number),
                ("/numApplications", Number),
                ("/numActiveApplications", Number),
                ("/leader", Text),
            ],
        ),
        ("cluster endpoints", "/endpoints".into(), &[("", List)]),
        (
            "cluster events",
            "/cluster/events?size=10&lastSyncTime=0".into(),
            &[("/0/type", Text), ("/0/id", Text), ("/0/time", Number), ("/0/metadata", Object)],
        ),
    ]
}

#[tokio::test]
async fn each_command_finds_what_it_indexes() {
    let fleet = Fleet::start().await;
    for (case, path, members) in reads() {
        let data = fleet.get(&path).await;
        for (pointer, is) in members {
            let found = data.pointer(pointer).unwrap_or_else(|| panic!("§5 {case}: {pointer} in {data}"));
            assert!(is.admits(found), "§5 {case}: {pointer} is {found}, not {is:?}");
        }
    }
    fleet.stop().await;
}

/// §5: what is posted as the client posts it.
#[tokio::test]
async fn each_command_that_changes_something_is_understood() {
    let fleet = Fleet::start().await;
    let operate = |case, body: Value, members: &'static [&'static str]| {
        (case, OPERATIONS.to_owned(), Some(body), members)
    };
    let pace = json!({"timeout": "60s", "parallelism": 2, "failureStrategy": "STOP"});
    let cancel = format!("{OPERATIONS}/{SERVICE}/cancel");
    for (case, path, body, members) in [
        operate(
            "create",
            json!({"type": "CREATE", "spec": spec_with("NEW", &[]), "instancesPerHost": 1}),
            &["serviceId"],
        ),
        operate("conftest", json!({"type": "DEPLOY_TEST_INSTANCE", "serviceId": "NEW-1"}), &[]),
        operate("activate", json!({"type": "ACTIVATE", "serviceId": "NEW-1"}), &[]),
        operate(
            "update",
            json!({"type": "UPDATE_INSTANCE_COUNT", "serviceId": "NEW-1", "instancesPerHost": 255}),
            &[],
        ),
        operate("deactivate", json!({"type": "DEACTIVATE", "serviceId": "NEW-1"}), &[]),
        operate("destroy", json!({"type": "DESTROY", "serviceId": "NEW-1"}), &[]),
        operate(
            "restart",
            json!({"type": "RESTART", "serviceId": SERVICE, "stopFirst": true, "opSpec": pace}),
            &[],
        ),
        ("cancelop", cancel.clone(), None, &[]),
        operate(
            "replace",
            json!({
                "type": "REPLACE_INSTANCES", "serviceId": SERVICE, "instanceIds": [INSTANCE], "stopFirst": false,
                "opSpec": pace
            }),
            &[],
        ),
        ("cancelop", cancel, None, &[]),
        (
            "blacklist",
            format!("/cluster/executors/blacklist?id={EXECUTOR}"),
            Some(json!({})),
            &["successful", "failed"],
        ),
        (
            "unblacklist",
            format!("/cluster/executors/unblacklist?id={EXECUTOR}"),
            Some(json!({})),
            &["successful", "failed"],
        ),
        (
            "simulate-placement",
            "/cluster/placement/simulate?detail=true".to_owned(),
            Some(json!({
                "spec": spec_with("NEW", &[]), "numInstances": 1,
                "placementPolicy": {"type": "LOCAL", "hostLevel": false}
            })),
            &["requested", "placed", "placements", "errors"],
        ),
        ("maintenance-on", "/cluster/maintenance/set".to_owned(), Some(json!({})), &["state"]),
        ("maintenance-off", "/cluster/maintenance/unset".to_owned(), Some(json!({})), &[]),
    ] {
        let url = fleet.cluster.url(0, &format!("/apis/v1{path}"));
        let mut request = fleet.cluster.http.request(Method::POST, url);
        if let Some(body) = &body {
            request = request.json(body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let answer: Value = answer.json().await.unwrap();
        assert_eq!((status, &answer["status"]), (200, &json!("SUCCESS")), "§5 {case}: {answer}");
        assert!(answer["message"].is_string(), "§5 {case}: {answer}");
        assert_eq!(answer.get("data").is_none(), path.ends_with("/cancel"), "§5 {case}: {answer}");
        for member in members {
            assert!(answer["data"].get(member).is_some(), "§5 {case}: {member} in {answer}");
        }
    }
    fleet.stop().await;
}
