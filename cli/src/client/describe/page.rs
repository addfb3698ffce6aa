//! A description as it is written: names and values below each other, then sections.

use std::fmt::Write as _;

use crate::client::screen::{Screen, Tone};
use crate::client::table::printable;

/// Where values begin.
const NAME_WIDTH: usize = 12;

/// What is written so far.
pub(super) struct Page<'a> {
    pub(super) screen: &'a Screen,
    text: String,
}

impl<'a> Page<'a> {
    pub(super) fn new(screen: &'a Screen) -> Self {
        Self { screen, text: String::new() }
    }

    /// A name and its value; nothing when there is none.
    pub(super) fn field(&mut self, name: &str, value: impl AsRef<str>) {
        self.toned(name, Tone::Plain, value);
    }

    pub(super) fn toned(&mut self, name: &str, tone: Tone, value: impl AsRef<str>) {
        let value = printable(value.as_ref());
        if !value.is_empty() {
            // Writing to a String cannot fail, here and below.
            let _ = writeln!(self.text, "{name:<NAME_WIDTH$}{}", self.screen.paint(tone, &value));
        }
    }

    /// Why it is as it is.
    pub(super) fn paragraph(&mut self, sentences: &[String]) {
        let text = sentences.join(" ");
        if !text.is_empty() {
            let _ = writeln!(self.text, "\n{}", printable(&text));
        }
    }

    /// A section of lines that are written already.
    pub(super) fn section(&mut self, title: &str, lines: &str) {
        if !lines.is_empty() {
            let _ = write!(self.text, "\n{title}\n{lines}");
        }
    }

    /// Commands that are worth trying, each with what for.
    pub(super) fn next(mut self, commands: &[(String, &str)]) -> String {
        let width = commands.iter().map(|(command, _)| command.chars().count()).max().unwrap_or_default();
        let line = |(command, why): &(String, &str)| {
            let why = self.screen.paint(Tone::Faint, &format!("# {why}"));
            format!("  {command:<width$}  {why}\n")
        };
        let lines: String = commands.iter().map(line).collect();
        self.section("Next:", &lines);
        self.text
    }
}
