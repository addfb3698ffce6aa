//! Waiting until what was asked for is so, with progress.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use muster_common::exit::Exit;
use muster_common::instance::InstanceInfo;
use muster_common::operation::{Operation, OperationState, SlotOutcome};
use muster_common::reason::Reason;
use muster_common::service::ServiceSummary;
use tokio::time::Instant;

use super::http::{Client, segment};
use super::patience::{deadline, is_over};
use super::{resolve, screen, words};
use crate::error::CliError;

const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Between two looks at what keeps slots from being done.
const TROUBLE_INTERVAL: Duration = Duration::from_secs(1);
/// How long a service may take to be healthy when nobody says how long: no operation gives it a time.
const HEALTHY_WITHIN: Duration = Duration::from_secs(300);
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
    timeout: Option<Duration>,
    progress: &mut Progress,
) -> Result<(), CliError> {
    let timeout = timeout.unwrap_or(HEALTHY_WITHIN);
    let deadline = deadline(Some(timeout));
    loop {
        let summary: ServiceSummary = client.get_patiently(&service_path(service), deadline).await?;
        let (healthy, required) = (summary.healthy_instances, summary.required_instances);
        let trouble = summary.problems.first();
        progress.say(&with_trouble(format!("{service}: {healthy} of {required} healthy"), trouble));
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
        if is_over(deadline) {
            return Err(not_healthy(client, service, healthy, required, timeout).await);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// How a wait for an operation ends that did not fail.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Settled {
    /// It is over, and did what was asked.
    Done(Operation),
    /// Its canaries are through: it waits for somebody's word, which may take days.
    AwaitsPromotion(Operation),
}

impl Settled {
    /// The operation.
    pub(crate) fn operation(&self) -> &Operation {
        match self {
            Self::Done(operation) | Self::AwaitsPromotion(operation) => operation,
        }
    }
}

/// Waits until an operation that fills slots is over, and says what keeps it from that; when it fails, with why its
/// instances ended. Nobody says how long: as long as its own deadline lets it go on.
pub(crate) async fn deployment(
    client: &Client,
    id: &str,
    timeout: Option<Duration>,
    progress: &mut Progress,
) -> Result<Settled, CliError> {
    let deadline = deadline(timeout);
    let (mut trouble, mut looked) = (None, Instant::now());
    loop {
        let operation = client.operation_patiently(id, deadline).await?;
        if looked.elapsed() >= TROUBLE_INTERVAL {
            trouble = first_trouble(client, operation.service.as_str()).await;
            looked = Instant::now();
        }
        progress.say(&with_trouble(describe(&operation), trouble.as_ref()));
        match judge(&operation, is_over(deadline)) {
            None => tokio::time::sleep(POLL_INTERVAL).await,
            Some(Ok(settled)) => return Ok(settled),
            Some(Err(error)) if operation.state == OperationState::Paused => return Err(error),
            Some(Err(mut error)) => {
                error.message.push_str(&why(client, operation.service.as_str()).await);
                return Err(error);
            }
        }
    }
}

/// Waits until an operation is over; its failure is the command's.
pub(crate) async fn operation(
    client: &Client,
    id: &str,
    timeout: Option<Duration>,
    progress: &mut Progress,
) -> Result<Settled, CliError> {
    let deadline = deadline(timeout);
    loop {
        let operation = client.operation_patiently(id, deadline).await?;
        progress.say(&describe(&operation));
        match judge(&operation, is_over(deadline)) {
            None => tokio::time::sleep(POLL_INTERVAL).await,
            Some(end) => return end,
        }
    }
}

/// How the wait for an operation ends; not yet, where it is at work and there is time.
fn judge(operation: &Operation, is_over: bool) -> Option<Result<Settled, CliError>> {
    match operation.state {
        OperationState::Succeeded => Some(Ok(Settled::Done(operation.clone()))),
        OperationState::Failed | OperationState::Cancelled => Some(Err(failed(operation))),
        OperationState::Paused => Some(Err(CliError::new(Exit::Timeout, held(operation, "resume")))),
        OperationState::AwaitingPromotion => Some(Ok(Settled::AwaitsPromotion(operation.clone()))),
        OperationState::Running | OperationState::RollingBack if is_over => {
            let (kind, state, id) = (operation.kind, operation.state, &operation.id);
            let message = format!(
                "{kind} is {state} after the time to wait; it goes on, look again with 'muster ops show {id}'"
            );
            Some(Err(CliError::new(Exit::Timeout, message)))
        }
        OperationState::Running | OperationState::RollingBack => None,
    }
}

/// That an operation waits for a promotion, and how to give it.
pub(crate) fn awaits_promotion(operation: &Operation) -> String {
    held(operation, "promote")
}

/// An operation that goes on only when somebody says so, and how to say it.
fn held(operation: &Operation, word: &str) -> String {
    format!(
        "{}; it goes on after 'muster rollout {word} {}', and ends after 'muster ops cancel {}'",
        describe(operation),
        operation.service,
        operation.id
    )
}

/// What to know of an operation that nobody waits for any more.
pub(crate) fn goes_on(service: &str, id: &str) -> String {
    format!(
        "the operation on {service} was accepted and goes on: see 'muster ops show {id}', end it with 'muster ops cancel {id}'"
    )
}

fn service_path(service: &str) -> String {
    format!("localservices/{}", segment(service))
}

/// The first thing that keeps a service's slots from being as they should. What cannot be asked is left out: this only
/// adds to what is said.
async fn first_trouble(client: &Client, service: &str) -> Option<String> {
    let summary: ServiceSummary = client.get(&service_path(service)).await.ok()?;
    summary.problems.into_iter().next()
}

fn with_trouble(line: String, trouble: Option<&String>) -> String {
    match trouble {
        Some(trouble) => format!("{line}; {trouble}"),
        None => line,
    }
}

fn describe(operation: &Operation) -> String {
    let count = |outcome| operation.slots.iter().filter(|slot| slot.outcome == outcome).count();
    let away = count(SlotOutcome::Away);
    let away = if away > 0 { format!(", {away} on executors that are away") } else { String::new() };
    let state = match operation.state {
        OperationState::Running | OperationState::Succeeded => String::new(),
        other => format!(" ({other})"),
    };
    let slots = match operation.slots.len() {
        0 if operation.state.is_final() => "over".to_owned(),
        0 => "being planned".to_owned(),
        all => format!("{} of {all} slots done{away}", count(SlotOutcome::Done)),
    };
    format!("{} {}{state}: {slots}", operation.kind, operation.service)
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

/// The newest instance that ended by itself and the newest that does not run yet, each with what it left behind.
/// What cannot be asked is left out: this only adds to an error.
async fn why(client: &Client, service: &str) -> String {
    let live = resolve::instances(client, service, false).await.unwrap_or_default();
    let old = resolve::instances(client, service, true).await.unwrap_or_default();
    let waiting = live.iter().rfind(|instance| !instance.state.is_running());
    let ended = old.iter().rfind(|instance| !instance.reason.is_some_and(was_told_to_go));
    ended.into_iter().chain(waiting).map(explain).collect()
}

/// Whether an instance ended because somebody wanted that: it explains no failure.
const fn was_told_to_go(reason: Reason) -> bool {
    match reason {
        Reason::SlotRemoved
        | Reason::Replaced
        | Reason::Draining
        | Reason::Cancelled
        | Reason::ExecutorRemoved => true,
        Reason::InsufficientResources
        | Reason::PortInUse
        | Reason::PortRefused
        | Reason::ProvisioningFailed
        | Reason::StartFailed
        | Reason::ReadinessCheckFailed
        | Reason::HealthCheckFailed
        | Reason::Exited
        | Reason::Signaled
        | Reason::OomKilled
        | Reason::TimedOut
        | Reason::ExecutorRestarted
        | Reason::FoundAgain
        | Reason::NotFound
        | Reason::Rebooted
        | Reason::Orphaned
        | Reason::ExecutorUnreachable
        | Reason::RunnerUnavailable
        | Reason::CopyingLog
        | Reason::CrashLoop => false,
    }
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

#[cfg(test)]
mod tests {
    use axum::Json;
    use axum::routing::get;
    use muster_common::envelope::Envelope;

    use super::*;
    use crate::client::Target;
    use crate::client::samples::{self, serve};

    fn operation_in(state: OperationState) -> Operation {
        Operation { state, ..samples::failed_operation() }
    }

    #[test]
    fn a_wait_ends_as_the_operation_does_and_what_waits_for_a_word_is_not_waited_for() {
        let judged = |state, is_over| judge(&operation_in(state), is_over);
        assert!(matches!(judged(OperationState::Succeeded, true), Some(Ok(Settled::Done(_)))));
        let canaries = judged(OperationState::AwaitingPromotion, true);
        assert!(matches!(canaries, Some(Ok(Settled::AwaitsPromotion(_)))), "as it was asked for");
        assert_eq!(judged(OperationState::Running, false), None);
        assert_eq!(judged(OperationState::RollingBack, false), None);
        for (state, exit, word) in [
            (OperationState::Failed, Exit::Failure, "failed: 1 of 3 slots failed"),
            (OperationState::Cancelled, Exit::Failure, "was cancelled"),
            (OperationState::Paused, Exit::Timeout, "muster rollout resume shipper-2"),
            (OperationState::Running, Exit::Timeout, "it goes on"),
            (OperationState::RollingBack, Exit::Timeout, "it goes on"),
        ] {
            let error = judged(state, true).unwrap().unwrap_err();
            assert!(error.exit == exit && error.message.contains(word), "{state}: {error}");
        }
    }

    #[test]
    fn progress_says_how_many_slots_are_done_and_what_is_in_the_way() {
        let running = operation_in(OperationState::Running);
        let line = describe(&running);
        assert_eq!(line, "UPDATE_SPEC shipper-2: 1 of 3 slots done, 1 on executors that are away");
        let trouble = "executor-2/0 is BACKOFF (EXITED): the process exited with code 3".to_owned();
        assert_eq!(with_trouble(line.clone(), Some(&trouble)), format!("{line}; {trouble}"));
        let planned = |state| describe(&Operation { slots: [].into_iter().collect(), ..operation_in(state) });
        assert_eq!(planned(OperationState::Running), "UPDATE_SPEC shipper-2: being planned");
        assert_eq!(planned(OperationState::Succeeded), "UPDATE_SPEC shipper-2: over");
    }

    /// A cluster with this operation, on a service in trouble, one of whose instances was replaced after another failed.
    async fn cluster(operation: Operation) -> Client {
        let failed = samples::ended_instance();
        let replaced = InstanceInfo {
            instance_id: "SI-replaced".to_owned(),
            reason: Some(Reason::Replaced),
            updated: failed.updated.plus(Duration::from_secs(1)),
            ..failed.clone()
        };
        let service = format!("/apis/v1/localservices/{}", operation.service);
        let router = axum::Router::new()
            .route(
                &format!("/apis/v1/localservices/operations/{}", operation.id),
                get(async move || Json(Envelope::success(operation))),
            )
            .route(&service, get(async || Json(Envelope::success(samples::troubled_service()))))
            .route(&format!("{service}/instances"), get(async || Json(Envelope::success([(); 0]))))
            .route(
                &format!("{service}/instances/old"),
                get(async move || Json(Envelope::success([failed, replaced]))),
            );
        Client::new(Target { servers: vec![serve(router).await], token: None }).unwrap()
    }

    #[tokio::test]
    async fn a_failure_is_explained_by_what_failed_and_not_by_what_was_replaced() {
        let failed = operation_in(OperationState::Failed);
        let client = cluster(failed.clone()).await;
        let wait = deployment(&client, failed.id.as_str(), None, &mut Progress::new()).await;
        let error = wait.unwrap_err();
        assert!(
            error.message.contains("SI-deadbeef") && error.message.contains("no route to host"),
            "{error}"
        );
        assert!(!error.message.contains("SI-replaced"), "{error}");
        let canaries = operation_in(OperationState::AwaitingPromotion);
        let client = cluster(canaries.clone()).await;
        let end = deployment(&client, canaries.id.as_str(), None, &mut Progress::new()).await;
        assert_eq!(end.unwrap(), Settled::AwaitsPromotion(canaries));
    }

    #[tokio::test]
    async fn what_is_in_the_way_is_the_first_of_a_services_problems() {
        let client = cluster(operation_in(OperationState::Running)).await;
        let trouble = first_trouble(&client, "shipper-2").await;
        assert_eq!(trouble.as_ref(), samples::troubled_service().problems.first());
        assert!(trouble.is_some());
    }
}
