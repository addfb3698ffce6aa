//! `muster describe`: all that is known of one thing, why it is in its state, and what to try next.

use std::fmt::Write as _;
use std::time::Duration;

use muster_common::evidence::Repeats;
use muster_common::executor::ExecutorNodeData;
use muster_common::exit::Exit;
use muster_common::instance::InstanceInfo;
use muster_common::service::{ActivationState, ServiceSummary};

use super::http::{Client, segment};
use super::{render, resolve};
use crate::args::Output;
use crate::error::CliError;

/// How many ended instances a service's description names.
const OLD_SHOWN: usize = 5;

pub(crate) async fn describe(client: &Client, name: &str, output: Output) -> Result<(), CliError> {
    let text = match resolve::service(client, name).await {
        Ok(service) => {
            let live = resolve::instances(client, &service.id, false).await?;
            let old = resolve::instances(client, &service.id, true).await?;
            render::answer(output, &service, || describe_service(&service, &live, &old))?
        }
        Err(error) if error.exit == Exit::NotFound => match resolve::instance(client, name).await {
            Ok(instance) => render::answer(output, &instance, || describe_instance(&instance))?,
            Err(error) if error.exit == Exit::NotFound => describe_executor(client, name, output).await?,
            Err(error) => return Err(error),
        },
        Err(error) => return Err(error),
    };
    print!("{text}");
    Ok(())
}

async fn describe_executor(client: &Client, name: &str, output: Output) -> Result<String, CliError> {
    match client.get::<ExecutorNodeData>(&format!("cluster/executors/{}", segment(name))).await {
        Ok(executor) => render::answer(output, &executor, || executor_in_words(&executor)),
        Err(error) if error.exit == Exit::NotFound => Err(CliError::new(
            Exit::NotFound,
            format!("there is no service, instance or executor '{name}'; see 'muster get services'"),
        )),
        Err(error) => Err(error),
    }
}

fn executor_in_words(executor: &ExecutorNodeData) -> String {
    let mut text = format!(
        "Executor    {}\nHost        {}:{}\nState       {}\n",
        executor.state.executor_id, executor.hostname, executor.port, executor.executor_state
    );
    if let (Some(contact), Some(since)) = (executor.contact, executor.contact_since) {
        let _ = writeln!(text, "Contact     {contact} since {since} ({})", render::age(since));
    }
    let skew = Duration::from_millis(executor.clock_skew_ms.unsigned_abs()).as_secs_f64();
    let side = if executor.clock_skew_ms < 0 { "behind" } else { "ahead of" };
    if executor.clock_skew_ms != 0 {
        let _ = writeln!(text, "Clock       {skew:.1} s {side} the leader's");
    }
    if !executor.version.is_empty() {
        let _ = writeln!(text, "Version     {}", executor.version);
    }
    let _ = write!(text, "Tags        {}\n\nInstances\n", executor.tags.join(", "));
    text.push_str(&render::instances(&executor.service_instances));
    text
}

fn describe_service(service: &ServiceSummary, live: &[InstanceInfo], old: &[InstanceInfo]) -> String {
    let mut text = format!(
        "Service     {}\nState       {} (wanted: {})\nHealthy     {} of {}, {} on each executor\nGeneration  {}\nAge         {}\n",
        service.id,
        service.state,
        service.activation_state,
        service.healthy_instances,
        service.required_instances,
        service.instances_per_host,
        service.generation,
        render::age(service.created),
    );
    for problem in &service.problems {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "Problem     {problem}");
    }
    let _ = write!(text, "\nInstances\n{}", render::instances(live));
    if !old.is_empty() {
        let newest = &old[old.len().saturating_sub(OLD_SHOWN)..];
        let _ = write!(text, "\nEnded (newest last)\n{}", render::old_instances(newest));
    }
    let _ = write!(text, "\nNext\n{}", next_for_service(service, old));
    text
}

fn next_for_service(service: &ServiceSummary, old: &[InstanceInfo]) -> String {
    let mut next = String::new();
    if service.healthy_instances < service.required_instances
        && let Some(last) = old.last()
    {
        let _ = writeln!(next, "  muster describe {}   # why the last one ended", last.instance_id);
    }
    let step = match service.activation_state {
        ActivationState::Active | ActivationState::ConfigTesting => "restart",
        ActivationState::Inactive => "destroy",
    };
    let _ = writeln!(next, "  muster {step} {0}\n  muster get instances {0} --old", service.id);
    next
}

fn describe_instance(instance: &InstanceInfo) -> String {
    let mut text = format!(
        "Instance    {}\nService     {} (generation {})\nExecutor    {} slot {} epoch {}\nState       {}\n",
        instance.instance_id,
        instance.service_id,
        instance.generation,
        instance.executor_id,
        instance.slot_index,
        instance.epoch,
        instance.state,
    );
    if let Some(reason) = instance.reason {
        let _ = writeln!(text, "Reason      {reason}");
    }
    if !instance.error_message.is_empty() {
        let _ = writeln!(text, "Error       {}", instance.error_message);
    }
    for warning in &instance.warnings {
        let _ = writeln!(text, "Warning     {warning}");
    }
    let ports = render::ports(instance);
    if !ports.is_empty() {
        let _ = writeln!(text, "Ports       {ports}");
    }
    if let Some(evidence) = &instance.evidence {
        let _ = writeln!(text, "Ended       {}", render::ending(evidence));
    }
    let _ = write!(text, "\nTimeline\n");
    for step in &instance.timeline {
        let after = step.at.since(instance.created).as_secs_f64();
        let reason = step.reason.map(|reason| format!("  {reason}")).unwrap_or_default();
        let message = if step.message.is_empty() { String::new() } else { format!("  {}", step.message) };
        let again = step.repeats.map(|Repeats { times, last }| {
            format!("  {times} times, last +{:.3}s", last.since(instance.created).as_secs_f64())
        });
        let again = again.unwrap_or_default();
        let _ = writeln!(text, "  +{after:>8.3}s  {:<24} -> {}{reason}{again}{message}", step.from, step.to);
    }
    if !instance.probes.is_empty() {
        let _ = write!(text, "\nProbes (newest last)\n");
        for probe in &instance.probes {
            let verdict = if probe.passed { "passed" } else { "failed" };
            let code = probe.code.map(|code| format!(" {code}")).unwrap_or_default();
            let answer = probe.answer.lines().next().unwrap_or_default();
            let _ =
                writeln!(text, "  {:<10} {verdict}{code} in {}ms  {answer}", probe.kind, probe.latency_ms);
        }
    }
    if let Some(evidence) = instance.evidence.as_ref().filter(|evidence| !evidence.log_tail.is_empty()) {
        let _ = writeln!(text, "\nEnd of its log\n{}", evidence.log_tail.trim_end());
    }
    text
}
