//! What instances wrote (an addition to Drove's API): of one instance, or of a whole service.
//!
//! A stream of server-sent events follows, unless `follow=false`: `lines` with what was written, and with the
//! place to go on from as its id; `end` when the instance is over and all is read; `unavailable` with a
//! sentence when its node cannot be read any more. Whoever comes again with that id, to whichever controller,
//! misses nothing and sees nothing twice.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::State as Context;
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use futures::stream::unfold;
use http::{HeaderMap, header};
use muster_common::id::{ExecutorId, InstanceId};
use muster_common::log_stream::{LogEvent, LogLines, LogMessage, LogSource};
use muster_common::rest::HEARTBEAT;
use muster_proto::v1;
use muster_proto::v1::read_log::From;
use muster_proto::v1::relay_down::Body as Down;
use schemars::JsonSchema;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::access::Api;
use super::answer::{Answer, Data};
use super::error::ApiError;
use super::instances::known_instance;
use super::log_file::listed;
use super::log_place::LogPlace;
use super::parameter::{FOLLOW, LOG_PLACE, TAIL, WRITTEN_SINCE};
use super::path::Named;
use super::query::Parameters;
use super::resume::resumed;
use crate::relay::{LogReading, RelayError, Relays, Up};

/// How many lines are sent before what is written from now on, unless the caller says.
const DEFAULT_TAIL: u64 = 100;
/// More than any log that is kept has; what is not within its last 4 MiB is not among them.
const MAX_TAIL: u64 = 1_000_000;
/// Why a stream ends with its controller.
pub(super) const STOPPING: &str = "this controller is stopping; another one goes on from the same place";

/// What a caller wants of a log.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    from: From,
    pub(super) follow: bool,
    is_stream: bool,
}

impl Wanted {
    /// What the query says; `place` is where its caller goes on.
    pub(super) fn of(
        headers: &HeaderMap,
        query: &Parameters,
        place: Option<LogPlace>,
    ) -> Result<Self, ApiError> {
        let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
        let takes_events = accept.is_some_and(|accept| accept.contains("text/event-stream"));
        let follow = if query.has(&FOLLOW) { query.flag(&FOLLOW)? } else { takes_events };
        let from = match place {
            Some(LogPlace(place)) => From::Place(place),
            None if query.has(&WRITTEN_SINCE) => From::SinceMs(query.number(&WRITTEN_SINCE, u64::MAX, 0)?),
            None => From::TailLines(query.number(&TAIL, MAX_TAIL, DEFAULT_TAIL)?),
        };
        Ok(Self { from, follow, is_stream: follow || takes_events })
    }

    pub(super) fn ask(&self, instance: &InstanceId) -> v1::ReadLog {
        self.ask_from(instance, self.from)
    }

    /// The same from somewhere else.
    pub(super) fn ask_from(&self, instance: &InstanceId, from: From) -> v1::ReadLog {
        v1::ReadLog {
            instance: instance.to_string(),
            from: Some(from),
            follow: self.follow,
            max_bytes: 0,
            within_segment: false,
            whole_characters: self.is_stream,
        }
    }
}

/// `GET /localservices/{id}/instances/{instanceId}/logs?tail=|since=|from=&follow=`: in any state, also of one
/// that ended.
pub(super) async fn of_instance(
    Context(api): Context<Api>,
    Named((service, instance)): Named<(String, String)>,
    headers: HeaderMap,
    query: Parameters,
) -> Result<Response, ApiError> {
    let wanted = Wanted::of(&headers, &query, resumed(&headers, &query, &LOG_PLACE)?)?;
    let (executor, instance) = whereabouts(&api, &service, &instance, &query).await?;
    let reading = LogReading::open(api.relays(), &executor, wanted.ask(&instance)).await.map_err(unread)?;
    if !wanted.is_stream {
        return Ok((PLAIN_TEXT, Body::from_stream(bytes(reading))).into_response());
    }
    let events = Sse::new(followed(reading, api.shutdown()));
    Ok(events.keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response())
}

/// What output is, for all that anybody knows.
pub(super) const PLAIN_TEXT: [(header::HeaderName, &str); 1] =
    [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];

/// One file of a log.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct FileInfo {
    name: String,
    bytes: u64,
    /// In ms since 1970, by its node's clock.
    modified: u64,
}

/// The files of a log.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Files {
    files: Vec<FileInfo>,
}

/// `GET /localservices/{id}/instances/{instanceId}/logs/files`: what `/logfiles` has for download.
pub(super) async fn files(
    Context(api): Context<Api>,
    Named((service, instance)): Named<(String, String)>,
    query: Parameters,
) -> Answer<Files> {
    let (executor, instance) = whereabouts(&api, &service, &instance, &query).await?;
    let files = list(api.relays(), &executor, &instance).await.map_err(unread)?;
    let files = listed(&files).into_iter();
    let files = files.map(|(name, bytes, modified)| FileInfo { name: name.to_string(), bytes, modified });
    Ok(Data(Files { files: files.collect() }))
}

/// The executor of an instance.
pub(super) async fn whereabouts(
    api: &Api,
    service: &str,
    instance: &str,
    query: &Parameters,
) -> Result<(ExecutorId, InstanceId), ApiError> {
    let state = api.read(query).await?;
    let record = &known_instance(&state, service, instance)?.record;
    Ok((record.slot.executor.clone(), record.id.clone()))
}

/// The files of an instance's log, as its executor has them.
pub(super) async fn list(
    relays: &Relays,
    executor: &ExecutorId,
    instance: &InstanceId,
) -> Result<v1::LogFiles, RelayError> {
    let ask = v1::ListLogFiles { instance: instance.to_string() };
    let mut relay = relays.open(executor, Down::ListLogFiles(ask)).await?;
    match relay.next().await? {
        Some(Up::Files(files)) => Ok(files),
        Some(Up::Text(_) | Up::Output(_) | Up::Ended(_)) | None => {
            Err(relay.misunderstood("something else than the files of a log"))
        }
    }
}

/// Why a log cannot be read, for whoever called.
#[allow(clippy::needless_pass_by_value)] // as map_err hands it over
pub(super) fn unread(error: RelayError) -> ApiError {
    match &error {
        RelayError::NotFound(why) => ApiError::NotFound(why.clone()),
        _ => ApiError::Unavailable(sentence(&error)),
    }
}

/// The same in words.
pub(super) fn sentence(error: &RelayError) -> String {
    match error {
        RelayError::Away { .. } | RelayError::Gone(_) => format!("{error}; its logs are on it"),
        _ => error.to_string(),
    }
}

/// Everything as it is.
pub(super) fn bytes(reading: LogReading) -> impl Stream<Item = Result<Bytes, RelayError>> {
    unfold(Some(reading), |reading| async move {
        let mut reading = reading?;
        match reading.next().await {
            Ok(Some(text)) => Some((Ok(text.text), Some(reading))),
            Ok(None) => None,
            // The connection is cut: what was sent must not be taken for all.
            Err(error) => Some((Err(error), None)),
        }
    })
}

/// What a follower is told.
#[derive(Debug)]
pub(super) enum Told {
    /// This was written.
    Lines(v1::LogText),
    /// The instance is over, and all is read.
    End,
    /// The node cannot be read, for this reason.
    Unavailable(String),
}

impl Told {
    pub(super) fn of(next: Result<Option<v1::LogText>, RelayError>) -> Self {
        match next {
            Ok(Some(text)) => Self::Lines(text),
            Ok(None) => Self::End,
            Err(error) => Self::Unavailable(sentence(&error)),
        }
    }

    /// As an event; with an id where there is one log only. Where there are several, an id has to name the place in each.
    pub(super) fn sent(&self, source: Option<&LogSource>) -> Sent {
        let event = match self {
            Self::Lines(text) => LogEvent::Lines(LogLines {
                text: String::from_utf8_lossy(&text.text).into_owned(),
                next_position: text.next.map(|next| LogPlace(next).to_string()),
                is_after_gap: text.is_after_gap,
                trouble: text.trouble.clone(),
            }),
            Self::End => LogEvent::End,
            Self::Unavailable(why) => LogEvent::Unavailable(why.clone()),
        };
        let message = LogMessage { source: source.cloned(), event };
        let sent = Sent::default().event(message.event.kind().as_str()).data(message.encode());
        match &message.event {
            LogEvent::Lines(LogLines { next_position: Some(place), .. }) if source.is_none() => {
                sent.id(place)
            }
            LogEvent::Lines(_) | LogEvent::End | LogEvent::Unavailable(_) => sent,
        }
    }
}

/// One log as events.
fn followed(
    reading: LogReading,
    shutdown: CancellationToken,
) -> impl Stream<Item = Result<Sent, Infallible>> {
    unfold(Some((reading, shutdown)), |open| async move {
        let (mut reading, shutdown) = open?;
        let told = tokio::select! {
            biased;
            () = shutdown.cancelled() => Told::Unavailable(STOPPING.to_owned()),
            next = reading.next() => Told::of(next),
        };
        let goes_on = matches!(told, Told::Lines(_));
        Some((Ok(told.sent(None)), goes_on.then_some((reading, shutdown))))
    })
}
