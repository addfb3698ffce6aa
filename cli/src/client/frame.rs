//! What travels over the WebSocket of an exec (subprotocol `muster.exec.v1`): binary messages whose first byte says what
//! they are. Pure.

use muster_common::exec_channel::{CANNOT_RUN, END, NOT_SEEN, RESIZE, SIGNAL, STDERR, STDIN, STDOUT};
use muster_common::signal;
use serde::{Deserialize, Serialize};

use crate::error::SIGNALED;

/// What we say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// Input; nothing at all is its end.
    Stdin(Vec<u8>),
    /// The terminal's size.
    Resize { rows: u16, columns: u16 },
    /// A signal for what runs.
    Signal(&'static str),
}

/// What we are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
    /// It is over.
    End(End),
    /// Something that only a later version says.
    Unknown,
}

/// How it came to its end.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct End {
    pub(crate) exit_code: Option<i32>,
    /// Such as `SIGKILL`.
    pub(crate) signal: Option<String>,
    /// Why it did not run, or not to its end.
    pub(crate) error: Option<String>,
}

#[derive(Serialize)]
struct Size {
    rows: u16,
    columns: u16,
}

#[derive(Serialize)]
struct Named {
    signal: &'static str,
}

impl Said {
    pub(crate) fn encode(&self) -> Vec<u8> {
        // These are always JSON.
        let json = |value: serde_json::Result<Vec<u8>>| value.unwrap_or_default();
        let (channel, body) = match self {
            Self::Stdin(bytes) => (STDIN, bytes.clone()),
            Self::Resize { rows, columns } => {
                (RESIZE, json(serde_json::to_vec(&Size { rows: *rows, columns: *columns })))
            }
            Self::Signal(signal) => (SIGNAL, json(serde_json::to_vec(&Named { signal }))),
        };
        [&[channel], body.as_slice()].concat()
    }
}

impl Told {
    pub(crate) fn decode(message: &[u8]) -> Self {
        match message.split_first() {
            Some((&STDOUT, bytes)) => Self::Stdout(bytes.to_vec()),
            Some((&STDERR, bytes)) => Self::Stderr(bytes.to_vec()),
            Some((&END, json)) => Self::End(
                serde_json::from_slice(json)
                    .unwrap_or_else(|error| End::unseen(format!("its end cannot be understood: {error}"))),
            ),
            Some(_) | None => Self::Unknown,
        }
    }
}

impl End {
    /// Nobody saw it to its end.
    pub(crate) fn unseen(why: String) -> Self {
        Self { exit_code: Some(NOT_SEEN.into()), signal: None, error: Some(why) }
    }

    /// What a shell would exit with: the code, or 128 and the signal's number.
    pub(crate) fn code(&self) -> u8 {
        let number = |signal: &String| signal::number(signal).and_then(|number| u8::try_from(number).ok());
        match (self.exit_code, &self.signal) {
            (Some(code), _) => u8::try_from(code & 0xff).unwrap_or(u8::MAX),
            (None, Some(signal)) => SIGNALED + number(signal).unwrap_or_default(),
            // As controllers say it that are older than these codes.
            (None, None) => CANNOT_RUN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_say_is_as_the_subprotocol_has_it() {
        assert_eq!(Said::Stdin(b"ls\n".to_vec()).encode(), b"\x00ls\n");
        assert_eq!(Said::Stdin(Vec::new()).encode(), b"\x00");
        assert_eq!(Said::Resize { rows: 24, columns: 80 }.encode(), b"\x04{\"rows\":24,\"columns\":80}");
        assert_eq!(Said::Signal("SIGINT").encode(), b"\x05{\"signal\":\"SIGINT\"}");
    }

    #[test]
    fn what_we_are_told_is_read_and_what_is_not_known_is_passed_over() {
        assert_eq!(Told::decode(b"\x01out"), Told::Stdout(b"out".to_vec()));
        assert_eq!(Told::decode(b"\x02err"), Told::Stderr(b"err".to_vec()));
        assert_eq!(Told::decode(b"\x09later"), Told::Unknown);
        assert_eq!(Told::decode(b""), Told::Unknown);
        let end = |json: &str| match Told::decode(&[&[3], json.as_bytes()].concat()) {
            Told::End(end) => end,
            other => panic!("{other:?}"),
        };
        assert_eq!(end("{\"exitCode\":7}").code(), 7);
        assert_eq!(end("{\"signal\":\"SIGKILL\"}").code(), 137);
        assert_eq!(end("{\"signal\":\"SIGTERM\"}").code(), 143);
        assert_eq!(end("{\"error\":\"no such program\"}").code(), 126);
        assert_eq!(end("{\"error\":\"no such program\",\"exitCode\":127}").code(), 127);
        assert_eq!(end("{\"signal\":\"SIGSYS\"}").code(), 159);
        let unread = end("{");
        assert!(unread.error.is_some() && unread.code() == 125);
    }
}
