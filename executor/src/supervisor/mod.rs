//! The one task that owns every instance and every slot.
//!
//! Each turn it gathers what has happened, lets `core` (pure) decide, writes the outcome to the journal in
//! one transaction, publishes what there is to report, and only then lets the effects happen. Effects run
//! as tasks of their own (`perform`) and come back as messages; waiting is one timer, to the earliest moment
//! that anything asked for. Everybody else sees the instances and slots through [`Standing`], on a watch channel.

mod core;
mod perform;
mod standing;
mod task;

#[cfg(test)]
mod tests;

pub(crate) use self::core::Core;
pub(crate) use standing::{JOURNAL_TROUBLE, Standing, Unacked};
pub(crate) use task::{Handle, Message, Parts, Running, SupervisorGone, Task, spawn};
