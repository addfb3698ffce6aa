//! Sees containers end: one task that owns the list of those it watches.
//!
//! An event that tells of a death is believed at once: an engine shows a dead container only after it has taken
//! its network apart, which takes longer than the death itself. Beyond that events only say where to look, and
//! what counts is what the engine shows when asked. So a lost event, a broken stream or a restarted engine costs
//! nothing but time: after each reconnect, and every [`SWEEP`] in between, everything that is watched is looked at
//! again. Who was killed is looked at in any case: want of memory, or a removal by hand, may show only then, and
//! is announced as a second word about the same end.
//!
//! A container whose end was announced is over: another one may be taking its place. Should somebody start it again by
//! hand, it is killed.
//!
//! The container's own process is not watched. The kernel would tell sooner that it is gone, but not how it ended, nor
//! whether all of its output has come (`bench/RESULTS.md` says what that would cost).

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, ContainerState, EventMessage};
use bollard::query_parameters::{EventsOptionsBuilder, ListContainersOptionsBuilder};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{Stream, StreamExt};
use muster_common::id::InstanceId;
use rustix::process::Signal;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::engine::{Engine, EngineError};
use super::exit::{exit_of, timestamp};
use super::owner::Owner;
use crate::runner::{Exit, RunnerEvent};

/// The safety net under the event stream: how often all that is watched is looked at without an event.
const SWEEP: Duration = Duration::from_secs(30);

/// Between two tries to reach the engine: doubled from the first up to the second.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How far back a new stream starts, in seconds, so that nothing falls between it and the look before
/// it. What is seen twice does no harm.
const OVERLAP: Duration = Duration::from_secs(5);

/// How many containers are looked at at once: after a reconnect it may be all of them.
const LOOKS: usize = 8;

/// How many containers whose end was announced are remembered; each is removed soon.
const ENDED: usize = 1024;

/// Watch this container.
pub(super) struct Watch {
    /// The engine's id of it.
    pub(super) container: String,
    /// Whose end it is.
    pub(super) instance: InstanceId,
}

type Events = Pin<Box<dyn Stream<Item = Result<EventMessage, Error>> + Send>>;

/// What the engine shows of a container.
type Look = BoxFuture<'static, (String, Result<ContainerInspectResponse, EngineError>)>;

/// What is known of a container that is watched.
struct Watched {
    instance: InstanceId,
    /// Whether an event told of want of memory in it.
    out_of_memory: bool,
    /// Its end, as far as an event told of it.
    announced: Option<Exit>,
}

/// What the task owns.
pub(super) struct Watcher {
    engine: Arc<Engine>,
    owner: Owner,
    wishes: mpsc::Receiver<Watch>,
    events: mpsc::Sender<RunnerEvent>,
    watched: BTreeMap<String, Watched>,
    /// Those whose end was announced last, as long as they are there.
    ended: VecDeque<String>,
    looks: FuturesUnordered<Look>,
    looking: Arc<Semaphore>,
    /// Since when the present stream is followed, by the clock. What it tells of before is a repetition, and may be
    /// outdated.
    since: Duration,
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
        Self {
            engine,
            owner,
            wishes,
            events,
            watched: BTreeMap::new(),
            ended: VecDeque::new(),
            looks: FuturesUnordered::new(),
            looking: Arc::new(Semaphore::new(LOOKS)),
            since: Duration::ZERO,
        }
    }

    /// Runs until the runner is dropped or nobody listens.
    pub(super) async fn run(mut self) {
        let mut pause = RECONNECT.0;
        loop {
            let lasted = match self.engine.client().await {
                Ok(client) => {
                    self.since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
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
        let filters = HashMap::from([
            ("type".to_owned(), vec!["container".to_owned()]),
            ("event".to_owned(), ["start", "die", "oom", "destroy"].map(str::to_owned).into()),
            ("label".to_owned(), self.owner.filter()),
        ]);
        EventsOptionsBuilder::default()
            .since(&self.since.saturating_sub(OVERLAP).as_secs().to_string())
            .filters(&filters)
            .build()
    }

    /// Follows one stream to its end. Whether it brought anything.
    async fn follow(&mut self, stream: &mut Events) -> Result<bool, Closed> {
        let mut worked = false;
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Whatever was asked before is asked again by the first sweep.
        self.looks.clear();
        loop {
            let answered = tokio::select! {
                wish = self.wishes.recv() => {
                    let container = self.note(wish.ok_or(Closed)?);
                    // It may have ended before anybody watched.
                    self.look(container);
                    true
                }
                event = stream.next() => match event {
                    Some(Ok(event)) => {
                        worked = true;
                        self.hear(event).await?;
                        true
                    }
                    Some(Err(error)) => {
                        tracing::info!(error = %self.engine.sort(error), "the engine's events broke off");
                        self.engine.part().await;
                        false
                    }
                    None => {
                        tracing::info!("the engine's events ended");
                        self.engine.part().await;
                        false
                    }
                },
                Some((container, seen)) = self.looks.next() => self.see(&container, seen).await?,
                // The first tick is at once: the look after each reconnect.
                _ = sweep.tick() => self.sweep().await,
            };
            if !answered {
                return Ok(worked);
            }
        }
    }

    /// Watches a container from now on.
    fn note(&mut self, Watch { container, instance }: Watch) -> String {
        let waiting = u32::try_from(self.wishes.len()).unwrap_or(u32::MAX);
        metrics::gauge!("muster_executor_queue_depth", "queue" => "docker_watch").set(f64::from(waiting));
        let watched = Watched { instance, out_of_memory: false, announced: None };
        self.watched.entry(container.clone()).or_insert(watched);
        container
    }

    /// Takes in what an event tells of a container that is watched.
    async fn hear(&mut self, event: EventMessage) -> Result<(), Closed> {
        let actor = event.actor.unwrap_or_default();
        let container = actor.id.unwrap_or_default();
        match event.action.as_deref() {
            Some("start") => {
                if self.is_over(&container) {
                    self.end_again(container);
                }
                return Ok(());
            }
            Some("destroy") => self.ended.retain(|ended| *ended != container),
            _ => {}
        }
        let Some(watched) = self.watched.get_mut(&container) else { return Ok(()) };
        let told = event.time_nano.and_then(|nanos| u64::try_from(nanos).ok()).map(Duration::from_nanos);
        if told.is_none_or(|told| told < self.since) {
            self.look(container);
            return Ok(());
        }
        match event.action.as_deref() {
            Some("oom") => {
                tracing::info!(instance = %watched.instance, "the kernel ended a process of the container for want of memory");
                watched.out_of_memory = true;
            }
            Some("die") if watched.announced.is_none() => {
                let code = actor.attributes.and_then(|said| said.get("exitCode")?.parse().ok());
                let Some(code) = code else {
                    self.look(container);
                    return Ok(());
                };
                let exit = exit_of(&ContainerState {
                    exit_code: Some(code),
                    oom_killed: Some(watched.out_of_memory),
                    ..ContainerState::default()
                });
                let at = event.time_nano.and_then(|nanos| nanos.try_into().ok()).map(timestamp);
                let exit = Exit { at, ..exit };
                if exit.signal == Some(Signal::KILL.as_raw()) {
                    watched.announced = Some(exit.clone());
                    let instance = watched.instance.clone();
                    self.look(container);
                    return self.announce(instance, exit).await;
                }
                return self.end(&container, exit).await;
            }
            _ => self.look(container),
        }
        Ok(())
    }

    /// Wishes are taken while the engine is away, so that nobody waits for it here. A wish ends the pause: the engine
    /// has just answered whoever has it.
    async fn take_wishes_for(&mut self, pause: Duration) -> Result<(), Closed> {
        if let Ok(wish) = timeout(pause, self.wishes.recv()).await {
            self.note(wish.ok_or(Closed)?);
        }
        Ok(())
    }

    /// Asks once who runs, and looks at those that are watched but do not. Whether the engine answered.
    async fn sweep(&mut self) -> bool {
        if self.watched.is_empty() && self.ended.is_empty() {
            return true;
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
                return false;
            }
        };
        for container in running.iter().filter(|container| self.is_over(container)) {
            self.end_again(container.clone());
        }
        let silent: Vec<String> = self.watched.keys().filter(|id| !running.contains(*id)).cloned().collect();
        for container in silent {
            self.look(container);
        }
        true
    }

    /// Asks the engine to show a container. Others are seen meanwhile: an engine that is busy with one death shows
    /// that container late.
    fn look(&self, container: String) {
        let (engine, looking) = (Arc::clone(&self.engine), Arc::clone(&self.looking));
        self.looks.push(Box::pin(async move {
            // Never closed, so that there is always a permit in the end.
            let _permit = looking.acquire().await;
            let shown = engine
                .call("inspect_container", async |client| client.inspect_container(&container, None).await)
                .await;
            (container, shown)
        }));
    }

    /// Whether the end of a container was announced.
    fn is_over(&self, container: &str) -> bool {
        self.ended.iter().any(|ended| ended == container)
            || self.watched.get(container).is_some_and(|watched| watched.announced.is_some())
    }

    /// Kills a container that is over, if somebody started it again: the engine shows when it ended before, and that it
    /// runs. One that cannot be killed now is tried again with the next sweep.
    fn end_again(&self, container: String) {
        let engine = Arc::clone(&self.engine);
        self.looks.push(Box::pin(async move {
            let shown = engine
                .call("inspect_container", async |client| client.inspect_container(&container, None).await)
                .await;
            let state = shown.as_ref().ok().and_then(|found| found.state.as_ref());
            if state.is_some_and(|state| state.running == Some(true) && exit_of(state).at.is_some()) {
                let killed = engine
                    .call("kill_container", async |client| client.kill_container(&container, None).await)
                    .await;
                match killed {
                    Ok(()) => tracing::warn!(%container, "somebody started a container again that was over; it was killed"),
                    Err(error) => tracing::warn!(%container, %error, "a container that was over runs again, and cannot be killed"),
                }
            }
            (container, shown)
        }));
    }

    /// Announces the end of a container that is watched, if that is what the engine shows. Whether it answered.
    async fn see(
        &mut self,
        container: &str,
        shown: Result<ContainerInspectResponse, EngineError>,
    ) -> Result<bool, Closed> {
        let Some(watched) = self.watched.get(container) else { return Ok(true) };
        let exit = match shown {
            Ok(found) => match found.state {
                Some(state) if super::has_ended(&state) => exit_of(&state),
                _ => return Ok(true),
            },
            // Taken away by somebody else, and its exit status with it, but for what an event told.
            Err(error) if error.is_not_found() => {
                Exit { removed: true, ..watched.announced.clone().unwrap_or_default() }
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
        self.end(container, exit).await?;
        Ok(true)
    }

    /// A container ended, and nothing more is to be learnt of it.
    async fn end(&mut self, container: &str, exit: Exit) -> Result<(), Closed> {
        if !exit.removed {
            self.ended.truncate(ENDED - 1);
            self.ended.push_front(container.to_owned());
        }
        match self.watched.remove(container) {
            Some(Watched { instance, announced, .. }) if announced.as_ref() != Some(&exit) => {
                self.announce(instance, exit).await
            }
            _ => Ok(()),
        }
    }

    async fn announce(&mut self, instance: InstanceId, exit: Exit) -> Result<(), Closed> {
        self.events.send(RunnerEvent::Exited { instance, exit }).await.map_err(|_| Closed)
    }
}
