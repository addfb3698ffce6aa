//! One call of the API as it is described to programs.

use muster_common::envelope::Status;
use muster_common::rest::TOTAL_COUNT;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::examples::Example;
use crate::api::parameter::{Maker, Parameter, Place, schema_of};

/// What makes the schemas of both directions: what may be left out differs.
pub(super) struct Schemas {
    /// Of what is answered.
    pub(super) answered: SchemaGenerator,
    /// Of what is taken.
    pub(super) taken: SchemaGenerator,
}

/// A parameter as it is described.
fn described_parameter(parameter: &Parameter, generator: &mut SchemaGenerator) -> Value {
    let one = (parameter.schema)(generator);
    let schema = if parameter.is_repeated { json!({"type": "array", "items": one}) } else { one.to_value() };
    json!({
        "in": match parameter.place {
            Place::Query => "query",
            Place::Header => "header",
        },
        "name": parameter.name,
        "description": parameter.description,
        "required": parameter.is_required,
        "schema": schema,
    })
}

/// What a call answers when it works.
#[derive(Clone, Copy)]
enum Answer {
    /// The envelope with data; without, where the data says FAILED instead.
    Data(Maker),
    /// The envelope, never with data.
    Done,
    /// JSON without the envelope.
    Raw(Maker),
    /// Something else of this content type.
    Content(&'static str),
}

/// A method on a path.
pub(super) struct Call {
    /// In lower case, as the description has it.
    pub(super) method: &'static str,
    /// Below `/apis/v1`.
    pub(super) path: &'static str,
    id: &'static str,
    summary: &'static str,
    /// In the query and headers.
    pub(super) parameters: &'static [Parameter],
    body: Option<Maker>,
    is_body_required: bool,
    examples: &'static [Example],
    answer: Answer,
    /// Of the answer: name and meaning.
    headers: &'static [(&'static str, &'static str)],
    /// The ids of calls about the operation that it begins.
    next: &'static [&'static str],
    /// Statuses beside those that every call has.
    others: &'static [(&'static str, &'static str)],
}

impl Call {
    pub(super) const fn get(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self {
            method: "get",
            path,
            id,
            summary,
            parameters: &[],
            body: None,
            is_body_required: false,
            examples: &[],
            answer: Answer::Done,
            headers: &[],
            next: &[],
            others: &[],
        }
    }

    pub(super) const fn post(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self { method: "post", ..Self::get(path, id, summary) }
    }

    pub(super) const fn delete(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self { method: "delete", ..Self::get(path, id, summary) }
    }

    /// What it takes beside its path.
    pub(super) const fn takes(self, parameters: &'static [Parameter]) -> Self {
        Self { parameters, ..self }
    }

    /// Its body.
    pub(super) const fn body<T: JsonSchema>(self, examples: &'static [Example]) -> Self {
        Self { is_body_required: true, ..self.optional_body::<T>(examples) }
    }

    /// Its body, which may be left out.
    pub(super) const fn optional_body<T: JsonSchema>(self, examples: &'static [Example]) -> Self {
        Self { body: Some(schema_of::<T>), examples, ..self }
    }

    /// Its answer is a page of a list.
    pub(super) const fn paged(self) -> Self {
        const HEADERS: &[(&str, &str)] = &[(TOTAL_COUNT, "How long the whole list is")];
        Self { headers: HEADERS, ..self }
    }

    /// Its answer has a tag.
    pub(super) const fn tagged(self) -> Self {
        const HEADERS: &[(&str, &str)] = &[
            ("etag", "The service's generation, for If-Match and If-None-Match"),
            ("cache-control", "`no-store`: the tag does not tell how far the service is"),
        ];
        Self { headers: HEADERS, ..self }
    }

    /// Its answer is a file to be saved.
    pub(super) const fn named(self) -> Self {
        const HEADERS: &[(&str, &str)] = &[("content-disposition", "What the file is to be called")];
        Self { headers: HEADERS, ..self }
    }

    /// The data of its answer.
    pub(super) const fn answers<T: JsonSchema>(self) -> Self {
        Self { answer: Answer::Data(schema_of::<T>), ..self }
    }

    /// Its answer, which has no envelope.
    pub(super) const fn answers_raw<T: JsonSchema>(self) -> Self {
        Self { answer: Answer::Raw(schema_of::<T>), ..self }
    }

    /// Its answer, which is no JSON.
    pub(super) const fn answers_content(self, content_type: &'static str) -> Self {
        Self { answer: Answer::Content(content_type), ..self }
    }

    /// It begins an operation, which these calls are about.
    pub(super) const fn begins(self, next: &'static [&'static str]) -> Self {
        Self { next, ..self }
    }

    /// What else it may answer: status and meaning.
    pub(super) const fn or(self, others: &'static [(&'static str, &'static str)]) -> Self {
        Self { others, ..self }
    }

    /// Whether it takes a header.
    #[cfg(test)]
    pub(super) fn takes_header(&self, name: &str) -> bool {
        self.parameters.iter().any(|parameter| parameter.place == Place::Header && parameter.name == name)
    }

    /// Whether it takes a body.
    #[cfg(test)]
    pub(super) const fn has_body(&self) -> bool {
        self.body.is_some()
    }

    /// The operation object of the description.
    pub(super) fn describe(&self, schemas: &mut Schemas) -> Value {
        let named = path_parameters(self.path);
        let taken =
            self.parameters.iter().map(|parameter| described_parameter(parameter, &mut schemas.answered));
        let parameters: Vec<Value> = named.chain(taken).collect();
        let mut operation = Map::new();
        operation.insert("operationId".to_owned(), self.id.into());
        operation.insert("summary".to_owned(), self.summary.into());
        operation.insert("tags".to_owned(), json!([tag(self.path)]));
        operation.insert("parameters".to_owned(), parameters.into());
        if let Some(body) = self.body {
            let schema = as_taken(body(&mut schemas.taken).to_value());
            let examples: Map<String, Value> = self
                .examples
                .iter()
                .map(|(name, example)| ((*name).to_owned(), json!({"value": example()})))
                .collect();
            let content = json!({"application/json": {"schema": schema, "examples": examples}});
            operation.insert(
                "requestBody".to_owned(),
                json!({"required": self.is_body_required, "content": content}),
            );
        }
        operation.insert("responses".to_owned(), self.responses(&mut schemas.answered).into());
        operation.into()
    }

    fn responses(&self, generator: &mut SchemaGenerator) -> Map<String, Value> {
        let mut responses: Map<String, Value> = super::COMMON_RESPONSES
            .iter()
            .map(|(status, ..)| {
                ((*status).to_owned(), json!({"$ref": format!("#/components/responses/{status}")}))
            })
            .collect();
        for (status, meaning) in self.others {
            // What is no refusal has no body.
            let response = if status.starts_with('4') {
                failure(generator, meaning)
            } else {
                let headers = if *status == "304" { self.headers } else { &[] };
                json!({"description": meaning, "headers": described(headers)})
            };
            responses.insert((*status).to_owned(), response);
        }
        let (description, content) = match self.answer {
            Answer::Data(data) => {
                let data = data(generator);
                (
                    "Done; or `status` is FAILED and `message` says why not",
                    json_content(&envelope(generator, Some(&data))),
                )
            }
            Answer::Done => ("Done", json_content(&envelope(generator, None))),
            Answer::Raw(schema) => ("The document", json_content(schema(generator).as_value())),
            Answer::Content(kind) => ("The content", json!({kind: {"schema": {"type": "string"}}})),
        };
        let links: Map<String, Value> =
            self.next.iter().map(|call| ((*call).to_owned(), link(call))).collect();
        let headers = described(self.headers);
        responses.insert(
            "200".to_owned(),
            json!({"description": description, "headers": headers, "content": content, "links": links}),
        );
        responses
    }
}

/// Headers of an answer. Not required: an answer of 200 that says FAILED has none.
pub(super) fn described(headers: &[(&str, &str)]) -> Map<String, Value> {
    let describe = |(name, meaning): &(&str, &str)| {
        ((*name).to_owned(), json!({"description": meaning, "schema": {"type": "string"}}))
    };
    headers.iter().map(describe).collect()
}

/// How a call about an operation is made of the answer that told its id.
fn link(call: &str) -> Value {
    json!({"operationId": call, "parameters": {"operation": "$response.body#/data/operationId"}})
}

/// What the name of a schema ends with that says what is taken.
const TAKEN: &str = "AsTaken";

/// The same schema, which refers to those of what is taken.
pub(super) fn as_taken(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                match member {
                    Value::String(reference) if name == "$ref" => reference.push_str(TAKEN),
                    other => *other = as_taken(other.take()),
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| *element = as_taken(element.take())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    schema
}

/// The schemas of what is taken, under their names.
pub(super) fn all_as_taken(schemas: Map<String, Value>) -> impl Iterator<Item = (String, Value)> {
    schemas.into_iter().map(|(name, schema)| (name + TAKEN, as_taken(schema)))
}

/// A refusal in the envelope.
pub(super) fn failure(generator: &mut SchemaGenerator, meaning: &str) -> Value {
    json!({"description": meaning, "content": json_content(&envelope(generator, Some(&Schema::default())))})
}

fn json_content(schema: &Value) -> Value {
    json!({"application/json": {"schema": schema}})
}

/// The frame of an answer (`Envelope`).
fn envelope(generator: &mut SchemaGenerator, data: Option<&Schema>) -> Value {
    let status = generator.subschema_for::<Status>();
    let mut properties = json!({"status": status, "message": {"type": "string"}});
    if let (Some(data), Some(properties)) = (data, properties.as_object_mut()) {
        properties.insert("data".to_owned(), data.as_value().clone());
    }
    json!({"type": "object", "required": ["status", "message"], "properties": properties})
}

/// What stands in braces in a path.
fn path_parameters(path: &str) -> impl Iterator<Item = Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    names.map(|name| {
        json!({"in": "path", "name": name, "required": true, "schema": {"type": "string", "minLength": 1}})
    })
}

/// Calls are grouped by the first part of their path.
fn tag(path: &str) -> &str {
    path.trim_start_matches('/').split('/').next().unwrap_or_default()
}
