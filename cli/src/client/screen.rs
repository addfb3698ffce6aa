//! What is written on: a terminal of some width, with or without colours, or a pipe.

use std::io::{ErrorKind, IsTerminal, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use muster_common::time::Timestamp;

use crate::error::CliError;

/// When answers are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Also in a pipe.
    Always,
    /// Nowhere.
    Never,
}

/// Where an answer is shown, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    /// How many characters fit on a line; `None`: as many as there are.
    pub(crate) width: Option<u16>,
    pub(crate) color: bool,
    /// Whether somebody watches, so that lines may be drawn anew.
    pub(crate) is_terminal: bool,
    /// What ages are told from.
    pub(crate) now: Timestamp,
}

impl Screen {
    /// Standard output.
    pub(crate) fn of_stdout(choice: ColorChoice) -> Self {
        let stdout = std::io::stdout();
        let is_terminal = stdout.is_terminal();
        let color = match choice {
            ColorChoice::Auto => is_terminal && may_color(),
            ColorChoice::Always => true,
            ColorChoice::Never => false,
        };
        let width = if is_terminal { width() } else { None };
        Self { width, color, is_terminal, now: now() }
    }

    /// The same a little later; a terminal may be wider or narrower by then.
    pub(crate) fn later(self) -> Self {
        Self { now: now(), width: if self.is_terminal { width() } else { self.width }, ..self }
    }

    /// The text in a tone, where there are colours.
    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        match tone.code() {
            Some(code) if self.color && !text.is_empty() => format!("\x1b[{code}m{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }
}

/// `NO_COLOR` (no-color.org), and terminals that know none.
fn may_color() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// How something is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Neither way.
    Plain,
    /// As it should be.
    Good,
    /// On its way.
    Busy,
    /// Somebody should look.
    Bad,
    /// Of less interest.
    Faint,
}

impl Tone {
    /// The terminal's code for it (ECMA-48, select graphic rendition).
    pub(crate) const fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Good => Some("32"),
            Self::Busy => Some("33"),
            Self::Bad => Some("31"),
            Self::Faint => Some("2"),
        }
    }
}

/// This machine's time. Only shown, never judged: clocks may differ.
pub(crate) fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

/// Writes to standard output at once. A reader who has seen enough (`head`) ends the program without a word.
pub(crate) fn write(text: &str) -> Result<(), CliError> {
    write_bytes(text.as_bytes())
}

/// The same for what need not be a text.
pub(crate) fn write_bytes(bytes: &[u8]) -> Result<(), CliError> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    written.map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => CliError::unread(),
        _ => CliError::failure(format!("cannot write to standard output: {error}")),
    })
}

/// How many characters fit on a line of the terminal. One without a size is that of a program that does not care.
fn width() -> Option<u16> {
    rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|size| size.ws_col).filter(|width| *width > 0)
}

/// How many lines the terminal shows.
pub(crate) fn height() -> Option<u16> {
    rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|size| size.ws_row).filter(|rows| *rows > 0)
}
