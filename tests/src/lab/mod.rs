//! A cluster whose roles run on machines of their own, so that each can be cut off from the others.

mod cluster;
mod machine;
mod network;
mod role;

pub use cluster::{Lab, Liveness};
pub use machine::{Machine, Process};
pub use network::Network;
pub use role::Role;
