//! What a name means: an id, another name where only one has it, or the beginning of an id.

use std::collections::BTreeMap;

use muster_common::executor::ExecutorSummary;
use muster_common::exit::Exit;
use muster_common::instance::{InstanceInfo, InstanceState};
use muster_common::operation::{Operation, OperationSummary};
use muster_common::service::ServiceSummary;

use super::http::{Client, segment};
use super::operations;
use super::search::{Named, ResolveError, Search, kind_and_name};
use crate::error::CliError;

/// Among how many of the newest operations a prefix is looked for.
const OPERATIONS_SEARCHED: usize = 1_000;
/// Among how many instances one is searched that is like a name which none has, or that tells of a destroyed service.
const INSTANCES_SEARCHED: usize = 1_000;
/// What the id of every operation begins with.
const OPERATION_PREFIX: &str = "OP-";

/// All services, ordered by id.
pub(crate) async fn services(client: &Client) -> Result<Vec<ServiceSummary>, CliError> {
    let by_id: BTreeMap<String, ServiceSummary> = client.get("localservices").await?;
    Ok(by_id.into_values().collect())
}

/// All executors, ordered by host name.
pub(crate) async fn executors(client: &Client) -> Result<Vec<ExecutorSummary>, CliError> {
    let mut executors: Vec<ExecutorSummary> = client.get("cluster/executors").await?;
    executors.sort_by(|a, b| (&a.hostname, &a.executor_id).cmp(&(&b.hostname, &b.executor_id)));
    Ok(executors)
}

/// A service's instances: those that live, or those that ended, newest last.
pub(crate) async fn instances(
    client: &Client,
    service: &str,
    old: bool,
) -> Result<Vec<InstanceInfo>, CliError> {
    let path = format!("localservices/{}/instances{}", segment(service), if old { "/old" } else { "" });
    let mut instances: Vec<InstanceInfo> = client.get(&path).await?;
    order(&mut instances, old);
    Ok(instances)
}

/// Those of all services, ordered by service and then as a service's are. `query` narrows them: `&name=value`, any number.
pub(crate) async fn all_instances(
    client: &Client,
    old: bool,
    query: &str,
) -> Result<Vec<InstanceInfo>, CliError> {
    let states = InstanceState::ALL.iter().filter(|state| state.is_active() != old);
    let states: String = states.map(|state| format!("&state={state}")).collect();
    // How one ended is in its detail.
    let path = format!("instances?old={old}&detail={old}{states}{query}");
    let mut instances = client.get_all(&path, |instance: &InstanceInfo| instance.instance_id.clone()).await?;
    order(&mut instances, old);
    Ok(instances)
}

fn order(instances: &mut [InstanceInfo], old: bool) {
    if old {
        instances.sort_by(|a, b| (&a.service_id, a.updated).cmp(&(&b.service_id, b.updated)));
    } else {
        instances.sort_by(|a, b| {
            let key = |one: &'_ InstanceInfo| (one.slot_index, one.created);
            (&a.service_id, &a.executor_id, key(a)).cmp(&(&b.service_id, &b.executor_id, key(b)))
        });
    }
}

/// The instances of a service that live, each with all that is known of it.
pub(crate) async fn detailed_instances(
    client: &Client,
    service: &str,
) -> Result<Vec<InstanceInfo>, CliError> {
    client.get(&format!("localservices/{}/instances?detail=true", segment(service))).await
}

/// The service of this id, of this name when no other version has it, or of this prefix of an id when no other has.
pub(crate) async fn service(client: &Client, name: &str) -> Result<ServiceSummary, ResolveError> {
    Search::new(name).among(services(client).await?, |service| service).only()
}

/// The instance of this id or unique prefix (with or without `SI-`), living or ended, with all that is known of it.
pub(crate) async fn instance(client: &Client, prefix: &str) -> Result<InstanceInfo, ResolveError> {
    let mut search = Search::new(prefix).among(instances_like(client, prefix).await?, |instance| instance);
    if search.is_empty() {
        // Only to name the one that may have been meant.
        let some = client.get(&format!("instances?old=true&size={INSTANCES_SEARCHED}")).await?;
        search = search.among::<InstanceInfo>(some, |instance| instance);
    }
    whole(client, &search.only()?).await
}

/// The executor of this id, of this host name, or of this prefix of an id.
pub(crate) async fn executor(client: &Client, name: &str) -> Result<ExecutorSummary, ResolveError> {
    Search::new(name).among(executors(client).await?, |executor| executor).only()
}

/// The operation of this id or unique prefix, with all its slots.
pub(crate) async fn operation(client: &Client, prefix: &str) -> Result<Operation, ResolveError> {
    let found =
        Search::new(prefix).among(operations_like(client, prefix).await?, |operation| operation).only();
    match found {
        Ok(found) => Ok(client.operation(found.operation.id.as_str()).await?),
        // One that is older than those may still be known by its whole id.
        Err(missing @ ResolveError::Missing { .. }) => match client.operation(prefix).await {
            Ok(operation) => Ok(operation),
            Err(error) if error.exit == Exit::NotFound => Err(missing),
            Err(error) => Err(error.into()),
        },
        Err(error) => Err(error),
    }
}

/// A service, perhaps one that is only history, or an instance.
pub(crate) enum ServiceOrInstance {
    Service(Box<ServiceSummary>),
    /// The id of a service that is destroyed.
    Destroyed(String),
    Instance(Box<InstanceInfo>),
}

/// What fits best of services and instances.
pub(crate) async fn service_or_instance(
    client: &Client,
    name: &str,
) -> Result<ServiceOrInstance, ResolveError> {
    use ServiceOrInstance as Of;
    let (kind, name) = kind_and_name(name);
    let mut search = Search::of_kind(kind, name)
        .among(services(client).await?, |service| Of::Service(service.into()))
        .among(instances_like(client, name).await?, |instance| Of::Instance(instance.into()));
    if search.is_empty() {
        search = search.among(destroyed(client, name).await?, |service| Of::Destroyed(service.id));
    }
    match search.only()? {
        Of::Instance(found) => Ok(Of::Instance(whole(client, &found).await?.into())),
        found @ (Of::Service(_) | Of::Destroyed(_)) => Ok(found),
    }
}

/// The id of a service, also of one that is destroyed, or an operation.
pub(crate) enum ServiceOrOperation {
    Service(String),
    Operation(Box<OperationSummary>),
}

/// What fits best of services, destroyed ones and operations.
pub(crate) async fn service_or_operation(
    client: &Client,
    name: &str,
) -> Result<ServiceOrOperation, ResolveError> {
    use ServiceOrOperation as Of;
    let mut search = Search::new(name)
        .among(services(client).await?, |service| Of::Service(service.id))
        .among(operations_like(client, name).await?, |found| Of::Operation(found.into()));
    if search.is_empty() {
        search = search.among(destroyed(client, name).await?, |service| Of::Service(service.id));
    }
    search.only()
}

/// The id of a service, also of one that is destroyed.
pub(crate) async fn service_or_past(client: &Client, name: &str) -> Result<String, ResolveError> {
    let mut search = Search::new(name).among(services(client).await?, |service| service.id);
    if search.is_empty() {
        search = search.among(destroyed(client, name).await?, |service| service.id);
    }
    search.only()
}

/// Says of a service that it is not there any more, and where its past is.
pub(crate) fn gone(service: &str) -> CliError {
    CliError::new(
        Exit::NotFound,
        format!(
            "{service} was destroyed; what is known of it is in 'muster describe {service}', 'muster get instances \
             {service} --old' and 'muster logs {service} --previous'"
        ),
    )
}

/// Whatever a name may mean.
pub(crate) enum Thing {
    Service(ServiceSummary),
    /// The id of a service that is destroyed.
    Destroyed(String),
    Instance(InstanceInfo),
    Executor(ExecutorSummary),
    Operation(Operation),
}

/// The service, executor, instance or operation that fits best; `KIND/NAME` is one of that kind.
pub(crate) async fn thing(client: &Client, name: &str) -> Result<Thing, ResolveError> {
    let (kind, name) = kind_and_name(name);
    let mut search = Search::of_kind(kind, name)
        .among(services(client).await?, Thing::Service)
        .among(executors(client).await?, Thing::Executor)
        .among(instances_like(client, name).await?, Thing::Instance)
        .among(operations_like(client, name).await?, |found| Thing::Operation(found.operation));
    if search.is_empty() {
        search = search.among(destroyed(client, name).await?, |service| Thing::Destroyed(service.id));
    }
    Ok(match search.only()? {
        Thing::Instance(found) => Thing::Instance(whole(client, &found).await?),
        Thing::Operation(found) => Thing::Operation(client.operation(found.id.as_str()).await?),
        found @ (Thing::Service(_) | Thing::Destroyed(_) | Thing::Executor(_)) => found,
    })
}

/// The instances, living or ended, of whose ids this is the beginning.
async fn instances_like(client: &Client, prefix: &str) -> Result<Vec<InstanceInfo>, CliError> {
    if prefix.is_empty() {
        return Ok(Vec::new());
    }
    client.get(&format!("instances?old=true&idPrefix={}", segment(prefix))).await
}

/// An instance with all that is known of it.
async fn whole(client: &Client, brief: &InstanceInfo) -> Result<InstanceInfo, ResolveError> {
    let (service, id) = (segment(&brief.service_id), segment(&brief.instance_id));
    Ok(client.get(&format!("localservices/{service}/instances/{id}")).await?)
}

/// The newest operations, where the text may be the beginning of one's id.
async fn operations_like(client: &Client, prefix: &str) -> Result<Vec<OperationSummary>, CliError> {
    if !prefix.starts_with(OPERATION_PREFIX) && !OPERATION_PREFIX.starts_with(prefix) {
        return Ok(Vec::new());
    }
    Ok(operations::list(client, &[], &[], OPERATIONS_SEARCHED).await?.operations)
}

/// A service of which only instances that ended and operations are left.
struct Destroyed {
    id: String,
    name: String,
}

/// The services that are known by what they left behind, the one of this id before all.
async fn destroyed(client: &Client, name: &str) -> Result<Vec<Destroyed>, CliError> {
    let mut names = BTreeMap::new();
    for only in [format!("&service={}", segment(name)), String::new()] {
        let path = format!("instances?old=true&size={INSTANCES_SEARCHED}{only}");
        let ended: Vec<InstanceInfo> = client.get(&path).await?;
        names.extend(ended.into_iter().map(|instance| (instance.service_id, instance.service_name)));
    }
    for only in [&[name.to_owned()][..], &[]] {
        for summary in operations::list(client, only, &[], OPERATIONS_SEARCHED).await?.operations {
            let id = summary.operation.service.to_string();
            let name = id.rsplit_once('-').map_or(id.as_str(), |(name, _)| name).to_owned();
            names.entry(id).or_insert(name);
        }
    }
    Ok(names.into_iter().map(|(id, name)| Destroyed { id, name }).collect())
}

impl Named for ServiceSummary {
    const NOUN: &'static str = "service";

    fn id(&self) -> &str {
        &self.id
    }

    fn other_name(&self) -> Option<&str> {
        Some(&self.name)
    }
}

impl Named for InstanceInfo {
    const NOUN: &'static str = "instance";
    const PREFIX: &'static str = "SI-";

    fn id(&self) -> &str {
        &self.instance_id
    }
}

impl Named for ExecutorSummary {
    const NOUN: &'static str = "executor";

    fn id(&self) -> &str {
        &self.executor_id
    }

    fn other_name(&self) -> Option<&str> {
        Some(&self.hostname)
    }
}

impl Named for OperationSummary {
    const NOUN: &'static str = "operation";

    fn id(&self) -> &str {
        self.operation.id.as_str()
    }
}

impl Named for Destroyed {
    const NOUN: &'static str = "service";

    fn id(&self) -> &str {
        &self.id
    }

    fn other_name(&self) -> Option<&str> {
        Some(&self.name)
    }
}
