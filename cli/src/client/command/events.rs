//! `muster events`: what happened, and what happens.

use std::time::Duration;

use clap::Args;
use muster_common::duration::DroveDuration;
use muster_common::event::{Event, EventTag, EventType};
use muster_common::time::Timestamp;

use super::Caller;
use super::watch::{Told, sort};
use crate::args::Output;
use crate::client::follow::Follow;
use crate::client::http::Client;
use crate::client::screen;
use crate::client::table;
use crate::error::CliError;

#[derive(Debug, Clone, Args)]
pub(crate) struct EventsArgs {
    /// Go on with what happens.
    #[arg(short, long)]
    pub(super) watch: bool,
    /// Only of the last so long, such as 10m.
    #[arg(long, value_name = "DURATION")]
    since: Option<DroveDuration>,
    /// Only of this service, instance, executor or operation; the beginning of an id is enough.
    #[arg(long = "for", value_name = "NAME")]
    subject: Option<String>,
    /// Only of this kind; may be given several times.
    #[arg(long = "type", value_name = "TYPE")]
    kinds: Vec<EventType>,
    /// At most so many of those that happened already, the newest.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
}

/// How many are asked for where not all of them are wanted.
const SEARCHED: usize = 10_000;

/// Under these names events tell what they are about.
const SUBJECTS: [EventTag; 8] = [
    EventTag::LocalServiceId,
    EventTag::LocalServiceName,
    EventTag::ServiceId,
    EventTag::ServiceName,
    EventTag::InstanceId,
    EventTag::ExecutorId,
    EventTag::OperationId,
    EventTag::Hostname,
];

impl EventsArgs {
    fn wants(&self, event: &Event) -> bool {
        let is_kind = self.kinds.is_empty() || self.kinds.contains(&event.kind);
        is_kind && self.subject.as_deref().is_none_or(|name| is_about(event, name))
    }
}

/// Whether it is about what is named so, or what has an id that begins so.
pub(super) fn is_about(event: &Event, name: &str) -> bool {
    let is_it = |id: &str| {
        id == name || id.starts_with(name) || id.strip_prefix("SI-").is_some_and(|id| id.starts_with(name))
    };
    SUBJECTS.iter().any(|tag| event.text(*tag).is_some_and(|id| is_it(&id)))
}

/// The newest events that are about `name`, oldest first.
pub(super) async fn newest_about(client: &Client, name: &str, limit: usize) -> Result<Vec<Event>, CliError> {
    let all: Vec<Event> = client.get(&format!("cluster/events?size={SEARCHED}")).await?;
    let mut about: Vec<Event> = all.into_iter().filter(|event| is_about(event, name)).take(limit).collect();
    about.reverse();
    Ok(about)
}

pub(crate) async fn events(caller: &Caller, args: &EventsArgs) -> Result<(), CliError> {
    let since = args.since.map_or(Timestamp(0), |span| before(caller.screen.now, span.as_duration()));
    let is_narrow = args.subject.is_some() || !args.kinds.is_empty();
    let size = if is_narrow { SEARCHED } else { args.limit.max(1) };
    let path = format!("cluster/events?size={size}&lastSyncTime={}", since.as_ms());
    let newest_first: Vec<Event> = caller.client.get(&path).await?;
    let seen = newest_first.first().map(|event| event.revision.0);
    let mut events: Vec<Event> =
        newest_first.into_iter().filter(|event| args.wants(event)).take(args.limit).collect();
    events.reverse();
    if !args.watch {
        return caller.list(&events);
    }
    let mut writer = Writer { caller, has_header: false };
    writer.write(&events)?;
    let from = seen.map(|revision| format!("?from={revision}")).unwrap_or_default();
    go_on(caller, args, &mut writer, Follow::new(&caller.client, format!("cluster/events/watch{from}"))).await
}

async fn go_on(
    caller: &Caller,
    args: &EventsArgs,
    writer: &mut Writer<'_>,
    mut follow: Follow,
) -> Result<(), CliError> {
    loop {
        let message = follow.next().await?;
        match sort(&message)? {
            Told::Event(event) if args.wants(&event) => writer.write(&[event])?,
            // One of an unknown kind is not ours to show.
            Told::Event(_) | Told::UnknownEvent | Told::StillHere => {}
            Told::Elsewhere => follow.elsewhere().await,
            Told::Forgotten => {
                // The message's id is where those begin that are left.
                let left = follow.last_id().map(|id| format!("?from={id}")).unwrap_or_default();
                eprintln!("muster: some events are forgotten by now; what follows are those that are left");
                follow = Follow::new(&caller.client, format!("cluster/events/watch{left}"));
            }
        }
    }
}

pub(super) fn before(now: Timestamp, span: Duration) -> Timestamp {
    Timestamp(now.as_ms().saturating_sub(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
}

/// Writes events as they come, under one header.
struct Writer<'a> {
    caller: &'a Caller,
    has_header: bool,
}

impl Writer<'_> {
    fn write(&mut self, events: &[Event]) -> Result<(), CliError> {
        if events.is_empty() {
            return Ok(());
        }
        let text = match self.caller.output {
            Output::Table | Output::Wide => {
                let text = table::list(self.caller.output, events, &self.caller.screen)?;
                let skipped = usize::from(std::mem::replace(&mut self.has_header, true));
                text.lines().skip(skipped).map(|line| line.to_owned() + "\n").collect()
            }
            // One a line, so that a reader need not know where one ends.
            Output::Json => {
                let line = |event: &Event| serde_json::to_string(event).map(|line| line + "\n");
                events
                    .iter()
                    .map(line)
                    .collect::<Result<String, _>>()
                    .map_err(|error| CliError::failure(format!("cannot write JSON: {error}")))?
            }
            Output::Yaml | Output::Name => table::list(self.caller.output, events, &self.caller.screen)?,
        };
        screen::write(&text)
    }
}
