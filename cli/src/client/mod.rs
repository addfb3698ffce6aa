//! The client: commands on services, instances and executors.
//!
//! [`http`] is the REST API as typed calls; [`resolve`] finds what a name or a prefix means; each
//! command is a function over both. What is written comes from [`render`], which is pure.

mod apply;
mod args;
mod backup;
mod command;
mod describe;
pub(crate) mod http;
mod members;
mod operate;
mod render;
mod resolve;
mod server;
mod settle;

pub(crate) use apply::{Deployment, deploy, read_specs, settled};
pub(crate) use command::{ClientCommand, run};
pub(crate) use http::Client;
pub(crate) use settle::Progress;
