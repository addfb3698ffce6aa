//! The state as users see it: pure functions from [`State`] to the wire's types. What is only known
//! here and now (who leads) is handed in.

mod cluster;
mod event;
mod executor;
mod instance;
mod operation;
mod service;

pub use cluster::cluster_summary;
pub use event::{event, events_newest_first};
pub use executor::{executor_node_data, executor_summary};
pub use instance::{active_instances, instance_info, instance_state, old_instances};
pub use operation::operation;
pub use service::service_summary;

#[cfg(doc)]
use super::State;
