//! Events as they happen, as server-sent events. Nothing is buffered for a reader: the events that are kept are the
//! buffer, and a reader is told when it has fallen out of it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State as Context;
use axum::response::sse::{Event as Sent, Sse};
use futures::Stream;
use futures::stream::unfold;
use http::HeaderMap;
use muster_common::event::Event;
use muster_common::id::Revision;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::access::Api;
use super::error::{ApiError, ResumeFrom};
use super::query::Parameters;
use super::resume::{Resume, id};
use crate::raft::Consensus;
use crate::state::{EventPosition, EventRecord, State, view};

/// How long a stream is silent at most.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How many events are made ready in one go.
const BATCH: usize = 256;

/// `GET /cluster/events/watch?from=` (an addition to Drove's API): the events after `from`, or after the header
/// `Last-Event-ID`, or from now on. A HEARTBEAT says how far the reader is while nothing happens, and that nothing did
/// happen: the group was asked, unless `stale=true`. The last event says why the stream ends: COMPACTED, `SLOW_CONSUMER`,
/// `NO_LEADER`, `SHUTTING_DOWN`.
pub(super) async fn watch(
    Context(api): Context<Api>,
    headers: HeaderMap,
    query: Parameters,
) -> Result<Sse<impl Stream<Item = Result<Sent, Infallible>>>, ApiError> {
    let place = api.watch_place()?;
    let from = match headers.get("last-event-id").map(|header| header.to_str()) {
        Some(header) => {
            let problem = "the header Last-Event-ID is not the id of an event";
            let header = header.ok().and_then(|text| text.parse::<Resume>().ok());
            Some(header.ok_or_else(|| ApiError::Validation(vec![problem.to_owned()]))?)
        }
        None => query.parsed::<Resume>("from")?,
    };
    let seen = match from {
        Some(Resume(seen)) => {
            api.read_from(&query, seen).await?;
            seen
        }
        None => (api.read(&query).await?.revision(), u32::MAX),
    };
    let reader = Reader {
        feed: Feed { seen, has_begun: false },
        ready: VecDeque::new(),
        heartbeat: Instant::now() + HEARTBEAT,
        is_over: false,
        state: api.watch_state(),
        shutdown: api.shutdown(),
        group: (!query.flag("stale")?).then(|| api.consensus().clone()),
        _place: place,
    };
    Ok(Sse::new(unfold(reader, |mut reader| async move {
        let sent = reader.next().await?;
        Some((Ok(sent), reader))
    })))
}

/// What a reader is to be told next.
#[derive(Debug, PartialEq)]
enum Next {
    /// These happened.
    Events(Vec<(EventPosition, Event)>),
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

/// How far a reader is.
#[derive(Debug)]
struct Feed {
    seen: EventPosition,
    has_begun: bool,
}

impl Feed {
    fn next(&mut self, state: &State) -> Next {
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
        let shown = |(position, record): (&EventPosition, &Arc<EventRecord>)| {
            (*position, view::event::event(*position, record))
        };
        Next::Events(events.into_iter().map(shown).collect())
    }
}

/// One open stream.
struct Reader {
    feed: Feed,
    /// Made ready, and not taken yet.
    ready: VecDeque<Sent>,
    heartbeat: Instant,
    is_over: bool,
    state: watch::Receiver<Arc<State>>,
    shutdown: CancellationToken,
    /// Asked before each heartbeat; none: the reader wants what this controller has, however old.
    group: Option<Consensus>,
    _place: OwnedSemaphorePermit,
}

impl Reader {
    /// The next thing to send; `None` after the last.
    async fn next(&mut self) -> Option<Sent> {
        loop {
            if let Some(sent) = self.ready.pop_front() {
                self.heartbeat = Instant::now() + HEARTBEAT;
                return Some(sent);
            }
            if self.is_over {
                return None;
            }
            let state = self.state.borrow_and_update().clone();
            match self.feed.next(&state) {
                Next::Events(events) => self.ready.extend(events.iter().map(sent)),
                Next::End(end, resume_from) => self.end(end, resume_from),
                Next::Nothing => self.wait().await,
            }
        }
    }

    /// Until there is a reason to look again.
    async fn wait(&mut self) {
        let (seen, _) = self.feed.seen;
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => self.end(End::ShuttingDown, seen),
            changed = self.state.changed() => if changed.is_err() {
                self.end(End::ShuttingDown, seen);
            },
            () = sleep_until(self.heartbeat) => self.beat(seen).await,
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
        let state = self.state.borrow_and_update().clone();
        match self.feed.next(&state) {
            Next::Events(events) => self.ready.extend(events.iter().map(sent)),
            Next::End(end, resume_from) => self.end(end, resume_from),
            Next::Nothing => self.ready.push_back(told("HEARTBEAT", self.feed.seen.0)),
        }
    }

    fn end(&mut self, end: End, resume_from: Revision) {
        self.is_over = true;
        self.ready.push_back(told(end.name(), resume_from));
    }
}

fn sent((position, event): &(EventPosition, Event)) -> Sent {
    with_data(Sent::default().id(id(*position)).event(event.kind.as_str()), event)
}

/// What is said of the stream itself. Its id is where a reader can go on.
fn told(name: &str, resume_from: Revision) -> Sent {
    let id = id((resume_from, u32::MAX));
    with_data(Sent::default().id(id).event(name), &ResumeFrom { resume_from })
}

fn with_data(sent: Sent, data: &impl Serialize) -> Sent {
    // A JSON text has no line breaks, and the domain's types are always JSON.
    sent.data(serde_json::to_string(data).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::*;
    use crate::state::{Change, Command, Retention};

    fn seen(fixture: &Fixture, from: Revision) -> Feed {
        assert!(fixture.state.can_resume((from, u32::MAX)));
        Feed { seen: (from, u32::MAX), has_begun: false }
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
        let mut feed = seen(&fixture, fixture.state.revision());
        assert_eq!(feed.next(&fixture.state), Next::Nothing);
        let before = fixture.state.revision();
        happen(&mut fixture, BATCH);
        let mut told = Vec::new();
        loop {
            match feed.next(&fixture.state) {
                Next::Events(events) => told.extend(events.into_iter().map(|(position, _)| position)),
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
        assert!(matches!(slow.next(&fixture.state), Next::Events(_)));
        let retention = Retention { events: 10, ..Retention::default() };
        fixture.apply(&Command::Plan { at: fixture.now, changes: vec![Change::Retain(retention)] });
        happen(&mut fixture, 5);
        let compacted = fixture.state.events_compacted();
        assert_eq!(slow.next(&fixture.state), Next::End(End::SlowConsumer, compacted));
        assert_eq!(late.next(&fixture.state), Next::End(End::Compacted, compacted));
        let mut ahead = Feed { seen: (fixture.state.revision().next(), 0), has_begun: false };
        assert_eq!(ahead.next(&fixture.state), Next::End(End::Compacted, compacted));
    }

    #[test]
    fn who_has_seen_everything_stays_up_to_date_while_nothing_happens() {
        let mut fixture = Fixture::with_executors(1);
        let mut feed = seen(&fixture, fixture.state.revision());
        fixture.apply(&Command::Plan { at: fixture.now, changes: Vec::new() });
        assert_eq!(feed.next(&fixture.state), Next::Nothing);
        assert_eq!(feed.seen.0, fixture.state.revision());
    }
}
