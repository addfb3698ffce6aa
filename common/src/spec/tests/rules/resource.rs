//! Resources, placement and restarts.

use serde_json::{Value, json};

use super::{assert_refusals, generous};

#[test]
fn what_it_needs_and_how_it_is_restarted() {
    const LOCAL: &str = "Only local placement is allowed for local services";
    assert_refusals(
        &generous(),
        &[
            ("/resources", json!([]), &["resources - CPU/Memory requirements must be specified"]),
            ("/resources", json!([{"type": "CPU", "count": 1}]), &["Memory requirements are mandatory"]),
            ("/resources", json!([{"type": "MEMORY", "sizeInMB": 1}]), &["Cpu requirements are mandatory"]),
            ("/resources/0/count", json!(0), &["resources[0].count - Must be more than 0 cores"]),
            ("/resources/0/count", Value::Null, &["resources[0].count - Must be more than 0 cores"]),
            ("/resources/0/count", json!(9000), &["resources[0].count - Cannot be more than 8192 cores"]),
            ("/resources/0/count", json!(-1), &["resources[0].count - -1 is not a number of cores"]),
            (
                "/resources/0/count",
                json!(0.0005),
                &["resources[0].count - 0.0005 has more than three decimals"],
            ),
            ("/resources/1/sizeInMB", json!(0), &["resources[1].sizeInMB must be between 1 and 67108864"]),
            ("/resources/1/type", json!("GPU"), &["resources[1].type - 'GPU' is not one of [CPU, MEMORY]"]),
            (
                "/resources/-",
                json!({"type": "CPU", "count": 1}),
                &["resources[2] - The same resource is given twice"],
            ),
            ("/placementPolicy", Value::Null, &[LOCAL]),
            ("/placementPolicy", json!({"type": "ANY"}), &[LOCAL]),
            ("/placementPolicy", json!({"type": "COMPOSITE", "policies": [{"type": "LOCAL"}]}), &[LOCAL]),
            (
                "/placementPolicy",
                json!({}),
                &["placementPolicy.type - Specify the type of the policy: LOCAL"],
            ),
            (
                "/placementPolicy/tags",
                json!({"matches": "ssd and (zone=a or)"}),
                &[
                    "placementPolicy.tags.matches - Column 19: a tag, 'not' or '(' is expected, and there is ')'",
                ],
            ),
            (
                "/placementPolicy/tags",
                json!({"all": ["ssd"], "matches": ["ssd"]}),
                &["placementPolicy.tags.matches - must be a text, not a list"],
            ),
            ("/grace", json!("2d"), &["grace - Cannot be more than 1 day"]),
            ("/restartPolicy/backoff", json!([]), &["restartPolicy.backoff - Specify at least one wait"]),
            (
                "/restartPolicy/backoff",
                json!(["1s", "2d"]),
                &["restartPolicy.backoff[1] - Cannot be more than 1 day"],
            ),
            ("/restartPolicy/jitter", json!(51), &["restartPolicy.jitter must be between 0 and 50"]),
            (
                "/restartPolicy/resetAfter",
                json!("0s"),
                &["restartPolicy.resetAfter - Specify how long an instance must have been healthy"],
            ),
            ("/restartPolicy/budget", json!("lots"), &["restartPolicy.budget - must be a whole number"]),
        ],
    );
}
