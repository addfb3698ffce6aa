//! The REST API of a real controller.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says so by failing

mod answers;
mod bad_input;
mod bounds;
#[path = "../common/mod.rs"]
mod common;
mod contract;
mod etag;
mod users;

use serde_json::{Value, json};

fn failed(message: &str) -> Value {
    json!({"status": "FAILED", "message": message})
}

fn invalid(errors: &[&str]) -> Value {
    refused(errors, "INVALID")
}

fn refused(errors: &[&str], kind: &str) -> Value {
    let data = json!({"validationErrors": errors, "kind": kind});
    json!({"status": "FAILED", "data": data, "message": "Command validation failure"})
}

fn success(data: &Value) -> Value {
    json!({"status": "SUCCESS", "data": data, "message": "success"})
}
