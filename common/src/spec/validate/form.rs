//! Rules that many members share: lengths, names, paths, lengths of time.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::duration::DroveDuration;
use crate::problem::{Place, Quoted};

/// The longest path that Linux takes (`PATH_MAX`, with its end).
pub(super) const MAX_PATH_BYTES: usize = 4095;

/// The longest of each kind of wait. Nobody wants longer ones; they keep sums of waits in range.
pub(super) const HOUR: Duration = Duration::from_secs(3_600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// Letters, digits, hyphen and underscore: what Drove allows in names.
pub(super) fn is_name(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// A name that must be there and is made of [`is_name`]'s characters.
pub(super) fn name(place: Place<'_>, text: &str, missing: &str, max_bytes: usize) -> bool {
    place.require(!text.is_empty(), missing)
        && place.require(is_name(text), "- Only characters, numbers, hyphen and underscore is allowed")
        && within(place, text, max_bytes)
}

/// At most so many bytes, and none of them NUL: no C program could be given it.
pub(super) fn within(place: Place<'_>, text: &str, max_bytes: usize) -> bool {
    place.require(text.len() <= max_bytes, format_args!("- Cannot be longer than {max_bytes} bytes"))
        && place.require(!text.contains('\0'), "- Cannot hold a NUL character")
}

/// A text that must be there.
pub(super) fn present(place: Place<'_>, text: &str, missing: &str, max_bytes: usize) -> bool {
    place.require(!text.trim().is_empty(), missing) && within(place, text, max_bytes)
}

/// At most so many entries.
pub(super) fn at_most(place: Place<'_>, count: usize, max: usize) -> bool {
    place.require(count <= max, format_args!("- Cannot have more than {max} entries"))
}

/// A short list of texts.
pub(super) fn texts(place: Place<'_>, texts: &[String], max: usize, max_bytes: usize) {
    if at_most(place, texts.len(), max) {
        for (index, text) in texts.iter().enumerate() {
            within(place.element(index), text, max_bytes);
        }
    }
}

/// A map of texts to texts; keys are not empty.
pub(super) fn labels(place: Place<'_>, labels: &BTreeMap<String, String>, max: usize, max_bytes: usize) {
    if at_most(place, labels.len(), max) {
        for (key, value) in labels {
            let entry = place.entry(key);
            present(entry, key, "- Specify a name", max_bytes);
            within(entry, value, max_bytes);
        }
    }
}

/// A path from the root that stays where it says: no `..`.
pub(super) fn absolute_path(place: Place<'_>, path: &str, missing: &str) -> bool {
    present(place, path, missing, MAX_PATH_BYTES)
        && place.require(path.starts_with('/'), format_args!("- '{}' must be an absolute path", Quoted(path)))
        && no_way_up(place, path)
}

/// A path without `..`.
pub(super) fn no_way_up(place: Place<'_>, path: &str) -> bool {
    place.require(!path.split('/').any(|part| part == ".."), "- Cannot hold '..'")
}

/// A length of time that must be there.
pub(super) fn positive(place: Place<'_>, duration: DroveDuration, missing: &str, max: Duration) -> bool {
    place.require(!duration.as_duration().is_zero(), missing) && capped(place, duration, max)
}

/// A length of time that may be zero.
pub(super) fn capped(place: Place<'_>, duration: DroveDuration, max: Duration) -> bool {
    let (count, unit) = match max.as_secs() {
        seconds if seconds.is_multiple_of(86_400) => (seconds / 86_400, "day"),
        seconds if seconds.is_multiple_of(3_600) => (seconds / 3_600, "hour"),
        seconds => (seconds / 60, "minute"),
    };
    let plural = if count == 1 { "" } else { "s" };
    place.require(duration.as_duration() <= max, format_args!("- Cannot be more than {count} {unit}{plural}"))
}

/// A whole number between `min` and `max`, in Drove's words.
pub(super) fn between(place: Place<'_>, number: u64, min: u64, max: u64) -> bool {
    place.require((min..=max).contains(&number), format_args!("must be between {min} and {max}"))
}
