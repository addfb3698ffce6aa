//! An instance in full.

use std::fmt::Write as _;

use muster_common::event::Event;
use muster_common::evidence::Repeats;
use muster_common::instance::{InstanceInfo, InstanceState, ResourceAllocation};

use super::page::Page;
use super::reason::because;
use crate::client::command::probes;
use crate::client::screen::{Screen, Tone};
use crate::client::table::{printable, table};
use crate::client::words::{age, ending, ports, span, tone_of_error, tone_of_instance};

pub(crate) fn instance(instance: &InstanceInfo, events: &[Event], screen: &Screen) -> String {
    let mut page = Page::new(screen);
    page.field("Instance", &instance.instance_id);
    page.field("Service", format!("{} (generation {})", instance.service_id, instance.generation));
    page.field(
        "Executor",
        format!("{} slot {} epoch {}", instance.executor_id, instance.slot_index, instance.epoch),
    );
    page.field("Runner", instance.runner.as_str());
    page.toned("State", tone_of_instance(instance.state), instance.state.as_str());
    page.field("Reason", instance.reason.map_or("", |reason| reason.as_str()));
    page.toned("Error", tone_of_error(instance.reason), &instance.error_message);
    for warning in &instance.warnings {
        page.toned("Warning", Tone::Busy, warning);
    }
    page.field("Ports", ports(instance));
    page.field("Resources", resources(instance));
    page.field("Ended", instance.evidence.as_ref().map(ending).unwrap_or_default());
    page.field("Age", age(instance.created, screen));
    page.paragraph(&why(instance));
    page.section("Timeline", &timeline(instance, screen));
    if !instance.probes.is_empty() {
        page.section("Checks (newest last)", &probes(&instance.probes, screen));
    }
    if !events.is_empty() {
        page.section("Events (newest last)", &table(events, false, screen));
    }
    let log = instance.evidence.as_ref().map(|evidence| evidence.log_tail.trim_end()).unwrap_or_default();
    let log: String = log.lines().map(|line| format!("  | {}\n", printable(line))).collect();
    page.section("End of its log", &log);
    page.next(&next(instance))
}

/// Why it is in its state, and how it came to its end.
fn why(instance: &InstanceInfo) -> Vec<String> {
    let mut sentences = vec![state(instance.state).to_owned()];
    let ended = instance.evidence.as_ref().map(ending).filter(|ending| !ending.is_empty());
    let ran = match (instance.started_at, instance.finished_at) {
        (Some(started), Some(finished)) => {
            format!(", after it had run for {}", span(finished.since(started)))
        }
        (None | Some(_), None | Some(_)) => String::new(),
    };
    match (instance.reason, ended) {
        (Some(reason), Some(ended)) => sentences.push(format!("{}: {ended}{ran}.", because(reason))),
        (Some(reason), None) => sentences.push(format!("{}.", because(reason))),
        (None, Some(ended)) => sentences.push(format!("Its process ended with {ended}{ran}.")),
        (None, None) => {}
    }
    let failed = instance.probes.iter().rev().take_while(|probe| !probe.passed).count();
    if failed > 0
        && let Some(last) = instance.probes.last()
    {
        let answer = last.answer.lines().next().unwrap_or_default();
        let said = if answer.is_empty() { String::new() } else { format!(", the last one with: {answer}") };
        sentences
            .push(format!("Its last {failed} {} checks failed{said}.", last.kind.as_str().to_lowercase()));
    }
    sentences
}

const fn state(state: InstanceState) -> &'static str {
    match state {
        InstanceState::Pending => "It waits for ports, cores and memory on its node.",
        InstanceState::Provisioning => "What it runs is being fetched.",
        InstanceState::ProvisioningFailed => "What it runs could not be fetched; its slot tries again.",
        InstanceState::Starting => "It is being created and started.",
        InstanceState::StartFailed => "It could not be started; its slot tries again.",
        InstanceState::Unready => "It runs, and its readiness check has not passed yet.",
        InstanceState::ReadinessCheckFailed => "It never became ready, and is being taken away.",
        InstanceState::Ready => "It is ready, and its health check has not passed yet.",
        InstanceState::Healthy => "It runs and passes its health check.",
        InstanceState::Unhealthy => "It runs and fails its health check; it is about to be replaced.",
        InstanceState::Deprovisioning => "It is over; what it held is being given back.",
        InstanceState::Stopping => "It is on its way down: hooks first, then the stop signal.",
        InstanceState::Stopped => "It is over.",
        InstanceState::Lost => "It is gone, and nobody saw how.",
        InstanceState::Unknown => "Nobody knows at the moment whether it runs.",
    }
}

fn resources(instance: &InstanceInfo) -> String {
    let one = |resource: &ResourceAllocation| match resource {
        ResourceAllocation::Cpu { cores } => {
            let cores: Vec<String> = cores.values().flatten().map(ToString::to_string).collect();
            if cores.is_empty() {
                "a share of the cores".to_owned()
            } else {
                format!("cores {}", cores.join(","))
            }
        }
        ResourceAllocation::Memory { memory_in_mb } => format!("{} MB", memory_in_mb.values().sum::<u64>()),
    };
    instance.resources.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn timeline(instance: &InstanceInfo, screen: &Screen) -> String {
    let mut text = String::new();
    for step in &instance.timeline {
        let after = step.at.since(instance.created).as_secs_f64();
        let reason = step.reason.map(|reason| format!("  {reason}")).unwrap_or_default();
        let message =
            if step.message.is_empty() { String::new() } else { format!("  {}", printable(&step.message)) };
        let again = step.repeats.map(|Repeats { times, last }| {
            format!("  {times} times, last +{:.3}s", last.since(instance.created).as_secs_f64())
        });
        let again = again.unwrap_or_default();
        let to = screen.paint(tone_of_instance(step.to), step.to.as_str());
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  +{after:>8.3}s  {:<24} -> {to}{reason}{again}{message}", step.from);
    }
    text
}

fn next(instance: &InstanceInfo) -> Vec<(String, &'static str)> {
    let (id, service) = (&instance.instance_id, &instance.service_id);
    let mut next = Vec::new();
    match instance.state {
        InstanceState::Healthy => {
            next.push((format!("muster replace {id}"), "start another one in its place"));
        }
        InstanceState::Pending | InstanceState::Unknown => {
            next.push((format!("muster describe {}", instance.executor_id), "how its node is"));
        }
        InstanceState::Provisioning
        | InstanceState::Starting
        | InstanceState::Unready
        | InstanceState::Ready
        | InstanceState::Unhealthy => {
            next.push((format!("muster health {id} --checks"), "what its last checks said"));
        }
        InstanceState::ProvisioningFailed
        | InstanceState::StartFailed
        | InstanceState::ReadinessCheckFailed
        | InstanceState::Deprovisioning
        | InstanceState::Stopping
        | InstanceState::Stopped
        | InstanceState::Lost => {
            next.push((format!("muster get instances {service}"), "what runs in its place"));
            next.push((format!("muster get instances {service} --old"), "whether others ended like it"));
        }
    }
    next.push((format!("muster logs {id}"), "what it wrote"));
    next.push((format!("muster describe {service}"), "how its service is"));
    next
}
