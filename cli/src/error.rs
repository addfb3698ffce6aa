//! What went wrong, as a sentence for a person and an exit code for a program.

use std::fmt;

use muster_common::command_end::SIGNALLED;
use muster_common::exit::Exit;
use muster_platform::RoleError;

/// The end of a command that did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CliError {
    /// What the program exits with.
    pub(crate) exit: Exit,
    /// What was tried, what went wrong, what to do. Empty: nobody is there to be told.
    pub(crate) message: String,
    /// Whether it may go better at another controller, or a little later.
    is_passing: bool,
    /// The signal that ended it before it was done, if one did.
    signal: Option<u8>,
}

impl CliError {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), is_passing: false, signal: None }
    }

    /// Whoever read the output has gone, which is no failure.
    pub(crate) fn unread() -> Self {
        Self::new(Exit::Ok, "")
    }

    /// Ended by a signal; `message` says what goes on all the same.
    pub(crate) fn interrupted(signal: u8, message: impl Into<String>) -> Self {
        Self { signal: Some(signal), ..Self::failure(message) }
    }

    /// What the program exits with, as a shell has it.
    pub(crate) fn code(&self) -> u8 {
        self.signal.map_or(self.exit.code(), |signal| SIGNALLED + signal)
    }

    /// The same with something more that must be known.
    pub(crate) fn with(self, addition: &str) -> Self {
        Self { message: format!("{}; {addition}", self.message), ..self }
    }

    /// The same, as something that passes.
    pub(crate) fn passing(self) -> Self {
        Self { is_passing: true, ..self }
    }

    pub(crate) fn is_passing(&self) -> bool {
        self.is_passing
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
        Self::new(error.exit, error.sentence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_interrupted_exits_as_shells_expect() {
        assert_eq!(CliError::new(Exit::Timeout, "late").code(), 7);
        assert_eq!(CliError::interrupted(2, "").code(), 130);
        assert_eq!(CliError::interrupted(15, "").with("it goes on").code(), 143);
    }
}
