//! What a user wants to run beside an instance, checked before anybody is bothered with it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use muster_common::duration::DroveDuration;
use muster_common::exec::ExecRequest;
use muster_common::exec_channel::TerminalSize;
use muster_common::problem::{FieldError, printable};
use muster_common::read::accept;
use muster_proto::v1;

use super::error::ApiError;
use super::parameter::{COLUMNS, COMMAND, ENV, ROWS, STDIN, TTY, WORKDIR};
use super::query::{MAX_PARAMETERS, Parameters};

/// How long a command may take whose caller does not say, and how long at most.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(1)..=LONGEST_TIMEOUT;
/// What [`super::guard`] has to outlast.
pub(super) const LONGEST_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// The arguments of a command, and the variables that it is given: how many, and how many bytes in all.
const MAX_WORDS: usize = 256;
const MAX_BYTES: usize = 64 * 1024;
/// The longest path that a kernel takes; and how much of one is written down, on every controller and for long.
const MAX_PROGRAM_BYTES: usize = 4 * 1024;
const MAX_NOTED_CHARS: usize = 255;
/// One for each word, beside those that say how it is run.
pub(super) const MAX_EXEC_PARAMETERS: usize = MAX_WORDS + MAX_PARAMETERS;

/// What to run. Has no `Debug`: arguments and environment may hold secrets.
pub(super) struct ExecWanted {
    command: Vec<String>,
    env: BTreeMap<String, String>,
    workdir: String,
    /// All input there will be; none: it comes later.
    pub(super) stdin: Option<Bytes>,
    takes_input: bool,
    terminal: Option<TerminalSize>,
    timeout: Option<Duration>,
}

impl ExecWanted {
    /// What a body asks for.
    pub(super) fn in_body(body: &[u8]) -> Result<Self, ApiError> {
        let time = |body: &ExecRequest| body.timeout.map_or(DEFAULT_TIMEOUT, DroveDuration::as_duration);
        let body: ExecRequest = accept(body, |body: &ExecRequest| {
            problems(&body.command, &body.env, &body.workdir, Some(time(body)))
        })?;
        let timeout = Some(time(&body));
        Ok(Self {
            command: body.command,
            env: body.env,
            workdir: body.workdir,
            takes_input: !body.stdin.is_empty(),
            stdin: Some(body.stdin.into()),
            terminal: None,
            timeout,
        })
    }

    /// What a query asks for, whose command goes on for as long as its user stays.
    pub(super) fn in_query(query: &Parameters) -> Result<Self, ApiError> {
        let mut env = BTreeMap::new();
        for variable in query.all(&ENV) {
            let (name, value) = variable
                .split_once('=')
                .ok_or_else(|| ApiError::Validation(vec!["query param env must be NAME=VALUE".to_owned()]))?;
            env.insert(name.to_owned(), value.to_owned());
        }
        let terminal = if query.flag(&TTY)? {
            // A terminal's sides are as the kernel keeps them.
            let side = |parameter, usual: u16| {
                query.within(parameter, 0..=u16::MAX).map(|side| side.unwrap_or(usual))
            };
            let TerminalSize { rows, columns } = TerminalSize::USUAL;
            Some(TerminalSize { rows: side(&ROWS, rows)?, columns: side(&COLUMNS, columns)? })
        } else {
            None
        };
        let wanted = Self {
            command: query.texts(&COMMAND),
            env,
            workdir: query.text(&WORKDIR)?,
            takes_input: query.flag(&STDIN)?,
            stdin: None,
            terminal,
            timeout: None,
        };
        let problems = problems(&wanted.command, &wanted.env, &wanted.workdir, wanted.timeout);
        if problems.is_empty() {
            return Ok(wanted);
        }
        Err(ApiError::Validation(problems.iter().map(ToString::to_string).collect()))
    }

    /// The program's name, which is all that is ever written down of it: where it can be read, and not more of it than
    /// a name has.
    pub(super) fn program(&self) -> String {
        printable(self.command.first().map_or("", String::as_str), MAX_NOTED_CHARS)
    }

    /// What its executor is asked.
    pub(super) fn ask(&self, instance: String) -> v1::StartExec {
        v1::StartExec {
            instance,
            command: self.command.clone(),
            env: self.env.clone().into_iter().collect(),
            workdir: self.workdir.clone(),
            stdin: self.takes_input,
            terminal: self.terminal.map(Into::into),
            timeout_ms: self
                .timeout
                .map_or(0, |timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

/// Every problem of what is to be run.
fn problems(
    command: &[String],
    env: &BTreeMap<String, String>,
    workdir: &str,
    timeout: Option<Duration>,
) -> Vec<FieldError> {
    let mut problems = Vec::new();
    let mut refuse = |is_wrong: bool, path: &str, message: &str| {
        if is_wrong {
            let (path, message) = (path.to_owned(), format!("- {message}"));
            problems.push(FieldError { path, message, is_sentence: false });
        }
    };
    let program = command.first().map_or("", String::as_str);
    refuse(program.is_empty(), "command", "Specify what to run");
    refuse(program.len() > MAX_PROGRAM_BYTES, "command[0]", "A program's path cannot be longer than 4 KiB");
    let words = command.iter().chain(env.keys()).chain(env.values()).map(String::as_str);
    let (count, bytes) = words.clone().fold((0, 0), |(count, bytes), word| (count + 1, bytes + word.len()));
    refuse(count > MAX_WORDS, "command", "The command and its env have more than 256 words");
    refuse(bytes > MAX_BYTES, "command", "The command and its env are larger than 64 KiB");
    let has_nul = words.chain([workdir]).any(|word| word.contains('\0'));
    refuse(has_nul, "command", "Neither command, env nor workdir may hold a NUL");
    let is_name = |name: &String| {
        let mut letters = name.bytes();
        letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
            && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == b'_')
    };
    refuse(!env.keys().all(is_name), "env", "Names are letters, digits and '_', no digit first");
    let is_ours = env.keys().any(|name| name.starts_with("MUSTER_"));
    refuse(is_ours, "env", "Names that begin with MUSTER_ are set by the executor");
    refuse(!workdir.is_empty() && !workdir.starts_with('/'), "workdir", "Must be an absolute path");
    let is_out = timeout.is_some_and(|timeout| !TIMEOUTS.contains(&timeout));
    refuse(is_out, "timeout", "Must be between 1ms and 10m");
    problems
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusals(body: &str) -> Vec<String> {
        match ExecWanted::in_body(body.as_bytes()) {
            Ok(_) => Vec::new(),
            Err(ApiError::Validation(errors) | ApiError::Json(errors)) => errors,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn what_cannot_be_run_is_named_with_its_field() {
        assert!(
            refusals(r#"{"command":["sh","-c","id"],"timeout":"30s","env":{"A":"b"},"workdir":"/x"}"#)
                .is_empty()
        );
        for (body, field) in [
            (r#"{"command":[]}"#, "command - "),
            (r#"{"command":[""]}"#, "command - "),
            (r#"{"command":["a\u0000b"]}"#, "command - "),
            (r#"{"command":["a"],"workdir":"x"}"#, "workdir - "),
            (r#"{"command":["a"],"env":{"1A":"b"}}"#, "env - "),
            (r#"{"command":["a"],"env":{"MUSTER_COMMAND":"b"}}"#, "env - "),
            (r#"{"command":["a"],"timeout":"11m"}"#, "timeout - "),
            (
                r#"{"command":["a"],"tty":true}"#,
                "tty - There is only [command, stdin, env, workdir, timeout]",
            ),
            (r#"{"stdin":"a"}"#, "command - Specify what to run"),
            (r#"{"command":"ls"}"#, "command - must be a list, not a text"),
            (r#"{"command":["a",{}]}"#, "command[1] - must be a text, not an object"),
            (r#"{"command":["a"],"env":{"A":[]}}"#, "env[A] - must be a text, not a list"),
            (r#"{"command":["a"],"timeout":"abc"}"#, "timeout - "),
            ("", "the body is empty; a JSON object is expected"),
        ] {
            let errors = refusals(body);
            assert!(errors.len() == 1 && errors[0].starts_with(field), "{body}: {errors:?}");
        }
        assert_eq!(
            refusals(r#"{"command":null,"stdin":[],"env":{"1":"a"},"workdir":"x","timeout":"11m"}"#),
            [
                "command - Specify what to run",
                "stdin - must be a text, not a list",
                "env - Names are letters, digits and '_', no digit first",
                "workdir - Must be an absolute path",
                "timeout - Must be between 1ms and 10m",
            ],
            "all at once"
        );
        let nulls = r#"{"command":["a"],"stdin":null,"env":null,"workdir":null,"timeout":null}"#;
        assert_eq!(refusals(nulls), [""; 0], "as absent");
        let long = format!(r#"{{"command":["x","{}"]}}"#, "x".repeat(MAX_BYTES));
        assert_eq!(refusals(&long).len(), 1);
    }

    #[test]
    fn of_a_program_no_more_is_written_down_than_can_be_read() {
        let program =
            |name: &str| ExecWanted::in_body(json!({"command": [name, "secret"]}).to_string().as_bytes());
        let noted = |name: &str| program(name).unwrap_or_else(|error| panic!("{error}")).program();
        assert_eq!(noted("/usr/bin/id"), "/usr/bin/id");
        assert_eq!(noted("a\n\u{1b}[2J"), "a\\n\\u{1b}[2J");
        let long = noted(&"é".repeat(MAX_PROGRAM_BYTES / 2));
        assert_eq!(long, format!("{}…", "é".repeat(MAX_NOTED_CHARS)));
        let Err(ApiError::Validation(errors)) = program(&"x".repeat(MAX_PROGRAM_BYTES + 1)) else {
            panic!("it was taken")
        };
        assert_eq!(errors, ["command[0] - A program's path cannot be longer than 4 KiB"]);
    }
}
