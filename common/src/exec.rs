//! A command that is run beside an instance to its end: what is asked, and what came of it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::command_end::CommandEnd;
use crate::duration::DroveDuration;
use crate::read::{Node, Read};
use crate::signal::Signal;

/// What to run. Has no `Debug`: arguments, input and environment may hold secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecRequest {
    /// The program and its arguments; not through a shell.
    pub command: Vec<String>,
    /// All the input that there will be.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub stdin: String,
    /// Variables beside the workload's own.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Where it starts; where the workload did, unless it is said.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub workdir: String,
    /// How long it may take; half a minute, unless it is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<DroveDuration>,
}

impl Read for ExecRequest {
    fn read(node: &Node<'_>) -> Self {
        let body = node.object();
        body.only(&["command", "stdin", "env", "workdir", "timeout"]);
        Self {
            command: body.required("command", "- Specify what to run"),
            stdin: body.get_or_default("stdin"),
            env: body.get_or_default("env"),
            workdir: body.get_or_default("workdir"),
            timeout: body.get("timeout"),
        }
    }
}

/// What came of it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExecAnswer {
    /// When it exited by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// When a signal ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
    /// Why it was not run; the exit code is a shell's then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Its output, as text.
    pub stdout: String,
    /// Its error output, as text.
    pub stderr: String,
    /// There was more output.
    pub truncated: bool,
    /// It was killed, its time being over.
    pub timed_out: bool,
}

impl ExecAnswer {
    /// What is answered of a command that ended so, but for its output.
    #[must_use]
    pub fn of(end: &CommandEnd) -> Self {
        match end {
            CommandEnd::Exited(code) => Self { exit_code: Some(*code), ..Self::default() },
            CommandEnd::Signalled(signal) => Self { signal: Some(*signal), ..Self::default() },
            CommandEnd::TimedOut => Self { timed_out: true, ..Self::default() },
            CommandEnd::Unknown => Self::default(),
            CommandEnd::Failed { code, why } => {
                Self { exit_code: Some((*code).into()), error: Some(why.clone()), ..Self::default() }
            }
        }
    }

    /// How it ended.
    #[must_use]
    pub fn end(&self) -> CommandEnd {
        match (self.timed_out, &self.error, self.exit_code, self.signal) {
            (true, ..) => CommandEnd::TimedOut,
            (false, Some(why), code, _) => CommandEnd::failed(code, why.clone()),
            (false, None, Some(code), _) => CommandEnd::Exited(code),
            (false, None, None, Some(signal)) => CommandEnd::Signalled(signal),
            (false, None, None, None) => CommandEnd::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::strategy::command_end;

    proptest! {
        #[test]
        fn how_a_command_ended_is_read_as_it_was_answered(
            end in prop_oneof![command_end(), Just(CommandEnd::TimedOut), Just(CommandEnd::Unknown)],
        ) {
            let json = serde_json::to_string(&ExecAnswer::of(&end)).unwrap();
            prop_assert_eq!(serde_json::from_str::<ExecAnswer>(&json).unwrap().end(), end);
        }
    }

    #[test]
    fn an_answer_leaves_out_what_did_not_happen() {
        let json = |end: &CommandEnd| serde_json::to_string(&ExecAnswer::of(end)).unwrap();
        let rest = r#""stdout":"","stderr":"","truncated":false,"timedOut":"#;
        assert_eq!(json(&CommandEnd::Exited(0)), format!("{{\"exitCode\":0,{rest}false}}"));
        assert_eq!(
            json(&CommandEnd::Signalled(Signal(15))),
            format!("{{\"signal\":\"SIGTERM\",{rest}false}}")
        );
        assert_eq!(json(&CommandEnd::TimedOut), format!("{{{rest}true}}"));
    }
}
