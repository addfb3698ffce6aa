//! `muster apply`: from files to healthy instances.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use muster_common::exit::Exit;
use muster_common::instance::InstanceInfo;
use muster_common::placement::ExecutorPlacement;
use muster_common::service::{ActivationState, ServiceSummary};
use muster_common::spec::LocalServiceSpec;
use serde::Serialize;
use serde_json::Value;

use super::Caller;
use super::args::{WaitArgs, WaveArgs};
use crate::args::Output;
use crate::client::deploy::{Deployment, deploy, find, settled};
use crate::client::diff;
use crate::client::http::segment;
use crate::client::patience::{attend, unless_interrupted};
use crate::client::settle::Progress;
use crate::client::words::counted;
use crate::client::{resolve, screen, specs, table};
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
    let mut answers = Answers { output: caller.output, is_list: specs.len() > 1, values: Vec::new() };
    let mut left = VecDeque::from(specs);
    while let Some(spec) = left.pop_front() {
        let answer =
            if args.dry_run { preview(caller, args, &spec).await } else { one(caller, args, spec).await };
        match answer {
            Ok(answer) => answers.add(answer)?,
            Err(error) => {
                answers.end()?;
                return Err(with_left(error, &left));
            }
        }
    }
    answers.end()
}

/// The error, with what was not even tried because of it.
fn with_left(mut error: CliError, left: &VecDeque<LocalServiceSpec>) -> CliError {
    if !left.is_empty() {
        let id = |spec: &LocalServiceSpec| spec.service_id().map_or(spec.name.clone(), |id| id.to_string());
        let ids: Vec<String> = left.iter().map(id).collect();
        error.message.push_str("\nnot tried because of that: ");
        error.message.push_str(&ids.join(", "));
    }
    error
}

/// What became of one spec, for people and for programs.
struct Applied {
    id: String,
    value: Value,
    text: String,
}

impl Applied {
    fn new(id: &str, value: &impl Serialize, text: String) -> Result<Self, CliError> {
        let value = serde_json::to_value(value)
            .map_err(|error| CliError::failure(format!("cannot write JSON: {error}")))?;
        Ok(Self { id: id.to_owned(), value, text })
    }
}

/// Writes what became of all specs: for people one after the other, for programs as one thing or one list.
struct Answers {
    output: Output,
    is_list: bool,
    values: Vec<Value>,
}

impl Answers {
    fn add(&mut self, applied: Applied) -> Result<(), CliError> {
        match self.output {
            Output::Table | Output::Wide => screen::write(&applied.text),
            Output::Name => screen::write(&format!("{}\n", applied.id)),
            Output::Json | Output::Yaml => {
                self.values.push(applied.value);
                Ok(())
            }
        }
    }

    fn end(&self) -> Result<(), CliError> {
        self.whole()?.map_or(Ok(()), |text| screen::write(&text))
    }

    /// What programs read; nothing where all was written already.
    fn whole(&self) -> Result<Option<String>, CliError> {
        let text = |value: &Value| table::answer(self.output, "", value, String::new);
        match self.values.as_slice() {
            _ if self.output.is_for_people() || self.output == Output::Name => Ok(None),
            [] if !self.is_list => Ok(None),
            [only] if !self.is_list => text(only).map(Some),
            several => text(&Value::from(several)).map(Some),
        }
    }
}

async fn one(caller: &Caller, args: &ApplyArgs, spec: LocalServiceSpec) -> Result<Applied, CliError> {
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
        return Applied::new(&service.id, &service, format!("{} accepted\n", service.id));
    }
    let wait = async {
        let outcome = settled(&caller.client, &service, args.wait.time, &mut progress).await?;
        Ok((outcome, resolve::service(&caller.client, &service.id).await?))
    };
    let (outcome, summary) = attend(&service.goes_on(), wait).await?;
    Applied::new(&summary.id, &summary, outcome)
}

/// What a spec would change, as programs read it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Preview<'a> {
    service_id: &'a str,
    is_new: bool,
    changes: Vec<diff::Change>,
    /// As it would be, where that is another number.
    #[serde(skip_serializing_if = "Option::is_none")]
    instances_per_host: Option<u32>,
    would_activate: bool,
    /// Where a new one would run.
    placement: Vec<ExecutorPlacement>,
    /// Instances in whose place others would start.
    would_replace: Vec<String>,
}

/// What would happen.
async fn preview(caller: &Caller, args: &ApplyArgs, spec: &LocalServiceSpec) -> Result<Applied, CliError> {
    let client = &caller.client;
    // What only this cluster forbids is found out here.
    let _: serde_json::Value = client.post("localservices/validate/spec", spec).await?;
    let id =
        spec.service_id().map_err(|error| CliError::new(Exit::Validation, error.to_string()))?.to_string();
    let Some(service) = find(client, &id).await? else {
        let count = args.instances_per_host.unwrap_or(1);
        let path = format!("localservices/placement?instancesPerHost={count}");
        let places: Vec<ExecutorPlacement> = client.post(&path, spec).await?;
        let text = creation(&id, &places);
        let preview = Preview {
            service_id: &id,
            is_new: true,
            changes: Vec::new(),
            instances_per_host: Some(count),
            would_activate: true,
            placement: places,
            would_replace: Vec::new(),
        };
        return Applied::new(&id, &preview, text);
    };
    let shown: LocalServiceSpec = client.get(&format!("localservices/{}/spec", segment(&id))).await?;
    let changes = diff::changes(&shown, spec);
    let instances = resolve::instances(client, &id, false).await?;
    let text = adjustment(caller, args, &service, &changes, &instances);
    let replaced = if changes.is_empty() { Vec::new() } else { instances };
    let preview = Preview {
        service_id: &id,
        is_new: false,
        changes,
        instances_per_host: args.instances_per_host.filter(|count| *count != service.instances_per_host),
        would_activate: service.activation_state != ActivationState::Active,
        placement: Vec::new(),
        would_replace: replaced.into_iter().map(|instance| instance.instance_id).collect(),
    };
    Applied::new(&id, &preview, text)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::example;

    #[test]
    fn what_was_not_tried_is_named() {
        let spec: LocalServiceSpec = serde_json::from_value(example::spec("/bin/true")).unwrap();
        let id = spec.service_id().unwrap().to_string();
        let error = |left: Vec<LocalServiceSpec>| {
            with_left(CliError::failure("web-1 failed"), &VecDeque::from(left)).message
        };
        assert_eq!(error(Vec::new()), "web-1 failed");
        let both = error(vec![spec.clone(), spec]);
        assert_eq!(both, format!("web-1 failed\nnot tried because of that: {id}, {id}"));
    }

    #[test]
    fn programs_are_given_one_thing_or_one_list() {
        let whole = |output, is_list, count: usize| {
            let values = vec![json!({"id": "web-1"}); count];
            Answers { output, is_list, values }.whole().unwrap()
        };
        let read = |text: Option<String>| serde_json::from_str::<Value>(&text.unwrap()).unwrap();
        assert_eq!(read(whole(Output::Json, false, 1)), json!({"id": "web-1"}));
        assert_eq!(read(whole(Output::Json, true, 2)), json!([{"id": "web-1"}, {"id": "web-1"}]));
        assert_eq!(
            read(whole(Output::Json, true, 1)),
            json!([{"id": "web-1"}]),
            "also when the second failed"
        );
        assert_eq!(whole(Output::Json, false, 0), None);
        assert_eq!(whole(Output::Table, true, 0), None);
    }
}
