//! The instance machine: what happens next to one instance. Pure: plain data in, plain data out; it
//! knows no clock, disk, runner or network, and nothing of other instances.
//!
//! [`step`] takes an instance, an event and the time, and gives the instance after it with the effects
//! that the change asks for. Whoever calls it writes the instance down first and lets the effects
//! happen after ([`Instance::same_on_disk`] says whether there is something to write).
//!
//! The way up is in `ascent` (PENDING to READY), `health` asks the questions, the way down is in
//! `descent` (STOPPING, UNHEALTHY, `READINESS_CHECK_FAILED`, DEPROVISIONING), and `recovery` finds out
//! what became of an instance while the executor was away (UNKNOWN). `evidence` keeps how an instance ended,
//! `timeline` what happened before, `patience` holds every deadline.
//!
//! Waiting is data, too: an instance carries its deadline and its next timer, and [`Instance::next_wake`]
//! says when it wants [`Event::Woke`].

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

/// What `event` makes of `instance`.
///
/// Total: an event that means nothing in the present state changes nothing, so late and repeated
/// completions are harmless.
#[must_use]
pub(crate) fn step(instance: &Instance, event: Event, now: Now) -> (Instance, Vec<Effect>) {
    let mut turn = Turn::new(instance, now);
    turn.take(event);
    turn.finish(instance)
}
