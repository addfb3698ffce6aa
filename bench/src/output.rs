//! What is told on standard output.

use std::fmt::Display;
use std::io::Write as _;

use anyhow::Context as _;

/// Prints a line. That nobody reads it is an error like any other: `println!` would panic, which ends a program that was
/// built for release at once, and what it started would be left behind.
pub(crate) fn line(line: impl Display) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{line}").context("printing the table")
}
