//! `muster logs`: what instances wrote, and what they write.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use muster_common::duration::DroveDuration;
use muster_common::exit::Exit;
use muster_common::instance::InstanceInfo;
use muster_common::log_stream::{LogEvent, LogLines, LogMessage, LogSource};
use muster_common::service::ServiceSummary;
use tokio::time::sleep;

use super::Caller;
use super::events::before;
use crate::client::follow::Follow;
use crate::client::http::{Client, segment};
use crate::client::log_lines::{Lines, understood};
use crate::client::words::counted;
use crate::client::{resolve, screen};
use crate::error::CliError;

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
    let mut follow = Follow::new(&caller.client, path.clone());
    let mut writer = Writer::new(caller);
    loop {
        let Some(message) = follow.next_of_one_connection().await? else {
            return Err(CliError::failure(format!("the logs of {} broke off before their end", service.id)));
        };
        let Some(LogMessage { source, event }) = understood(&path, &message)? else { continue };
        match (source, event) {
            (Some(source), event) => writer.take(&source, &event)?,
            (None, LogEvent::End | LogEvent::Unavailable(_)) => return writer.verdict(),
            (None, LogEvent::Lines(_)) => {}
        }
    }
}

/// One instance to its end, wherever its log can be read: each message once. Where it cannot be read for a while, that is
/// told once.
async fn follow_one(client: &Client, instance: &InstanceInfo, query: &str) -> Result<(), CliError> {
    let path = format!("{}?{query}&follow=true", path(instance));
    let mut follow = Follow::patient(client, path.clone(), PATIENCE);
    let mut told = None;
    loop {
        let event = match follow.next().await {
            Ok(message) => understood(&path, &message)?.map(|message| message.event),
            Err(error) if error.is_passing() => Some(LogEvent::Unavailable(error.message)),
            Err(error) => return Err(error),
        };
        let Some(event) = event else { continue };
        if told.as_ref() != Some(&event) {
            note(&instance.executor_id, &event);
        }
        match &event {
            LogEvent::Lines(lines) => screen::write(&lines.text)?,
            LogEvent::End => return Ok(()),
            LogEvent::Unavailable(_) => {
                sleep(RETRY).await;
                follow.elsewhere().await;
            }
        }
        told = Some(event).filter(|event| matches!(event, LogEvent::Unavailable(_)));
    }
}

/// All instances of a service, those included that come.
async fn follow_service(caller: &Caller, service: &ServiceSummary, query: &str) -> Result<(), CliError> {
    let path = format!("localservices/{}/logs?{query}&follow=true", segment(&service.id));
    let mut follow = Follow::new(&caller.client, path.clone());
    let mut writer = Writer::new(caller);
    loop {
        let message = follow.next().await?;
        let Some(LogMessage { source, event }) = understood(&path, &message)? else { continue };
        match (source, event) {
            (Some(source), event) => writer.take(&source, &event)?,
            // Its controller is stopping.
            (None, LogEvent::Unavailable(_)) => follow.elsewhere().await,
            (None, LogEvent::End) => return Ok(()),
            (None, LogEvent::Lines(_)) => {}
        }
    }
}

/// Says what is the matter, beside the log.
fn note(executor: &str, event: &LogEvent) {
    match event {
        LogEvent::Lines(LogLines { is_after_gap, trouble, .. }) => {
            if *is_after_gap {
                eprintln!("muster: some of what was written before is not kept any more");
            }
            if !trouble.is_empty() {
                eprintln!("muster: {executor}: {trouble}");
            }
        }
        LogEvent::End => {}
        LogEvent::Unavailable(why) => eprintln!("muster: {executor}: {why}"),
    }
}

/// Writes lines of several instances, and remembers which could not be read.
struct Writer {
    lines: Lines,
    unread: BTreeSet<LogSource>,
}

impl Writer {
    fn new(caller: &Caller) -> Self {
        Self { lines: Lines::new(caller.screen), unread: BTreeSet::new() }
    }

    fn take(&mut self, source: &LogSource, event: &LogEvent) -> Result<(), CliError> {
        note(&source.executor_id, event);
        match event {
            LogEvent::Lines(lines) => screen::write(&self.lines.add(source, &lines.text)),
            LogEvent::End => screen::write(&self.lines.finish(source)),
            LogEvent::Unavailable(_) => {
                self.unread.insert(source.clone());
                Ok(())
            }
        }
    }

    fn verdict(&self) -> Result<(), CliError> {
        if self.unread.is_empty() {
            return Ok(());
        }
        let which: Vec<&str> = self.unread.iter().map(|source| source.instance_id.as_str()).collect();
        let message = format!(
            "{} could not be read, as was said above: {}",
            counted(which.len(), "instance"),
            which.join(", ")
        );
        Err(CliError::failure(message))
    }
}
