//! The domain of Muster: its words as types, and their JSON as users see it.
//!
//! This crate does no I/O, knows no clock and no network. Everything here is plain data with
//! the rules that belong to it: how a spec is parsed and checked, which states there are, what
//! an instance leaves behind when it ends.
//!
//! | module | noun |
//! |---|---|
//! | [`id`] | typed ids, epochs, generations, revisions |
//! | [`spec`] | the local service's spec: Drove's JSON, its parsing, validation and masking |
//! | [`instance`] | the fifteen states and the record of one instance |
//! | [`condition`] | an instance's way at a glance: phase and conditions |
//! | [`reason`] | why something happened, as codes |
//! | [`evidence`] | what is kept of a dead instance |
//! | [`exec`] | a command that is run beside an instance to its end: what is asked, what is answered |
//! | [`exec_channel`] | what both ends of an interactive command say to each other |
//! | [`command_end`] | how a command ended, and what a shell exits with for it |
//! | [`log_stream`] | what is sent to whoever reads logs as they are written |
//! | [`signal`] | signals by name |
//! | [`slot`] | the slot table that controllers send, the slot status that executors answer |
//! | [`service`] | service states and the summary users see |
//! | [`generation`] | the specs that a service has or had |
//! | [`operation`] | requests of users and the objects they become |
//! | [`executor`] | executors as users see them |
//! | [`placement`] | where a spec runs, or would, and why not elsewhere |
//! | [`cluster`], [`dashboard`] | the cluster's summary, and its numbers on a page |
//! | [`event`] | what happened, with the revision |
//! | [`event_stream`] | what is sent to whoever watches events |
//! | [`rest`] | headers and heartbeats of the REST API, by name |
//! | [`envelope`] | the `{status, data, message}` frame of every REST answer |
//! | [`user`] | who calls the API, and what each may do |
//! | [`identity`] | who a certificate speaks for |
//! | [`read`], [`problem`] | reading what users send, and naming everything that is wrong with it |
//! | [`exit`] | exit codes of every program |
//! | `strategy` | generators for property tests (feature `strategies`) |
//! | [`duration`], [`size`], [`time`] | Drove's durations, sizes in bytes, epoch milliseconds |

#[macro_use]
mod wire_enum;
#[macro_use]
pub mod read;

pub mod cluster;
pub mod command_end;
pub mod condition;
pub mod dashboard;
pub mod duration;
pub mod envelope;
pub mod event;
pub mod event_stream;
pub mod evidence;
pub mod exec;
pub mod exec_channel;
pub mod executor;
pub mod exit;
pub mod generation;
pub mod id;
pub mod identity;
pub mod instance;
pub mod log_stream;
pub mod operation;
pub mod placement;
pub mod problem;
pub mod reason;
pub mod rest;
pub mod service;
pub mod signal;
pub mod size;
pub mod slot;
pub mod spec;
#[cfg(any(test, feature = "strategies"))]
pub mod strategy;
pub mod time;
pub mod user;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
