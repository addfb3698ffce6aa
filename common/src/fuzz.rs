//! What users send, damaged: nothing makes reading panic, every refusal says where and what in a bounded number of words,
//! and what is accepted is accepted again, as the same, from what it is written as.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::duration::DroveDuration;
use crate::event::Event;
use crate::executor::{DrainRequest, ExecutorNodeData, TagsRequest};
use crate::id::{ExecutorId, InstanceId, OperationId, ServiceId};
use crate::identity::Identity;
use crate::instance::{InstanceInfo, InstanceState};
use crate::operation::{OperationRequest, Parallelism, validate_request};
use crate::placement::SimulationRequest;
use crate::problem::{FieldError, MAX_PROBLEMS};
use crate::read::{Read, Refused, accept, accept_value};
use crate::size::ByteSize;
use crate::slot::SlotStatus;
use crate::spec::tests::{SENT, YAML, generous, sent};
use crate::spec::{LocalServiceSpec, validate};
use crate::strategy::{self, damaged, damaged_document, thorough};

/// The longest refusal of one field: whoever sends a megabyte is not sent a megabyte of problems.
const MAX_ERROR_BYTES: usize = 2_000;

/// Every refusal says what is wrong, and where unless it is the document as a whole.
fn is_told(refused: &Refused, document: Option<&Value>) -> Result<(), TestCaseError> {
    let errors = refused.errors();
    prop_assert!((1..=MAX_PROBLEMS).contains(&errors.len()), "{} errors", errors.len());
    for error in errors {
        let text = error.to_string();
        prop_assert!(!error.message.trim_start_matches(['-', ' ']).is_empty(), "{error:?}");
        prop_assert!(text.len() <= MAX_ERROR_BYTES, "{} bytes: {text:.200}", text.len());
        prop_assert!(!text.contains(char::is_control), "{text:?}");
        if document.is_some_and(Value::is_object) && !error.is_sentence {
            prop_assert!(!error.path.is_empty(), "no field is named: {text}");
        }
    }
    Ok(())
}

/// `json` is refused with words, or accepted and the same when it is written and read again.
fn accepted_or_told<T>(json: &[u8], rules: fn(&T) -> Vec<FieldError>) -> Result<(), TestCaseError>
where
    T: Read + Serialize + PartialEq + Debug,
{
    match accept(json, rules) {
        Err(refused) => is_told(&refused, serde_json::from_slice(json).ok().as_ref()),
        Ok(value) => {
            let written = serde_json::to_vec(&value).unwrap();
            prop_assert_eq!(accept(&written, rules).map_err(|error| error.to_string()), Ok(value));
            Ok(())
        }
    }
}

/// What is never written again: `document` is accepted, or refused with words.
fn judged<T: Read>(document: &Value, rules: fn(&T) -> Vec<FieldError>) -> Result<(), TestCaseError> {
    accept_value(document, rules).map_or_else(|refused| is_told(&refused, Some(document)), |_: T| Ok(()))
}

/// `document` is no `T`, or the same when it is written and read again.
fn survives<T>(document: &Value) -> Result<(), TestCaseError>
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let Ok(value) = serde_json::from_value::<T>(document.clone()) else { return Ok(()) };
    let written = serde_json::to_string(&value).unwrap();
    prop_assert_eq!(serde_json::from_str::<T>(&written).map_err(|error| error.to_string()), Ok(value));
    Ok(())
}

/// `text` is no `T`, in a bounded number of printable words, or the same when it is written and read again.
fn parsed_or_told<T>(text: &str) -> Result<(), TestCaseError>
where
    T: FromStr<Err: Display> + Display + PartialEq + Debug,
{
    match text.parse::<T>() {
        Ok(value) => prop_assert_eq!(value.to_string().parse::<T>().ok(), Some(value)),
        Err(error) => {
            let error = error.to_string();
            prop_assert!(!error.is_empty() && error.len() <= MAX_ERROR_BYTES, "{} bytes", error.len());
            prop_assert!(!error.contains(char::is_control), "{error:?}");
        }
    }
    Ok(())
}

fn spec_rules(spec: &LocalServiceSpec) -> Vec<FieldError> {
    validate(spec, &generous())
}

fn request_rules(request: &OperationRequest) -> Vec<FieldError> {
    validate_request(request, &generous())
}

/// Requests that are right, of every kind that has members of its own.
fn requests() -> impl Strategy<Value = Value> {
    let op_spec = json!({
        "timeout": "5m", "parallelism": "20%", "failureStrategy": "ROLLBACK", "settle": "10s",
        "canary": {"tag": "canary"}
    });
    let right = [
        json!({"type": "CREATE", "spec": sent(), "instancesPerHost": 2}),
        json!({"type": "UPDATE_SPEC", "spec": sent(), "stopFirst": true, "opSpec": op_spec}),
        json!({"type": "UPDATE_INSTANCE_COUNT", "serviceId": "edge-cache-7_2", "instancesPerHost": 3}),
        json!({"type": "ROLLBACK", "serviceId": "edge-cache-7_2", "generation": 3, "opSpec": op_spec}),
        json!({"type": "RESTART", "serviceId": "edge-cache-7_2", "stopFirst": false, "clusterOpSpec": op_spec}),
        json!({"type": "REPLACE_INSTANCES", "serviceId": "edge-cache-7_2", "instanceIds": ["SI-1", "SI-2"]}),
        json!({"type": "DESTROY", "serviceId": "edge-cache-7_2"}),
    ];
    let any = strategy::operation_request().prop_map(|request| serde_json::to_value(&request).unwrap());
    prop_oneof![4 => proptest::sample::select(right.to_vec()), 1 => any]
}

proptest! {
    #![proptest_config(thorough())]

    #[test]
    fn spec_texts(json in damaged(Just(SENT))) {
        accepted_or_told(&json, spec_rules)?;
    }

    #[test]
    fn spec_documents(document in damaged_document(Just(sent()))) {
        accepted_or_told(document.to_string().as_bytes(), spec_rules)?;
    }

    /// As `lint` and `apply` read files.
    #[test]
    fn spec_yaml(yaml in damaged(Just(YAML))) {
        let Ok(documents) = serde_saphyr::from_multiple::<Value>(&String::from_utf8_lossy(&yaml)) else { return Ok(()) };
        for document in documents {
            accepted_or_told(document.to_string().as_bytes(), spec_rules)?;
        }
    }

    #[test]
    fn request_texts(json in damaged(requests().prop_map(|request| request.to_string()))) {
        accepted_or_told(&json, request_rules)?;
    }

    #[test]
    fn request_documents(document in damaged_document(requests())) {
        accepted_or_told(document.to_string().as_bytes(), request_rules)?;
    }

    #[test]
    fn small_requests(
        drain in damaged_document(Just(json!({"timeout": "5m"}))),
        tags in damaged_document(Just(json!({"tags": ["rack4", "ssd"]}))),
        simulation in damaged_document(Just(json!({"spec": sent(), "numInstances": 2}))),
    ) {
        judged(&drain, DrainRequest::problems)?;
        judged(&tags, TagsRequest::problems)?;
        judged(&simulation, |request: &SimulationRequest| request.problems(&generous()))?;
    }

    #[test]
    fn answers(document in damaged_document(
        strategy::instance_record().prop_map(|record| serde_json::to_value(InstanceInfo::from(&record)).unwrap())
    )) {
        survives::<InstanceInfo>(&document)?;
    }

    #[test]
    fn smaller_answers(
        status in damaged_document(strategy::slot_status().prop_map(|status| serde_json::to_value(status).unwrap())),
        event in damaged_document(Just(json!({
            "type": "EXECUTOR_UNKNOWN", "id": "e-1", "time": 9, "metadata": {"EXECUTOR_ID": "e1"}, "revision": 7
        }))),
        node in damaged_document(Just(json!({
            "type": "EXECUTOR", "hostname": "rack4", "port": 1, "transportType": "HTTP", "updated": 3,
            "state": {
                "executorId": "e2", "cpus": {"type": "CPU", "freeCores": {"0": [1]}, "usedCores": {"0": [0]}},
                "memory": {"type": "MEMORY", "freeMemory": {"0": 9}, "usedMemory": {"0": 1}},
                "layout": {"cores": {"0": [0, 1]}, "memory": {"0": 10}}
            },
            "instances": [], "tasks": [], "serviceInstances": [], "tags": [], "metadata": {}
        }))),
    ) {
        survives::<SlotStatus>(&status)?;
        survives::<Event>(&event)?;
        survives::<ExecutorNodeData>(&node)?;
    }

    #[test]
    fn words(text in damaged(proptest::sample::select(vec![
        "5 minutes", "250ms", "64m", "1.5GiB", "20%", "edge-cache-7_2", "SI-0001", "OP-1", "executor-2", "HEALTHY",
        "muster://home/executor/e1", "SIGTERM",
    ]))) {
        let text = String::from_utf8_lossy(&text);
        parsed_or_told::<DroveDuration>(&text)?;
        parsed_or_told::<ByteSize>(&text)?;
        parsed_or_told::<Parallelism>(&text)?;
        parsed_or_told::<ServiceId>(&text)?;
        parsed_or_told::<InstanceId>(&text)?;
        parsed_or_told::<OperationId>(&text)?;
        parsed_or_told::<ExecutorId>(&text)?;
        parsed_or_told::<InstanceState>(&text)?;
        parsed_or_told::<Identity>(&text)?;
    }
}
