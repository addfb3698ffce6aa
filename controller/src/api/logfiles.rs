//! Logs as Drove's clients read them (docs/drove-api.md §1.5): raw JSON, no envelope.

use axum::Json;
use axum::body::Body;
use axum::extract::State as Context;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use muster_common::id::{ExecutorId, InstanceId};
use muster_common::problem::printable;
use muster_common::time::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::access::Api;
use super::error::ApiError;
use super::log_file::{LogFileName, listed};
use super::logs::{PLAIN_TEXT, bytes, list as list_files, whereabouts};
use super::parameter::{LENGTH, OFFSET, RENAME};
use super::path::Named;
use super::query::Parameters;
use crate::relay::{LogReading, RelayError};

/// How much is read unless the caller says.
const DEFAULT_LENGTH: u64 = 32_768;
/// The most that is read in one go; it is in memory until it is sent.
const MAX_LENGTH: u64 = 1024 * 1024;
/// What Drove takes for "not given".
const NOT_GIVEN: i64 = -1;

/// Of `GET …/list`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct FileNames {
    files: Vec<String>,
}

/// Of `GET …/read/{fileName}`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Piece {
    data: String,
    /// Where `data` begins: as asked for, or at the first whole character that is still there behind it.
    offset: u64,
}

/// `GET /logfiles/localservices/{id}/{instanceId}/list`
pub(super) async fn list(
    Context(api): Context<Api>,
    Named((service, instance)): Named<(String, String)>,
    query: Parameters,
) -> Result<Response, ApiError> {
    let Some((executor, instance)) = found(&api, &service, &instance, &query).await? else {
        return Ok(nothing());
    };
    Ok(match list_files(api.relays(), &executor, &instance).await {
        Ok(files) => {
            let names = listed(&files).into_iter().map(|(name, ..)| name.to_string());
            Json(FileNames { files: names.collect() }).into_response()
        }
        Err(RelayError::NotFound(_)) => Json(FileNames { files: Vec::new() }).into_response(),
        Err(error) => not_read(&error),
    })
}

/// `GET /logfiles/localservices/{id}/{instanceId}/read/{fileName}?offset=&length=`: with neither, where the file ends.
pub(super) async fn read(
    Context(api): Context<Api>,
    Named((service, instance, file)): Named<(String, String, String)>,
    query: Parameters,
) -> Result<Response, ApiError> {
    let given =
        |parameter| query.within(parameter, NOT_GIVEN..=i64::MAX).map(|number| number.unwrap_or(NOT_GIVEN));
    let (offset, length) = (given(&OFFSET)?, given(&LENGTH)?);
    let Some((executor, instance)) = found(&api, &service, &instance, &query).await? else {
        return Ok(nothing());
    };
    let file = file_named(&file)?;
    if (offset, length) == (NOT_GIVEN, NOT_GIVEN) {
        return Ok(match list_files(api.relays(), &executor, &instance).await {
            Ok(files) => match listed(&files).into_iter().find(|(name, ..)| *name == file) {
                Some((_, end, _)) => Json(Piece { data: String::new(), offset: end }).into_response(),
                None => refused(&format!("there is no {file}, or not any more")),
            },
            Err(error) => not_read(&error),
        });
    }
    let Ok(offset) = u64::try_from(offset) else {
        let problem = "query param length needs an offset: ask without both for where the file ends";
        return Err(ApiError::Validation(vec![problem.to_owned()]));
    };
    // What is not given, and what cannot be meant.
    let length = u64::try_from(length).ok().filter(|length| *length > 0).unwrap_or(DEFAULT_LENGTH);
    let ask = file.ask(instance.to_string(), offset, length.min(MAX_LENGTH), true);
    Ok(match LogReading::open(api.relays(), &executor, ask).await {
        Ok(reading) => match piece(reading, file, offset).await {
            Ok(piece) => Json(piece).into_response(),
            Err(error) => failed(&error),
        },
        Err(error) => not_read(&error),
    })
}

async fn piece(mut reading: LogReading, file: LogFileName, offset: u64) -> Result<Piece, RelayError> {
    let (mut data, mut begin) = (Vec::new(), None);
    while let Some(text) = reading.next().await? {
        if !text.text.is_empty() {
            begin.get_or_insert(text.begin);
            data.extend_from_slice(&text.text);
        }
    }
    let offset = match file {
        LogFileName::Whole => begin.unwrap_or(offset),
        // Counted from its own beginning, of which nothing is ever gone.
        LogFileName::Rotated(_) => offset,
    };
    Ok(Piece { data: String::from_utf8_lossy(&data).into_owned(), offset })
}

/// `GET /logfiles/localservices/{id}/{instanceId}/download/{fileName}?rename=`: all that is there of it.
pub(super) async fn download(
    Context(api): Context<Api>,
    Named((service, instance, file)): Named<(String, String, String)>,
    query: Parameters,
) -> Result<Response, ApiError> {
    let rename = query.flag(&RENAME)?;
    let Some((executor, instance)) = found(&api, &service, &instance, &query).await? else {
        return Ok(nothing());
    };
    let file = file_named(&file)?;
    let name =
        if rename { format!("{service}_{instance}_{file}-{}", stamp(api.now())) } else { file.to_string() };
    let ask = file.ask(instance.to_string(), 0, 0, false);
    Ok(match LogReading::open(api.relays(), &executor, ask).await {
        Ok(reading) => {
            let disposition = [(header::CONTENT_DISPOSITION, format!("attachment; filename={name}"))];
            (PLAIN_TEXT, disposition, Body::from_stream(bytes(reading))).into_response()
        }
        Err(error) => not_read(&error),
    })
}

/// Where the instance is; none when there is no such.
async fn found(
    api: &Api,
    service: &str,
    instance: &str,
    query: &Parameters,
) -> Result<Option<(ExecutorId, InstanceId)>, ApiError> {
    match whereabouts(api, service, instance, query).await {
        Ok(found) => Ok(Some(found)),
        Err(ApiError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// `yyyy-MM-dd_HH-mm-ss`
fn stamp(now: Timestamp) -> String {
    let shown = now.to_string();
    shown.split('.').next().unwrap_or(&shown).replace('T', "_").replace(':', "-")
}

/// A slip of the caller's is no failure of a node's: told as of every other call, where Drove has 500.
fn file_named(name: &str) -> Result<LogFileName, ApiError> {
    name.parse().map_err(|error| ApiError::Validation(vec![format!("file {} {error}", printable(name, 64))]))
}

/// No such instance, or nobody who has its log.
fn nothing() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// Nothing was heard of the log. An executor that does not answer is not live, be that known yet or not.
fn not_read(error: &RelayError) -> Response {
    match error {
        RelayError::NotFound(why) => refused(why),
        RelayError::Away { .. }
        | RelayError::Gone(_)
        | RelayError::NoSession { .. }
        | RelayError::NotDialled { .. }
        | RelayError::Broken { .. } => nothing(),
        RelayError::NoLeader { .. }
        | RelayError::TooMany { .. }
        | RelayError::Busy(_)
        | RelayError::NoSuchCommand(_)
        | RelayError::Failed(_)
        | RelayError::Misunderstood { .. } => failed(error),
    }
}

fn failed(error: &RelayError) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "error": error.to_string() }))).into_response()
}

/// As Drove's controller words what its executor refused.
fn refused(why: &str) -> Response {
    let body = json!({ "error": why });
    let error = format!("Executor call returned: 400 body: {body}");
    (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "error": error }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::Who;

    #[test]
    fn an_executor_that_does_not_answer_is_not_live_and_one_that_answers_with_a_failure_is() {
        let who = Who { executor: ExecutorId::new("e1").unwrap(), hostname: "h1".to_owned() };
        let within = std::time::Duration::from_secs(10);
        let silent = RelayError::NotDialled { who: who.clone(), within, address: "c:1".to_owned() };
        let broken = RelayError::Broken { who, why: "it ended the relay".to_owned() };
        for error in [&silent, &broken] {
            assert_eq!(not_read(error).status(), StatusCode::NO_CONTENT, "{error}");
        }
        for error in [
            RelayError::Failed("the disk".to_owned()),
            RelayError::Busy("32".to_owned()),
            RelayError::NotFound("output.log-7".to_owned()),
        ] {
            assert_eq!(not_read(&error).status(), StatusCode::INTERNAL_SERVER_ERROR, "{error}");
        }
        assert_eq!(failed(&broken).status(), StatusCode::INTERNAL_SERVER_ERROR, "in the middle");
    }

    #[test]
    fn a_renamed_file_bears_the_time_as_drove_writes_it() {
        assert_eq!(stamp(Timestamp(1_719_892_354_194)), "2024-07-02_03-52-34");
    }
}
