//! What controllers show of a service's instances, looked at again and again while something happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use muster_common::instance::{InstanceInfo, InstanceState};
use muster_tests::api::Api;

use crate::SERVICE;

const PAUSE: Duration = Duration::from_millis(100);

/// Looks until it is asked what it saw.
pub(crate) struct Observer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<String>>,
}

impl Observer {
    /// Looks through whichever of these controllers answers.
    pub(crate) fn start(controllers: Vec<Api>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut seen = Vec::new();
            while !stopping.load(Ordering::Relaxed) {
                seen.extend(controllers.iter().find_map(not_serving).unwrap_or_default());
                std::thread::sleep(PAUSE);
            }
            seen
        });
        Self { stop, thread }
    }

    /// Everybody was in contact all the time, and nothing ended.
    pub(crate) fn saw_nothing(self) {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.thread.join().unwrap();
        assert!(seen.is_empty(), "{} looks were bad, at first {:#?}", seen.len(), &seen[..seen.len().min(5)]);
    }
}

/// Instances that are UNKNOWN, LOST or over, if that controller says which are.
fn not_serving(controller: &Api) -> Option<Vec<String>> {
    let instances: Vec<InstanceInfo> =
        controller.get(&format!("localservices/{SERVICE}/instances/old")).ok()?;
    let line = |instance: &InstanceInfo| {
        let InstanceInfo { instance_id, executor_id, state, error_message, .. } = instance;
        format!("{instance_id} on {executor_id} is {state}: {error_message}")
    };
    Some(instances.iter().map(line).collect())
}

/// Whether controllers ever took an instance for lost.
pub(crate) fn was_lost(instance: &InstanceInfo) -> bool {
    instance.timeline.iter().any(|step| step.to == InstanceState::Lost)
}
