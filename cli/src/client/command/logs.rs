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
use crate::client::resolve::{self, ServiceOrInstance};
use crate::client::screen;
use crate::client::words::counted;
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
    use ServiceOrInstance as Of;
    let query = match args.since {
        Some(span) => format!("since={}", before(caller.screen.now, span.as_duration()).as_ms()),
        None => format!("tail={}", args.tail),
    };
    match resolve::service_or_instance(&caller.client, &args.name).await? {
        Of::Instance(instance) if args.previous => {
            let older = previous_in_slot(&caller.client, &instance).await?;
            print(&caller.client, &older, &query).await
        }
        Of::Service(service) if args.previous => print_last(&caller.client, &service.id, &query).await,
        Of::Destroyed(id) if args.previous => print_last(&caller.client, &id, &query).await,
        Of::Destroyed(id) => Err(resolve::gone(&id)),
        Of::Instance(instance) if args.follow => follow_one(&caller.client, &instance, &query).await,
        Of::Instance(instance) => print(&caller.client, &instance, &query).await,
        Of::Service(service) => {
            if let Some(note) = silence(&caller.client, &service.id).await? {
                eprintln!("muster: {note}");
            }
            if args.follow {
                follow_service(caller, &service, &query).await
            } else {
                print_service(caller, &service.id, &query).await
            }
        }
    }
}

/// What to know of a service of which nothing lives that could have written anything.
async fn silence(client: &Client, service: &str) -> Result<Option<String>, CliError> {
    if !resolve::instances(client, service, false).await?.is_empty() {
        return Ok(None);
    }
    let has_past = !resolve::instances(client, service, true).await?.is_empty();
    let past = if has_past {
        format!("; what the last one wrote: 'muster logs {service} --previous'")
    } else {
        ", and none has ended that is still known".to_owned()
    };
    Ok(Some(format!("no instance of {service} is live{past}")))
}

/// The log of the instance that ended last.
async fn print_last(client: &Client, service: &str, query: &str) -> Result<(), CliError> {
    let last = resolve::instances(client, service, true).await?.pop().ok_or_else(|| {
        CliError::new(Exit::NotFound, format!("no instance of {service} has ended that is still known"))
    })?;
    eprintln!("muster: the log of {}, which ended last", last.instance_id);
    print(client, &last, query).await
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
async fn print_service(caller: &Caller, service: &str, query: &str) -> Result<(), CliError> {
    let path = format!("localservices/{}/logs?{query}&follow=false", segment(service));
    let mut follow = Follow::new(&caller.client, path.clone());
    let mut writer = Writer::new(caller);
    loop {
        let Some(message) = follow.next_of_one_connection().await? else {
            return Err(CliError::failure(format!("the logs of {service} broke off before their end")));
        };
        let Some(LogMessage { source, event }) = understood(&path, &message)? else { continue };
        match (source, event) {
            (Some(source), event) => writer.take(&source, &event)?,
            (None, LogEvent::End) => return writer.verdict(),
            (None, LogEvent::Unavailable(why)) => {
                return Err(CliError::failure(format!(
                    "the logs of {service} broke off before their end: {why}"
                )));
            }
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
            // Its controller is stopping. What is followed has no end of its own.
            (None, LogEvent::Unavailable(_) | LogEvent::End) => follow.elsewhere().await,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Output;
    use crate::client::screen::{ColorChoice, Screen};
    use crate::client::target::Target;

    /// What comes of printing the logs of a service whose controller says `events`, and no more.
    async fn printed(events: &'static str) -> Result<(), CliError> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let answer = async move || ([("content-type", "text/event-stream")], events);
        let path = "/apis/v1/localservices/web-1/logs";
        let router = axum::Router::new().route(path, axum::routing::get(answer));
        let serve = tokio::spawn(async move { axum::serve(listener, router).await });
        let client = Client::new(Target { servers: vec![server], token: None }).unwrap();
        let screen = Screen::of_stdout(ColorChoice::Never);
        let caller = Caller { client, output: Output::Table, screen };
        let read = print_service(&caller, "web-1", "tail=1").await;
        serve.abort();
        read
    }

    #[tokio::test]
    async fn logs_that_break_off_are_an_error_and_say_why() {
        let source = r#""instanceId":"SI-1","executorId":"e1","hostname":"h1""#;
        let leak = |events: String| -> &'static str { events.leak() };
        let lines = format!("event: lines\ndata: {{{source},\"text\":\"\"}}\n\n");
        let whole = leak(format!("{lines}event: end\ndata: {{{source}}}\n\nevent: end\ndata: {{}}\n\n"));
        printed(whole).await.unwrap();
        let stopping =
            leak(format!("{lines}event: unavailable\ndata: {{\"message\":\"it is stopping\"}}\n\n"));
        let error = printed(stopping).await.unwrap_err();
        assert!(error.message.ends_with("broke off before their end: it is stopping"), "{error}");
        let error = printed(leak(lines.clone())).await.unwrap_err();
        assert!(error.message.ends_with("broke off before their end"), "{error}");
        // Those that could not be read are an error though others could.
        let away = format!("event: unavailable\ndata: {{{source},\"message\":\"it is away\"}}\n\n");
        let error = printed(leak(format!("{away}event: end\ndata: {{}}\n\n"))).await.unwrap_err();
        assert!(error.message.contains("SI-1"), "{error}");
    }
}
