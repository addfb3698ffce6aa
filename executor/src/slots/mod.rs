//! The slot keeper: what must be done so that each slot holds one live instance of its epoch. Pure; it
//! knows rows, instances and time, and nothing of how an instance comes up or goes down.
//!
//! [`keep`] looks at one slot and returns a [`Decision`]. It is level-triggered: called with the same facts it decides the
//! same, so it may be called at any time. It remembers nothing by itself: how often the slot failed, and since when it waits,
//! is in the [`Slot`], which the journal holds.

mod keeper;
mod policy;
mod slot;

#[cfg(test)]
mod tests;

pub(crate) use keeper::keep;
pub(crate) use policy::least_wait;
pub(crate) use slot::{Slot, SlotKey, Wanted};
