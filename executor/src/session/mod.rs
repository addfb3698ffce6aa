//! The executor's end of the session with the leading controller.
//!
//! Upward it says who it is and what changed, and repeats that until it is acknowledged; downward it takes
//! slot tables. It decides nothing: losing the session, or never having one, changes nothing about what runs.
//! To a leader that does not know what was acknowledged, as its group was restored, everything is said anew; then it
//! registers again, and what it says that it holds can be compared.
//!
//! One task. It tries the controllers in turn, follows the hint to the leader, and comes back with a jittered
//! pause. What has to be reported it reads from the supervisor's [`Standing`](crate::supervisor::Standing),
//! so nothing is queued here that could be lost.

mod client;
mod inventory;
mod link;
mod report;
mod targets;

#[cfg(test)]
mod tests;

pub(crate) use client::{Session, run};
