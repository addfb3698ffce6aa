//! Lists that go on: what changes is fetched anew when the cluster's events say that something did.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use muster_common::event::Event;
use muster_common::event_stream::{WatchEnd, WatchMessage};
use tokio::time::{Instant, timeout};

use super::Caller;
use crate::args::Output;
use crate::client::follow::Follow;
use crate::client::screen::{self, Screen, Tone};
use crate::client::sse::Message;
use crate::client::table::{self, Listed};
use crate::error::CliError;

/// What happens together is shown together.
const TOGETHER: Duration = Duration::from_millis(100);
/// But nothing is kept from being shown for longer.
const AT_LAST: Duration = Duration::from_secs(1);
/// Begins at the terminal's top; each line then clears what stood there. Clearing all of it first would flicker.
const HOME: &str = "\x1b[H";
const CLEAR_REST_OF_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

pub(crate) async fn watch<T: Listed>(
    caller: &Caller,
    concerns: impl Fn(&Event) -> bool,
    fetch: impl AsyncFn() -> Result<Vec<T>, CliError>,
) -> Result<(), CliError> {
    let mut follow = Follow::new(&caller.client, "cluster/events/watch".to_owned());
    // First this, then the list: what happens in between is told.
    follow.open().await?;
    let mut shown = Shown::new(caller.output, caller.screen);
    loop {
        let items = fetch().await?;
        shown.show(&items)?;
        until_it_concerns(&mut follow, &concerns).await?;
    }
}

/// Waits for something that concerns the list and for what happens along with it, or for a sign of life: ages pass, and of
/// some changes, such as those of tags, no event tells.
async fn until_it_concerns(follow: &mut Follow, concerns: &impl Fn(&Event) -> bool) -> Result<(), CliError> {
    loop {
        let message = follow.next().await?;
        match sort(&message)? {
            // Nobody knows what that of an unknown kind is about: it may be this.
            Told::UnknownEvent => break,
            Told::Event(event) if concerns(&event) => break,
            Told::StillHere => return Ok(()),
            Told::Event(_) => {}
            Told::Elsewhere => follow.elsewhere().await,
            // Whatever was missed is in the next list.
            Told::Forgotten => {
                follow.begin_anew();
                follow.open().await?;
                return Ok(());
            }
        }
    }
    let deadline = Instant::now() + AT_LAST;
    while Instant::now() < deadline {
        match timeout(TOGETHER, follow.next()).await {
            Ok(message) => drop(message?),
            Err(_) => break,
        }
    }
    Ok(())
}

/// What a message of the cluster's stream of events says.
pub(super) enum Told {
    Event(Event),
    /// Something of a kind that only a later version knows.
    UnknownEvent,
    /// Nothing happened.
    StillHere,
    /// This controller cannot go on, another one can.
    Elsewhere,
    /// Some events are not kept any more.
    Forgotten,
}

pub(super) fn sort(message: &Message) -> Result<Told, CliError> {
    let message = WatchMessage::decode(&message.event, &message.data).map_err(|error| {
        CliError::failure(format!("cannot understand an event: {error}; are both ends of one version?"))
    })?;
    Ok(match message {
        WatchMessage::Event(event) => Told::Event(event),
        WatchMessage::UnknownEvent => Told::UnknownEvent,
        WatchMessage::Heartbeat => Told::StillHere,
        WatchMessage::End(WatchEnd::NoLeader | WatchEnd::ShuttingDown) => Told::Elsewhere,
        WatchMessage::End(WatchEnd::Compacted | WatchEnd::SlowConsumer) => Told::Forgotten,
    })
}

/// What is on the screen, or was written.
struct Shown {
    output: Output,
    screen: Screen,
    /// By id, as JSON.
    before: Option<BTreeMap<String, String>>,
    /// Whether the columns' names were written.
    has_header: bool,
}

impl Shown {
    fn new(output: Output, screen: Screen) -> Self {
        Self { output, screen, before: None, has_header: false }
    }

    fn show<T: Listed>(&mut self, items: &[T]) -> Result<(), CliError> {
        self.screen = self.screen.later();
        let drawn = self.screen.is_terminal && matches!(self.output, Output::Table | Output::Wide);
        if drawn {
            let text = table::list(self.output, items, &self.screen)?;
            return screen::write(&drawn_over(&cut(&text, screen::height())));
        }
        screen::write(&self.news(items)?)
    }

    /// What is new or another since the last time; all of it at first.
    fn news<T: Listed>(&mut self, items: &[T]) -> Result<String, CliError> {
        let now: BTreeMap<String, String> =
            items.iter().map(|item| (item.id(), serde_json::to_string(item).unwrap_or_default())).collect();
        // A list of nothing has no columns.
        let had_header = self.has_header;
        self.has_header |= !items.is_empty();
        let Some(before) = self.before.replace(now.clone()) else {
            return table::list(self.output, items, &self.screen);
        };
        let is_news = |item: &&T| before.get(&item.id()) != now.get(&item.id());
        let mut text = match self.output {
            // The header was written once; all lines are made, so that columns stay below each other.
            Output::Table | Output::Wide => {
                let all = table::list(self.output, items, &Screen { width: None, ..self.screen })?;
                let header = all.lines().take(usize::from(!had_header && !items.is_empty()));
                let lines = items.iter().zip(all.lines().skip(1));
                let news = lines.filter(|(item, _)| is_news(item)).map(|(_, line)| line);
                header.chain(news).map(|line| format!("{line}\n")).collect()
            }
            Output::Json | Output::Yaml | Output::Name => {
                let news = items.iter().filter(is_news);
                let one = |item: &T| table::list(self.output, std::slice::from_ref(item), &self.screen);
                news.map(one).collect::<Result<String, _>>()?
            }
        };
        if matches!(self.output, Output::Table | Output::Wide) {
            for gone in before.keys().filter(|id| !now.contains_key(*id)) {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{}", self.screen.paint(Tone::Faint, &format!("{gone} is gone")));
            }
        }
        Ok(text)
    }
}

/// The text in place of what the terminal shows.
fn drawn_over(text: &str) -> String {
    let lines: String = text.lines().map(|line| format!("{line}{CLEAR_REST_OF_LINE}\n")).collect();
    format!("{HOME}{lines}{CLEAR_BELOW}")
}

/// As many lines as a terminal shows; how many more there are is said in the last one.
fn cut(text: &str, height: Option<u16>) -> String {
    let Some(height) = height.map(usize::from).filter(|height| *height > 2) else { return text.to_owned() };
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() < height {
        return text.to_owned();
    }
    let shown = height - 2;
    let mut cut: String = lines.iter().take(shown).map(|line| format!("{line}\n")).collect();
    // Writing to a String cannot fail.
    let _ = writeln!(cut, "… {} more lines", lines.len() - shown);
    cut
}

#[cfg(test)]
mod tests {
    use muster_common::service::ServiceSummary;

    use super::*;
    use crate::client::samples;

    #[test]
    fn the_columns_names_are_written_once_also_when_there_is_nothing_at_first() {
        let mut shown = Shown::new(Output::Table, samples::screen());
        let service = [samples::service()];
        assert!(shown.news::<ServiceSummary>(&[]).unwrap().starts_with("no services"));
        let first = shown.news(&service).unwrap();
        assert!(first.starts_with("ID") && first.lines().count() == 2, "{first}");
        assert_eq!(shown.news(&service).unwrap(), "");
        assert_eq!(shown.news::<ServiceSummary>(&[]).unwrap(), "hello-1 is gone\n");
        assert!(shown.news(&service).unwrap().starts_with("hello-1"));
    }

    #[test]
    fn what_stood_on_a_terminal_is_drawn_over_line_by_line() {
        assert_eq!(drawn_over("a\nb\n"), "\u{1b}[Ha\u{1b}[K\nb\u{1b}[K\n\u{1b}[J");
    }

    #[test]
    fn a_list_that_is_too_long_says_what_is_not_shown() {
        let text = "a\nb\nc\nd\ne\n";
        assert_eq!(cut(text, None), text);
        assert_eq!(cut(text, Some(6)), text);
        assert_eq!(cut(text, Some(5)), "a\nb\nc\n… 2 more lines\n");
    }

    #[test]
    fn an_event_that_cannot_be_understood_is_an_error_and_one_of_a_later_version_is_none() {
        let message = |event: &str, data: &str| Message { event: event.into(), id: None, data: data.into() };
        let told = |event: &str| sort(&message(event, "{}"));
        assert!(matches!(told("HEARTBEAT"), Ok(Told::StillHere)));
        assert!(matches!(told("NO_LEADER"), Ok(Told::Elsewhere)));
        assert!(matches!(told("COMPACTED"), Ok(Told::Forgotten)));
        assert!(matches!(told("NEWER_KIND"), Ok(Told::UnknownEvent)));
        let error = told("EXECUTOR_ADDED").err().unwrap().message;
        assert!(error.starts_with("cannot understand an event: missing field"), "{error}");
    }
}
