//! The instance machine: what happens next to one instance. Pure: plain data in, plain data out; it
//! knows no clock, disk, runner or network, and nothing of other instances.
//!
//! [`step`] takes an instance, an event and the time, and gives the instance after it with the effects
//! that the change asks for. Whoever calls it writes the instance down first and lets the effects
//! happen after ([`Instance::same_on_disk`] says whether there is something to write).
//!
//! | module | noun |
//! |---|---|
//! | `ascent` | the way up: PENDING to READY |
//! | `health` | readiness and health checks |
//! | `descent` | the way down: STOPPING, UNHEALTHY, `READINESS_CHECK_FAILED`, DEPROVISIONING |
//! | `recovery` | UNKNOWN: finding out what became of an instance while the executor was away |
//! | `evidence` | what is kept of the end of an instance |
//! | `timeline` | the transitions that are kept |
//! | `patience` | every deadline |
//! | `event`, `instance`, `turn` | events and effects; one instance; one step of it |
//!
//! Waiting is data, too: an instance holds its deadline and its next timer. [`Instance::next_wake`] says when it is to be
//! given [`Event::Woke`].

mod ascent;
mod descent;
mod event;
mod evidence;
mod health;
mod instance;
mod patience;
mod recovery;
mod timeline;
mod turn;

#[cfg(test)]
mod tests;

pub(crate) use event::{Effect, Event, Lease, NoRoom, Trouble};
pub(crate) use instance::{Descent, Instance, Now, Resume, StopIntent};

use turn::Turn;

/// Applies `event` to `instance`. Returns the instance after it, and the effects that the change asks for.
///
/// This is total: an event that means nothing in the present state changes nothing, so late and repeated completions do no
/// harm.
#[must_use]
pub(crate) fn step(instance: &Instance, event: Event, now: Now) -> (Instance, Vec<Effect>) {
    let mut turn = Turn::new(instance, now);
    turn.take(event);
    turn.finish(instance)
}
