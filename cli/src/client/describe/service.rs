//! A service in full.

use muster_common::event::Event;
use muster_common::instance::{InstanceInfo, InstanceState};
use muster_common::operation::OperationSummary;
use muster_common::service::{ActivationState, ServiceSummary};

use super::page::Page;
use super::reason::because;
use crate::client::columns::{Ended, progress};
use crate::client::screen::{Screen, Tone};
use crate::client::table::table;
use crate::client::words::{age, counted, ending, tone_of_service};

/// What is known of a service.
pub(crate) struct ServiceFacts {
    pub(crate) service: ServiceSummary,
    pub(crate) live: Vec<InstanceInfo>,
    /// Some that ended, newest last.
    pub(crate) ended: Vec<Ended>,
    /// Newest first; those at work before all others.
    pub(crate) operations: Vec<OperationSummary>,
    /// Oldest first.
    pub(crate) events: Vec<Event>,
}

pub(crate) fn service(facts: &ServiceFacts, screen: &Screen) -> String {
    let service = &facts.service;
    let mut page = Page::new(screen);
    page.field("Service", &service.id);
    page.toned(
        "State",
        tone_of_service(service.state),
        format!("{} (wanted: {})", service.state, service.activation_state),
    );
    page.field(
        "Healthy",
        format!(
            "{} of {}, {} on each executor",
            service.healthy_instances, service.required_instances, service.instances_per_host
        ),
    );
    page.field("Generation", service.generation.to_string());
    let tags: Vec<String> = service.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    page.field("Tags", tags.join(", "));
    page.field(
        "Age",
        format!("{}, changed {} ago", age(service.created, screen), age(service.updated, screen)),
    );
    page.paragraph(&why(facts));
    let problems: String =
        service.problems.iter().map(|problem| format!("  {}\n", screen.paint(Tone::Bad, problem))).collect();
    page.section("Problems", &problems);
    page.section("Instances", &table(&facts.live, false, screen));
    if !facts.ended.is_empty() {
        page.section("Ended (newest last)", &table(&facts.ended, false, screen));
    }
    if !facts.operations.is_empty() {
        page.section("Operations (newest first)", &table(&facts.operations, false, screen));
    }
    if !facts.events.is_empty() {
        page.section("Events (newest last)", &table(&facts.events, false, screen));
    }
    page.next(&next(facts))
}

fn why(facts: &ServiceFacts) -> Vec<String> {
    let service = &facts.service;
    let (healthy, required) = (service.healthy_instances, service.required_instances);
    let mut sentences = Vec::new();
    match service.activation_state {
        ActivationState::Inactive => sentences.push("It is deactivated: nothing of it is to run.".to_owned()),
        ActivationState::ConfigTesting => {
            sentences.push("One test instance of it is to run, on one executor.".to_owned());
        }
        ActivationState::Active if required == 0 => {
            sentences.push("It is active, but no executor takes it.".to_owned());
        }
        ActivationState::Active if healthy >= required => {
            sentences.push(format!("All is well: {healthy} of {required} instances are healthy."));
        }
        ActivationState::Active => {
            sentences
                .push(format!("{} of {required} instances are missing or not healthy.", required - healthy));
        }
    }
    if let Some(at_work) = facts.operations.first().filter(|newest| !newest.operation.state.is_final()) {
        let operation = &at_work.operation;
        sentences.push(format!(
            "{} is at work on it ({}): {}.",
            operation.kind,
            operation.state,
            progress(at_work)
        ));
    }
    if service.away_instances > 0 {
        sentences.push(format!("{} of them belong on executors that are away.", service.away_instances));
    }
    if service.failed_instances > 0 {
        let slots = counted(usize::try_from(service.failed_instances).unwrap_or(usize::MAX), "slot");
        sentences.push(format!("Nothing is tried any more in {slots} until somebody says so."));
    }
    if healthy < required
        && let Some(last) = facts.ended.last().map(|ended| &ended.0)
    {
        sentences.push(last_end(last));
    }
    sentences
}

fn last_end(last: &InstanceInfo) -> String {
    let reason = last.reason.map_or("It is not known why", because);
    let ending = last.evidence.as_ref().map(ending).filter(|ending| !ending.is_empty());
    let ending = ending.map(|ending| format!(" ({ending})")).unwrap_or_default();
    format!("The last one that ended was {} on {}: {reason}{ending}.", last.instance_id, last.executor_id)
}

fn next(facts: &ServiceFacts) -> Vec<(String, &'static str)> {
    let service = &facts.service;
    let id = &service.id;
    let mut next = Vec::new();
    let is_short = service.healthy_instances < service.required_instances;
    if is_short {
        if let Some(last) = facts.ended.last() {
            next.push((format!("muster describe {}", last.0.instance_id), "why the last one ended"));
        }
        if let Some(waiting) = facts.live.iter().find(|instance| instance.state != InstanceState::Healthy) {
            next.push((format!("muster describe {}", waiting.instance_id), "what this one waits for"));
        }
        next.push((format!("muster placement {id}"), "why not on which executor"));
    }
    if service.failed_instances > 0 {
        next.push((format!("muster retry {id}"), "try the slots that gave up again"));
    }
    if let Some(at_work) = facts.operations.first().filter(|newest| !newest.operation.state.is_final()) {
        next.push((format!("muster ops show {}", at_work.operation.id), "which slot it is at"));
        next.push((format!("muster ops cancel {}", at_work.operation.id), "end it"));
    }
    match service.activation_state {
        ActivationState::Inactive => {
            next.push((format!("muster activate {id}"), "run it"));
            next.push((format!("muster destroy {id}"), "remove it"));
        }
        ActivationState::Active | ActivationState::ConfigTesting => {
            next.push((format!("muster health {id} --checks"), "what its last checks said"));
            if service.healthy_instances == 0 && !facts.ended.is_empty() {
                next.push((format!("muster logs {id} --previous"), "what the last one wrote"));
            } else {
                next.push((format!("muster logs {id} -f"), "what it writes"));
            }
            next.push((format!("muster events --for {id}"), "what happened to it"));
        }
    }
    next
}
