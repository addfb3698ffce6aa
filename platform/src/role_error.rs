//! Why a role did not start or had to end: one sentence for a person, one code for a program.

use std::fmt::Write as _;

use muster_common::exit::Exit;

/// One clear sentence and its exit code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct RoleError {
    /// What the program exits with.
    pub exit: Exit,
    /// What was tried, what went wrong, what to do.
    pub sentence: String,
}

impl RoleError {
    /// An error from its parts.
    #[must_use]
    pub fn new(exit: Exit, sentence: impl Into<String>) -> Self {
        Self { exit, sentence: sentence.into() }
    }

    /// An error whose sentence ends with the whole chain of `source`.
    #[must_use]
    pub fn caused_by(exit: Exit, sentence: impl Into<String>, source: &dyn std::error::Error) -> Self {
        let mut sentence = sentence.into();
        let mut cause = Some(source);
        while let Some(error) = cause {
            // Writing to a String cannot fail.
            let _ = write!(sentence, ": {error}");
            cause = error.source();
        }
        Self { exit, sentence }
    }
}
