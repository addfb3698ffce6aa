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
use muster_common::event::{EventType, ResumeFrom};
use muster_common::event_stream::{self, WatchEnd};
use muster_common::id::{ExecutorId, Revision, ServiceId};
use muster_common::rest::HEARTBEAT;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::access::Api;
use super::error::ApiError;
use super::frames::{Frame, Framed, written};
use super::parameter::{EVENT_TYPE, EXECUTOR, RESUME, SERVICE, STALE};
use super::query::Parameters;
use super::resume::resumed;
use crate::raft::Consensus;
use crate::state::{EventPosition, Happening, State};

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
    let from: Option<EventPosition> = resumed(&headers, &query, &RESUME)?;
    let (seen, state) = if let Some(seen) = from {
        (seen, api.read_from(&query, seen).await?)
    } else {
        let state = api.read(&query).await?;
        (EventPosition::end_of(state.revision()), state)
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
        group: (!query.flag(&STALE)?).then(|| api.consensus().clone()),
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
        let (services, executors) = (query.texts(&SERVICE), query.texts(&EXECUTOR));
        Ok(Self { types: query.each(&EVENT_TYPE)?, services, executors })
    }

    /// What is said of an executor is said of all that lives on it, and so of every service.
    fn admits(&self, what: &Happening) -> bool {
        let names =
            |names: &[String], id: Option<&str>| id.is_some_and(|id| names.iter().any(|name| name == id));
        let (service, executor) = what.about();
        let of_service = match (service, executor) {
            (None, Some(_)) => true,
            (service, _) => names(&self.services, service.map(ServiceId::as_str)),
        };
        (self.types.is_empty() || self.types.contains(&what.kind()))
            && (self.services.is_empty() || of_service)
            && (self.executors.is_empty() || names(&self.executors, executor.map(ExecutorId::as_str)))
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
    End(WatchEnd, Revision),
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
            let end = if self.has_begun { WatchEnd::SlowConsumer } else { WatchEnd::Compacted };
            return Next::End(end, state.events_compacted());
        }
        self.has_begun = true;
        let events: Vec<_> = state.events_behind(self.seen).take(BATCH).collect();
        let Some((last, _)) = events.last() else {
            self.seen = EventPosition::end_of(state.revision());
            return Next::Nothing;
        };
        self.seen = **last;
        let wanted = events.into_iter().filter(|(_, record)| self.wanted.admits(&record.what));
        Next::Events(wanted.map(|(position, record)| latest.frame(*position, record)).collect())
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
        let seen = self.progress.seen.revision;
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => self.end(WatchEnd::ShuttingDown, seen),
            // Before what changes: there may always be something, and never what this reader wants.
            () = sleep_until(self.heartbeat) => self.beat(seen).await,
            changed = self.frames.changed() => if changed.is_err() {
                self.end(WatchEnd::ShuttingDown, seen);
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
            () = self.shutdown.cancelled() => Some(WatchEnd::ShuttingDown),
            known = barrier => known.err().map(|error| {
                tracing::debug!(%error, "a reader of events is sent elsewhere");
                WatchEnd::NoLeader
            }),
        };
        if let Some(end) = end {
            return self.end(end, seen);
        }
        // The group's answer may have brought what happened meanwhile.
        let known = self.state.borrow().revision();
        if reached(&mut self.frames, known).await.is_err() {
            return self.end(WatchEnd::ShuttingDown, seen);
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
                    return self.ready.push_back(told(event_stream::HEARTBEAT, self.progress.seen));
                }
            }
        }
    }

    fn end(&mut self, end: WatchEnd, resume_from: Revision) {
        self.is_over = true;
        self.ready.push_back(told(end.as_str(), EventPosition::end_of(resume_from)));
    }
}

/// What is said of the stream itself. Its id is where a reader can go on.
fn told(name: &str, position: EventPosition) -> Bytes {
    written(position, name, &ResumeFrom { resume_from: position.revision })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::*;
    use crate::state::{Change, Command, Retention};

    fn seen(fixture: &Fixture, from: Revision) -> Progress {
        assert!(fixture.state.can_resume(EventPosition::end_of(from)));
        Progress { seen: EventPosition::end_of(from), has_begun: false, wanted: Wanted::default() }
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
        assert_eq!(slow.next(&framed(&fixture)), Next::End(WatchEnd::SlowConsumer, compacted));
        assert_eq!(late.next(&framed(&fixture)), Next::End(WatchEnd::Compacted, compacted));
        let mut ahead = Progress {
            seen: EventPosition::new(fixture.state.revision().next(), 0),
            has_begun: false,
            wanted: Wanted::default(),
        };
        assert_eq!(ahead.next(&framed(&fixture)), Next::End(WatchEnd::Compacted, compacted));
    }

    #[test]
    fn who_has_seen_everything_stays_up_to_date_while_nothing_happens() {
        let mut fixture = Fixture::with_executors(1);
        let mut progress = seen(&fixture, fixture.state.revision());
        fixture.apply(&Command::Plan { at: fixture.now, changes: Vec::new() });
        assert_eq!(progress.next(&framed(&fixture)), Next::Nothing);
        assert_eq!(progress.seen.revision, fixture.state.revision());
    }

    #[test]
    fn a_reader_is_sent_only_what_it_asked_for() {
        let mut fixture = Fixture::with_executors(2);
        let before = fixture.state.revision();
        fixture.report_in("i1", &slot_id("web-1", "e1", 0), &UP_AND_DOWN);
        fixture.report_in("i2", &slot_id("db-1", "e2", 0), &UP_AND_DOWN);
        let told = |wanted: Wanted| -> Vec<&str> {
            let mut progress = Progress { wanted, ..seen(&fixture, before) };
            match progress.next(&framed(&fixture)) {
                Next::Events(frames) => {
                    let told = |frame: &Arc<Frame>| String::from_utf8_lossy(&frame.bytes).into_owned();
                    let told: String = frames.iter().map(told).collect();
                    ["i1", "i2"]
                        .into_iter()
                        .filter(|id| told.contains(&format!(r#""INSTANCE_ID":"{id}""#)))
                        .collect()
                }
                other => panic!("{other:?}"),
            }
        };
        let (one, other) = ("i1", "i2");
        let texts = |text: &str| vec![text.to_owned()];
        assert_eq!(told(Wanted::default()), [one, other]);
        assert_eq!(told(Wanted { services: texts("db-1"), ..Wanted::default() }), [other]);
        assert_eq!(told(Wanted { executors: texts("e1"), ..Wanted::default() }), [one]);
        let added = Wanted { types: vec![EventType::ExecutorAdded], ..Wanted::default() };
        assert!(told(added).is_empty());
    }
}
