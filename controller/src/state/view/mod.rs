//! The state as users see it: pure functions from [`State`] to the wire's types. What is only known
//! here and now (who leads) is handed in.

mod cluster;
mod dashboard;
pub(crate) mod event;
mod executor;
mod instance;
mod instances;
mod operation;
mod page;
mod placement;
mod service;

pub(crate) use cluster::cluster_summary;
pub(crate) use dashboard::dashboard;
pub(crate) use event::{events_from, events_newest_first};
pub(crate) use executor::{executor_node_data, executor_summary};
pub(crate) use instance::instance_info;
pub(crate) use instances::{Detail, InstanceFilter, active_instances, all_instances, old_instances};
pub(crate) use operation::{operation, operation_summary};
#[cfg(test)]
pub(crate) use page::WHOLE;
pub(crate) use page::{Page, Range};
pub(crate) use placement::{placement, placement_of_spec, simulated_placement};
pub(crate) use service::{service_summaries, service_summary};

#[cfg(doc)]
use super::State;
