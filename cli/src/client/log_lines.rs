//! What several instances wrote, as lines of which each says whose it is. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::screen::Screen;
use super::sse::Message;
use super::table::short_id;

/// A line that is longer is shown in pieces.
const MAX_LINE_BYTES: usize = 64 * 1024;
/// Colours that can be read on dark and on light, but red, which means something.
const COLORS: [&str; 6] = ["36", "32", "33", "35", "34", "96"];

/// The data of a message of a log.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LogMessage {
    /// Of which instance, where there are several.
    pub(crate) instance_id: Option<String>,
    pub(crate) executor_id: Option<String>,
    pub(crate) text: String,
    /// Something before it is not kept any more.
    pub(crate) gap: bool,
    /// What is the matter with what is read.
    pub(crate) trouble: String,
    /// Why it cannot be read.
    pub(crate) message: String,
}

impl LogMessage {
    /// What a message says; nothing where it cannot be understood.
    pub(crate) fn of(message: &Message) -> Self {
        serde_json::from_str(&message.data).unwrap_or_default()
    }

    /// Whose it is, where there are several.
    pub(crate) fn source(&self) -> Option<Source> {
        let instance = self.instance_id.clone()?;
        Some(Source { instance, executor: self.executor_id.clone().unwrap_or_default() })
    }
}

/// Whose log it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source {
    pub(crate) instance: String,
    pub(crate) executor: String,
}

impl Source {
    /// As it stands before each line.
    fn name(&self) -> String {
        format!("{} {}", self.executor, short_id(&self.instance))
    }
}

/// Puts together the lines of several sources.
#[derive(Debug)]
pub(crate) struct Lines {
    screen: Screen,
    /// The beginning of a line that is not over, and the colour of its source.
    open: BTreeMap<Source, (String, &'static str)>,
}

impl Lines {
    pub(crate) fn new(screen: Screen) -> Self {
        Self { screen, open: BTreeMap::new() }
    }

    /// The lines that `text` ends, each with its source before it.
    pub(crate) fn add(&mut self, source: &Source, text: &str) -> String {
        let color = COLORS[self.open.len() % COLORS.len()];
        let (rest, color) = self.open.entry(source.clone()).or_insert_with(|| (String::new(), color));
        rest.push_str(text);
        let prefix = prefix(&self.screen, source, color);
        let mut lines = String::new();
        while let Some(end) = rest.find('\n') {
            lines.push_str(&prefix);
            lines.extend(rest.drain(..=end));
        }
        if rest.len() > MAX_LINE_BYTES {
            lines.extend([prefix.as_str(), std::mem::take(rest).as_str(), "\n"]);
        }
        lines
    }

    /// The line that was never ended, of a source that says no more.
    pub(crate) fn finish(&mut self, source: &Source) -> String {
        match self.open.get_mut(source) {
            Some((rest, color)) if !rest.is_empty() => {
                format!("{}{}\n", prefix(&self.screen, source, color), std::mem::take(rest))
            }
            Some(_) | None => String::new(),
        }
    }
}

fn prefix(screen: &Screen, source: &Source, color: &str) -> String {
    let name = source.name();
    if screen.color { format!("\x1b[{color}m{name}\x1b[0m | ") } else { format!("{name} | ") }
}

#[cfg(test)]
mod tests {
    use muster_common::time::Timestamp;

    use super::*;

    fn source(n: u8) -> Source {
        Source { instance: format!("SI-1111111{n}-aaaa"), executor: format!("executor-{n}") }
    }

    fn screen(color: bool) -> Screen {
        Screen { width: None, color, is_terminal: false, now: Timestamp(0) }
    }

    #[test]
    fn lines_of_several_sources_are_never_mixed() {
        let mut lines = Lines::new(screen(false));
        assert_eq!(lines.add(&source(1), "one\ntw"), "executor-1 SI-11111111 | one\n");
        assert_eq!(lines.add(&source(2), "other\n"), "executor-2 SI-11111112 | other\n");
        assert_eq!(
            lines.add(&source(1), "o\n\n"),
            "executor-1 SI-11111111 | two\nexecutor-1 SI-11111111 | \n"
        );
        assert_eq!(lines.add(&source(1), "last"), "");
        assert_eq!(lines.finish(&source(1)), "executor-1 SI-11111111 | last\n");
        assert_eq!(lines.finish(&source(1)), "");
        assert_eq!(lines.finish(&source(9)), "");
    }

    #[test]
    fn each_source_keeps_its_colour_and_no_line_is_gathered_for_ever() {
        let mut lines = Lines::new(screen(true));
        let first = lines.add(&source(1), "a\n");
        assert!(first.starts_with("\x1b[36mexecutor-1"), "{first:?}");
        assert!(lines.add(&source(2), "a\n").starts_with("\x1b[32m"));
        assert_eq!(lines.add(&source(1), "a\n"), first);
        let long = lines.add(&source(1), &"x".repeat(MAX_LINE_BYTES + 1));
        assert!(long.ends_with("x\n"));
    }

    #[test]
    fn a_message_is_read_whatever_it_leaves_out() {
        let read = |text: &str| serde_json::from_str::<LogMessage>(text).unwrap();
        assert_eq!(read(r#"{"text":"a\n","nextPosition":"0.2"}"#).text, "a\n");
        assert_eq!(read(r#"{"message":"away","executorId":"e"}"#).message, "away");
        assert_eq!(read("{}"), LogMessage::default());
    }
}
