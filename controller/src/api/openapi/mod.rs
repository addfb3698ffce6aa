//! What the API is, for programs: an `OpenAPI` 3.1 document, made of the types that the calls take and answer.
//!
//! | module | noun |
//! |---|---|
//! | `call` | one call: parameters, body, answer |
//! | `calls` | all of them |
//! | `examples` | bodies that they take |

mod call;
mod calls;
mod examples;

use std::sync::LazyLock;

use axum::response::IntoResponse;
use http::header::CONTENT_TYPE;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::query::Listed;
use call::Schemas;
use calls::CALLS;

/// A status that any call may answer: its meaning, whether its body is plain text, and its headers.
type CommonResponse = (&'static str, &'static str, bool, &'static [(&'static str, &'static str)]);

/// What any call may answer.
const COMMON_RESPONSES: [CommonResponse; 7] = [
    ("400", "The request is wrong or cannot be done now; `validationErrors` names each problem", false, &[]),
    ("401", "Credentials are missing or wrong", true, &[("www-authenticate", "How to give them")]),
    ("403", "The user may not do that, or the call comes from a web page of another site", false, &[]),
    ("413", "The body is too large", false, &[]),
    ("415", "The body is not said to be JSON", false, &[]),
    ("500", "The controller failed; its log says why", false, &[]),
    (
        "503",
        "There is no leader, no majority or no room for the call now; try again. Or, of `kind` UNCONFIRMED and without \
         Retry-After: nobody knows whether it was done, so look before you ask again",
        false,
        &[("retry-after", "In how many seconds")],
    ),
];

/// Written once: it says the same for as long as the program runs.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_string());

/// What may be given to a call beside its path and body.
pub(super) fn listed(method: &str, path: &str) -> Listed {
    let call = CALLS.iter().find(|call| (call.method, call.path) == (method, path));
    Listed(call.map_or(&[], |call| call.parameters))
}

/// `GET /openapi.json`
pub(super) async fn document_json() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT.as_str())
}

fn document() -> Value {
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut schemas = Schemas {
        answered: settings.clone().for_serialize().into_generator(),
        taken: settings.for_deserialize().into_generator(),
    };
    let mut paths: Map<String, Value> = Map::new();
    for call in CALLS {
        let described = call.describe(&mut schemas);
        let methods = paths.entry(call.path).or_insert_with(|| json!({}));
        if let Some(methods) = methods.as_object_mut() {
            methods.insert(call.method.to_owned(), described);
        }
    }
    let responses: Map<String, Value> = COMMON_RESPONSES
        .iter()
        .map(|&(status, meaning, is_text, headers)| {
            let mut response = if is_text {
                json!({"description": meaning, "content": {"text/plain": {"schema": {"type": "string"}}}})
            } else {
                call::failure(&mut schemas.answered, meaning)
            };
            response["headers"] = call::described(headers).into();
            (status.to_owned(), response)
        })
        .collect();
    let mut definitions = schemas.answered.take_definitions(true);
    definitions.extend(call::all_as_taken(schemas.taken.take_definitions(true)));
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
            "schemas": definitions,
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
    use std::collections::{BTreeMap, BTreeSet};

    use muster_common::cluster::AddController;
    use muster_common::executor::{DrainRequest, TagsRequest};
    use muster_common::operation::{OperationRequest, validate_request};
    use muster_common::placement::SimulationRequest;
    use muster_common::read::accept;
    use muster_common::spec::{LocalServiceSpec, SpecLimits, validate};

    use super::call::Call;
    use super::*;
    use crate::api::exec_request::ExecWanted;

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

    /// Whether the server takes such a body, as far as that can be told without its state.
    fn takes(call: &Call, body: &Value) -> bool {
        let limits = SpecLimits::default();
        let body = body.to_string().into_bytes();
        match call.path {
            "/localservices/operations" => {
                accept::<OperationRequest>(&body, |request| validate_request(request, &limits)).is_ok()
            }
            "/localservices/validate/spec" | "/localservices/placement" => {
                accept::<LocalServiceSpec>(&body, |spec| validate(spec, &limits)).is_ok()
            }
            "/cluster/placement/simulate" => {
                accept::<SimulationRequest>(&body, |request| request.problems(&limits)).is_ok()
            }
            "/cluster/executors/{executor}/drain" => accept(&body, DrainRequest::problems).is_ok(),
            "/cluster/executors/{executor}/tags" => accept(&body, TagsRequest::problems).is_ok(),
            "/cluster/controllers" => serde_json::from_slice::<AddController>(&body).is_ok(),
            path if path.ends_with("/exec") => ExecWanted::in_body(&body).is_ok(),
            path => panic!("nobody judges {path}"),
        }
    }

    /// The members that a schema tells of an object such as `value`, and those that it requires.
    fn shape<'a>(
        document: &'a Value,
        schema: &'a Value,
        value: &Value,
    ) -> (BTreeMap<&'a str, &'a Value>, BTreeSet<&'a str>) {
        let (mut members, mut required) = (BTreeMap::new(), BTreeSet::new());
        let referred = schema.get("$ref").and_then(Value::as_str);
        let referred = referred.map(|place| document.pointer(place.trim_start_matches('#')).unwrap());
        let branches =
            ["oneOf", "anyOf"].into_iter().filter_map(|list| schema.get(list)?.as_array()).flatten();
        let fits = |branch: &&'a Value| {
            let (members, _) = shape(document, branch, value);
            let tag = members.get("type").and_then(|tag| tag.get("const"));
            branch["type"] != "null" && tag.is_none_or(|tag| *tag == value["type"])
        };
        for part in referred.into_iter().chain(branches.filter(fits).take(1)) {
            let (its_members, its_required) = shape(document, part, value);
            members.extend(its_members);
            required.extend(its_required);
        }
        members.extend(
            schema["properties"].as_object().into_iter().flatten().map(|(name, s)| (name.as_str(), s)),
        );
        required.extend(schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str));
        (members, required)
    }

    /// Takes each member of the body away that the schema tells of, one at a time: it is required if nothing else will do.
    fn check_required(document: &Value, call: &Call, body: &Value, place: &str, schema: &Value) -> usize {
        let value = body.pointer(place).unwrap();
        if let Some(elements) = value.as_array() {
            let items = &schema["items"];
            let each = (0..elements.len())
                .map(|index| check_required(document, call, body, &format!("{place}/{index}"), items));
            return each.sum();
        }
        let Some(object) = value.as_object() else { return 0 };
        let (members, required) = shape(document, schema, value);
        let mut checked = 0;
        for name in object.keys() {
            let Some(schema) = members.get(name.as_str()) else { continue };
            let mut less = body.clone();
            less.pointer_mut(place).unwrap().as_object_mut().unwrap().remove(name);
            // Which container it is need not be said, though a schema with a tag cannot tell that.
            let is_tacit = place.ends_with("/executable") && name == "type" && value["type"] == "DOCKER";
            if !is_tacit {
                let is_required = required.contains(name.as_str());
                assert_eq!(!takes(call, &less), is_required, "{} {place}/{name}", call.path);
            }
            checked += 1 + check_required(document, call, body, &format!("{place}/{name}"), schema);
        }
        checked
    }

    #[test]
    fn what_is_required_of_a_body_is_what_the_server_requires() {
        let document = document();
        let mut checked = 0;
        for call in CALLS.iter().filter(|call| call.has_body()) {
            let content = &document["paths"][call.path][call.method]["requestBody"]["content"];
            let content = &content["application/json"];
            let examples = content["examples"].as_object().unwrap();
            assert!(!examples.is_empty(), "{} has examples", call.path);
            for (name, example) in examples {
                let body = &example["value"];
                assert!(takes(call, body), "the example {name} of {} is taken", call.path);
                checked += check_required(&document, call, body, "", &content["schema"]);
            }
        }
        assert!(checked > 200, "the examples say much: {checked}");
    }

    #[test]
    fn every_route_is_described_and_nothing_else_is() {
        let described: BTreeSet<_> = CALLS.iter().map(|call| (call.path, call.method)).collect();
        let served = crate::api::routes().into_iter().chain(crate::api::commands());
        let (mut all, mut conditional) = (BTreeSet::new(), BTreeSet::new());
        for route in served {
            all.insert((route.path, route.method));
            if route.is_conditional {
                conditional.insert((route.path, route.method));
            }
        }
        assert_eq!(described, all);
        let takes_it = CALLS.iter().filter(|call| call.takes_header("If-Match"));
        assert_eq!(takes_it.map(|call| (call.path, call.method)).collect::<BTreeSet<_>>(), conditional);
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
