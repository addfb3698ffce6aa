//! What several instances wrote, as lines of which each says whose it is. Pure.

use std::collections::BTreeMap;

use muster_common::log_stream::{LogMessage, LogSource};

use super::screen::Screen;
use super::sse::Message;
use super::table::short_id;
use crate::error::CliError;

/// A line that is longer is shown in pieces.
const MAX_LINE_BYTES: usize = 64 * 1024;
/// Colours that can be read on dark and on light, but red, which means something.
const COLORS: [&str; 6] = ["36", "32", "33", "35", "34", "96"];

/// What a message of a log says; none where only a later version knows what.
pub(crate) fn understood(path: &str, message: &Message) -> Result<Option<LogMessage>, CliError> {
    LogMessage::decode(&message.event, &message.data).map_err(|error| {
        CliError::failure(format!(
            "cannot understand a message of {path}: {error}; are both ends of one version?"
        ))
    })
}

/// Whose line it is, as it stands before each.
fn name(source: &LogSource) -> String {
    format!("{} {}", source.executor_id, short_id(source.instance_id.as_str()))
}

/// Puts together the lines of several sources.
#[derive(Debug)]
pub(crate) struct Lines {
    screen: Screen,
    /// The beginning of a line that is not over, and the colour of its source.
    open: BTreeMap<LogSource, (String, &'static str)>,
}

impl Lines {
    pub(crate) fn new(screen: Screen) -> Self {
        Self { screen, open: BTreeMap::new() }
    }

    /// The lines that `text` ends, each with its source before it.
    pub(crate) fn add(&mut self, source: &LogSource, text: &str) -> String {
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
    pub(crate) fn finish(&mut self, source: &LogSource) -> String {
        match self.open.get_mut(source) {
            Some((rest, color)) if !rest.is_empty() => {
                format!("{}{}\n", prefix(&self.screen, source, color), std::mem::take(rest))
            }
            Some(_) | None => String::new(),
        }
    }
}

fn prefix(screen: &Screen, source: &LogSource, color: &str) -> String {
    let name = name(source);
    if screen.color { format!("\x1b[{color}m{name}\x1b[0m | ") } else { format!("{name} | ") }
}

#[cfg(test)]
mod tests {
    use muster_common::id::InstanceId;
    use muster_common::log_stream::LogEvent;
    use muster_common::time::Timestamp;

    use super::*;

    fn source(n: u8) -> LogSource {
        LogSource {
            instance_id: InstanceId::new(format!("SI-1111111{n}-aaaa")).unwrap(),
            executor_id: format!("executor-{n}"),
            hostname: format!("host-{n}"),
        }
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
    fn a_message_that_cannot_be_understood_is_an_error_that_says_what_to_do() {
        let message = |event: &str, data: &str| Message { event: event.into(), id: None, data: data.into() };
        let read = |event: &str, data: &str| understood("a/logs", &message(event, data));
        let log = read("lines", r#"{"text":"a\n","nextPosition":"0.2"}"#).unwrap().unwrap();
        assert!(matches!(log.event, LogEvent::Lines(lines) if lines.text == "a\n"));
        assert_eq!(read("later", "?"), Ok(None));
        for (event, data) in [("lines", "?"), ("lines", "{}"), ("end", ""), ("unavailable", "{}")] {
            let error = read(event, data).unwrap_err().message;
            assert!(error.starts_with("cannot understand a message of a/logs: "), "{error}");
            assert!(error.ends_with("; are both ends of one version?"), "{error}");
        }
    }
}
