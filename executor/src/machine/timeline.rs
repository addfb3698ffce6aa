//! Which transitions a timeline keeps.

use muster_common::evidence::{MAX_TIMELINE, Repeats, Transition};
use muster_common::instance::InstanceState;

/// Adds a transition that was just made. If it leads back from an UNKNOWN that a restart of the executor caused, and the
/// same happened just before, it is only counted there. So the beginning stays, however often the executor restarts.
pub(super) fn add(timeline: &mut Vec<Transition>, made: Transition) {
    if let [.., asked, found, asked_again] = timeline.as_mut_slice()
        && is_found_again(asked, found)
        && is_found_again(asked_again, &made)
        && found.to == made.to
    {
        let times = found.repeats.map_or(1, |repeats| repeats.times).saturating_add(1);
        found.repeats = Some(Repeats { times, last: made.at });
        timeline.pop();
        return;
    }
    if timeline.len() >= MAX_TIMELINE {
        timeline.remove(0);
    }
    timeline.push(made);
}

/// Whether UNKNOWN led back to where it came from.
fn is_found_again(asked: &Transition, found: &Transition) -> bool {
    asked.to == InstanceState::Unknown && found.from == InstanceState::Unknown && asked.from == found.to
}
