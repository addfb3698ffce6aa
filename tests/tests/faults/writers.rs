//! Clients that write without a pause, and keep what they were promised.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use muster_tests::api::{Api, CallError};
use serde_json::{Value, json};

use crate::idle;

/// Between two writes of one client.
const PAUSE: Duration = Duration::from_millis(40);
/// Between two tries of one write.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How long a client goes on trying: longer than any controller is away.
const RETRY_FOR: Duration = Duration::from_secs(60);

/// Clients that create services, each one beginning with another controller.
pub(crate) struct Writers {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Writers {
    /// One for each of the controllers.
    pub(crate) fn start(controllers: &[Api]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |nth: usize| {
            let mut controllers = controllers.to_vec();
            controllers.rotate_left(nth);
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || write(nth, &controllers, &stop))
        };
        let clients = (0..controllers.len()).map(client).collect();
        Self { stop, clients }
    }

    /// Ends them. Whatever any of them was told to be accepted is there, whichever controller is asked.
    pub(crate) fn lost_nothing(self, controllers: &[Api]) {
        self.stop.store(true, Ordering::Relaxed);
        let of_each: Vec<Vec<String>> =
            self.clients.into_iter().map(|client| client.join().unwrap()).collect();
        assert!(of_each.iter().all(|written| !written.is_empty()), "every client wrote: {of_each:?}");
        let acknowledged: BTreeSet<String> = of_each.into_iter().flatten().collect();
        println!("{} writes were acknowledged", acknowledged.len());
        for controller in controllers {
            let services: serde_json::Map<String, Value> = controller.get("localservices").unwrap();
            let there: BTreeSet<String> = services.keys().cloned().collect();
            let lost: Vec<&String> = acknowledged.difference(&there).collect();
            assert!(lost.is_empty(), "{controller:?} lost what was acknowledged: {lost:?}");
        }
    }
}

/// The services that one client created: what it was told to try again, it tried again, under the same key.
fn write(client: usize, controllers: &[Api], stop: &AtomicBool) -> Vec<String> {
    let mut written = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let name = format!("w{client}n{}", written.len());
        let create = json!({"type": "CREATE", "spec": idle(&name), "instancesPerHost": 1});
        let created = format!("{name}-1");
        until_done(controllers, |controller| controller.operate_as(&name, &create));
        // What is acknowledged is there at once, whichever controller is asked.
        let elsewhere = &controllers[1..];
        until_done(elsewhere, |controller| controller.get(&format!("localservices/{created}")));
        written.push(created);
        std::thread::sleep(PAUSE);
    }
    written
}

/// Makes a call as clients are told to: tried again, with the next controller, while that is what the answer says.
fn until_done(controllers: &[Api], call: impl Fn(&Api) -> Result<Value, CallError>) {
    let deadline = Instant::now() + RETRY_FOR;
    for controller in controllers.iter().cycle() {
        match call(controller) {
            Ok(_) => return,
            Err(CallError::NotNow(_) | CallError::Unknown(_)) if Instant::now() < deadline => {
                std::thread::sleep(RETRY_PAUSE);
            }
            Err(error) => panic!("{error}"),
        }
    }
}
