//! `muster get`: lists of what there is, once or as it changes.

use std::collections::BTreeSet;

use clap::{Args, Subcommand};
use muster_common::event::{Event, EventType};
use muster_common::executor::ExecutorSummary;
use muster_common::exit::Exit;
use muster_common::instance::InstanceInfo;
use muster_common::operation::{OperationState, OperationSummary};
use muster_common::service::ServiceSummary;

use super::events::{self, EventsArgs};
use super::{Caller, watch};
use crate::client::columns::Ended;
use crate::client::http::{Client, segment};
use crate::client::resolve::{ServiceOrInstance, ServiceOrOperation};
use crate::client::table::{self, Listed};
use crate::client::{operations, resolve, screen};
use crate::error::CliError;

/// How many operations are listed unless more are asked for.
pub(super) const OPERATIONS_SHOWN: usize = 500;

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    #[command(subcommand)]
    what: What,
    /// Go on showing what changes: a terminal is drawn anew, a pipe is given a line for each change.
    #[arg(short, long, global = true)]
    watch: bool,
    /// Only what has these tags: `key=value` or `key`, several with commas between them. Instances and operations have
    /// those of their service.
    #[arg(
        short = 'l',
        long,
        global = true,
        value_name = "TAGS",
        default_value = "",
        hide_default_value = true
    )]
    selector: Selector,
    /// The column to order by, such as `age`; `-age` is the other way around.
    #[arg(long, global = true, value_name = "COLUMN", allow_hyphen_values = true)]
    sort_by: Option<String>,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// What should run, and how much of it does.
    #[command(visible_alias = "service")]
    Services {
        /// Only these.
        #[arg(value_name = "SERVICE")]
        services: Vec<String>,
    },
    /// Where instances run, and in which state.
    #[command(visible_alias = "instance")]
    Instances {
        /// Only of these services, or only these instances.
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Those that ended, with the reason.
        #[arg(long)]
        old: bool,
    },
    /// The machines of the fleet.
    #[command(visible_alias = "executor")]
    Executors {
        /// Only these: ids, host names, or unique prefixes of ids.
        #[arg(value_name = "EXECUTOR")]
        executors: Vec<String>,
    },
    /// What was asked for, and how far it is; those at work first.
    #[command(visible_aliases = ["operation", "ops"])]
    Operations {
        /// Only of these services, or only these operations.
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Only in this state; may be given several times.
        #[arg(long, value_name = "STATE")]
        state: Vec<OperationState>,
        /// At most so many.
        #[arg(long, value_name = "N", default_value_t = OPERATIONS_SHOWN)]
        limit: usize,
    },
    /// What happened.
    #[command(visible_alias = "event")]
    Events(EventsArgs),
}

/// Tags that something must have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Selector(Vec<String>);

impl std::str::FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
        // In other programs it means what has not this tag: better no list than one of something else.
        match parts.iter().find(|part| part.contains('!')) {
            Some(part) => Err(format!("'{part}' is neither 'key' nor 'key=value'; '!' is not known")),
            None => Ok(Self(parts.into_iter().map(str::to_owned).collect())),
        }
    }
}

impl Selector {
    fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all of it is among `tags`; `key` alone is any value.
    fn takes(&self, tags: &[String]) -> bool {
        let has = |wanted: &String| {
            tags.iter().any(|tag| {
                tag == wanted || tag.strip_prefix(wanted.as_str()).is_some_and(|rest| rest.starts_with('='))
            })
        };
        self.0.iter().all(has)
    }

    /// The same as parameters of a call, whose cluster then looks.
    fn query(&self) -> String {
        self.0.iter().map(|wanted| format!("&label={}", segment(wanted))).collect()
    }

    fn takes_service(&self, service: &ServiceSummary) -> bool {
        let tags: Vec<String> = service.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
        self.takes(&tags)
    }
}

pub(crate) async fn get(caller: &Caller, args: GetArgs) -> Result<(), CliError> {
    let GetArgs { what, watch: is_watched, selector, sort_by } = args;
    let order = sort_by.as_deref();
    let view = |is_all| View { is_watched, is_all, order };
    match what {
        What::Services { services } => {
            let fetch = async || fetch_services(&caller.client, &services, &selector).await;
            show(caller, &view(selector.is_all()), changes_services, fetch).await
        }
        What::Instances { names, old: false } => {
            let fetch = async || fetch_instances(&caller.client, &names, false, &selector).await;
            show(caller, &view(selector.is_all()), changes_instances, fetch).await
        }
        What::Instances { names, old: true } => {
            let fetch = async || {
                let ended = fetch_instances(&caller.client, &names, true, &selector).await?;
                Ok(ended.into_iter().map(Ended).collect())
            };
            show(caller, &view(selector.is_all()), changes_instances, fetch).await
        }
        What::Executors { executors } => {
            let fetch = async || fetch_executors(&caller.client, &executors, &selector).await;
            show(caller, &view(selector.is_all()), changes_executors, fetch).await
        }
        What::Operations { names, state, limit } => {
            let wanted = WantedOperations { names, states: state, limit };
            let fetch = async || fetch_operations(&caller.client, &wanted, &selector, is_watched).await;
            let is_all = selector.is_all() && wanted.states.is_empty();
            show(caller, &view(is_all), changes_operations, fetch).await
        }
        What::Events(_) if !selector.is_all() || order.is_some() => {
            let message =
                "events have no tags and come in their order; use --for NAME instead of -l and --sort-by";
            Err(CliError::new(Exit::Usage, message))
        }
        What::Events(mut args) => {
            args.watch |= is_watched;
            events::events(caller, &args).await
        }
    }
}

/// How a list is shown.
struct View<'a> {
    is_watched: bool,
    /// Whether nothing was asked for that it need not have.
    is_all: bool,
    order: Option<&'a str>,
}

/// Shows a list, and when it is watched also what becomes of it.
async fn show<T: Listed>(
    caller: &Caller,
    view: &View<'_>,
    concerns: fn(EventType) -> bool,
    fetch: impl AsyncFn() -> Result<Vec<T>, CliError>,
) -> Result<(), CliError> {
    let sorted = async || {
        let mut items = fetch().await?;
        if let Some(column) = view.order {
            table::sort(&mut items, column, &caller.screen)?;
        }
        Ok(items)
    };
    if view.is_watched {
        return watch::watch(caller, |event: &Event| concerns(event.kind), sorted).await;
    }
    let items = sorted().await?;
    if items.is_empty() && !view.is_all && caller.output.is_for_people() {
        return screen::write(
            "nothing has these tags or is in such a state; without -l and --state all are listed\n",
        );
    }
    caller.list(&items)
}

async fn fetch_services(
    client: &Client,
    names: &[String],
    selector: &Selector,
) -> Result<Vec<ServiceSummary>, CliError> {
    let mut found = Vec::new();
    if names.is_empty() {
        found = resolve::services(client).await?;
    }
    for name in names {
        found.push(resolve::service(client, name).await?);
    }
    found.retain(|service| selector.takes_service(service));
    Ok(found)
}

async fn fetch_executors(
    client: &Client,
    names: &[String],
    selector: &Selector,
) -> Result<Vec<ExecutorSummary>, CliError> {
    let mut found = Vec::new();
    if names.is_empty() {
        found = resolve::executors(client).await?;
    }
    for name in names {
        found.push(resolve::executor(client, name).await?);
    }
    found.retain(|executor| selector.takes(&executor.tags));
    Ok(found)
}

async fn fetch_instances(
    client: &Client,
    names: &[String],
    old: bool,
    selector: &Selector,
) -> Result<Vec<InstanceInfo>, CliError> {
    if names.is_empty() {
        return resolve::all_instances(client, old, &selector.query()).await;
    }
    let mut found = Vec::new();
    for name in names {
        match resolve::service_or_instance(client, name).await? {
            ServiceOrInstance::Service(service) if selector.takes_service(&service) => {
                found.extend(resolve::instances(client, &service.id, old).await?);
            }
            ServiceOrInstance::Service(_) => {}
            // Its tags went with it.
            ServiceOrInstance::Destroyed(id) if old && selector.is_all() => {
                found.extend(resolve::instances(client, &id, old).await?);
            }
            ServiceOrInstance::Destroyed(id) => return Err(resolve::gone(&id)),
            ServiceOrInstance::Instance(instance) => found.push(*instance),
        }
    }
    Ok(found)
}

/// Which operations are asked for.
struct WantedOperations {
    /// Of services, also destroyed ones, or of operations.
    names: Vec<String>,
    states: Vec<OperationState>,
    limit: usize,
}

async fn fetch_operations(
    client: &Client,
    wanted: &WantedOperations,
    selector: &Selector,
    is_watched: bool,
) -> Result<Vec<OperationSummary>, CliError> {
    let (mut services, mut found) = (Vec::new(), Vec::new());
    for name in &wanted.names {
        match resolve::service_or_operation(client, name).await? {
            ServiceOrOperation::Service(id) => services.push(id),
            ServiceOrOperation::Operation(operation) => found.push(*operation),
        }
    }
    found.retain(|one| wanted.states.is_empty() || wanted.states.contains(&one.operation.state));
    let tagged = if selector.is_all() { None } else { Some(resolve::services(client).await?) };
    if wanted.names.is_empty() || !services.is_empty() {
        // Tags are looked at here.
        let limit = if tagged.is_some() { usize::MAX } else { wanted.limit };
        let listed = operations::list(client, &services, &wanted.states, limit).await?;
        let (shown, total) = (listed.operations.len(), listed.total);
        if shown < total && !is_watched {
            eprintln!("muster: the first {shown} of {total} operations; --limit gives more");
        }
        found.extend(listed.operations);
    }
    if let Some(services) = tagged {
        let taken: BTreeSet<&str> = services
            .iter()
            .filter(|service| selector.takes_service(service))
            .map(|service| service.id.as_str())
            .collect();
        found.retain(|one| taken.contains(one.operation.service.as_str()));
        found.truncate(wanted.limit);
    }
    Ok(found)
}

/// Of what a list of services tells: also of its instances and of executors that are away.
fn changes_services(kind: EventType) -> bool {
    match kind {
        EventType::LocalServiceStateChange
        | EventType::LocalServiceInstanceStateChange
        | EventType::OperationStateChange
        | EventType::ExecutorAdded
        | EventType::ExecutorRemoved
        | EventType::ExecutorUnknown
        | EventType::ExecutorFound
        | EventType::ExecutorBlacklistRequested
        | EventType::ExecutorBlacklisted
        | EventType::ExecutorUnBlacklisted
        | EventType::ExecutorDrainRequested => true,
        EventType::InstanceExec
        | EventType::LeadershipAcquired
        | EventType::LeadershipLost
        | EventType::MaintenanceModeSet
        | EventType::MaintenanceModeRemoved => false,
    }
}

fn changes_instances(kind: EventType) -> bool {
    matches!(kind, EventType::LocalServiceInstanceStateChange) || changes_executors(kind)
}

fn changes_operations(kind: EventType) -> bool {
    matches!(kind, EventType::LocalServiceInstanceStateChange | EventType::OperationStateChange)
}

/// What an executor uses changes with its instances.
fn changes_executors(kind: EventType) -> bool {
    changes_services(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_that_it_does_not_know_is_refused() {
        for text in ["team!=edge", "zone=a,!gpu"] {
            assert!(text.parse::<Selector>().unwrap_err().contains("'!' is not known"), "{text:?}");
        }
    }

    #[test]
    fn a_selector_takes_what_has_all_of_its_tags() {
        let tags = ["zone=a".to_owned(), "gpu".to_owned(), "rack=7".to_owned()];
        for (text, takes) in [
            ("", true),
            ("gpu", true),
            ("zone=a,rack", true),
            ("zone=b", false),
            ("zone=a,disk", false),
            ("zon", false),
            ("rack=7, gpu", true),
        ] {
            assert_eq!(text.parse::<Selector>().unwrap().takes(&tags), takes, "{text:?}");
        }
    }
}
