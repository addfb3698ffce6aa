//! How a user's command ended, and what a shell would exit with for it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::signal::Signal;

/// The exit code where the command's time was over (as timeout(1) has it).
pub const TIMED_OUT: u8 = 124;
/// The exit code where nobody saw the command to its end: a connection broke, or a role was stopped.
pub const NOT_SEEN: u8 = 125;
/// The exit code where the command could not be run.
pub const CANNOT_RUN: u8 = 126;
/// The exit code where there is no such command.
pub const NO_SUCH_COMMAND: u8 = 127;
/// What a shell adds to the number of the signal that ended a command.
pub const SIGNALLED: u8 = 128;

/// How a command ended. As JSON it has an `exitCode` or a `signal`, and an `error` where the end is not its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "EndFields", from = "EndFields")]
pub enum CommandEnd {
    /// By itself, with this code.
    Exited(i32),
    /// By a signal.
    Signalled(Signal),
    /// It was killed, its time being over.
    TimedOut,
    /// Its executor saw the end, and cannot tell which it was.
    Unknown,
    /// It was not run, or nobody saw it to its end.
    Failed {
        /// What a shell exits with then: 127 where there is no such command, 126 where it could not be run, 125 where
        /// nobody saw it to its end.
        code: u8,
        /// Why, in words.
        why: String,
    },
}

impl CommandEnd {
    /// Nobody saw it to its end.
    pub fn unseen(why: impl fmt::Display) -> Self {
        Self::Failed { code: NOT_SEEN, why: why.to_string() }
    }

    /// It has a reason, and a shell's code where one was told.
    pub(crate) fn failed(code: Option<i32>, why: String) -> Self {
        Self::Failed { code: code.and_then(|code| u8::try_from(code).ok()).unwrap_or(CANNOT_RUN), why }
    }

    /// What a shell would exit with.
    #[must_use]
    pub fn shell_code(&self) -> u8 {
        match self {
            Self::Exited(code) => u8::try_from(code & 0xff).unwrap_or(u8::MAX),
            Self::Signalled(Signal(number)) => {
                SIGNALLED.saturating_add(u8::try_from(*number).unwrap_or_default())
            }
            Self::TimedOut => TIMED_OUT,
            Self::Unknown => NOT_SEEN,
            Self::Failed { code, .. } => *code,
        }
    }

    /// Why it did not come to an end of its own, as far as that is known.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Exited(_) | Self::Signalled(_) => None,
            Self::TimedOut => Some("its time was over"),
            Self::Unknown => Some("its executor does not know how it ended"),
            Self::Failed { why, .. } => Some(why),
        }
    }
}

impl fmt::Display for CommandEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit code {code}"),
            Self::Signalled(signal) => signal.fmt(f),
            Self::TimedOut | Self::Unknown | Self::Failed { .. } => {
                f.write_str(self.error().unwrap_or_default())
            }
        }
    }
}

/// A [`CommandEnd`] as JSON.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct EndFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<Signal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl From<CommandEnd> for EndFields {
    fn from(end: CommandEnd) -> Self {
        match end {
            CommandEnd::Exited(code) => Self { exit_code: Some(code), ..Self::default() },
            CommandEnd::Signalled(signal) => Self { signal: Some(signal), ..Self::default() },
            CommandEnd::TimedOut | CommandEnd::Unknown | CommandEnd::Failed { .. } => Self {
                exit_code: Some(end.shell_code().into()),
                signal: None,
                error: end.error().map(str::to_owned),
            },
        }
    }
}

impl From<EndFields> for CommandEnd {
    fn from(fields: EndFields) -> Self {
        match fields {
            EndFields { error: Some(why), exit_code, .. } => Self::failed(exit_code, why),
            EndFields { exit_code: Some(code), .. } => Self::Exited(code),
            EndFields { signal: Some(signal), .. } => Self::Signalled(signal),
            EndFields { exit_code: None, signal: None, error: None } => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_the_code_of_a_shell_and_what_is_not_the_commands_own_a_reason() {
        let failed = |code, why: &str| CommandEnd::Failed { code, why: why.to_owned() };
        let table = [
            (CommandEnd::Exited(7), 7, r#"{"exitCode":7}"#),
            (CommandEnd::Exited(-1), 255, r#"{"exitCode":-1}"#),
            (CommandEnd::Signalled(Signal(9)), 137, r#"{"signal":"SIGKILL"}"#),
            (CommandEnd::Signalled(Signal(31)), 159, r#"{"signal":"SIGSYS"}"#),
            (CommandEnd::Signalled(Signal(40)), 168, r#"{"signal":"signal 40"}"#),
            (failed(127, "no such program"), 127, r#"{"exitCode":127,"error":"no such program"}"#),
            (CommandEnd::unseen("gone"), 125, r#"{"exitCode":125,"error":"gone"}"#),
        ];
        for (end, code, json) in table {
            assert_eq!(end.shell_code(), code, "{end:?}");
            assert_eq!(serde_json::to_string(&end).unwrap(), json);
            assert_eq!(serde_json::from_str::<CommandEnd>(json).unwrap(), end);
            assert_eq!(end.error().is_some(), json.contains("error"), "{end:?}");
        }
        for (end, code) in [(CommandEnd::TimedOut, 124), (CommandEnd::Unknown, 125)] {
            let json = serde_json::to_value(&end).unwrap();
            assert_eq!(
                (end.shell_code(), &json["exitCode"], json["error"].is_string()),
                (code, &code.into(), true)
            );
        }
    }

    #[test]
    fn an_end_is_understood_whatever_it_leaves_out() {
        let read = |json: &str| serde_json::from_str::<CommandEnd>(json).unwrap();
        assert_eq!(read("{}"), CommandEnd::Unknown);
        assert_eq!(read(r#"{"error":"no"}"#), CommandEnd::Failed { code: CANNOT_RUN, why: "no".to_owned() });
        assert_eq!(read(r#"{"exitCode":1,"later":2}"#), CommandEnd::Exited(1));
    }
}
