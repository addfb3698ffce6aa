//! The executor's end of the session with the leading controller.
//!
//! It registers with the leader, reports what changed, and repeats a report until that is acknowledged. It takes slot tables
//! from the leader. It decides nothing: losing the session, or never having one, changes nothing about what runs.
//!
//! A leader whose group was restored does not know what was acknowledged before. It is told everything anew. Then the
//! executor registers again, so that the leader can compare what this executor holds with what it knows.
//!
//! It is one task. It tries the controllers in turn, follows the hint to the leader, and connects again after a jittered
//! pause. It reads what has to be reported from the supervisor's [`Standing`](crate::supervisor::Standing), so nothing is
//! queued here that could be lost.

mod client;
mod inventory;
mod link;
mod report;
mod targets;

#[cfg(test)]
mod tests;

pub(crate) use client::{Session, run};
