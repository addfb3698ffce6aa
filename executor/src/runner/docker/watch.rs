//! Sees containers end: one task that owns the list of those it watches.
//!
//! The engine's events only say where to look; what counts is what the engine shows when asked. So a
//! lost event, a broken stream or a restarted engine costs nothing but time: after each reconnect, and
//! every [`SWEEP`] in between, everything that is watched is looked at again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bollard::errors::Error;
use bollard::models::{ContainerState, EventMessage};
use bollard::query_parameters::{EventsOptionsBuilder, ListContainersOptionsBuilder};
use futures::{Stream, StreamExt};
use muster_common::id::InstanceId;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::container::{self, Owner};
use super::engine::{Engine, EngineError};
use crate::runner::{Exit, RunnerEvent};

/// The safety net under the event stream: how often all that is watched is looked at without an event.
const SWEEP: Duration = Duration::from_secs(30);

/// Between two tries to reach the engine: doubled from the first up to the second.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How far back a new stream starts, in seconds, so that nothing falls between it and the look before
/// it. What is seen twice does no harm.
const OVERLAP: u64 = 5;

/// Watch this container.
pub(super) struct Watch {
    /// The engine's id of it.
    pub(super) container: String,
    /// Whose end it is.
    pub(super) instance: InstanceId,
}

type Events = Pin<Box<dyn Stream<Item = Result<EventMessage, Error>> + Send>>;

/// What the task owns.
pub(super) struct Watcher {
    engine: Arc<Engine>,
    owner: Owner,
    wishes: mpsc::Receiver<Watch>,
    events: mpsc::Sender<RunnerEvent>,
    watched: BTreeMap<String, InstanceId>,
    /// The exit code that an event told of the container it came for: all that is left of one that is removed
    /// before it can be looked at.
    told: Option<(String, i64)>,
}

/// Nobody is left to tell.
struct Closed;

impl Watcher {
    pub(super) fn new(
        engine: Arc<Engine>,
        owner: Owner,
        wishes: mpsc::Receiver<Watch>,
        events: mpsc::Sender<RunnerEvent>,
    ) -> Self {
        Self { engine, owner, wishes, events, watched: BTreeMap::new(), told: None }
    }

    /// Runs until the runner is dropped or nobody listens.
    pub(super) async fn run(mut self) {
        let mut pause = RECONNECT.0;
        loop {
            let lasted = match self.engine.client().await {
                Ok(client) => {
                    let mut stream: Events = Box::pin(client.events(Some(self.subscription())));
                    self.follow(&mut stream).await
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot watch containers");
                    Ok(false)
                }
            };
            match lasted {
                Err(Closed) => return,
                Ok(true) => pause = RECONNECT.0,
                Ok(false) => pause = (pause * 2).min(RECONNECT.1),
            }
            if self.take_wishes_for(pause).await.is_err() {
                return;
            }
        }
    }

    fn subscription(&self) -> bollard::query_parameters::EventsOptions {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let filters = HashMap::from([
            ("type".to_owned(), vec!["container".to_owned()]),
            ("event".to_owned(), vec!["die".to_owned(), "destroy".to_owned()]),
            ("label".to_owned(), self.owner.filter()),
        ]);
        EventsOptionsBuilder::default()
            .since(&now.saturating_sub(OVERLAP).to_string())
            .filters(&filters)
            .build()
    }

    /// Follows one stream to its end. Whether it brought anything.
    async fn follow(&mut self, stream: &mut Events) -> Result<bool, Closed> {
        let mut worked = false;
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                wish = self.wishes.recv() => {
                    let Watch { container, instance } = wish.ok_or(Closed)?;
                    self.watched.insert(container.clone(), instance);
                    // It may have ended before anybody watched.
                    if !self.look(&container).await? {
                        return Ok(worked);
                    }
                }
                event = stream.next() => match event {
                    Some(Ok(event)) => {
                        worked = true;
                        let actor = event.actor.unwrap_or_default();
                        let container = actor.id.unwrap_or_default();
                        let code = actor.attributes.and_then(|said| said.get("exitCode")?.parse().ok());
                        if let Some(code) = code.filter(|_| self.watched.contains_key(&container)) {
                            self.told = Some((container.clone(), code));
                        }
                        if !self.look(&container).await? {
                            return Ok(worked);
                        }
                    }
                    Some(Err(error)) => {
                        tracing::info!(error = %self.engine.sort(error), "the engine's events broke off");
                        return Ok(worked);
                    }
                    None => {
                        tracing::info!("the engine's events ended");
                        return Ok(worked);
                    }
                },
                // The first tick is at once: the look after each reconnect.
                _ = sweep.tick() => {
                    if !self.sweep().await? {
                        return Ok(worked);
                    }
                }
            }
        }
    }

    /// Wishes are taken while the engine is away, so that nobody waits for it here.
    async fn take_wishes_for(&mut self, pause: Duration) -> Result<(), Closed> {
        let wait = sleep(pause);
        tokio::pin!(wait);
        loop {
            tokio::select! {
                () = &mut wait => return Ok(()),
                wish = self.wishes.recv() => {
                    let Watch { container, instance } = wish.ok_or(Closed)?;
                    self.watched.insert(container, instance);
                }
            }
        }
    }

    /// Asks once who runs, and looks at those that are watched but do not. Whether the engine answered.
    async fn sweep(&mut self) -> Result<bool, Closed> {
        if self.watched.is_empty() {
            return Ok(true);
        }
        let filters = HashMap::from([("label".to_owned(), self.owner.filter())]);
        let options = ListContainersOptionsBuilder::default().filters(&filters).build();
        let running = self
            .engine
            .call("list_containers", async |client| client.list_containers(Some(options)).await)
            .await;
        let running: BTreeSet<String> = match running {
            Ok(running) => running.into_iter().filter_map(|container| container.id).collect(),
            Err(error) => {
                tracing::info!(%error, "cannot ask which containers run");
                return Ok(false);
            }
        };
        let silent: Vec<String> = self.watched.keys().filter(|id| !running.contains(*id)).cloned().collect();
        for container in silent {
            if !self.look(&container).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Looks at a container that is watched, and announces its end. Whether the engine answered.
    async fn look(&mut self, container: &str) -> Result<bool, Closed> {
        let Some(instance) = self.watched.get(container) else { return Ok(true) };
        let seen = self
            .engine
            .call("inspect_container", async |client| client.inspect_container(container, None).await)
            .await;
        let exit = match seen {
            Ok(found) => match found.state {
                Some(state) if super::has_ended(&state) => container::exit_of(&state),
                _ => return Ok(true),
            },
            // Taken away by somebody else, and its exit status with it.
            Err(error) if error.is_not_found() => {
                let told = self.told.take().filter(|(of, _)| of == container).map(|(_, code)| code);
                let state = ContainerState { exit_code: told, ..ContainerState::default() };
                Exit { removed: true, ..container::exit_of(&state) }
            }
            Err(error @ (EngineError::Unreachable { .. } | EngineError::TooOld { .. })) => {
                tracing::info!(%error, "cannot look at a container");
                return Ok(false);
            }
            Err(error) => {
                tracing::warn!(%container, %error, "the engine does not show a container");
                return Ok(true);
            }
        };
        let event = RunnerEvent::Exited { instance: instance.clone(), exit };
        self.watched.remove(container);
        self.events.send(event).await.map_err(|_| Closed)?;
        Ok(true)
    }
}
