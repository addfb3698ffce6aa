//! `muster apply`: from files to healthy instances.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use muster_common::exit::Exit;
use muster_common::instance::InstanceInfo;
use muster_common::placement::ExecutorPlacement;
use muster_common::service::{ActivationState, ServiceSummary};
use muster_common::spec::LocalServiceSpec;

use super::Caller;
use super::args::{WaitArgs, WaveArgs};
use crate::client::deploy::{Deployment, deploy, find, settled};
use crate::client::diff;
use crate::client::http::segment;
use crate::client::patience::{attend, unless_interrupted};
use crate::client::settle::Progress;
use crate::client::words::counted;
use crate::client::{resolve, screen, specs};
use crate::error::CliError;

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// Specs as JSON or YAML, or directories of them; `-` is standard input.
    #[arg(value_name = "FILE", required_unless_present = "files")]
    paths: Vec<PathBuf>,
    /// The same, as an option.
    #[arg(short, long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Say what would change, and where instances would be replaced, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// How many instances every executor holds [default: what it is now, 1 for a new service].
    #[arg(short, long, value_name = "N")]
    instances_per_host: Option<u32>,
    #[command(flatten)]
    wave: WaveArgs,
    #[command(flatten)]
    wait: WaitArgs,
}

pub(crate) async fn apply(caller: &Caller, args: &ApplyArgs) -> Result<(), CliError> {
    let paths: Vec<PathBuf> = args.paths.iter().chain(&args.files).cloned().collect();
    let (specs, warnings) = specs::specs(&specs::documents(&paths)?)?;
    for warning in &warnings {
        eprintln!("{warning}");
    }
    for spec in specs {
        if args.dry_run {
            screen::write(&preview(caller, args, &spec).await?)?;
        } else {
            one(caller, args, spec).await?;
        }
    }
    Ok(())
}

async fn one(caller: &Caller, args: &ApplyArgs, spec: LocalServiceSpec) -> Result<(), CliError> {
    let deployment = Deployment {
        spec,
        instances_per_host: args.instances_per_host,
        stop_first: args.wave.stop_first,
        op_spec: Some(args.wave.op_spec()),
    };
    let mut progress = Progress::new();
    // Once signals were listened to, they end nothing by themselves any more.
    let left = "what was accepted until now goes on: see 'muster ops'";
    let service = unless_interrupted(left, deploy(&caller.client, deployment)).await?;
    if args.wait.no_wait {
        let line = || format!("{} accepted\n", service.id);
        return progress.done(&caller.answer(&service.id, &service, line)?);
    }
    let wait = async {
        let outcome = settled(&caller.client, &service, args.wait.time, &mut progress).await?;
        Ok((outcome, resolve::service(&caller.client, &service.id).await?))
    };
    let (outcome, summary) = attend(&service.goes_on(), wait).await?;
    progress.done(&caller.answer(&summary.id, &summary, || outcome)?)
}

/// What would happen.
async fn preview(caller: &Caller, args: &ApplyArgs, spec: &LocalServiceSpec) -> Result<String, CliError> {
    let client = &caller.client;
    // What only this cluster forbids is found out here.
    let _: serde_json::Value = client.post("localservices/validate/spec", spec).await?;
    let id =
        spec.service_id().map_err(|error| CliError::new(Exit::Validation, error.to_string()))?.to_string();
    let Some(service) = find(client, &id).await? else {
        let count = args.instances_per_host.unwrap_or(1);
        let path = format!("localservices/placement?instancesPerHost={count}");
        let places: Vec<ExecutorPlacement> = client.post(&path, spec).await?;
        return Ok(creation(&id, &places));
    };
    let shown: LocalServiceSpec = client.get(&format!("localservices/{}/spec", segment(&id))).await?;
    let changes = diff::changes(&shown, spec);
    let instances = resolve::instances(client, &id, false).await?;
    Ok(adjustment(caller, args, &service, &changes, &instances))
}

fn creation(id: &str, places: &[ExecutorPlacement]) -> String {
    let mut text = format!("{id} would be created and activated\n");
    for place in places {
        let why: Vec<&str> = place.reasons.iter().map(|reason| reason.message.as_str()).collect();
        let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join("; ")) };
        let wanted = usize::try_from(place.wanted).unwrap_or(usize::MAX);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {} on {}{why}", counted(wanted, "instance"), place.executor_id);
    }
    text
}

fn adjustment(
    caller: &Caller,
    args: &ApplyArgs,
    service: &ServiceSummary,
    changes: &[diff::Change],
    instances: &[InstanceInfo],
) -> String {
    let id = &service.id;
    let count = args.instances_per_host.filter(|count| *count != service.instances_per_host);
    let is_active = service.activation_state == ActivationState::Active;
    if changes.is_empty() && count.is_none() && is_active {
        return format!("{id} is so already, as far as can be seen: what is secret is not compared\n");
    }
    let mut text = format!("{id} would change\n");
    text.push_str(&diff::lines(changes, &caller.screen));
    if let Some(count) = count {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  ~ instances on each executor: {} -> {count}", service.instances_per_host);
    }
    if !is_active {
        let _ = writeln!(text, "  ~ activation: {} -> {}", service.activation_state, ActivationState::Active);
    }
    if !changes.is_empty() && !instances.is_empty() {
        let order = if args.wave.stop_first { "the old one stops first" } else { "the new one starts first" };
        let _ = writeln!(
            text,
            "{} would be replaced, {} at a time, {order}:",
            counted(instances.len(), "instance"),
            args.wave.parallelism
        );
        for instance in instances {
            let _ = writeln!(
                text,
                "  {} on {} slot {} ({})",
                instance.instance_id, instance.executor_id, instance.slot_index, instance.state
            );
        }
    }
    text
}
