//! `muster get`: lists of what there is, once or as it changes.

use std::collections::BTreeSet;

use clap::{Args, Subcommand};
use muster_common::event::{Event, EventType};
use muster_common::exit::Exit;
use muster_common::operation::{OperationState, OperationSummary};
use muster_common::service::ServiceSummary;

use super::events::{self, EventsArgs};
use super::{Caller, watch};
use crate::client::columns::Ended;
use crate::client::http::{Client, segment};
use crate::client::table::{self, Listed};
use crate::client::{resolve, screen};
use crate::error::CliError;

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
        /// Only of this service, or only this instance.
        name: Option<String>,
        /// Those that ended, with the reason.
        #[arg(long)]
        old: bool,
    },
    /// The machines of the fleet.
    #[command(visible_alias = "executor")]
    Executors,
    /// What was asked for, and how far it is; those at work first.
    #[command(visible_aliases = ["operation", "ops"])]
    Operations {
        /// Only of this service.
        service: Option<String>,
        /// Only in this state; may be given several times.
        #[arg(long, value_name = "STATE")]
        state: Vec<OperationState>,
    },
    /// What happened.
    #[command(visible_alias = "event")]
    Events(EventsArgs),
}

/// Tags that something must have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Selector(Vec<String>);

impl std::str::FromStr for Selector {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        Ok(Self(parts.map(str::to_owned).collect()))
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
    match what {
        What::Services { services } => {
            let fetch = async || fetch_services(&caller.client, &services, &selector).await;
            show(caller, is_watched, order, changes_services, fetch).await
        }
        What::Instances { name, old: false } => {
            let fetch = async || fetch_instances(&caller.client, name.as_deref(), false, &selector).await;
            show(caller, is_watched, order, changes_instances, fetch).await
        }
        What::Instances { name, old: true } => {
            let fetch = async || {
                let ended = fetch_instances(&caller.client, name.as_deref(), true, &selector).await?;
                Ok(ended.into_iter().map(Ended).collect())
            };
            show(caller, is_watched, order, changes_instances, fetch).await
        }
        What::Executors => {
            let fetch = async || {
                let mut all = resolve::executors(&caller.client).await?;
                all.retain(|executor| selector.takes(&executor.tags));
                Ok(all)
            };
            show(caller, is_watched, order, changes_executors, fetch).await
        }
        What::Operations { service, state } => {
            let fetch =
                async || fetch_operations(&caller.client, service.as_deref(), &state, &selector).await;
            show(caller, is_watched, order, changes_operations, fetch).await
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

/// Shows a list, and when it is watched also what becomes of it.
async fn show<T: Listed>(
    caller: &Caller,
    is_watched: bool,
    order: Option<&str>,
    concerns: fn(EventType) -> bool,
    fetch: impl AsyncFn() -> Result<Vec<T>, CliError>,
) -> Result<(), CliError> {
    let sorted = async || {
        let mut items = fetch().await?;
        if let Some(column) = order {
            table::sort(&mut items, column, &caller.screen)?;
        }
        Ok(items)
    };
    if is_watched {
        return watch::watch(caller, |event: &Event| concerns(event.kind), sorted).await;
    }
    screen::write(&table::list(caller.output, &sorted().await?, &caller.screen)?)
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

async fn fetch_instances(
    client: &Client,
    name: Option<&str>,
    old: bool,
    selector: &Selector,
) -> Result<Vec<muster_common::instance::InstanceInfo>, CliError> {
    let Some(name) = name else {
        return resolve::all_instances(client, old, &selector.query()).await;
    };
    match resolve::service(client, name).await {
        Ok(service) if selector.takes_service(&service) => resolve::instances(client, &service.id, old).await,
        Ok(_) => Ok(Vec::new()),
        Err(missing) if missing.exit == Exit::NotFound => {
            // It may be an instance's; if it is not, a service was most likely meant.
            match resolve::instance(client, name).await {
                Err(error) if error.exit == Exit::NotFound => Err(missing),
                found => found.map(|instance| vec![instance]),
            }
        }
        Err(error) => Err(error),
    }
}

async fn fetch_operations(
    client: &Client,
    service: Option<&str>,
    states: &[OperationState],
    selector: &Selector,
) -> Result<Vec<OperationSummary>, CliError> {
    let path = match service {
        Some(name) => {
            format!("localservices/{}/operations", segment(&resolve::service(client, name).await?.id))
        }
        None => "localservices/operations".to_owned(),
    };
    let mut operations: Vec<OperationSummary> = client.get(&path).await?;
    operations.retain(|found| states.is_empty() || states.contains(&found.operation.state));
    if !selector.is_all() {
        let services = resolve::services(client).await?;
        let taken: BTreeSet<&str> = services
            .iter()
            .filter(|service| selector.takes_service(service))
            .map(|service| service.id.as_str())
            .collect();
        operations.retain(|found| taken.contains(found.operation.service.as_str()));
    }
    Ok(operations)
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
