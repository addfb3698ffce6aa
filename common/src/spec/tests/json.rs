//! From JSON and YAML and back.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{SENT, WRITTEN, YAML, sent};
use crate::read::accept_value;
use crate::spec::{CheckMode, ConfigSource, CpuCount, LocalServiceSpec, masked};
use crate::strategy;

fn spec() -> LocalServiceSpec {
    serde_json::from_str(SENT).expect("the spec can be read")
}

fn written(spec: &LocalServiceSpec) -> Value {
    serde_json::to_value(spec).expect("a spec is JSON")
}

/// The path of the first null in a document.
fn null_in(value: &Value) -> Option<String> {
    let named = |name: String, value: &Value| null_in(value).map(|rest| format!("/{name}{rest}"));
    match value {
        Value::Null => Some(String::new()),
        Value::Array(elements) => {
            elements.iter().enumerate().find_map(|(index, value)| named(index.to_string(), value))
        }
        Value::Object(members) => members.iter().find_map(|(name, value)| named(name.clone(), value)),
        _ => None,
    }
}

#[test]
fn a_spec_is_written_back_in_full_and_in_long_form() {
    let expected: Value = serde_json::from_str(WRITTEN).unwrap();
    assert_eq!(written(&spec()), expected);
}

#[test]
fn what_was_written_reads_as_the_same_spec() {
    assert_eq!(serde_json::from_str::<LocalServiceSpec>(WRITTEN).unwrap(), spec());
}

#[test]
fn yaml_gives_the_same_spec() {
    assert_eq!(serde_saphyr::from_str::<LocalServiceSpec>(YAML).unwrap(), spec());
    let document: Value = serde_saphyr::from_str(YAML).unwrap();
    assert_eq!(accept_value::<LocalServiceSpec>(&document, |_| Vec::new()).unwrap(), spec());
}

#[test]
fn a_grpc_check_is_written_in_long_form() {
    let yaml = "{type: grpc, portName: web, service: shop.v1.Basket, tls: true}";
    let mode: CheckMode = serde_saphyr::from_str(yaml).unwrap();
    let long = json!({"type": "GRPC", "portName": "web", "service": "shop.v1.Basket", "tls": true, "insecure": false});
    assert_eq!(serde_json::to_value(&mode).unwrap(), long);
    let short: CheckMode = serde_json::from_value(json!({"type": "GRPC", "portName": "web"})).unwrap();
    let long = json!({"type": "GRPC", "portName": "web", "service": "", "tls": false, "insecure": false});
    assert_eq!(serde_json::to_value(&short).unwrap(), long);
}

#[test]
fn nulls_count_as_absent() {
    let mut document = sent();
    for pointer in ["/volumes", "/logging", "/grace", "/env", "/readiness/attempts", "/healthcheck/mode/verb"]
    {
        match document.pointer_mut(pointer) {
            Some(member) => *member = Value::Null,
            None => panic!("{pointer} is not in the test data"),
        }
    }
    let read: LocalServiceSpec = serde_json::from_value(document).unwrap();
    assert_eq!((read.volumes.len(), read.logging, read.grace, read.env.len()), (0, None, None, 0));
    assert_eq!(read.readiness.unwrap().attempts, 3);
}

#[test]
fn scalars_are_taken_as_they_are_meant() {
    let mut document = sent();
    document["version"] = json!(7);
    document["exposedPorts"][0]["port"] = json!("8080");
    document["healthcheck"]["attempts"] = json!(4.0);
    document["logging"]["compress"] = json!("TRUE");
    let read: LocalServiceSpec = serde_json::from_value(document).unwrap();
    assert_eq!((read.version.as_str(), read.exposed_ports[0].port), ("7", 8080));
    assert_eq!(read.healthcheck.unwrap().attempts, 4);
}

#[test]
fn cpu_counts_are_whole_or_have_three_decimals() {
    for (text, millis, written) in
        [("1", 1000, "1"), ("2.0", 2000, "2"), ("0.125", 125, "0.125"), ("1.1", 1100, "1.1")]
    {
        let count: CpuCount = serde_json::from_str(text).unwrap();
        assert_eq!((count.as_millis(), count.to_string().as_str()), (millis, written));
    }
    for bad in ["0.0001", "-1", "1e9", "\"many\"", "[]"] {
        assert!(serde_json::from_str::<CpuCount>(bad).is_err(), "{bad}");
    }
}

#[test]
fn what_is_shown_holds_no_secret() {
    let shown = masked(&spec());
    let text = written(&shown).to_string();
    for secret in ["aGVsbG8=", "hunter2", "Bearer abc", "probe-me", "\"username\":\"edge\""] {
        assert!(
            SENT.contains(secret.trim_start_matches("\"username\":")) && !text.contains(secret),
            "{secret}"
        );
    }
    assert!(matches!(&shown.configs[0].source, ConfigSource::Inline { data } if data.is_empty()));
    assert_eq!(written(&shown)["configs"][2]["http"]["password"], "***");
    assert_eq!(null_in(&written(&shown)), None);
}

#[test]
fn headers_that_carry_credentials_are_masked() {
    let mut document = sent();
    document["configs"][3]["http"]["headers"] =
        json!({"Authorization": "Bearer xyz", "Accept": "text/plain"});
    let spec: LocalServiceSpec = serde_json::from_value(document).unwrap();
    let shown = &written(&masked(&spec))["configs"][3]["http"]["headers"];
    assert_eq!(*shown, json!({"Authorization": "***", "Accept": "text/plain"}));
}

#[test]
fn headers_of_checks_and_hooks_are_masked_alike() {
    let mut document = sent();
    document["readiness"]["mode"] = document["healthcheck"]["mode"].clone();
    document["preShutdown"]["hooks"][1]["headers"] = json!({"cookie": "session=1", "x-why": "drain"});
    let spec: LocalServiceSpec = serde_json::from_value(document).unwrap();
    let shown = written(&masked(&spec));
    for check in ["readiness", "healthcheck"] {
        assert_eq!(shown[check]["mode"]["headers"], json!({"Authorization": "***", "X-Probe": "1"}));
    }
    assert_eq!(shown["preShutdown"]["hooks"][1]["headers"], json!({"cookie": "***", "x-why": "drain"}));
}

#[test]
fn what_is_logged_holds_no_secret() {
    let logged = format!("{:?}", spec());
    assert!(logged.contains("config.example.net"), "{logged}");
    for secret in ["aGVsbG8=", "hunter2", "Bearer abc", "probe-me"] {
        assert!(!logged.contains(secret), "{secret}");
    }
}

proptest! {
    #[test]
    fn every_spec_survives_its_json(spec in strategy::local_service_spec()) {
        prop_assert_eq!(LocalServiceSpec::from_json(&spec.to_json()).unwrap(), spec);
    }

    #[test]
    fn no_spec_is_written_with_a_null(spec in strategy::local_service_spec()) {
        prop_assert_eq!(null_in(&written(&spec)), None);
        prop_assert_eq!(null_in(&written(&masked(&spec))), None);
    }
}
