//! The whole cluster in one thread under a seeded clock and network (turmoil).
//!
//! The roles are the real ones; only what [`muster_platform::World`] names is replaced, and, on the
//! executors, what starts and probes workloads. One seed decides every latency, election, jitter and
//! id, so a failing seed replays exactly.

mod fleet;
mod http;
mod node;
mod world;

pub use fleet::{Fleet, api_address, controller_host, executor_host};
pub use http::call;
pub use node::SimulatedNode;
pub use world::{WallClock, simulated_world};
