//! A service as the controllers keep it.

use std::sync::Arc;

use muster_common::id::{ExecutorId, Generation, ServiceId};
use muster_common::service::{ActivationState, ServiceState};
use muster_common::spec::LocalServiceSpec;
use muster_common::time::Timestamp;

use super::specs::Specs;

/// One registered service.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Its id.
    pub id: ServiceId,
    /// What to run, and what was run before.
    pub specs: Specs,
    /// How many instances each executor must hold.
    pub instances_per_host: u32,
    /// What the user wants of it.
    pub activation: ActivationState,
    /// The executor that runs the test instance, while it is `CONFIG_TESTING` and one was found.
    pub test_host: Option<ExecutorId>,
    /// Where it is.
    pub state: ServiceState,
    /// Grows with every accepted change of spec, count or activation. It starts from the revision that
    /// created the service, so that it also grows when a service is destroyed and created anew.
    pub generation: Generation,
    /// When it was created.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
}

impl Service {
    /// The spec that users want everywhere.
    #[must_use]
    pub fn spec(&self) -> &Arc<LocalServiceSpec> {
        self.specs.spec()
    }

    /// The state in which a service rests while nothing is at work on it.
    #[must_use]
    pub const fn resting_state(&self) -> ServiceState {
        match self.activation {
            ActivationState::Active => ServiceState::Active,
            ActivationState::ConfigTesting => ServiceState::ConfigTesting,
            ActivationState::Inactive => ServiceState::Inactive,
        }
    }
}
