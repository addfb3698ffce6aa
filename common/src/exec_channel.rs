//! What travels over the WebSocket of an interactive command: binary messages, whose first byte is their channel. Both
//! ends go by this.

/// The subprotocol's name.
pub const SUBPROTOCOL: &str = "muster.exec.v1";
/// From the user: input; an empty message: there is no more.
pub const STDIN: u8 = 0;
/// From the command: output.
pub const STDOUT: u8 = 1;
/// From the command: error output.
pub const STDERR: u8 = 2;
/// From the command: its end, as JSON.
pub const END: u8 = 3;
/// From the user: the terminal's size, as JSON.
pub const RESIZE: u8 = 4;
/// From the user: a signal, as JSON.
pub const SIGNAL: u8 = 5;

/// An end's exit code where the command's time was over (as timeout(1) has it).
pub const TIMED_OUT: u8 = 124;
/// An end's exit code where nobody saw the command to its end: a connection broke, or a role was stopped.
pub const NOT_SEEN: u8 = 125;
/// An end's exit code where the command could not be run.
pub const CANNOT_RUN: u8 = 126;
/// An end's exit code where there is no such command.
pub const NO_SUCH_COMMAND: u8 = 127;
