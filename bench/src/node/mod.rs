//! One executor with real containers, against the engine's own speed.
//!
//! | module | noun |
//! |---|---|
//! | [`agent`] | a real executor, a process of its own, under a controller of one |
//! | [`engine`] | what the engine alone can do with the very same containers |
//! | [`starts`] | start, stop and replace, as ratios |
//! | [`steady`] | what an executor takes while nothing happens |

mod agent;
mod engine;
pub(crate) mod starts;
pub(crate) mod steady;
