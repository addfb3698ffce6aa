//! Real clusters under faults: machines that are cut off, processes that are paused, killed and restarted, while
//! clients write and workloads run.
//!
//! Cut off is who has a machine of its own: a network namespace. Where none may be made these tests are skipped, unless
//! `MUSTER_REQUIRE_NETNS=1` is set.
//!
//! | module | what is shown |
//! |---|---|
//! | `partition` | an executor, the leader, a follower is cut off |
//! | `pause` | the leader is stopped for ten seconds |
//! | `rolling` | all controllers are restarted in turn, under load |
//! | `linearizability` | what clients were told of services, and of operations that they steer, has one order |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod history;
mod linearizability;
mod observer;
mod partition;
mod pause;
mod rolling;
mod service;
mod steering;
mod writers;

use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_muster-under-test");
const SERVICE: &str = "example-1";

/// The service of `muster dev`, which says who it is.
fn example() -> Value {
    muster_cli::example_spec(PROGRAM)
}

/// A service that runs nowhere: something to write.
fn idle(name: &str) -> Value {
    json!({
        "name": name, "version": "1", "type": "LOCAL_SERVICE",
        "executable": {"type": "PROCESS", "command": ["/bin/sleep", "1000"]},
        "exposedPorts": [{"name": "main", "port": 8080, "type": "TCP"}],
        "resources": [{"type": "CPU", "count": 1}, {"type": "MEMORY", "sizeInMB": 16}],
        "placementPolicy": {"type": "LOCAL", "tags": {"any": ["nowhere"]}},
        "readiness": {"mode": {"type": "CMD", "command": "true"}, "timeout": "1s", "interval": "1s"},
        "healthcheck": {"mode": {"type": "CMD", "command": "true"}, "timeout": "1s", "interval": "1s"},
    })
}
