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
use muster_proto::v1;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::access::Api;
use super::error::ApiError;
use super::logs::{STOPPING, Source, Told, Wanted};
use super::path::Named;
use super::query::Parameters;
use super::services::known;
use crate::relay::{LogReading, RelayError, Relays};
use crate::state::{Instance, State};

/// How many instances are read at once in one call.
const MAX_AT_ONCE: usize = 64;
/// How many messages wait for a reader; who writes waits while it is full.
const QUEUE: usize = 16;
/// Between two tries of what cannot be read for now.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a stream is silent at most.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// `GET /localservices/{id}/logs?tail=|since=&follow=&old=`: a stream as that of one instance, whose messages
/// say of which they are. Those that come while it is followed are followed too, from their beginning. One that
/// cannot be read is said to be unavailable once, and goes on when it can. `end` without an instance is the end
/// of all.
pub(super) async fn of_service(
    Context(api): Context<Api>,
    Named(service): Named<String>,
    headers: HeaderMap,
    query: Parameters,
) -> Result<Sse<impl Stream<Item = Result<Sent, Infallible>>>, ApiError> {
    if query.has("from") || headers.contains_key("last-event-id") {
        let problem = "query param from is of one instance; name the instance, or go on by time with since";
        return Err(ApiError::Validation(vec![problem.to_owned()]));
    }
    let wanted = Wanted::of(&headers, &query)?;
    let with_old = query.flag("old")?;
    let state = api.read(&query).await?;
    let service = match known(&state, &service) {
        Ok(service) => service.id.clone(),
        // One that is destroyed by now may have left logs.
        Err(error) => match ServiceId::new(&service).ok().filter(|_| with_old) {
            Some(id) if state.old_instances(&id).next().is_some() => id,
            Some(_) | None => return Err(error),
        },
    };
    let (told, ready) = mpsc::channel(QUEUE);
    let gathering = Gathering {
        service,
        wanted,
        with_old,
        relays: api.relays().clone(),
        states: api.watch_state(),
        told,
        begun: BTreeSet::new(),
    };
    let gathering = AbortOnDropHandle::new(tokio::spawn(gathering.run(api.shutdown())));
    let events = unfold((ready, gathering), |(mut ready, gathering)| async move {
        let (source, told): Message = ready.recv().await?;
        Some((Ok(told.sent(source.as_deref())), (ready, gathering)))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

type Message = (Option<Arc<Source>>, Told);

/// Reads all instances of a service for one caller; ends with him.
struct Gathering {
    service: ServiceId,
    wanted: Wanted,
    with_old: bool,
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
        let _ = self.told.send((None, last)).await;
    }

    /// Until all is read; for ever where it is followed.
    async fn gather(&mut self) {
        let mut readers = JoinSet::new();
        let mut is_first = true;
        loop {
            let state = self.states.borrow_and_update().clone();
            for instance in self.news(&state) {
                // Of those that come later nothing was said yet.
                let ask =
                    if is_first { self.wanted.ask(&instance.record.id) } else { whole(&instance.record.id) };
                self.read(&mut readers, &state, &instance, ask).await;
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
        let old = state.old_instances(&self.service).filter(|_| self.with_old && self.begun.is_empty());
        let all: Vec<_> = state.live_instances(&self.service).chain(old).cloned().collect();
        all.into_iter().filter(|instance| self.begun.insert(instance.record.id.clone())).collect()
    }

    async fn read(&self, readers: &mut JoinSet<()>, state: &State, instance: &Instance, ask: v1::ReadLog) {
        let executor = &instance.record.slot.executor;
        let hostname = state.executor(executor).map(|known| known.record.hostname.clone());
        let source = Arc::new(Source {
            instance_id: instance.record.id.to_string(),
            executor_id: executor.to_string(),
            hostname: hostname.unwrap_or_default(),
        });
        // Those that only wait to be read do so here; who follows never makes room.
        while !self.wanted.follow && readers.len() >= MAX_AT_ONCE {
            readers.join_next().await;
        }
        if readers.len() >= MAX_AT_ONCE {
            let why = format!("{MAX_AT_ONCE} instances are followed already; follow this one by its id");
            let _ = self.told.send((Some(source), Told::Unavailable(why))).await;
            return;
        }
        let reading = LogReading::new(&self.relays, executor, ask);
        readers.spawn(read_one(
            reading,
            instance.record.id.clone(),
            source,
            self.wanted.follow,
            self.states.clone(),
            self.told.clone(),
        ));
    }
}

/// Everything, and what comes.
fn whole(instance: &InstanceId) -> v1::ReadLog {
    v1::ReadLog {
        instance: instance.to_string(),
        follow: true,
        whole_characters: true,
        ..v1::ReadLog::default()
    }
}

/// Reads one log to its end. A follower waits for a node that is away, and for an instance that has not begun to write.
async fn read_one(
    mut reading: LogReading,
    instance: InstanceId,
    source: Arc<Source>,
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
                follow && states.borrow().instance(&instance).is_some_and(|known| known.is_live())
            }
            Err(error) => follow && error.may_pass(),
        };
        let is_early = goes_on && matches!(next, Err(RelayError::NotFound(_)));
        let is_news = !is_early && (next.is_ok() || !is_told);
        let is_error = next.is_err();
        is_told = is_error && !is_early;
        if is_news && told.send((Some(Arc::clone(&source)), Told::of(next))).await.is_err() {
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
