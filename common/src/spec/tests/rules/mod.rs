//! Every rule: the damage, and the exact words in which it is refused. One file per part of the spec.

mod check;
mod file;
mod port;
mod resource;
mod workload;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{generous, sent};
use crate::read::{Refused, accept_value};
use crate::spec::{LocalServiceSpec, MAX_SPEC_BYTES, SpecLimits, validate};
use crate::strategy;

fn judged(document: &Value, limits: &SpecLimits) -> Vec<String> {
    match accept_value::<LocalServiceSpec>(document, |spec| validate(spec, limits)) {
        Ok(_) => Vec::new(),
        Err(refused) => refused.errors().iter().map(ToString::to_string).collect(),
    }
}

/// Puts `value` at `pointer`; a null counts as absent.
fn damage(document: &mut Value, pointer: &str, value: Value) {
    let (parent, name) = pointer.rsplit_once('/').expect("a JSON pointer");
    match document.pointer_mut(parent) {
        Some(Value::Object(members)) => {
            members.insert(name.to_owned(), value);
        }
        Some(Value::Array(elements)) if name == "-" => elements.push(value),
        Some(Value::Array(elements)) => elements[name.parse::<usize>().expect("an index")] = value,
        _ => panic!("{parent} is not in the test data"),
    }
}

/// Each: what is put where, and all that is then said.
fn assert_refusals(limits: &SpecLimits, table: &[(&str, Value, &[&str])]) {
    for (pointer, value, expected) in table {
        let mut document = sent();
        damage(&mut document, pointer, value.clone());
        assert_eq!(judged(&document, limits), *expected, "{pointer} = {value}");
    }
}

#[test]
fn the_undamaged_spec_is_valid() {
    assert_eq!(judged(&sent(), &generous()), [""; 0]);
}

#[test]
fn what_a_cluster_does_not_allow() {
    let strict = SpecLimits {
        allowed_mount_dirs: Some(vec!["/srv/cach".to_owned(), "/mnt".to_owned()]),
        disable_cmdl_args: true,
        enable_raw_device_access: false,
        allowed_fetch_urls: Vec::new(),
    };
    assert_eq!(
        judged(&sent(), &strict),
        [
            "Volume mount requested on non whitelisted host directory: /srv/cache",
            "configs[2].http - controllers may not fetch from https://config.example.net/routes: no entry of \
             specLimits.allowedFetchUrls in their configuration begins so; add one, or use EXECUTOR_HTTP_FETCH",
            "Passing command line to containers is disabled on this cluster",
            "Device access is disabled. \
             To enable, set enableRawDeviceAccess: true in controller options.",
        ]
    );
    let allowing = SpecLimits { allowed_mount_dirs: Some(vec!["/srv".to_owned()]), ..generous() };
    assert_eq!(judged(&sent(), &allowing), [""; 0]);
}

#[test]
fn a_spec_that_says_nothing_is_told_everything() {
    assert_eq!(
        judged(&json!({}), &generous()),
        [
            "name - Service name is mandatory",
            "version - Service version is mandatory",
            "type - Specify if job is a computation or a service",
            "executable - Executable details is required",
            "exposedPorts - Port specifications are needed",
            "resources - CPU/Memory requirements must be specified",
            "Only local placement is allowed for local services",
            "healthcheck - Health check is mandatory",
            "readiness - Readiness check is mandatory",
        ]
    );
}

#[test]
fn what_cannot_be_read_and_what_breaks_rules_are_told_together() {
    let mut document = sent();
    for (pointer, value) in [
        ("/name", Value::Null),
        ("/readiness/mode", Value::Null),
        ("/healthcheck/timeout", json!("soon")),
        ("/exposedPorts/1/port", json!(70_000)),
        ("/resources/0/type", Value::Null),
    ] {
        damage(&mut document, pointer, value);
    }
    let refused =
        accept_value::<LocalServiceSpec>(&document, |spec| validate(spec, &generous())).unwrap_err();
    let paths: Vec<_> = refused.errors().iter().map(|error| error.path.as_str()).collect();
    assert_eq!(
        paths,
        ["resources[0].type", "healthcheck.timeout", "readiness.mode", "name", "exposedPorts[1].port"]
    );
    assert!(matches!(&refused, Refused::Malformed(_)) && refused.message() == "JSON validation failure");
}

#[test]
fn too_large_a_spec_is_refused() {
    let mut document = sent();
    damage(&mut document, "/configs/0/data", json!("AAAA".repeat(MAX_SPEC_BYTES / 4)));
    let said = judged(&document, &generous());
    assert!(said.len() == 1 && said[0].ends_with("at most 524288 are allowed"), "{said:?}");
}

proptest! {
    #[test]
    fn every_spec_can_be_judged(spec in strategy::local_service_spec()) {
        for error in validate(&spec, &SpecLimits::default()) {
            prop_assert!(!error.message.is_empty() && error.to_string().len() < 8192);
        }
    }

    #[test]
    fn every_document_can_be_judged(damages in proptest::collection::vec((0..200_usize, 0..6_usize), 1..4)) {
        let mut document = sent();
        for (member, kind) in damages {
            let replacement = [json!(null), json!(-1), json!("x"), json!([null, {}]), json!({"type": "CPU"}), json!(true)];
            if let Some(place) = nth_member(&mut document, &mut { member }) {
                *place = replacement[kind].clone();
            }
        }
        judged(&document, &generous());
    }
}

/// The `n`-th value inside a document, in the order of a walk through it.
fn nth_member<'a>(value: &'a mut Value, n: &mut usize) -> Option<&'a mut Value> {
    if *n == 0 {
        return Some(value);
    }
    *n -= 1;
    match value {
        Value::Object(members) => members.values_mut().find_map(|value| nth_member(value, n)),
        Value::Array(elements) => elements.iter_mut().find_map(|value| nth_member(value, n)),
        _ => None,
    }
}
