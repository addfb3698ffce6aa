//! What went wrong, as a sentence for a person and an exit code for a program.

use std::fmt;

use muster_common::exit::Exit;
use muster_platform::RoleError;

/// The end of a command that did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CliError {
    /// What the program exits with.
    pub(crate) exit: Exit,
    /// What was tried, what went wrong, what to do.
    pub(crate) message: String,
}

impl CliError {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    pub(crate) fn failure(message: impl Into<String>) -> Self {
        Self::new(Exit::Failure, message)
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CliError {}

impl From<RoleError> for CliError {
    fn from(error: RoleError) -> Self {
        Self { exit: error.exit, message: error.sentence }
    }
}
