//! Commands beside instances.

use muster_common::command_end::CommandEnd;
use muster_common::exec_channel::TerminalSize;
use muster_common::signal::Signal;

use crate::v1;

impl From<v1::ExecEnd> for CommandEnd {
    fn from(end: v1::ExecEnd) -> Self {
        match (end.timed_out, end.code, end.signal) {
            (true, ..) => Self::TimedOut,
            (false, Some(code), _) => Self::Exited(code),
            (false, None, Some(number)) => Self::Signalled(Signal(number)),
            (false, None, None) => Self::Unknown,
        }
    }
}

impl From<TerminalSize> for v1::TerminalSize {
    fn from(size: TerminalSize) -> Self {
        Self { rows: size.rows.into(), columns: size.columns.into() }
    }
}

/// A side that is none is the usual one.
impl From<v1::TerminalSize> for TerminalSize {
    fn from(size: v1::TerminalSize) -> Self {
        let or_usual = |wanted: u32, usual| u16::try_from(wanted).ok().filter(|&n| n > 0).unwrap_or(usual);
        let Self { rows, columns } = Self::USUAL;
        Self { rows: or_usual(size.rows, rows), columns: or_usual(size.columns, columns) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_without_code_and_signal_is_one_that_nobody_knows() {
        let end = |code, signal, timed_out| CommandEnd::from(v1::ExecEnd { code, signal, timed_out });
        assert_eq!(end(Some(7), None, false), CommandEnd::Exited(7));
        assert_eq!(end(None, Some(9), false), CommandEnd::Signalled(Signal(9)));
        assert_eq!(end(None, None, true), CommandEnd::TimedOut);
        assert_eq!(end(None, None, false), CommandEnd::Unknown);
    }

    #[test]
    fn a_terminal_without_a_side_has_the_usual_one() {
        let size = |rows, columns| TerminalSize::from(v1::TerminalSize { rows, columns });
        assert_eq!(size(0, 70_000), TerminalSize::USUAL);
        assert_eq!(size(50, 132), TerminalSize { rows: 50, columns: 132 });
        assert_eq!(v1::TerminalSize::from(TerminalSize::USUAL), v1::TerminalSize { rows: 24, columns: 80 });
    }
}
