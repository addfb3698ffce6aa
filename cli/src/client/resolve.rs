//! What a name means: services by id or unique name, instances by id or unique prefix.

use std::collections::BTreeMap;

use muster_common::executor::ExecutorSummary;
use muster_common::exit::Exit;
use muster_common::instance::InstanceInfo;
use muster_common::service::ServiceSummary;

use super::http::{Client, segment};
use crate::error::CliError;

/// More matches than this are not listed one by one.
const MATCHES_SHOWN: usize = 8;

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
    if old {
        instances.sort_by_key(|instance| instance.updated);
    } else {
        instances.sort_by(|a, b| {
            (&a.executor_id, a.slot_index, a.created).cmp(&(&b.executor_id, b.slot_index, b.created))
        });
    }
    Ok(instances)
}

/// The service of this id, or of this name when no other version has it.
pub(crate) async fn service(client: &Client, name: &str) -> Result<ServiceSummary, CliError> {
    let all = services(client).await?;
    pick("service", name, all, |service| &service.id, |service| service.name == name)
}

/// The instance of this id or unique prefix (with or without `SI-`), living or ended, with all that is known of it.
pub(crate) async fn instance(client: &Client, prefix: &str) -> Result<InstanceInfo, CliError> {
    let all: Vec<InstanceInfo> =
        client.get(&format!("instances?old=true&idPrefix={}", segment(prefix))).await?;
    let found = pick(
        "instance",
        prefix,
        all,
        |instance| &instance.instance_id,
        |instance| {
            instance.instance_id.starts_with(prefix)
                || instance.instance_id.strip_prefix("SI-").is_some_and(|id| id.starts_with(prefix))
        },
    )?;
    let (service, id) = (segment(&found.service_id), segment(&found.instance_id));
    client.get(&format!("localservices/{service}/instances/{id}")).await
}

/// The one of `all` whose id is `text`, else the only one that matches.
pub(crate) fn pick<T>(
    noun: &str,
    text: &str,
    all: Vec<T>,
    id: impl Fn(&T) -> &String,
    matches: impl Fn(&T) -> bool,
) -> Result<T, CliError> {
    let mut found: Vec<T> = Vec::new();
    for candidate in all {
        if id(&candidate) == text {
            return Ok(candidate);
        }
        if matches(&candidate) {
            found.push(candidate);
        }
    }
    if found.len() > 1 {
        let shown: String =
            found.iter().take(MATCHES_SHOWN).map(|candidate| format!("\n  {}", id(candidate))).collect();
        let more = found.len().saturating_sub(MATCHES_SHOWN);
        let rest = if more > 0 { format!("\n  … and {more} more") } else { String::new() };
        return Err(CliError::new(
            Exit::Usage,
            format!("'{text}' could be any of {} {noun}s; write more of the id:{shown}{rest}", found.len()),
        ));
    }
    found.pop().ok_or_else(|| {
        CliError::new(Exit::NotFound, format!("there is no {noun} '{text}'; see 'muster get {noun}s'"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick_id(text: &str, all: &[&str]) -> Result<String, CliError> {
        let all = all.iter().map(ToString::to_string).collect();
        pick("instance", text, all, |id| id, |id: &String| id.starts_with(text))
    }

    #[test]
    fn a_unique_prefix_is_enough_and_an_ambiguous_one_lists_its_matches() {
        let all = ["SI-aa1", "SI-aa2", "SI-b", "SI-aa"];
        assert_eq!(pick_id("SI-b", &all).unwrap(), "SI-b");
        assert_eq!(pick_id("SI-aa1", &all).unwrap(), "SI-aa1");
        assert_eq!(pick_id("SI-aa", &all).unwrap(), "SI-aa", "an exact id wins over prefixes");
        let ambiguous = pick_id("SI-a", &all).unwrap_err();
        assert_eq!(ambiguous.exit, Exit::Usage);
        assert!(ambiguous.message.contains("SI-aa1") && ambiguous.message.contains("SI-aa2"));
        assert_eq!(pick_id("x", &all).unwrap_err().exit, Exit::NotFound);
    }
}
