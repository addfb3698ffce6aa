//! The state as users see it: pure functions from [`State`] to the wire's types. What is only known
//! here and now (who leads) is handed in.

mod cluster;
pub(crate) mod event;
mod executor;
mod instance;
mod operation;
mod placement;
mod service;

pub(crate) use cluster::cluster_summary;
pub(crate) use event::{events_from, events_newest_first};
pub(crate) use executor::{executor_node_data, executor_summary};
pub(crate) use instance::{OldFilter, active_instances, instance_info, old_instances};
pub(crate) use operation::{operation, operation_summary};
pub(crate) use placement::{placement, placement_of_spec};
pub(crate) use service::service_summary;

#[cfg(doc)]
use super::State;
