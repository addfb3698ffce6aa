//! What the API is, for programs: an `OpenAPI` 3.1 document, made of the types that the calls take and answer.
//!
//! | module | noun |
//! |---|---|
//! | `call` | one call: parameters, body, answer |
//! | `calls` | all of them |

mod call;
mod calls;

use std::sync::LazyLock;

use axum::response::IntoResponse;
use http::header::CONTENT_TYPE;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use calls::CALLS;

/// What any call may answer: status, meaning, and whether its body is plain text.
const COMMON_RESPONSES: [(&str, &str, bool); 8] = [
    ("400", "The request is wrong or cannot be done now; `validationErrors` names each problem", false),
    ("401", "Credentials are missing or wrong", true),
    ("403", "The user may not do that, or the call comes from a web page of another site", false),
    ("413", "The body is too large", false),
    ("415", "The body is not said to be JSON", false),
    ("500", "The controller failed; its log says why", false),
    ("503", "There is no leader, no majority or no room for the call now; try again", false),
    ("504", "What was waited for did not come in time", false),
];

/// Written once: it says the same for as long as the program runs.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_string());

/// `GET /openapi.json`
pub(super) async fn document_json() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT.as_str())
}

fn document() -> Value {
    let settings = SchemaSettings::draft2020_12()
        .for_serialize()
        .with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for call in CALLS {
        let described = call.describe(&mut generator);
        let methods = paths.entry(call.path).or_insert_with(|| json!({}));
        if let Some(methods) = methods.as_object_mut() {
            methods.insert(call.method.to_owned(), described);
        }
    }
    let responses: Map<String, Value> = COMMON_RESPONSES
        .iter()
        .map(|&(status, meaning, is_text)| {
            let response = if is_text {
                json!({"description": meaning, "content": {"text/plain": {"schema": {"type": "string"}}}})
            } else {
                call::failure(&mut generator, meaning)
            };
            (status.to_owned(), response)
        })
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Muster",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Local services on every machine of a fleet. Compatible with Drove's API for local services.",
        },
        "servers": [{"url": "/apis/v1"}],
        "security": [{"bearer": []}, {"basic": []}, {}],
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "responses": responses,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic"},
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every `$ref` in a document.
    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|member| references(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn whatever_the_document_refers_to_is_in_it() {
        let document = document();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.len() > 20, "{found:?}");
        for reference in found {
            let place = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(place).is_some(), "{reference}");
        }
    }

    #[test]
    fn every_route_is_described_and_nothing_else_is() {
        let described: BTreeSet<_> = CALLS.iter().map(|call| (call.path, call.method)).collect();
        let served = crate::api::routes().into_iter().chain(crate::api::commands());
        let served: BTreeSet<_> = served.map(|route| (route.path, route.method)).collect();
        assert_eq!(described, served);
        assert_eq!(described.len(), CALLS.len(), "each is described once");
    }

    #[test]
    fn ids_of_calls_are_unique() {
        let document = document();
        let ids: Vec<&str> = document["paths"]
            .as_object()
            .unwrap()
            .values()
            .flat_map(|methods| methods.as_object().unwrap().values())
            .map(|call| call["operationId"].as_str().unwrap())
            .collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), CALLS.len());
        assert_eq!(ids.len(), CALLS.len());
    }
}
