//! What a workload was started for. It stays with the workload (a label, a file), so that whoever finds one
//! that no journal knows can still tell where it belongs.

use muster_common::id::{Epoch, Generation, InstanceId, ServiceId};
use muster_common::instance::{LocalInfo, ResourceAllocation};
use muster_common::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The slot and the attempt that a workload was started for, and what is leased to it. Holds ids and numbers
/// only: everybody who can reach the engine reads labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The service.
    pub service: ServiceId,
    /// Its name, without its version.
    pub service_name: String,
    /// The slot's index.
    pub index: u32,
    /// The slot's epoch.
    pub epoch: Epoch,
    /// The service's generation.
    pub generation: Generation,
    /// When the instance was minted.
    pub created: Timestamp,
    /// The leased ports.
    pub local_info: LocalInfo,
    /// The leased cores and memory.
    pub resources: Vec<ResourceAllocation>,
}

/// An instance that a runner knows, in whatever condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub instance: InstanceId,
    /// Where it belongs; `None` when what was kept of that cannot be read.
    pub place: Option<Place>,
    /// Whether it seems to run. Only a hint, for what is found by chance; [`find`](super::Runner::find) knows.
    pub runs: bool,
}
