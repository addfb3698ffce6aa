//! What happened, as Drove's clients poll it (docs/drove-api.md §1.4).

use std::collections::BTreeMap;

use axum::extract::State as Context;
use muster_common::event::{Event, EventCounts, LatestEvents};
use muster_common::id::Revision;
use muster_common::time::Timestamp;

use super::access::Api;
use super::answer::{Answer, Data};
use super::error::ApiError;
use super::parameter::{RESUME, SINCE_TIME, SIZE};
use super::query::{MAX_PAGE, Parameters};
use crate::state::{EventPosition, State, view};

/// How many events are sent unless the caller says.
const DEFAULT_SIZE: u64 = 1_024;

/// `GET /cluster/events`: newest first. With `from` (an addition to Drove's API) the events after that revision,
/// oldest first, so that whoever asks again from the last revision that he saw misses nothing and sees nothing twice.
pub(super) async fn list(Context(api): Context<Api>, query: Parameters) -> Answer<Vec<Event>> {
    if let Some(from) = query.parsed::<EventPosition>(&RESUME)? {
        let size = size(&query)?;
        let state = api.read_from(&query, from).await?;
        if !state.can_resume(from) {
            return Err(ApiError::Compacted { resume_from: state.events_compacted() });
        }
        return Ok(Data(api.blocking(move || view::events_from(&state, from, size)).await?));
    }
    let (since, size) = (since(&query)?, size(&query)?);
    let show = move |state: &State| Ok(view::events_newest_first(state, since, size));
    Ok(Data(api.show(&query, show).await?))
}

/// `GET /cluster/events/latest`: newest first, with the time to ask from next.
pub(super) async fn latest(Context(api): Context<Api>, query: Parameters) -> Answer<LatestEvents> {
    let (since, size) = (since(&query)?, size(&query)?);
    let show = move |state: &State| {
        let events = view::events_newest_first(state, since, size);
        Ok(LatestEvents { events, last_sync_time: newest(state).unwrap_or(since) })
    };
    Ok(Data(api.show(&query, show).await?))
}

/// `GET /cluster/events/summary`: how many of each kind.
pub(super) async fn summary(Context(api): Context<Api>, query: Parameters) -> Answer<EventCounts> {
    let since = since(&query)?;
    let show = move |state: &State| {
        let mut events_count = BTreeMap::new();
        for event in view::events_newest_first(state, since, usize::MAX) {
            *events_count.entry(event.kind.to_string()).or_default() += 1;
        }
        Ok(EventCounts { events_count, last_sync_time: newest(state).unwrap_or(since) })
    };
    Ok(Data(api.show(&query, show).await?))
}

fn since(query: &Parameters) -> Result<Timestamp, ApiError> {
    query.number(&SINCE_TIME, u64::MAX, 0).map(Timestamp)
}

fn size(query: &Parameters) -> Result<usize, ApiError> {
    let size = query.number(&SIZE, MAX_PAGE, DEFAULT_SIZE)?;
    Ok(usize::try_from(size).unwrap_or(usize::MAX))
}

/// The newest event's time.
fn newest(state: &State) -> Option<Timestamp> {
    state.events_after(Revision(0)).next_back().map(|(_, event)| event.at)
}
