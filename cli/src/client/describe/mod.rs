//! One thing in full, for somebody who has to know why it is as it is: what it is, why it is in its state (one
//! paragraph), what happened to it, what it left behind, and which commands are worth trying. Pure.

mod executor;
mod instance;
mod operation;
mod page;
mod past;
mod reason;
mod service;

#[cfg(test)]
mod tests;

pub(crate) use executor::{executor, removed_executor};
pub(crate) use instance::instance;
pub(crate) use operation::operation;
pub(crate) use past::{Past, destroyed};
pub(crate) use service::{ServiceFacts, service};
