//! Waiting until what was asked for is so, with progress.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use muster_common::exit::Exit;
use muster_common::instance::InstanceInfo;
use muster_common::operation::{Operation, OperationState, SlotOutcome};
use tokio::time::Instant;

use super::http::Client;
use super::{resolve, screen, words};
use crate::error::CliError;

const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How many lines of an instance's log a failure shows.
const LOG_LINES_SHOWN: usize = 10;

/// One line of progress: a spinner on a terminal, a line for each change in a pipe.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    last: String,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            // A template that does not parse would only cost the style.
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self { bar, last: String::new() }
    }

    /// Says how far it is.
    pub(crate) fn say(&mut self, line: &str) {
        if line == self.last {
            return;
        }
        line.clone_into(&mut self.last);
        match &self.bar {
            Some(bar) => bar.set_message(line.to_owned()),
            None => eprintln!("{line}"),
        }
    }

    /// Ends with a text that stays, its lines ended.
    pub(crate) fn done(mut self, text: &str) -> Result<(), CliError> {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        screen::write(text)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Waits until a service has as many healthy instances as it should, those on executors that are away
/// left aside; fails as soon as it cannot have them.
pub(crate) async fn healthy(
    client: &Client,
    service: &str,
    timeout: Duration,
    progress: &mut Progress,
) -> Result<(), CliError> {
    let deadline = Instant::now() + timeout;
    loop {
        let summary = resolve::service(client, service).await?;
        let (healthy, required) = (summary.healthy_instances, summary.required_instances);
        progress.say(&format!("{service}: {healthy} of {required} healthy"));
        let (away, failed) = (summary.away_instances, summary.failed_instances);
        // What is out of sight cannot be waited for.
        if required > 0 && healthy + away >= required {
            return Ok(());
        }
        if failed > 0 && healthy + away + failed >= required {
            let problems: String =
                summary.problems.iter().map(|problem| format!("\n  - {problem}")).collect();
            let why = why(client, service).await;
            return Err(CliError::failure(format!(
                "{service} has {healthy} of {required} instances healthy, and {failed} are not tried any \
                 more:{problems}{why}\nsee 'muster describe {service}'"
            )));
        }
        if Instant::now() >= deadline {
            return Err(not_healthy(client, service, healthy, required, timeout).await);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Waits until an operation that fills slots is over; when it fails, with why its instances ended.
pub(crate) async fn deployment(
    client: &Client,
    id: &str,
    timeout: Duration,
    progress: &mut Progress,
) -> Result<Operation, CliError> {
    match operation(client, id, timeout, progress).await {
        Ok(operation) => Ok(operation),
        Err(mut error) => {
            if let Ok(operation) = client.operation(id).await {
                error.message.push_str(&why(client, &operation.service.to_string()).await);
            }
            Err(error)
        }
    }
}

/// Waits until an operation is over; its failure is the command's.
pub(crate) async fn operation(
    client: &Client,
    id: &str,
    timeout: Duration,
    progress: &mut Progress,
) -> Result<Operation, CliError> {
    let deadline = Instant::now() + timeout;
    loop {
        let operation = client.operation(id).await?;
        progress.say(&describe(&operation));
        match operation.state {
            OperationState::Succeeded => return Ok(operation),
            OperationState::Failed | OperationState::Cancelled => return Err(failed(&operation)),
            // It may wait for days for somebody's word: that is not waited for here.
            OperationState::Paused => return Err(held(&operation, "resume")),
            OperationState::AwaitingPromotion => return Err(held(&operation, "promote")),
            OperationState::Running | OperationState::RollingBack if Instant::now() >= deadline => {
                return Err(CliError::new(
                    Exit::Timeout,
                    format!(
                        "{} is {} after {}s; it goes on, look again with 'muster ops show {}'",
                        operation.kind,
                        operation.state,
                        timeout.as_secs(),
                        operation.id
                    ),
                ));
            }
            OperationState::Running | OperationState::RollingBack => {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }
    }
}

/// An operation that goes on only when somebody says so, and how to say it.
fn held(operation: &Operation, word: &str) -> CliError {
    CliError::new(
        Exit::Timeout,
        format!(
            "{}; it goes on after 'muster rollout {word} {}', and ends after 'muster ops cancel {}'",
            describe(operation),
            operation.service,
            operation.id
        ),
    )
}

fn describe(operation: &Operation) -> String {
    let count = |outcome| operation.slots.iter().filter(|slot| slot.outcome == outcome).count();
    let away = count(SlotOutcome::Away);
    let away = if away > 0 { format!(", {away} on executors that are away") } else { String::new() };
    let state = match operation.state {
        OperationState::Running | OperationState::Succeeded => String::new(),
        other => format!(" ({other})"),
    };
    format!(
        "{} {}{state}: {} of {} slots done{away}",
        operation.kind,
        operation.service,
        count(SlotOutcome::Done),
        operation.slots.len()
    )
}

fn failed(operation: &Operation) -> CliError {
    let slots: String = operation
        .slots
        .iter()
        .filter(|slot| slot.outcome == SlotOutcome::Failed)
        .map(|slot| format!("\n  - {}: {}", slot.slot, slot.message))
        .collect();
    let word = if operation.state == OperationState::Cancelled { "was cancelled" } else { "failed" };
    CliError::failure(format!(
        "{} of {} {word}: {}{slots}\nsee 'muster describe {}'",
        operation.kind, operation.service, operation.message, operation.service
    ))
}

/// Why a service is not healthy: its newest instances that are not, with what they left behind.
async fn not_healthy(
    client: &Client,
    service: &str,
    healthy: u64,
    required: u64,
    timeout: Duration,
) -> CliError {
    let head = if required == 0 {
        format!("no executor takes {service}; see 'muster get executors'")
    } else {
        format!(
            "only {healthy} of {required} instances of {service} are healthy after {}s",
            timeout.as_secs()
        )
    };
    let why = why(client, service).await;
    CliError::new(Exit::Timeout, format!("{head}{why}\nsee 'muster describe {service}'"))
}

/// The newest instance that ended and the newest that does not run yet, each with what it left behind.
/// What cannot be asked is left out: this only adds to an error.
async fn why(client: &Client, service: &str) -> String {
    let live = resolve::instances(client, service, false).await.unwrap_or_default();
    let old = resolve::instances(client, service, true).await.unwrap_or_default();
    let waiting = live.iter().rfind(|instance| !instance.state.is_running());
    old.last().into_iter().chain(waiting).map(explain).collect()
}

fn explain(instance: &InstanceInfo) -> String {
    let ending = instance.evidence.as_ref().map(words::ending).filter(|ending| !ending.is_empty());
    let ending = ending.map(|ending| format!(" ({ending})")).unwrap_or_default();
    let mut text = format!(
        "\n  {} on {}: {}{ending} {}",
        instance.instance_id, instance.executor_id, instance.state, instance.error_message
    );
    let tail = instance.evidence.as_ref().map_or("", |evidence| evidence.log_tail.as_str());
    let lines: Vec<&str> = tail.lines().collect();
    for line in lines.iter().skip(lines.len().saturating_sub(LOG_LINES_SHOWN)) {
        text.push_str("\n    | ");
        text.push_str(line);
    }
    text
}
