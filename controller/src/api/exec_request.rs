//! What a user wants to run beside an instance, checked before anybody is bothered with it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use muster_common::duration::DroveDuration;
use muster_common::exec::ExecRequest;
use muster_common::exec_channel::TerminalSize;
use muster_proto::v1;

use super::error::ApiError;
use super::parameter::{COLUMNS, COMMAND, ENV, ROWS, STDIN, TTY, WORKDIR};
use super::query::Parameters;

/// How long a command may take whose caller does not say, and how long at most.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(1)..=LONGEST_TIMEOUT;
/// What [`super::guard`] has to outlast.
pub(super) const LONGEST_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// The arguments of a command, and the variables that it is given: how many, and how many bytes in all.
const MAX_WORDS: usize = 256;
const MAX_BYTES: usize = 64 * 1024;

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
        let body: ExecRequest = serde_json::from_slice(body)?;
        let timeout = body.timeout.map_or(DEFAULT_TIMEOUT, DroveDuration::as_duration);
        let wanted = Self {
            command: body.command,
            env: body.env,
            workdir: body.workdir,
            takes_input: !body.stdin.is_empty(),
            stdin: Some(body.stdin.into()),
            terminal: None,
            timeout: Some(timeout),
        };
        wanted.checked()
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
                let side = query.number(parameter, u16::MAX.into(), usual.into())?;
                Ok::<_, ApiError>(u16::try_from(side).unwrap_or(usual))
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
        wanted.checked()
    }

    fn checked(self) -> Result<Self, ApiError> {
        let mut errors = Vec::new();
        let mut refuse = |is_wrong: bool, error: &str| {
            if is_wrong {
                errors.push(error.to_owned());
            }
        };
        refuse(self.command.first().is_none_or(String::is_empty), "command - Specify what to run");
        let words = self.command.iter().chain(self.env.keys()).chain(self.env.values());
        let (count, bytes) =
            words.clone().fold((0, 0), |(count, bytes), word| (count + 1, bytes + word.len()));
        refuse(count > MAX_WORDS, "command - The command and its env have more than 256 words");
        refuse(bytes > MAX_BYTES, "command - The command and its env are larger than 64 KiB");
        let has_nul = words.chain([&self.workdir]).any(|word| word.contains('\0'));
        refuse(has_nul, "command - Neither command, env nor workdir may hold a NUL");
        let is_name = |name: &String| {
            let mut letters = name.bytes();
            letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
                && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == b'_')
        };
        refuse(!self.env.keys().all(is_name), "env - Names are letters, digits and '_', no digit first");
        let is_ours = self.env.keys().any(|name| name.starts_with("MUSTER_"));
        refuse(is_ours, "env - Names that begin with MUSTER_ are set by the executor");
        let is_relative = !self.workdir.is_empty() && !self.workdir.starts_with('/');
        refuse(is_relative, "workdir - Must be an absolute path");
        let is_out = self.timeout.is_some_and(|timeout| !TIMEOUTS.contains(&timeout));
        refuse(is_out, "timeout - Must be between 1ms and 10m");
        if errors.is_empty() { Ok(self) } else { Err(ApiError::Validation(errors)) }
    }

    /// The program's name, which is all that is ever written down of it.
    pub(super) fn program(&self) -> &str {
        self.command.first().map_or("", String::as_str)
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

#[cfg(test)]
mod tests {
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
            (r#"{"command":["a"],"tty":true}"#, "unknown field `tty`"),
            (r#"{"stdin":"a"}"#, "missing field `command`"),
        ] {
            let errors = refusals(body);
            assert!(errors.len() == 1 && errors[0].starts_with(field), "{body}: {errors:?}");
        }
        let long = format!(r#"{{"command":["{}"]}}"#, "x".repeat(MAX_BYTES + 1));
        assert_eq!(refusals(&long).len(), 1);
    }
}
