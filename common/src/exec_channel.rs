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
