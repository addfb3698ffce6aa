//! What all instances of a service write, in one stream (an addition to Drove's API).

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State as Context;
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use futures::Stream;
use futures::stream::unfold;
use http::HeaderMap;
use muster_common::id::{InstanceId, ServiceId};
use muster_common::log_stream::LogSource;
use muster_common::rest::HEARTBEAT;
use muster_proto::v1;
use muster_proto::v1::read_log::From;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::access::Api;
use super::error::ApiError;
use super::log_place::LogPlace;
use super::logs::{STOPPING, Told, Wanted};
use super::parameter::{LOG_PLACES, OLD_LOGS};
use super::path::Named;
use super::query::Parameters;
use super::resume::resumed;
use super::service_place::{Reached, ServicePlace};
use super::services::known;
use crate::relay::{LogReading, RelayError, Relays};
use crate::state::{Instance, State};

/// How many instances are read at once in one call.
const MAX_AT_ONCE: usize = 64;
/// How many messages wait for a reader; who writes waits while it is full.
const QUEUE: usize = 16;
/// Between two tries of what cannot be read for now.
const PAUSE: Duration = Duration::from_secs(1);
/// Where reading begins of what came later.
const BEGINNING: Reached = Reached::At(LogPlace(v1::LogPlace { segment: 0, offset: 0 }));

/// `GET /localservices/{id}/logs?tail=|since=&follow=&old=&from=`: a stream as that of one instance, whose messages
/// say of which they are. Those that come while it is followed are followed too, from their beginning. One that
/// cannot be read is said to be unavailable once, and goes on when it can. `end` without an instance is the end
/// of all. Messages of a stream that is followed have ids, which name the place in each log: whoever comes again with one
/// misses and repeats nothing of any.
pub(super) async fn of_service(
    Context(api): Context<Api>,
    Named(service): Named<String>,
    headers: HeaderMap,
    query: Parameters,
) -> Result<Sse<impl Stream<Item = Result<Sent, Infallible>>>, ApiError> {
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
    };
    let gathering = Gathering {
        service,
        wanted,
        with_old: with_old && resumed.is_none(),
        resumed,
        relays: api.relays().clone(),
        states: api.watch_state(),
        told,
        begun: BTreeSet::new(),
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
    /// This one is read from now on.
    Begun(InstanceId, Reached),
    Of(Arc<LogSource>, Told),
    OfAll(Told),
}

/// The reader's end: knows what he was told of each log.
struct Telling {
    ready: mpsc::Receiver<Message>,
    /// None where nobody comes again.
    place: Option<ServicePlace>,
    states: watch::Receiver<Arc<State>>,
}

impl Telling {
    async fn next(&mut self) -> Option<Sent> {
        loop {
            let sent = match self.ready.recv().await? {
                Message::Begun(instance, reached) => {
                    self.reach(&instance, reached);
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
            let state = self.states.borrow();
            place.forget_ended(|instance| state.instance(instance).is_some_and(|known| known.is_live()));
        }
    }
}

/// Reads all instances of a service for one caller; ends with him.
struct Gathering {
    service: ServiceId,
    wanted: Wanted,
    with_old: bool,
    /// Where its caller goes on.
    resumed: Option<ServicePlace>,
    relays: Relays,
    states: watch::Receiver<Arc<State>>,
    told: mpsc::Sender<Message>,
    /// Whose logs are read, or were.
    begun: BTreeSet<InstanceId>,
}

impl Gathering {
    async fn run(mut self, shutdown: CancellationToken) {
        let last = tokio::select! {
            biased;
            () = shutdown.cancelled() => Told::Unavailable(STOPPING.to_owned()),
            () = self.gather() => Told::End,
        };
        // An error means that nobody reads any more.
        let _ = self.told.send(Message::OfAll(last)).await;
    }

    /// Until all is read; for ever where it is followed.
    async fn gather(&mut self) {
        let mut readers = JoinSet::new();
        let mut is_first = true;
        loop {
            let state = self.states.borrow_and_update().clone();
            if is_first {
                self.tell_forgotten(&state).await;
            }
            let mut news = Vec::new();
            for instance in self.news(&state) {
                // Of those that come later nothing was said yet.
                let reached = if is_first { self.reached(&instance.record.id) } else { Some(BEGINNING) };
                if let Some(reached) = reached {
                    let _ = self.told.send(Message::Begun(instance.record.id.clone(), reached)).await;
                    news.push((instance, reached));
                }
            }
            // Not before all are named: who leaves after the first message must not take the others for new.
            for (instance, reached) in news {
                self.read(&mut readers, &state, &instance, reached).await;
            }
            is_first = false;
            if readers.is_empty() && !self.wanted.follow {
                return;
            }
            tokio::select! {
                Some(_ended) = readers.join_next() => {}
                changed = self.states.changed(), if self.wanted.follow => if changed.is_err() {
                    return;
                },
            }
        }
    }

    /// The instances that were not there before.
    fn news(&mut self, state: &State) -> Vec<Arc<Instance>> {
        let is_first = self.begun.is_empty();
        let old = state.old_instances(&self.service).filter(|_| self.with_old && is_first);
        // Who ended meanwhile is read to his end. Whoever comes again says only names: those of this service are meant.
        let named = self.resumed.iter().filter(|_| is_first).flat_map(ServicePlace::instances);
        let named = named.filter_map(|id| state.instance(id));
        let named = named.filter(|instance| instance.record.slot.service == self.service);
        let all: Vec<_> = state.live_instances(&self.service).chain(old).chain(named).cloned().collect();
        all.into_iter().filter(|instance| self.begun.insert(instance.record.id.clone())).collect()
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
            let _ = self.told.send(Message::Begun(instance.clone(), Reached::End)).await;
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

    async fn read(&self, readers: &mut JoinSet<()>, state: &State, instance: &Instance, reached: Reached) {
        let id = &instance.record.id;
        let executor = &instance.record.slot.executor;
        let hostname = state.executor(executor).map(|known| known.record.hostname.clone());
        let source = Arc::new(LogSource {
            instance_id: id.clone(),
            executor_id: executor.to_string(),
            hostname: hostname.unwrap_or_default(),
        });
        // Those that only wait to be read do so here; who follows never makes room.
        while !self.wanted.follow && readers.len() >= MAX_AT_ONCE {
            readers.join_next().await;
        }
        if readers.len() >= MAX_AT_ONCE {
            let why = format!("{MAX_AT_ONCE} instances are followed already; follow this one by its id");
            let _ = self.told.send(Message::Of(source, Told::Unavailable(why))).await;
            return;
        }
        let reading = LogReading::new(&self.relays, executor, self.ask(id, reached));
        readers.spawn(read_one(reading, source, self.wanted.follow, self.states.clone(), self.told.clone()));
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
        if is_news && told.send(Message::Of(Arc::clone(&source), Told::of(next))).await.is_err() {
            return;
        }
        if !goes_on {
            return;
        }
        if is_error {
            sleep(PAUSE).await;
        }
    }
}
