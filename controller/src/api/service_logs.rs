//! What all instances of a service write, in one stream (an addition to Drove's API).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State as Context;
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use futures::Stream;
use futures::stream::unfold;
use http::HeaderMap;
use muster_common::id::{ExecutorId, InstanceId, ServiceId};
use muster_common::log_stream::LogSource;
use muster_common::rest::HEARTBEAT;
use muster_common::time::LedTime;
use muster_proto::v1;
use muster_proto::v1::read_log::From;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::access::Api;
use super::error::ApiError;
use super::log_place::LogPlace;
use super::logs::{STOPPING, Told, Wanted};
use super::newcomers::Newcomers;
use super::parameter::{LOG_PLACES, OLD_LOGS};
use super::path::Named;
use super::query::Parameters;
use super::resume::resumed;
use super::service_place::{Reached, ServicePlace};
use super::services::known;
use crate::relay::{LogReading, RelayError, Relays};
use crate::state::{Instance, State};

/// How many instances are followed at once in one call.
const MAX_AT_ONCE: usize = 64;
/// How many are read at once where nobody follows: they take turns, and leave places to others.
const MAX_READ_AT_ONCE: usize = 8;
/// How many more wait for their turn where it is followed: with those that are read, as many as a place names.
const MAX_WAITING: usize = 64;
/// How many messages wait for a reader; who writes waits while it is full.
const QUEUE: usize = 16;
/// Between two tries of what cannot be read for now.
const PAUSE: Duration = Duration::from_secs(1);
/// How often it is looked for instances that came, at most.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// Where reading begins of what came later.
const BEGINNING: Reached = Reached::At(LogPlace(v1::LogPlace { segment: 0, offset: 0 }));

/// `GET /localservices/{id}/logs?tail=|since=&follow=&old=&from=`: a stream as that of one instance, whose messages
/// say of which they are. Those that come while it is followed are followed too, from their beginning. One that
/// cannot be read is said to be unavailable once, and goes on when it can. `end` without an instance is the end
/// of all. Messages of a stream that is followed have ids, which name the place in each log: whoever comes again with one
/// misses and repeats nothing of any, those included that came and ended meanwhile.
pub(super) async fn of_service(
    Context(api): Context<Api>,
    Named(service): Named<String>,
    headers: HeaderMap,
    query: Parameters,
) -> Result<Sse<impl Stream<Item = Result<Sent, Infallible>>>, ApiError> {
    let place_here = api.service_logs_place()?;
    let resumed: Option<ServicePlace> = resumed(&headers, &query, &LOG_PLACES)?;
    let wanted = Wanted::of(&headers, &query, None)?;
    let with_old = query.flag(&OLD_LOGS)?;
    let state = api.read(&query).await?;
    let service = match known(&state, &service) {
        Ok(service) => service.id.clone(),
        // One that is destroyed by now may have left logs.
        Err(error) => match ServiceId::new(&service).ok().filter(|_| with_old || resumed.is_some()) {
            Some(id) if state.old_instances(&id).next().is_some() => id,
            Some(_) | None => return Err(error),
        },
    };
    let (told, ready) = mpsc::channel(QUEUE);
    let telling = Telling {
        ready,
        place: wanted.follow.then(|| resumed.clone().unwrap_or_default()),
        states: api.watch_state(),
        _place_here: place_here,
    };
    let (since, named) = match &resumed {
        Some(place) => (place.known_before(), place.instances().cloned().collect()),
        None => (with_old.then(LedTime::default), Vec::new()),
    };
    let gathering = Gathering {
        newcomers: Newcomers::new(service, since, named),
        wanted,
        resumed,
        relays: api.relays().clone(),
        states: api.watch_state(),
        told,
        waiting: VecDeque::new(),
    };
    let gathering = AbortOnDropHandle::new(tokio::spawn(gathering.run(api.shutdown())));
    let events = unfold((telling, gathering), |(mut telling, gathering)| async move {
        let sent = telling.next().await?;
        Some((Ok(sent), (telling, gathering)))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

/// What a reader is told, or what his place is to name.
enum Message {
    /// This one is read from there on.
    Reached(InstanceId, Reached),
    /// All are named who ended before.
    KnownBefore(LedTime),
    Of(Arc<LogSource>, Told),
    OfAll(Told),
}

/// The reader's end: knows what he was told of each log.
struct Telling {
    ready: mpsc::Receiver<Message>,
    /// None where nobody comes again.
    place: Option<ServicePlace>,
    states: watch::Receiver<Arc<State>>,
    _place_here: OwnedSemaphorePermit,
}

impl Telling {
    async fn next(&mut self) -> Option<Sent> {
        loop {
            let sent = match self.ready.recv().await? {
                Message::Reached(instance, reached) => {
                    self.reach(&instance, reached);
                    continue;
                }
                Message::KnownBefore(end) => {
                    if let Some(place) = &mut self.place {
                        place.know_before(end);
                    }
                    self.forget_ended();
                    continue;
                }
                Message::Of(source, told) => {
                    match &told {
                        Told::Lines(v1::LogText { next: Some(next), .. }) => {
                            self.reach(&source.instance_id, Reached::At(LogPlace(*next)));
                        }
                        Told::End => self.reach(&source.instance_id, Reached::End),
                        Told::Lines(_) | Told::Unavailable(_) => {}
                    }
                    told.sent(Some(&source))
                }
                Message::OfAll(told) => told.sent(None),
            };
            return Some(match &self.place {
                Some(place) => sent.id(place.to_string()),
                None => sent,
            });
        }
    }

    fn reach(&mut self, instance: &InstanceId, reached: Reached) {
        let Some(place) = &mut self.place else { return };
        place.reach(instance, reached);
        if reached == Reached::End {
            self.forget_ended();
        }
    }

    /// Nobody takes him for new whose end was known before the last look.
    fn forget_ended(&mut self) {
        let Some(place) = &mut self.place else { return };
        let (state, before) = (self.states.borrow(), place.known_before());
        let seems_new = |known: &Arc<Instance>| known.ended.is_none_or(|end| Some(end.led) >= before);
        place.forget_ended(|instance| state.instance(instance).is_some_and(seems_new));
    }
}

/// Reads all instances of a service for one caller; ends with him.
struct Gathering {
    newcomers: Newcomers,
    wanted: Wanted,
    /// Where its caller goes on.
    resumed: Option<ServicePlace>,
    relays: Relays,
    states: watch::Receiver<Arc<State>>,
    told: mpsc::Sender<Message>,
    /// Whose turn is to come.
    waiting: VecDeque<Turn>,
}

/// An instance that is to be read.
struct Turn {
    source: Arc<LogSource>,
    executor: ExecutorId,
    ask: v1::ReadLog,
}

impl Gathering {
    async fn run(mut self, shutdown: CancellationToken) {
        let last = tokio::select! {
            biased;
            () = shutdown.cancelled() => Told::Unavailable(STOPPING.to_owned()),
            () = self.gather() => if self.wanted.follow {
                Told::Unavailable(STOPPING.to_owned())
            } else {
                Told::End
            },
        };
        // An error means that nobody reads any more.
        let _ = self.told.send(Message::OfAll(last)).await;
    }

    /// Until all is read; where it is followed, for as long as there is a state.
    async fn gather(&mut self) {
        let state = self.states.borrow().clone();
        self.tell_forgotten(&state).await;
        self.look(&state, 0, true).await;
        drop(state);
        let mut readers = JoinSet::new();
        let mut next_look = Instant::now() + LOOK_INTERVAL;
        let at_once = if self.wanted.follow { MAX_AT_ONCE } else { MAX_READ_AT_ONCE };
        loop {
            while readers.len() < at_once
                && let Some(turn) = self.waiting.pop_front()
            {
                readers.spawn(self.read(turn));
            }
            if readers.is_empty() && !self.wanted.follow {
                return;
            }
            let changed = async {
                sleep_until(next_look).await;
                self.states
                    .wait_for(|state| self.newcomers.is_due(state))
                    .await
                    .map(|state| Arc::clone(&state))
            };
            tokio::select! {
                Some(_ended) = readers.join_next() => {}
                state = changed, if self.wanted.follow => {
                    let Ok(state) = state else { return };
                    self.look(&state, readers.len(), false).await;
                    next_look = Instant::now() + LOOK_INTERVAL;
                }
            }
        }
    }

    /// Has those read that were not met before.
    async fn look(&mut self, state: &State, reading: usize, is_first: bool) {
        let mut news = Vec::new();
        for instance in self.newcomers.meet(state) {
            // Of those that come later nothing was said yet.
            let reached = if is_first { self.reached(&instance.record.id) } else { Some(BEGINNING) };
            if let Some(reached) = reached {
                let _ = self.told.send(Message::Reached(instance.record.id.clone(), reached)).await;
                news.push((instance, reached));
            }
        }
        // Not before all are named: who leaves after the first message must not take the others for new, nor miss
        // those that are over.
        let _ = self.told.send(Message::KnownBefore(self.newcomers.known_before())).await;
        // What is forgotten meanwhile has no log any more.
        self.waiting.retain(|turn| state.instance(&turn.source.instance_id).is_some());
        for (instance, reached) in news {
            self.have_read(state, reading, &instance, reached).await;
        }
    }

    /// Says of whom nothing is known any more that he cannot be gone on with.
    async fn tell_forgotten(&self, state: &State) {
        let named = self.resumed.iter().flat_map(ServicePlace::instances);
        for instance in named.filter(|instance| state.instance(instance).is_none()) {
            let why = "nothing is known of it any more, and its log went with it".to_owned();
            let source = LogSource {
                instance_id: instance.clone(),
                executor_id: String::new(),
                hostname: String::new(),
            };
            let _ = self.told.send(Message::Reached(instance.clone(), Reached::End)).await;
            let _ = self.told.send(Message::Of(source.into(), Told::Unavailable(why))).await;
        }
    }

    /// How far an instance is read that was there at the beginning; none: to its end.
    fn reached(&self, instance: &InstanceId) -> Option<Reached> {
        match self.resumed.as_ref().map(|place| place.of(instance)) {
            None => Some(Reached::Nothing),
            Some(None) => Some(BEGINNING),
            Some(Some(Reached::End)) => None,
            Some(Some(reached)) => Some(reached),
        }
    }

    fn ask(&self, instance: &InstanceId, reached: Reached) -> v1::ReadLog {
        let ask = match reached {
            Reached::At(LogPlace(place)) => self.wanted.ask_from(instance, From::Place(place)),
            Reached::Nothing | Reached::End => self.wanted.ask(instance),
        };
        v1::ReadLog { whole_characters: true, ..ask }
    }

    /// Gives it a turn, beside as many as are being read.
    async fn have_read(&mut self, state: &State, reading: usize, instance: &Instance, reached: Reached) {
        let id = &instance.record.id;
        let executor = &instance.record.slot.executor;
        let hostname = state.executor(executor).map(|known| known.record.hostname.clone());
        let source = Arc::new(LogSource {
            instance_id: id.clone(),
            executor_id: executor.to_string(),
            hostname: hostname.unwrap_or_default(),
        });
        let before = reading + self.waiting.len();
        // Who follows may keep his turn for ever.
        if self.wanted.follow && before >= MAX_AT_ONCE {
            let has_turn = before < MAX_AT_ONCE + MAX_WAITING;
            let else_waits = if has_turn { "wait until one of them ends, or " } else { "" };
            let why = format!(
                "{MAX_AT_ONCE} instances are followed already; {else_waits}follow this one by its id"
            );
            let _ = self.told.send(Message::Of(Arc::clone(&source), Told::Unavailable(why))).await;
            if !has_turn {
                return;
            }
        }
        self.waiting.push_back(Turn { source, executor: executor.clone(), ask: self.ask(id, reached) });
    }

    fn read(&self, turn: Turn) -> impl Future<Output = ()> + use<> {
        let Turn { source, executor, ask } = turn;
        let reading = LogReading::new(&self.relays, &executor, ask);
        read_one(reading, source, self.wanted.follow, self.states.clone(), self.told.clone())
    }
}

/// Reads one log to its end. A follower waits for a node that is away, and for an instance that has not begun to write.
async fn read_one(
    mut reading: LogReading,
    source: Arc<LogSource>,
    follow: bool,
    states: watch::Receiver<Arc<State>>,
    told: mpsc::Sender<Message>,
) {
    let mut is_told = false;
    loop {
        let next = reading.next().await;
        let goes_on = match &next {
            Ok(text) => text.is_some(),
            Err(RelayError::NotFound(_)) => {
                follow && states.borrow().instance(&source.instance_id).is_some_and(|known| known.is_live())
            }
            Err(error) => follow && error.may_pass(),
        };
        let is_early = goes_on && matches!(next, Err(RelayError::NotFound(_)));
        let is_news = !is_early && (next.is_ok() || !is_told);
        let is_error = next.is_err();
        is_told = is_error && !is_early;
        let is_gone = !goes_on && matches!(next, Err(RelayError::NotFound(_) | RelayError::Gone(_)));
        if is_news && told.send(Message::Of(Arc::clone(&source), Told::of(next))).await.is_err() {
            return;
        }
        if is_gone {
            let _ = told.send(Message::Reached(source.instance_id.clone(), Reached::End)).await;
        }
        if !goes_on {
            return;
        }
        if is_error {
            sleep(PAUSE).await;
        }
    }
}
