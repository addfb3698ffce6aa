//! The frame of every REST answer (docs/drove-api.md §2.1).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::exit::Exit;

wire_enum! {
    /// Whether the call did what was asked.
    pub enum Status {
        /// It did.
        Success = "SUCCESS",
        /// It did not.
        Failed = "FAILED",
    }
}

/// `{"status", "data"?, "message"}`. `data` is left out rather than null: drove-cli dies on null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope<T> {
    /// Whether it worked.
    pub status: Status,
    /// The answer.
    #[serde(skip_serializing_if = "Option::is_none", default = "Option::default")]
    pub data: Option<T>,
    /// "success", or what went wrong.
    pub message: String,
}

impl<T> Envelope<T> {
    /// An answer.
    pub fn success(data: T) -> Self {
        Self { status: Status::Success, data: Some(data), message: "success".to_owned() }
    }

    /// Done, and there is nothing to say.
    #[must_use]
    pub fn done() -> Self {
        Self { status: Status::Success, data: None, message: "success".to_owned() }
    }

    /// A refusal; `data` may carry details.
    pub fn failed(message: impl Into<String>, data: Option<T>) -> Self {
        Self { status: Status::Failed, data, message: message.into() }
    }
}

wire_enum! {
    /// What kind of refusal it is: on Drove's wire all look the same.
    pub enum RefusalKind {
        /// The input is not valid.
        Invalid = "INVALID",
        /// What was named does not exist.
        NotFound = "NOT_FOUND",
        /// The state of what was named forbids it.
        Conflict = "CONFLICT",
        /// Nobody knows whether it was done: it must be looked at before it is asked for again.
        Unconfirmed = "UNCONFIRMED",
    }
}

impl RefusalKind {
    /// Where it is not said.
    const fn of_drove() -> Self {
        Self::Invalid
    }

    /// How a client program ends.
    #[must_use]
    pub const fn exit(self) -> Exit {
        match self {
            Self::Invalid => Exit::Validation,
            Self::NotFound => Exit::NotFound,
            Self::Conflict => Exit::Conflict,
            Self::Unconfirmed => Exit::Failure,
        }
    }
}

/// The `data` of a refusal of which there is no more to say than its kind, and what others have among more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OfKind {
    /// An addition to Drove's answer.
    pub kind: RefusalKind,
}

/// The `data` of a 400: every error, each with the path of its field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ValidationErrors {
    /// `<property path> <message>` each.
    pub validation_errors: Vec<String>,
    /// An addition to Drove's answer.
    #[serde(default = "RefusalKind::of_drove")]
    pub kind: RefusalKind,
}
