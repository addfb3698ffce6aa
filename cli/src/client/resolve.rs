//! What a name means: an id, another name where only one has it, or the beginning of an id.

use std::collections::BTreeMap;

use muster_common::executor::ExecutorSummary;
use muster_common::exit::Exit;
use muster_common::instance::{InstanceInfo, InstanceState};
use muster_common::operation::{Operation, OperationSummary};
use muster_common::service::ServiceSummary;

use super::http::{Client, segment};
use super::nearest::or_nearest;
use crate::error::CliError;

/// More matches than this are not listed one by one.
const MATCHES_SHOWN: usize = 8;
/// Among how many operations a prefix is looked for; the server gives no more at a time.
const OPERATIONS_SEARCHED: u64 = 100;
/// Among how many instances the one is searched that is most like a name that none has.
const INSTANCES_SEARCHED: usize = 1_000;

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
pub(crate) async fn service(client: &Client, name: &str) -> Result<ServiceSummary, CliError> {
    pick(name, services(client).await?)
}

/// The instance of this id or unique prefix (with or without `SI-`), living or ended, with all that is known of it.
pub(crate) async fn instance(client: &Client, prefix: &str) -> Result<InstanceInfo, CliError> {
    let begins = format!("instances?old=true&idPrefix={}", segment(prefix));
    let mut matching: Vec<InstanceInfo> = client.get(&begins).await?;
    if matching.is_empty() {
        // Only to name the one that may have been meant.
        matching = client.get(&format!("instances?old=true&size={INSTANCES_SEARCHED}")).await?;
    }
    let found = pick(prefix, matching)?;
    let (service, id) = (segment(&found.service_id), segment(&found.instance_id));
    client.get(&format!("localservices/{service}/instances/{id}")).await
}

/// The executor of this id, of this host name, or of this prefix of an id.
pub(crate) async fn executor(client: &Client, name: &str) -> Result<ExecutorSummary, CliError> {
    pick(name, executors(client).await?)
}

/// The operation of this id or unique prefix, with all its slots.
pub(crate) async fn operation(client: &Client, prefix: &str) -> Result<Operation, CliError> {
    let all: Vec<OperationSummary> =
        client.get(&format!("localservices/operations?size={OPERATIONS_SEARCHED}")).await?;
    match pick(prefix, all) {
        Ok(found) => client.operation(found.operation.id.as_str()).await,
        // One that is older than those may still be known by its whole id.
        Err(missing) if missing.exit == Exit::NotFound => {
            client.operation(prefix).await.map_err(|error| match error.exit {
                Exit::NotFound => missing,
                _ => error,
            })
        }
        Err(error) => Err(error),
    }
}

/// Whatever a name may mean.
pub(crate) enum Thing {
    Service(ServiceSummary),
    Instance(InstanceInfo),
    Executor(ExecutorSummary),
    Operation(Operation),
}

/// The service, executor, instance or operation of this name; the first of these kinds that has one.
pub(crate) async fn thing(client: &Client, name: &str) -> Result<Thing, CliError> {
    let mut missed = Vec::new();
    let mut found = |result: Result<Thing, CliError>| match result {
        Ok(thing) => Some(Ok(thing)),
        Err(error) if error.exit == Exit::NotFound => {
            missed.push(error.message);
            None
        }
        Err(error) => Some(Err(error)),
    };
    if let Some(end) = found(service(client, name).await.map(Thing::Service)) {
        return end;
    }
    if let Some(end) = found(executor(client, name).await.map(Thing::Executor)) {
        return end;
    }
    if let Some(end) = found(instance(client, name).await.map(Thing::Instance)) {
        return end;
    }
    if let Some(end) = found(operation(client, name).await.map(Thing::Operation)) {
        return end;
    }
    // What was meant is most likely of the kind that has something like it.
    let likely = missed.into_iter().find(|message| message.contains("did you mean"));
    Err(CliError::new(
        Exit::NotFound,
        likely.unwrap_or_else(|| {
            format!(
                "there is no service, executor, instance or operation '{name}'; see 'muster get services'"
            )
        }),
    ))
}

/// What people name.
trait Named {
    const NOUN: &'static str;

    fn id(&self) -> &str;

    /// Another name that may serve when only one has it.
    fn other_name(&self) -> Option<&str> {
        None
    }

    /// What an id begins with that need not be written.
    const PREFIX: &'static str = "";
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

/// How well a name fits: exactly, as another name, as the beginning of an id.
fn fit<T: Named>(text: &str, thing: &T) -> Option<u8> {
    let begins = |id: &str| !text.is_empty() && id.starts_with(text);
    if thing.id() == text {
        Some(0)
    } else if thing.other_name() == Some(text) {
        Some(1)
    } else if begins(thing.id()) || thing.id().strip_prefix(T::PREFIX).is_some_and(begins) {
        Some(2)
    } else {
        None
    }
}

/// The one of `all` that fits best; several that fit equally well are an error that lists them.
fn pick<T: Named>(text: &str, all: Vec<T>) -> Result<T, CliError> {
    let Some(best) = all.iter().filter_map(|thing| fit(text, thing)).min() else {
        return Err(missing(text, &all));
    };
    let mut found: Vec<T> = all.into_iter().filter(|thing| fit(text, thing) == Some(best)).collect();
    match (found.len(), found.pop()) {
        (1, Some(only)) => Ok(only),
        (_, last) => {
            found.extend(last);
            Err(ambiguous(text, &found))
        }
    }
}

fn missing<T: Named>(text: &str, all: &[T]) -> CliError {
    let names = all.iter().flat_map(|thing| [Some(thing.id()), thing.other_name()]).flatten();
    let nearest = or_nearest(text, names);
    let noun = T::NOUN;
    let see = if nearest.is_empty() { "; see" } else { " See" };
    CliError::new(Exit::NotFound, format!("there is no {noun} '{text}'{nearest}{see} 'muster get {noun}s'"))
}

fn ambiguous<T: Named>(text: &str, found: &[T]) -> CliError {
    let shown: String = found.iter().take(MATCHES_SHOWN).map(|thing| format!("\n  {}", thing.id())).collect();
    let more = found.len().saturating_sub(MATCHES_SHOWN);
    let rest = if more > 0 { format!("\n  … and {more} more") } else { String::new() };
    CliError::new(
        Exit::Usage,
        format!("'{text}' could be any of {} {}s; write more of the id:{shown}{rest}", found.len(), T::NOUN),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Pet(&'static str, &'static str);

    impl Named for Pet {
        const NOUN: &'static str = "pet";
        const PREFIX: &'static str = "SI-";

        fn id(&self) -> &str {
            self.0
        }

        fn other_name(&self) -> Option<&str> {
            Some(self.1)
        }
    }

    fn picked(text: &str) -> Result<&'static str, CliError> {
        let all = vec![
            Pet("SI-aa1", "cat"),
            Pet("SI-aa2", "dog"),
            Pet("SI-b", "dog"),
            Pet("SI-aa", "c"),
            Pet("cattle-1", "cattle"),
        ];
        pick(text, all).map(|pet| pet.0)
    }

    #[test]
    fn a_unique_prefix_is_enough_and_an_ambiguous_one_lists_its_matches() {
        for (text, id) in [
            ("SI-b", "SI-b"),
            ("b", "SI-b"),
            ("SI-aa1", "SI-aa1"),
            ("SI-aa", "SI-aa"), // an exact id wins over prefixes
            ("cat", "SI-aa1"),  // and so does a name
            ("catt", "cattle-1"),
        ] {
            assert_eq!(picked(text).unwrap(), id, "{text}");
        }
        let ambiguous = picked("SI-a").unwrap_err();
        assert_eq!(ambiguous.exit, Exit::Usage);
        assert!(ambiguous.message.contains("SI-aa1") && ambiguous.message.contains("SI-aa2"));
        assert_eq!(picked("dog").unwrap_err().exit, Exit::Usage);
        for text in ["x", ""] {
            assert_eq!(picked(text).unwrap_err().exit, Exit::NotFound, "{text:?}");
        }
    }

    #[test]
    fn a_mistyped_name_is_told_the_nearest() {
        let error = picked("catle").unwrap_err();
        assert_eq!(error.message, "there is no pet 'catle'; did you mean 'cattle'? See 'muster get pets'");
    }
}
