//! Events as they happen, as server-sent events. Nothing is buffered for a reader: the events that are kept are the
//! buffer, and a reader is told when it has fallen out of it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State as Context;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::stream::unfold;
use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use muster_common::event::{Event, EventType, ResumeFrom};
use muster_common::id::Revision;
use muster_common::log_stream::HEARTBEAT;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::access::Api;
use super::error::ApiError;
use super::frames::{Frame, Framed, written};
use super::query::Parameters;
use super::resume::{Resume, id};
use crate::raft::Consensus;
use crate::state::{EventPosition, State};

/// How many events are made ready in one go.
const BATCH: usize = 256;

/// `GET /cluster/events/watch?from=&type=&service=&executor=` (an addition to Drove's API): the events after `from`, or
/// after the header `Last-Event-ID`, or from now on; of those types, about those services and on those executors, where
/// such are named, each as often as one likes. A HEARTBEAT says how far the reader is while nothing happens, and that
/// nothing did happen: the group was asked, unless `stale=true`. The last event says why the stream ends: COMPACTED,
/// `SLOW_CONSUMER`, `NO_LEADER`, `SHUTTING_DOWN`.
pub(super) async fn watch(
    Context(api): Context<Api>,
    headers: HeaderMap,
    query: Parameters,
) -> Result<Response, ApiError> {
    let place = api.watch_place()?;
    let wanted = Wanted::by(&query)?;
    let from = match headers.get("last-event-id").map(|header| header.to_str()) {
        Some(header) => {
            let problem = "the header Last-Event-ID is not the id of an event";
            let header = header.ok().and_then(|text| text.parse::<Resume>().ok());
            Some(header.ok_or_else(|| ApiError::Validation(vec![problem.to_owned()]))?)
        }
        None => query.parsed::<Resume>("from")?,
    };
    let (seen, state) = if let Some(Resume(seen)) = from {
        (seen, api.read_from(&query, seen).await?)
    } else {
        let state = api.read(&query).await?;
        ((state.revision(), u32::MAX), state)
    };
    let mut frames = api.frames().subscribe();
    reached(&mut frames, state.revision())
        .await
        .map_err(|()| ApiError::Unavailable("This controller is stopping; ask another one".to_owned()))?;
    let reader = Reader {
        progress: Progress { seen, has_begun: false, wanted },
        ready: VecDeque::new(),
        heartbeat: Instant::now() + HEARTBEAT,
        is_over: false,
        frames,
        state: api.watch_state(),
        shutdown: api.shutdown(),
        group: (!query.flag("stale")?).then(|| api.consensus().clone()),
        _place: place,
    };
    let sent = unfold(reader, |mut reader| async move {
        let sent = reader.next().await?;
        Some((Ok::<Bytes, Infallible>(sent), reader))
    });
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-cache")];
    Ok((headers, Body::from_stream(sent)).into_response())
}

/// Waits until what readers are sent is as new as `revision`; an error when nothing is sent any more.
async fn reached(frames: &mut watch::Receiver<Arc<Framed>>, revision: Revision) -> Result<(), ()> {
    let is_new = |framed: &Arc<Framed>| framed.state.revision() >= revision;
    frames.wait_for(is_new).await.map(drop).map_err(drop)
}

/// Which events a reader wants; what is empty narrows nothing.
#[derive(Debug, Default)]
struct Wanted {
    types: Vec<EventType>,
    services: Vec<String>,
    executors: Vec<String>,
}

impl Wanted {
    fn by(query: &Parameters) -> Result<Self, ApiError> {
        let texts = |name| query.all(name).map(str::to_owned).collect();
        Ok(Self { types: query.each("type")?, services: texts("service"), executors: texts("executor") })
    }

    /// What is said of an executor is said of all that lives on it, and so of every service.
    fn admits(&self, event: &Event) -> bool {
        let told = |tag| event.metadata.get(tag).and_then(|value| value.as_str());
        let (service, executor) =
            (told("LOCAL_SERVICE_ID").or_else(|| told("SERVICE_ID")), told("EXECUTOR_ID"));
        let names = |names: &[String], told: Option<&str>| {
            told.is_some_and(|told| names.iter().any(|name| name == told))
        };
        let of_service = match (service, executor) {
            (None, Some(_)) => true,
            (service, _) => names(&self.services, service),
        };
        (self.types.is_empty() || self.types.contains(&event.kind))
            && (self.services.is_empty() || of_service)
            && (self.executors.is_empty() || names(&self.executors, executor))
    }
}

/// What a reader is to be told next.
#[derive(Debug, PartialEq)]
enum Next {
    /// These happened.
    Events(Vec<Arc<Frame>>),
    /// It has seen everything.
    Nothing,
    /// It cannot be told everything any more.
    End(End, Revision),
}

/// Why a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// What it asked for is forgotten, or never happened here.
    Compacted,
    /// It read so slowly that what it did not read is forgotten.
    SlowConsumer,
    /// No majority answers this controller, so that events may happen elsewhere: another one may go on.
    NoLeader,
    /// The controller is stopping: another one goes on from the same place.
    ShuttingDown,
}

impl End {
    const fn name(self) -> &'static str {
        match self {
            Self::Compacted => "COMPACTED",
            Self::SlowConsumer => "SLOW_CONSUMER",
            Self::NoLeader => "NO_LEADER",
            Self::ShuttingDown => "SHUTTING_DOWN",
        }
    }
}

/// How far a reader is, and what it wants.
#[derive(Debug)]
struct Progress {
    seen: EventPosition,
    has_begun: bool,
    wanted: Wanted,
}

impl Progress {
    fn next(&mut self, latest: &Framed) -> Next {
        let state = &latest.state;
        if !state.can_resume(self.seen) {
            let end = if self.has_begun { End::SlowConsumer } else { End::Compacted };
            return Next::End(end, state.events_compacted());
        }
        self.has_begun = true;
        let events: Vec<_> = state.events_behind(self.seen).take(BATCH).collect();
        let Some((last, _)) = events.last() else {
            self.seen = (state.revision(), u32::MAX);
            return Next::Nothing;
        };
        self.seen = **last;
        let frames = events.into_iter().map(|(position, record)| latest.frame(*position, record));
        Next::Events(frames.filter(|frame| self.wanted.admits(&frame.event)).collect())
    }
}

/// One open stream.
struct Reader {
    progress: Progress,
    /// Made ready, and not taken yet.
    ready: VecDeque<Bytes>,
    heartbeat: Instant,
    is_over: bool,
    frames: watch::Receiver<Arc<Framed>>,
    /// Newer than the frames by a moment.
    state: watch::Receiver<Arc<State>>,
    shutdown: CancellationToken,
    /// Asked before each heartbeat; none: the reader wants what this controller has, however old.
    group: Option<Consensus>,
    _place: OwnedSemaphorePermit,
}

impl Reader {
    /// The next thing to send; `None` after the last.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(sent) = self.ready.pop_front() {
                self.heartbeat = Instant::now() + HEARTBEAT;
                return Some(sent);
            }
            if self.is_over {
                return None;
            }
            let latest = self.frames.borrow_and_update().clone();
            match self.progress.next(&latest) {
                Next::Events(frames) => {
                    self.ready.extend(frames.iter().map(|frame| frame.bytes.clone()));
                    // There may be many that this reader does not want.
                    tokio::task::yield_now().await;
                }
                Next::End(end, resume_from) => self.end(end, resume_from),
                Next::Nothing => self.wait().await,
            }
        }
    }

    /// Until there is a reason to look again.
    async fn wait(&mut self) {
        let (seen, _) = self.progress.seen;
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => self.end(End::ShuttingDown, seen),
            // Before what changes: there may always be something, and never what this reader wants.
            () = sleep_until(self.heartbeat) => self.beat(seen).await,
            changed = self.frames.changed() => if changed.is_err() {
                self.end(End::ShuttingDown, seen);
            },
        }
    }

    /// Says that nothing happened after `seen`, if that is known.
    async fn beat(&mut self, seen: Revision) {
        let barrier = async {
            match &self.group {
                Some(group) => group.read_barrier().await.map(drop),
                None => Ok(()),
            }
        };
        let end = tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Some(End::ShuttingDown),
            known = barrier => known.err().map(|error| {
                tracing::debug!(%error, "a reader of events is sent elsewhere");
                End::NoLeader
            }),
        };
        if let Some(end) = end {
            return self.end(end, seen);
        }
        // The group's answer may have brought what happened meanwhile.
        let known = self.state.borrow().revision();
        if reached(&mut self.frames, known).await.is_err() {
            return self.end(End::ShuttingDown, seen);
        }
        let latest = self.frames.borrow_and_update().clone();
        loop {
            match self.progress.next(&latest) {
                // Looked at, and not wanted.
                Next::Events(frames) if frames.is_empty() => {}
                Next::Events(frames) => {
                    return self.ready.extend(frames.iter().map(|frame| frame.bytes.clone()));
                }
                Next::End(end, resume_from) => return self.end(end, resume_from),
                Next::Nothing => {
                    return self.ready.push_back(told("HEARTBEAT", &self.progress.seen));
                }
            }
        }
    }

    fn end(&mut self, end: End, resume_from: Revision) {
        self.is_over = true;
        self.ready.push_back(told(end.name(), &(resume_from, u32::MAX)));
    }
}

/// What is said of the stream itself. Its id is where a reader can go on.
fn told(name: &str, position: &EventPosition) -> Bytes {
    written(&id(*position), name, &ResumeFrom { resume_from: position.0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::*;
    use crate::state::{Change, Command, Retention};

    fn seen(fixture: &Fixture, from: Revision) -> Progress {
        assert!(fixture.state.can_resume((from, u32::MAX)));
        Progress { seen: (from, u32::MAX), has_begun: false, wanted: Wanted::default() }
    }

    fn framed(fixture: &Fixture) -> Framed {
        Framed::new(Arc::new(fixture.state.clone()))
    }

    fn happen(fixture: &mut Fixture, instances: usize) {
        let from = fixture.state.revision().0;
        for n in 0..instances {
            fixture.report_in(&format!("i{from}.{n}"), &slot_id("web-1", "e1", 0), &UP_AND_DOWN);
        }
    }

    #[test]
    fn a_reader_sees_every_event_once_also_across_batches() {
        let mut fixture = Fixture::with_executors(1);
        let mut progress = seen(&fixture, fixture.state.revision());
        assert_eq!(progress.next(&framed(&fixture)), Next::Nothing);
        let before = fixture.state.revision();
        happen(&mut fixture, BATCH);
        let mut told = Vec::new();
        loop {
            match progress.next(&framed(&fixture)) {
                Next::Events(events) => told.extend(events.iter().map(|frame| frame.position)),
                Next::Nothing => break,
                end @ Next::End(..) => panic!("{end:?}"),
            }
        }
        let all: Vec<EventPosition> =
            fixture.state.events_after(before).map(|(position, _)| *position).collect();
        assert!(all.len() > 2 * BATCH);
        assert_eq!(told, all);
    }

    #[test]
    fn who_falls_out_of_what_is_kept_is_told_so() {
        let mut fixture = Fixture::with_executors(1);
        let (mut slow, mut late) = (seen(&fixture, Revision(0)), seen(&fixture, Revision(0)));
        assert!(matches!(slow.next(&framed(&fixture)), Next::Events(_)));
        let retention = Retention { events: 10, ..Retention::default() };
        fixture.apply(&Command::Plan { at: fixture.now, changes: vec![Change::Retain(retention)] });
        happen(&mut fixture, 5);
        let compacted = fixture.state.events_compacted();
        assert_eq!(slow.next(&framed(&fixture)), Next::End(End::SlowConsumer, compacted));
        assert_eq!(late.next(&framed(&fixture)), Next::End(End::Compacted, compacted));
        let mut ahead = Progress {
            seen: (fixture.state.revision().next(), 0),
            has_begun: false,
            wanted: Wanted::default(),
        };
        assert_eq!(ahead.next(&framed(&fixture)), Next::End(End::Compacted, compacted));
    }

    #[test]
    fn who_has_seen_everything_stays_up_to_date_while_nothing_happens() {
        let mut fixture = Fixture::with_executors(1);
        let mut progress = seen(&fixture, fixture.state.revision());
        fixture.apply(&Command::Plan { at: fixture.now, changes: Vec::new() });
        assert_eq!(progress.next(&framed(&fixture)), Next::Nothing);
        assert_eq!(progress.seen.0, fixture.state.revision());
    }

    #[test]
    fn a_reader_is_sent_only_what_it_asked_for() {
        let mut fixture = Fixture::with_executors(2);
        let before = fixture.state.revision();
        fixture.report_in("i1", &slot_id("web-1", "e1", 0), &UP_AND_DOWN);
        fixture.report_in("i2", &slot_id("db-1", "e2", 0), &UP_AND_DOWN);
        let told = |wanted: Wanted| {
            let mut progress = Progress { wanted, ..seen(&fixture, before) };
            match progress.next(&framed(&fixture)) {
                Next::Events(frames) => {
                    let ids = frames.iter().map(|frame| frame.event.metadata["INSTANCE_ID"].to_string());
                    ids.collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>()
                }
                other => panic!("{other:?}"),
            }
        };
        let (one, other) = ("\"i1\"", "\"i2\"");
        let texts = |text: &str| vec![text.to_owned()];
        assert_eq!(told(Wanted::default()), [one, other]);
        assert_eq!(told(Wanted { services: texts("db-1"), ..Wanted::default() }), [other]);
        assert_eq!(told(Wanted { executors: texts("e1"), ..Wanted::default() }), [one]);
        let added = Wanted { types: vec![EventType::ExecutorAdded], ..Wanted::default() };
        assert!(told(added).is_empty());
    }
}
