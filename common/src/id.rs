//! Typed ids and the numbers that order things. Never a bare string or integer across a function.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::problem::Quoted;

/// The longest id that is accepted anywhere, in bytes.
pub const MAX_ID_LEN: usize = 255;

/// An id that was refused: what it should have named, and why it cannot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a valid {noun}: {problem}")]
pub struct InvalidId {
    noun: &'static str,
    text: String,
    problem: &'static str,
}

fn check_id(noun: &'static str, text: &str) -> Result<(), InvalidId> {
    let problem = if text.is_empty() {
        "it is empty"
    } else if text.len() > MAX_ID_LEN {
        "it is longer than 255 bytes"
    } else if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        "only letters, digits, '-', '_' and '.' are allowed"
    } else if text.bytes().all(|b| b == b'.') {
        "it would name a directory"
    } else {
        return Ok(());
    };
    Err(InvalidId { noun, text: Quoted(text).to_string(), problem })
}

macro_rules! string_id {
    ($(#[$meta:meta])* $name:ident, $noun:literal) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Takes `text` as an id, or says why it cannot be one.
            pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidId> {
                let text = text.as_ref();
                check_id($noun, text)?;
                Ok(Self(text.into()))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "minLength": 1,
                    "maxLength": MAX_ID_LEN,
                    "pattern": "^[A-Za-z0-9._-]+$",
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), &self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }
    };
}

string_id!(
    /// A service: `<name>-<version>`.
    ServiceId, "service id"
);
string_id!(
    /// One attempt to fill a slot: `SI-<uuid>`.
    InstanceId, "instance id"
);
string_id!(
    /// An executor, as its certificate names it; stable across restarts.
    ExecutorId, "executor id"
);
string_id!(
    /// A user's accepted request.
    OperationId, "operation id"
);
string_id!(
    /// The cluster that a certificate belongs to.
    ClusterId, "cluster id"
);

impl ServiceId {
    /// The id that Drove gives to a service of this name and version.
    pub fn from_parts(name: &str, version: &str) -> Result<Self, InvalidId> {
        Self::new(format!("{name}-{version}"))
    }
}

impl InstanceId {
    /// An id of Drove's form from a uuid that the caller's entropy made.
    #[must_use]
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self(format!("SI-{uuid}").into())
    }
}

impl OperationId {
    /// An operation's id from a uuid that the caller's entropy made.
    #[must_use]
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self(format!("OP-{uuid}").into())
    }
}

macro_rules! number {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(
            Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The number after this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number!(
    /// A controller's id in the Raft group.
    ControllerId
);
number!(
    /// The Raft log index of a change; orders every event and watch.
    Revision
);
number!(
    /// A slot's replacement counter: raising it means "replace what runs here".
    Epoch
);
number!(
    /// Grows with every accepted change of a service's spec, count or desired activation.
    Generation
);

/// A place that must hold one live instance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SlotId {
    /// The service to run.
    pub service: ServiceId,
    /// The executor to run it on.
    pub executor: ExecutorId,
    /// `0..instancesPerHost`.
    pub index: u32,
}

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}/{}", self.service, self.executor, self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_would_leave_their_directory_are_refused() {
        for bad in ["", ".", "..", "a/b", "a b", "a\0b", "ä"] {
            assert!(ServiceId::new(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(ServiceId::new("x".repeat(256)).is_err());
        assert_eq!(ServiceId::from_parts("web", "1.0").unwrap().as_str(), "web-1.0");
    }
}
