//! What the executor must not forget, on its own disk (redb, one file).
//!
//! The supervisor writes what it decided here *before* it lets it happen, one transaction for all that it
//! decided in one turn. The journal knows how records are written and read, and nothing of what they mean.
//!
//! It is also the outbox: a record whose version is higher than the acknowledged one has yet to be reported.
//! A record that cannot be read is set aside, counted and logged. Nothing else is lost with it, and the executor starts.

mod batch;
mod contents;
#[cfg(test)]
mod fuzz;
mod quarantine;
mod record;
mod store;

#[cfg(test)]
mod tests;

pub(crate) use batch::Batch;
#[cfg(test)]
pub(crate) use batch::{Drawer, Drawers, META_EXECUTOR, META_INCOMPLETE};
pub(crate) use contents::Contents;
pub(crate) use store::{CommitError, Incarnation, Journal, OpenError};
