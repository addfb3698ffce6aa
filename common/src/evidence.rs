//! What is kept of an instance so that nobody needs a login to the machine to know why it ended.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::instance::InstanceState;
use crate::reason::Reason;
use crate::time::Timestamp;

/// How many probe results stay with an instance.
pub const MAX_PROBE_RECORDS: usize = 10;
/// How many bytes of the log's end are kept.
pub const MAX_LOG_TAIL_BYTES: usize = 64 * 1024;
/// How many bytes of a probe's answer are kept.
pub const MAX_PROBE_ANSWER_BYTES: usize = 1024;
/// How many bytes of an error in words are kept (a transition's, an instance's, a slot's).
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024;
/// How many warnings stay with an instance.
pub const MAX_WARNINGS: usize = 8;
/// How many transitions a timeline holds. An instance never makes as many: its states know no cycle but restarts of its
/// executor, which are counted where they do nothing else (see [`Repeats`]).
pub const MAX_TIMELINE: usize = 64;

/// The beginning of `text`: at most `max_bytes`, whole characters.
#[must_use]
pub fn head(text: &str, max_bytes: usize) -> &str {
    let mut end = max_bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The end of `text`: at most `max_bytes`, whole characters.
#[must_use]
pub fn tail(text: &str, max_bytes: usize) -> &str {
    let mut start = text.len().saturating_sub(max_bytes);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

/// The last `max` of `items`.
#[must_use]
pub fn newest<T>(items: &[T], max: usize) -> &[T] {
    &items[items.len().saturating_sub(max)..]
}

/// One change of state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Transition {
    /// When, by the executor's clock.
    pub at: Timestamp,
    /// The state that was left.
    pub from: InstanceState,
    /// The state that was entered.
    pub to: InstanceState,
    /// Why, as a code; absent on the ordinary way up.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<Reason>,
    /// Why, in words; empty when the code says it all.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub message: String,
    /// How often it happened, where that was more than once: found again after restarts of the executor, with nothing
    /// else in between.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub repeats: Option<Repeats>,
}

/// That a transition was made more than once. It keeps its place in the timeline, and the time of the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Repeats {
    /// How often in all, the first time included.
    pub times: u32,
    /// When last, by the executor's clock.
    pub last: Timestamp,
}

impl Transition {
    /// When it was made last.
    #[must_use]
    pub fn latest(&self) -> Timestamp {
        self.repeats.map_or(self.at, |repeats| repeats.last)
    }

    /// Whether `other` is the same one, whatever is known of it by now.
    fn is(&self, other: &Self) -> bool {
        (self.at, self.from, self.to) == (other.at, other.from, other.to)
    }
}

/// The end of `timeline` that `known`, what it was before, does not tell: what is new, and what was repeated since.
#[must_use]
pub fn news<'a>(timeline: &'a [Transition], known: &[Transition]) -> &'a [Transition] {
    let place_of_news = |seen: &Transition| {
        let place = timeline.iter().rposition(|step| step.is(seen))?;
        Some(if timeline[place].repeats == seen.repeats { place + 1 } else { place })
    };
    &timeline[known.iter().rev().find_map(place_of_news).unwrap_or(0)..]
}

wire_enum! {
    /// Which question a probe asked.
    pub enum ProbeKind {
        /// Is it ready to be used for the first time?
        Readiness = "READINESS",
        /// Does it still work?
        Health = "HEALTH",
    }
}

/// The result of one probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProbeRecord {
    /// When the probe ended, by the executor's clock.
    pub at: Timestamp,
    /// Which check it belongs to.
    pub kind: ProbeKind,
    /// Whether it passed.
    pub passed: bool,
    /// How long it took.
    pub latency_ms: u64,
    /// HTTP status or exit code, where there was one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<i32>,
    /// The first [`MAX_PROBE_ANSWER_BYTES`] of the answer, or the error in words.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub answer: String,
}

/// How a workload ended.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// The exit code, when it exited by itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exit_code: Option<i32>,
    /// The signal's number, when a signal ended it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub signal: Option<i32>,
    /// Whether the kernel ended it for want of memory.
    #[serde(default)]
    pub oom_killed: bool,
    /// The last [`MAX_LOG_TAIL_BYTES`] of its output, invalid UTF-8 replaced.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub log_tail: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!((head("añb", 2), tail("añb", 2)), ("a", "b"));
        assert_eq!((head("añb", 3), tail("añb", 3)), ("añ", "ñb"));
        assert_eq!((head("añb", 9), tail("añb", 9)), ("añb", "añb"));
        assert_eq!((head("ñ", 0), tail("ñ", 1)), ("", ""));
        assert_eq!(newest(&[1, 2, 3], 2), [2, 3]);
    }

    #[test]
    fn news_are_what_is_new_and_what_was_repeated() {
        use InstanceState::{Healthy, Ready, Stopping, Unknown};
        let step = |at, from, to| Transition {
            at: Timestamp(at),
            from,
            to,
            reason: None,
            message: String::new(),
            repeats: None,
        };
        let up = step(1, Ready, Healthy);
        let (asked, found) = (step(2, Healthy, Unknown), step(3, Unknown, Healthy));
        let (asked_again, end) = (step(4, Healthy, Unknown), step(6, Healthy, Stopping));
        let again = Transition { repeats: Some(Repeats { times: 2, last: Timestamp(5) }), ..found.clone() };
        let explained = Transition { reason: Some(Reason::OomKilled), ..end.clone() };
        let before = [up.clone(), asked.clone(), found.clone()];
        let waiting = [up.clone(), asked.clone(), found, asked_again];
        let after = [up.clone(), asked.clone(), again.clone()];
        let ended = [up, asked, again, end];
        assert_eq!(news(&before, &[]), before);
        assert_eq!(news(&before, &before[..1]), &before[1..]);
        assert_eq!(news(&waiting, &before), &waiting[3..]);
        // The question that came to nothing new is gone.
        assert_eq!(news(&after, &waiting), &after[2..]);
        assert_eq!(news(&after, &before), &after[2..]);
        assert_eq!(news(&after, &after), []);
        assert_eq!(news(&ended, &waiting), &ended[2..]);
        // More is known of the last one, which is no news.
        assert_eq!(news(std::slice::from_ref(&explained), &ended), []);
        assert_eq!((ended[2].latest(), explained.latest()), (Timestamp(5), Timestamp(6)));
    }
}
