//! What travels over the WebSocket of an exec (subprotocol `muster.exec.v1`): binary messages whose first byte says what
//! they are. Pure.

use muster_common::exec_channel::{END, RESIZE, SIGNAL, STDERR, STDIN, STDOUT};
use serde::{Deserialize, Serialize};

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
            Some((&END, json)) => Self::End(serde_json::from_slice(json).unwrap_or_else(|error| End {
                error: Some(format!("its end cannot be understood: {error}")),
                ..End::default()
            })),
            Some(_) | None => Self::Unknown,
        }
    }
}

impl End {
    /// What a shell would exit with: the code, 128 and the signal's number, 127 where there is no such command, or 126
    /// where it could not be run.
    pub(crate) fn code(&self) -> u8 {
        /// It could not be run, or not be seen to its end.
        const CANNOT_RUN: u8 = 126;
        const NO_SUCH_COMMAND: u8 = 127;
        /// How an executor's sentence ends when its kernel knows no such file.
        const NO_SUCH_FILE: &str = "(os error 2)";
        const SIGNALED: u8 = 128;
        match (self.exit_code, &self.signal) {
            (Some(code), _) => u8::try_from(code & 0xff).unwrap_or(u8::MAX),
            (None, Some(signal)) => SIGNALED + number(signal).unwrap_or_default(),
            (None, None) if self.error.as_ref().is_some_and(|error| error.ends_with(NO_SUCH_FILE)) => {
                NO_SUCH_COMMAND
            }
            (None, None) => CANNOT_RUN,
        }
    }
}

/// A signal's number on Linux.
fn number(name: &str) -> Option<u8> {
    const NAMES: [&str; 15] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
        "ALRM", "TERM",
    ];
    let bare = name.strip_prefix("SIG").unwrap_or(name);
    let index = NAMES.iter().position(|known| *known == bare)?;
    u8::try_from(index + 1).ok()
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
        assert_eq!(end("{\"error\":\"No such file or directory (os error 2)\"}").code(), 127);
        assert!(end("{").error.is_some());
    }
}
