//! What travels over the WebSocket of an interactive command: binary messages, whose first byte is their channel.
//!
//! | channel | from | holds |
//! |---|---|---|
//! | 0 | the user | input; nothing: there is no more |
//! | 1, 2 | the command | output, error output |
//! | 3 | the command | its end, as JSON: `exitCode` or `signal`; then the socket is closed |
//! | 4 | the user | the terminal's size, as JSON: `rows`, `columns` |
//! | 5 | the user | a signal, as JSON: `signal` |
//!
//! An end that is not the command's own has an `error` as well, and a shell's code for it: see [`CommandEnd`].

use serde::{Deserialize, Serialize};

use crate::command_end::CommandEnd;
use crate::signal::{Signal, UnknownSignal};

/// The subprotocol's name.
pub const SUBPROTOCOL: &str = "muster.exec.v1";

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const END: u8 = 3;
const RESIZE: u8 = 4;
const SIGNAL: u8 = 5;

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

impl TerminalSize {
    /// What a terminal has whose user does not say.
    pub const USUAL: Self = Self { rows: 24, columns: 80 };
}

/// A message of the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserFrame<'a> {
    /// Input; nothing at all is its end.
    Input(&'a [u8]),
    /// The terminal's size.
    Resize(TerminalSize),
    /// A signal for what runs.
    Signal(Signal),
}

/// A message of the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandFrame<'a> {
    /// A piece of its output.
    Stdout(&'a [u8]),
    /// A piece of its error output.
    Stderr(&'a [u8]),
    /// How it ended; the last.
    End(CommandEnd),
}

/// A message that cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// It holds nothing.
    #[error("a message without a channel")]
    NoChannel,
    /// Only a later version may know it.
    #[error("there is no channel {channel} from {from}")]
    UnknownChannel {
        /// Its first byte.
        channel: u8,
        /// Whose message it is.
        from: &'static str,
    },
    /// It is not the JSON that its channel carries.
    #[error("a message on channel {channel} cannot be read: {problem}")]
    Malformed {
        /// Its first byte.
        channel: u8,
        /// What is wrong with it.
        problem: serde_json::Error,
    },
    /// Nobody knows the signal.
    #[error(transparent)]
    UnknownSignal(#[from] UnknownSignal),
}

/// What channel 5 carries.
#[derive(Serialize, Deserialize)]
struct SignalMessage {
    signal: String,
}

impl<'a> UserFrame<'a> {
    /// The message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Input(bytes) => on(STDIN, bytes),
            Self::Resize(size) => on(RESIZE, &json(size)),
            Self::Signal(signal) => on(SIGNAL, &json(&SignalMessage { signal: signal.to_string() })),
        }
    }

    /// What a message says.
    pub fn decode(message: &'a [u8]) -> Result<Self, FrameError> {
        match split(message)? {
            (STDIN, bytes) => Ok(Self::Input(bytes)),
            (RESIZE, bytes) => Ok(Self::Resize(from_json(RESIZE, bytes)?)),
            (SIGNAL, bytes) => {
                let SignalMessage { signal } = from_json(SIGNAL, bytes)?;
                Ok(Self::Signal(signal.parse()?))
            }
            (channel, _) => Err(FrameError::UnknownChannel { channel, from: "a user" }),
        }
    }
}

impl<'a> CommandFrame<'a> {
    /// The message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Stdout(bytes) => on(STDOUT, bytes),
            Self::Stderr(bytes) => on(STDERR, bytes),
            Self::End(end) => on(END, &json(end)),
        }
    }

    /// What a message says.
    pub fn decode(message: &'a [u8]) -> Result<Self, FrameError> {
        match split(message)? {
            (STDOUT, bytes) => Ok(Self::Stdout(bytes)),
            (STDERR, bytes) => Ok(Self::Stderr(bytes)),
            (END, bytes) => Ok(Self::End(from_json(END, bytes)?)),
            (channel, _) => Err(FrameError::UnknownChannel { channel, from: "a command" }),
        }
    }
}

fn on(channel: u8, bytes: &[u8]) -> Vec<u8> {
    [&[channel], bytes].concat()
}

fn split(message: &[u8]) -> Result<(u8, &[u8]), FrameError> {
    message.split_first().map(|(channel, rest)| (*channel, rest)).ok_or(FrameError::NoChannel)
}

/// These are always JSON.
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

fn from_json<'a, T: Deserialize<'a>>(channel: u8, bytes: &'a [u8]) -> Result<T, FrameError> {
    serde_json::from_slice(bytes).map_err(|problem| FrameError::Malformed { channel, problem })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::strategy::command_end;

    #[test]
    fn frames_are_as_the_subprotocol_has_them() {
        let from_user = [
            (UserFrame::Input(b"ls\n"), &b"\x00ls\n"[..]),
            (UserFrame::Input(b""), b"\x00"),
            (UserFrame::Resize(TerminalSize::USUAL), b"\x04{\"rows\":24,\"columns\":80}"),
            (UserFrame::Signal(Signal(2)), b"\x05{\"signal\":\"SIGINT\"}"),
        ];
        for (frame, bytes) in from_user {
            assert_eq!(frame.encode(), bytes);
            assert_eq!(UserFrame::decode(bytes).unwrap(), frame);
        }
        let from_command = [
            (CommandFrame::Stdout(b"out"), &b"\x01out"[..]),
            (CommandFrame::Stderr(b"err"), b"\x02err"),
            (CommandFrame::End(CommandEnd::Exited(7)), b"\x03{\"exitCode\":7}"),
            (CommandFrame::End(CommandEnd::Signalled(Signal(9))), b"\x03{\"signal\":\"SIGKILL\"}"),
        ];
        for (frame, bytes) in from_command {
            assert_eq!(frame.encode(), bytes);
            assert_eq!(CommandFrame::decode(bytes).unwrap(), frame);
        }
    }

    #[test]
    fn what_cannot_be_understood_is_told_in_words() {
        let user = |bytes: &[u8]| UserFrame::decode(bytes).unwrap_err().to_string();
        assert_eq!(user(b""), "a message without a channel");
        assert_eq!(user(b"\x03{}"), "there is no channel 3 from a user");
        assert_eq!(user(b"\x05{\"signal\":\"SIGNONE\"}"), "there is no signal of that name");
        assert!(user(b"\x04{").starts_with("a message on channel 4 cannot be read: "));
        assert!(
            user(b"\x04{\"rows\":70000,\"columns\":1}")
                .starts_with("a message on channel 4 cannot be read: ")
        );
        let command = |bytes: &[u8]| CommandFrame::decode(bytes).unwrap_err().to_string();
        assert_eq!(command(b"\x09later"), "there is no channel 9 from a command");
        assert!(command(b"\x03{").starts_with("a message on channel 3 cannot be read: "));
    }

    proptest! {
        #[test]
        fn whatever_one_end_says_the_other_understands(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            (rows, columns) in any::<(u16, u16)>(),
            signal in Signal::NUMBERS,
            end in command_end(),
        ) {
            let size = TerminalSize { rows, columns };
            let signal = Signal(signal);
            for frame in [UserFrame::Input(&bytes), UserFrame::Resize(size), UserFrame::Signal(signal)] {
                let message = frame.encode();
                prop_assert_eq!(UserFrame::decode(&message).unwrap(), frame);
            }
            for frame in [CommandFrame::Stdout(&bytes), CommandFrame::Stderr(&bytes), CommandFrame::End(end)] {
                let message = frame.encode();
                prop_assert_eq!(CommandFrame::decode(&message).unwrap(), frame);
            }
        }

        #[test]
        fn nothing_that_is_sent_breaks_a_reader(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = UserFrame::decode(&bytes);
            let _ = CommandFrame::decode(&bytes);
        }
    }
}
