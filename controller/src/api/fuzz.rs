//! What calls bring along, damaged: queries, headers, names of files, bodies that need no state. Nothing makes reading
//! panic, refusals are short and name their parameter, and what is read stays within its bounds.

use axum::extract::{FromRequestParts as _, OptionalFromRequestParts as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt as _;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue, IF_MATCH};
use http::request::Parts;
use http::{HeaderMap, Request, Uri};
use muster_common::cluster::AddController;
use muster_common::instance::InstanceState;
use muster_common::problem::MAX_PROBLEMS;
use muster_common::rest::IDEMPOTENCY_KEY;
use muster_common::strategy::{damaged, damaged_document, thorough};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use super::controllers;
use super::error::ApiError;
use super::etag::IfMatch;
use super::exec_request::ExecWanted;
use super::idempotency::IdempotencyKey;
use super::log_file::LogFileName;
use super::log_place::LogPlace;
use super::parameter::{LOG_PLACE, OFFSET, RESUME, STALE, STATE};
use super::query::{MAX_PAGE, Parameters};
use super::user::credentials;
use crate::state::EventPosition;
use crate::users::{Credentials, TokenDigest};

/// The longest problem of a refusal, which names [`MAX_PROBLEMS`] at most: whoever sends much is not sent much back.
const MAX_PROBLEM_BYTES: usize = 4_000;

/// A call with this query and this header.
fn call(query: &[u8], header: Option<(HeaderName, &[u8])>) -> Option<Parts> {
    let uri = Uri::try_from([b"/apis/v1/x?", query].concat()).ok()?;
    let mut request = Request::new(());
    *request.uri_mut() = uri;
    if let Some((name, value)) = header {
        request.headers_mut().insert(name, HeaderValue::from_bytes(value).ok()?);
    }
    Some(request.into_parts().0)
}

/// The value, or none where it was refused in words.
fn read_or_told<T>(read: Result<T, ApiError>, about: &str) -> Result<Option<T>, TestCaseError> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(ApiError::Validation(errors) | ApiError::Json(errors)) => {
            let text = errors.join("; ");
            prop_assert!(text.contains(about), "{about} is not named: {text:.200}");
            prop_assert!(errors.len() <= MAX_PROBLEMS, "{} problems: {text:.200}", errors.len());
            prop_assert!(errors.iter().all(|error| error.len() <= MAX_PROBLEM_BYTES), "{text:.200}");
            prop_assert!(!text.contains(char::is_control), "{text:?}");
            Ok(None)
        }
        Err(other) => Err(TestCaseError::fail(format!("{other:?}"))),
    }
}

fn parameters(query: &[u8]) -> Result<Option<Parameters>, TestCaseError> {
    let Some(mut parts) = call(query, None) else { return Ok(None) };
    let read = Parameters::from_request_parts(&mut parts, &()).now_or_never();
    read_or_told(read.expect("nothing is waited for"), "the query")
}

proptest! {
    #![proptest_config(thorough())]

    #[test]
    fn queries(query in damaged(select(vec![
        "from=7&size=10&stale=true", "from=7.3&lastSyncTime=1700000000000&size=2147483646", "state=healthy&state=READY",
        "offset=-1&length=32768&rename", "follow=1&previous=false&tail=100&since=5m&from=3.12345",
        "command=sh&command=-c&env=A%3Db&tty=true&rows=24&columns=80&workdir=%2Ftmp",
    ]))) {
        let Some(query) = parameters(&query)? else { return Ok(()) };
        if let Some((from, size)) = read_or_told(query.range(100, 10), "query param ")? {
            prop_assert!(from as u64 <= MAX_PAGE && size <= 100, "{from} {size}");
        }
        read_or_told(query.flag(&STALE), "query param stale")?;
        read_or_told(query.parsed::<i64>(&OFFSET), "query param offset")?;
        read_or_told(query.each::<InstanceState>(&STATE), "query param state")?;
        if let Some(Some(place)) = read_or_told(query.parsed::<EventPosition>(&RESUME), "query param from")? {
            prop_assert_eq!(place.to_string().parse::<EventPosition>().unwrap(), place);
        }
        if let Some(Some(place)) = read_or_told(query.parsed::<LogPlace>(&LOG_PLACE), "query param from")? {
            prop_assert_eq!(place.to_string().parse::<LogPlace>().unwrap(), place);
        }
        if let Some(exec) = read_or_told(ExecWanted::in_query(&query), "")? {
            let ask = exec.ask("SI-1".to_owned());
            prop_assert!(!ask.command[0].is_empty());
            prop_assert!(ask.command.iter().chain(ask.env.keys()).all(|word| !word.contains('\0')));
        }
    }

    #[test]
    fn tags(value in damaged(select(vec!["\"7\"", "W/\"18446744073709551615\"", "*", "\"7\", \"8\""]))) {
        let Some(mut parts) = call(b"", Some((IF_MATCH, &value))) else { return Ok(()) };
        let read = IfMatch::from_request_parts(&mut parts, &()).now_or_never().expect("nothing is waited for");
        if let Some(Some(generation)) = read_or_told(read, "If-Match")?.map(IfMatch::generation) {
            let written = format!("\"{generation}\"");
            let mut parts = call(b"", Some((IF_MATCH, written.as_bytes()))).unwrap();
            let again = IfMatch::from_request_parts(&mut parts, &()).now_or_never().unwrap().unwrap();
            prop_assert_eq!(again.generation(), Some(generation));
        }
    }

    #[test]
    fn idempotency_keys(value in damaged(select(vec!["deploy-7", "x", "8e1a5e0a-0000-4000-8000-000000000000"]))) {
        let name = HeaderName::from_bytes(IDEMPOTENCY_KEY.as_bytes()).unwrap();
        let Some(mut parts) = call(b"", Some((name.clone(), &value))) else { return Ok(()) };
        let read = IdempotencyKey::from_request_parts(&mut parts, &()).now_or_never().expect("nothing is waited for");
        if let Some(Some(key)) = read_or_told(read, "Idempotency-Key")? {
            // A user's name cannot be lengthened into another's key.
            prop_assert_ne!(key.operation("ann"), key.operation("ann:"));
            prop_assert!(value.is_ascii() && !value.trim_ascii().is_empty());
        }
    }

    #[test]
    fn authorizations(value in damaged(select(vec![
        "Bearer secret".to_owned(), "O-Bearer secret".to_owned(), format!("Basic {}", STANDARD.encode("ann:se:cret")),
    ]))) {
        let Ok(value) = HeaderValue::from_bytes(&value) else { return Ok(()) };
        let once = HeaderMap::from_iter([(AUTHORIZATION, value.clone())]);
        match credentials(&once) {
            Some(Credentials::Token(token)) => {
                let secret = value.to_str().unwrap().trim().split_once(' ').unwrap().1.trim().to_owned();
                prop_assert_eq!(token, TokenDigest::of(&secret));
            }
            Some(Credentials::Named(name, token)) => {
                let again = |secret: &str| {
                    let value = format!("Basic {}", STANDARD.encode(format!("{name}:{secret}")));
                    credentials(&HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]))
                };
                prop_assert_eq!(again("x"), Some(Credentials::Named(name.clone(), TokenDigest::of("x"))));
                prop_assert!(token != TokenDigest::of("") || again("") == credentials(&once));
            }
            None => {}
        }
        let mut twice = once;
        twice.append(AUTHORIZATION, value);
        prop_assert_eq!(credentials(&twice), None, "nobody says whose word counts");
    }

    #[test]
    fn file_names(name in damaged(select(vec!["output.log", "output.log-7", "output.log-18446744073709551615"]))) {
        let name = String::from_utf8_lossy(&name);
        if let Ok(file) = name.parse::<LogFileName>() {
            prop_assert_eq!(file.to_string(), name.as_ref(), "one file has one name");
            prop_assert!(!name.contains(['/', '\\', '\0']) && !name.contains(".."), "{name:?}");
        }
    }

    #[test]
    fn bodies(
        exec in damaged_document(Just(json!({
            "command": ["sh", "-c", "id"], "stdin": "x", "env": {"A": "b"}, "workdir": "/x", "timeout": "30s"
        }))),
        controller in damaged_document(Just(json!({"id": 4, "cluster": "10.0.0.4:4100"}))),
    ) {
        if let Some(exec) = read_or_told(ExecWanted::in_body(exec.to_string().as_bytes()), "")? {
            prop_assert!(exec.ask("SI-1".to_owned()).timeout_ms <= 600_000);
        }
        read_or_told(controllers::wanted(controller.to_string().as_bytes()).map(|_: AddController| ()), "")?;
    }

    #[test]
    fn body_texts(exec in damaged(Just(r#"{"command":["sh","-c","id"],"env":{"A":"b"},"timeout":"30s"}"#))) {
        read_or_told(ExecWanted::in_body(&exec), "")?;
    }
}
