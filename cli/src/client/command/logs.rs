//! `muster logs`: what instances wrote, and what they write.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use muster_common::duration::DroveDuration;
use muster_common::event::{Event, EventType};
use muster_common::exit::Exit;
use muster_common::instance::{InstanceInfo, InstanceState};
use muster_common::service::ServiceSummary;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Caller;
use super::events::before;
use super::watch::{self, sort};
use crate::client::follow::Follow;
use crate::client::http::{Client, segment};
use crate::client::log_lines::{Lines, LogMessage, Source};
use crate::client::words::counted;
use crate::client::{resolve, screen};
use crate::error::CliError;

/// How many instances are followed at once.
const MAX_FOLLOWED: usize = 64;
/// How many messages wait to be written; who reads them from the cluster waits while it is full.
const QUEUE: usize = 64;
/// How long controllers are tried before it is said that a log cannot be read.
const PATIENCE: Duration = Duration::from_secs(3);
/// Then it is tried again so often, for as long as somebody follows.
const RETRY: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// A service, or an instance; a unique prefix of an id is enough.
    name: String,
    /// Go on with what is written, also over restarts of executors and controllers.
    #[arg(short, long)]
    follow: bool,
    /// At most so many of the last lines of each instance.
    #[arg(long, value_name = "LINES", default_value_t = 100, conflicts_with = "since")]
    tail: u64,
    /// What was written in the last so long, such as 10m.
    #[arg(long, value_name = "DURATION")]
    since: Option<DroveDuration>,
    /// Of the instance that was there before, in the same slot; of a service the one that ended last.
    #[arg(short, long, conflicts_with = "follow")]
    previous: bool,
}

pub(crate) async fn logs(caller: &Caller, args: &LogsArgs) -> Result<(), CliError> {
    let query = match args.since {
        Some(span) => format!("since={}", before(caller.screen.now, span.as_duration()).as_ms()),
        None => format!("tail={}", args.tail),
    };
    match named(&caller.client, &args.name).await? {
        Of::Instance(instance) if args.previous => {
            let older = previous_in_slot(&caller.client, &instance).await?;
            print(&caller.client, &older, &query).await
        }
        Of::Service(service) if args.previous => {
            let last = resolve::instances(&caller.client, &service.id, true).await?.pop();
            let last = last.ok_or_else(|| {
                CliError::new(
                    Exit::NotFound,
                    format!("no instance of {} has ended that is still known", service.id),
                )
            })?;
            eprintln!("muster: the log of {}, which ended last", last.instance_id);
            print(&caller.client, &last, &query).await
        }
        Of::Instance(instance) if args.follow => follow_one(&caller.client, &instance, &query).await,
        Of::Instance(instance) => print(&caller.client, &instance, &query).await,
        Of::Service(service) if args.follow => follow_service(caller, &service, &query).await,
        Of::Service(service) => print_service(caller, &service, &query).await,
    }
}

/// Whose log is asked for.
enum Of {
    Service(Box<ServiceSummary>),
    Instance(Box<InstanceInfo>),
}

async fn named(client: &Client, name: &str) -> Result<Of, CliError> {
    match resolve::service(client, name).await {
        Ok(service) => Ok(Of::Service(service.into())),
        Err(missing) if missing.exit == Exit::NotFound => match resolve::instance(client, name).await {
            Err(error) if error.exit == Exit::NotFound => Err(missing),
            found => found.map(|instance| Of::Instance(instance.into())),
        },
        Err(error) => Err(error),
    }
}

/// The newest that ended in its slot before it was there.
async fn previous_in_slot(client: &Client, instance: &InstanceInfo) -> Result<InstanceInfo, CliError> {
    let old = resolve::instances(client, &instance.service_id, true).await?;
    let is_before = |older: &InstanceInfo| {
        (&older.executor_id, older.slot_index) == (&instance.executor_id, instance.slot_index)
            && older.created < instance.created
    };
    old.into_iter().filter(is_before).max_by_key(|older| older.created).ok_or_else(|| {
        CliError::new(
            Exit::NotFound,
            format!(
                "nothing is known of an instance before {} in slot {} of {}",
                instance.instance_id, instance.slot_index, instance.executor_id
            ),
        )
    })
}

fn path(instance: &InstanceInfo) -> String {
    format!(
        "localservices/{}/instances/{}/logs",
        segment(&instance.service_id),
        segment(&instance.instance_id)
    )
}

/// What there is, as it is.
async fn print(client: &Client, instance: &InstanceInfo, query: &str) -> Result<(), CliError> {
    let path = format!("{}?{query}&follow=false", path(instance));
    let mut failure = None;
    let read = client.stream(&path, |bytes| {
        screen::write_bytes(bytes).map_err(|error| {
            failure = Some(error);
            std::io::Error::other("nobody reads any more")
        })
    });
    let read = read.await;
    failure.map_or(read, Err)
}

/// What there is of all instances, one after the other as they come.
async fn print_service(caller: &Caller, service: &ServiceSummary, query: &str) -> Result<(), CliError> {
    let path = format!("localservices/{}/logs?{query}&follow=false", segment(&service.id));
    let mut follow = Follow::new(&caller.client, path);
    let mut writer = Writer::new(caller);
    loop {
        let Some(message) = follow.next_of_one_connection().await? else {
            return Err(CliError::failure(format!("the logs of {} broke off before their end", service.id)));
        };
        let data = LogMessage::of(&message);
        match (message.event.as_str(), data.source()) {
            ("end" | "unavailable", None) => return writer.verdict(),
            (_, Some(source)) => writer.take(&source, &message.event, &data)?,
            (_, None) => {}
        }
    }
}

/// One instance to its end.
async fn follow_one(client: &Client, instance: &InstanceInfo, query: &str) -> Result<(), CliError> {
    let (sender, mut messages) = mpsc::channel(QUEUE);
    let reader = tokio::spawn(read(client.clone(), instance.clone(), query.to_owned(), sender));
    while let Some((_, event, data)) = messages.recv().await {
        note(&instance.executor_id, &data);
        if event == "lines" {
            screen::write(&data.text)?;
        }
    }
    reader.await.unwrap_or_else(|error| Err(CliError::failure(format!("reading the log ended: {error}"))))
}

/// All instances of a service, those included that come.
async fn follow_service(caller: &Caller, service: &ServiceSummary, query: &str) -> Result<(), CliError> {
    let client = &caller.client;
    let mut events = Follow::new(client, "cluster/events/watch".to_owned());
    // First this, then the list: who comes in between is told.
    events.open().await?;
    let (sender, mut messages) = mpsc::channel(QUEUE);
    let (arrived, mut arrivals) = mpsc::channel(1);
    let mut followed = Followed { readers: JoinSet::new(), known: BTreeSet::new(), sender };
    followed.add(client, resolve::instances(client, &service.id, false).await?, query);
    let watcher = tokio::spawn(arrivals_of(events, client.clone(), service.id.clone(), arrived));
    let mut writer = Writer::new(caller);
    loop {
        tokio::select! {
            Some((source, event, data)) = messages.recv() => writer.take(&source, &event, &data)?,
            // Of one that is new everything is.
            Some(instances) = arrivals.recv() => followed.add(client, instances, "since=0"),
            Some(Ok(Err(error))) = followed.readers.join_next() => eprintln!("muster: {error}"),
            else => break,
        }
    }
    watcher
        .await
        .unwrap_or_else(|error| Err(CliError::failure(format!("watching the service ended: {error}"))))
}

/// Tells all instances of a service whenever some of them may be new, for as long as somebody listens.
async fn arrivals_of(
    mut events: Follow,
    client: Client,
    service: String,
    arrived: mpsc::Sender<Vec<InstanceInfo>>,
) -> Result<(), CliError> {
    loop {
        match sort(&events.next().await?) {
            watch::Told::Event(event) if is_arrival(&event, &service) => {}
            watch::Told::Event(_) | watch::Told::StillHere => continue,
            watch::Told::Elsewhere => {
                events.elsewhere().await;
                continue;
            }
            watch::Told::Forgotten => {
                events.begin_anew();
                events.open().await?;
            }
        }
        if arrived.send(resolve::instances(&client, &service, false).await?).await.is_err() {
            return Ok(());
        }
    }
}

/// Whether an instance of the service has come to have a log.
fn is_arrival(event: &Event, service: &str) -> bool {
    let text = |name| event.metadata.get(name).and_then(Value::as_str);
    let begins = [InstanceState::Starting, InstanceState::Unready].map(InstanceState::as_str);
    event.kind == EventType::LocalServiceInstanceStateChange
        && text("SERVICE_ID") == Some(service)
        && text("CURRENT_STATE").is_some_and(|state| begins.contains(&state))
}

type Sent = (Source, String, LogMessage);

/// Who is followed.
struct Followed {
    readers: JoinSet<Result<(), CliError>>,
    known: BTreeSet<String>,
    sender: mpsc::Sender<Sent>,
}

impl Followed {
    fn add(&mut self, client: &Client, instances: Vec<InstanceInfo>, query: &str) {
        for instance in instances {
            if !self.known.insert(instance.instance_id.clone()) {
                continue;
            }
            if self.readers.len() >= MAX_FOLLOWED {
                eprintln!(
                    "muster: {MAX_FOLLOWED} instances are followed already; follow {} by its id",
                    instance.instance_id
                );
                continue;
            }
            let (query, sender) = (query.to_owned(), self.sender.clone());
            self.readers.spawn(read(client.clone(), instance, query, sender));
        }
    }
}

/// Follows one instance's log to its end, wherever it can be read: each message once. Where it cannot be read for a while,
/// that is told once.
async fn read(
    client: Client,
    instance: InstanceInfo,
    query: String,
    sender: mpsc::Sender<Sent>,
) -> Result<(), CliError> {
    let source = Source { instance: instance.instance_id.clone(), executor: instance.executor_id.clone() };
    let mut follow = Follow::patient(&client, format!("{}?{query}&follow=true", path(&instance)), PATIENCE);
    let mut told = String::new();
    loop {
        let (event, data) = match follow.next().await {
            Ok(message) => (message.event.clone(), LogMessage::of(&message)),
            Err(error) if error.is_passing() => {
                ("unavailable".to_owned(), LogMessage { message: error.message, ..LogMessage::default() })
            }
            Err(error) => return Err(error),
        };
        let is_over = event == "end";
        if event == "unavailable" {
            let is_news = told != data.message;
            told.clone_from(&data.message);
            if is_news && sender.send((source.clone(), event, data)).await.is_err() {
                return Ok(());
            }
            sleep(RETRY).await;
            follow.elsewhere().await;
            continue;
        }
        told.clear();
        if sender.send((source.clone(), event, data)).await.is_err() || is_over {
            return Ok(());
        }
    }
}

/// Says what is the matter, beside the log.
fn note(executor: &str, data: &LogMessage) {
    if data.gap {
        eprintln!("muster: some of what was written before is not kept any more");
    }
    for trouble in [&data.trouble, &data.message] {
        if !trouble.is_empty() {
            eprintln!("muster: {executor}: {trouble}");
        }
    }
}

/// Writes lines of several instances, and remembers which could not be read.
struct Writer {
    lines: Lines,
    unread: BTreeSet<Source>,
}

impl Writer {
    fn new(caller: &Caller) -> Self {
        Self { lines: Lines::new(caller.screen), unread: BTreeSet::new() }
    }

    fn take(&mut self, source: &Source, event: &str, data: &LogMessage) -> Result<(), CliError> {
        note(&source.executor, data);
        match event {
            "lines" => screen::write(&self.lines.add(source, &data.text)),
            "end" => screen::write(&self.lines.finish(source)),
            "unavailable" => {
                self.unread.insert(source.clone());
                Ok(())
            }
            _ => Ok(()), // what later versions say
        }
    }

    fn verdict(&self) -> Result<(), CliError> {
        if self.unread.is_empty() {
            return Ok(());
        }
        let which: Vec<&str> = self.unread.iter().map(|source| source.instance.as_str()).collect();
        let message = format!(
            "{} could not be read, as was said above: {}",
            counted(which.len(), "instance"),
            which.join(", ")
        );
        Err(CliError::failure(message))
    }
}
