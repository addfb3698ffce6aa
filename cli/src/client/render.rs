//! What is written. Pure: typed answers in, text out.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use muster_common::cluster::ControllerInfo;
use muster_common::evidence::Evidence;
use muster_common::executor::ExecutorSummary;
use muster_common::instance::InstanceInfo;
use muster_common::service::ServiceSummary;
use muster_common::time::Timestamp;
use serde::Serialize;

use crate::args::Output;
use crate::error::CliError;

/// An answer in the form that was asked for.
pub(crate) fn answer<T: Serialize>(
    output: Output,
    value: &T,
    table: impl FnOnce() -> String,
) -> Result<String, CliError> {
    match output {
        Output::Table => Ok(table()),
        Output::Json => serde_json::to_string_pretty(value)
            .map(|text| text + "\n")
            .map_err(|error| CliError::failure(format!("cannot write JSON: {error}"))),
        Output::Yaml => serde_saphyr::to_string(value)
            .map_err(|error| CliError::failure(format!("cannot write YAML: {error}"))),
    }
}

/// Columns without lines between them; fits the terminal, and is not cut in a pipe.
fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: String = table.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    lines
}

pub(crate) fn services(services: &[ServiceSummary]) -> String {
    if services.is_empty() {
        return "no services; deploy one with 'muster apply -f FILE'\n".to_owned();
    }
    table(
        &["ID", "STATE", "HEALTHY", "PER HOST", "CPUS", "MEMORY MB", "AGE", "PROBLEM"],
        services.iter().map(|service| {
            vec![
                service.id.clone(),
                service.state.to_string(),
                format!("{}/{}", service.healthy_instances, service.required_instances),
                service.instances_per_host.to_string(),
                service.total_cpus.to_string(),
                service.total_memory.to_string(),
                age(service.created),
                service.problems.first().cloned().unwrap_or_default(),
            ]
        }),
    )
}

pub(crate) fn instances(instances: &[InstanceInfo]) -> String {
    if instances.is_empty() {
        return "no instances; those that ended are under --old\n".to_owned();
    }
    table(
        &["INSTANCE", "SERVICE", "EXECUTOR", "STATE", "PORTS", "AGE", "ERROR"],
        instances.iter().map(|instance| {
            vec![
                instance.instance_id.clone(),
                instance.service_id.clone(),
                instance.executor_id.clone(),
                instance.state.to_string(),
                ports(instance),
                age(instance.created),
                instance.error_message.clone(),
            ]
        }),
    )
}

pub(crate) fn old_instances(instances: &[InstanceInfo]) -> String {
    if instances.is_empty() {
        return "no instance has ended within the retention time\n".to_owned();
    }
    table(
        &["INSTANCE", "SERVICE", "EXECUTOR", "STATE", "REASON", "ENDED", "AGO", "ERROR"],
        instances.iter().map(|instance| {
            vec![
                instance.instance_id.clone(),
                instance.service_id.clone(),
                instance.executor_id.clone(),
                instance.state.to_string(),
                instance.reason.map(|reason| reason.to_string()).unwrap_or_default(),
                instance.evidence.as_ref().map(ending).unwrap_or_default(),
                age(instance.updated),
                instance.error_message.clone(),
            ]
        }),
    )
}

pub(crate) fn executors(executors: &[ExecutorSummary]) -> String {
    if executors.is_empty() {
        return "no executor has registered yet\n".to_owned();
    }
    table(
        &["EXECUTOR", "HOST", "STATE", "CORES USED", "MEMORY MB USED", "TAGS"],
        executors.iter().map(|executor| {
            vec![
                executor.executor_id.clone(),
                executor.hostname.clone(),
                executor.state.to_string(),
                format!("{}/{}", executor.used_cores, executor.used_cores + executor.free_cores),
                format!("{}/{}", executor.used_memory, executor.used_memory + executor.free_memory),
                executor.tags.join(","),
            ]
        }),
    )
}

pub(crate) fn members(members: &[ControllerInfo]) -> String {
    if members.is_empty() {
        return "this controller is in no group yet; its log says what it waits for\n".to_owned();
    }
    let known = |number: Option<u64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
    table(
        &["ID", "ROLE", "CLUSTER ADDRESS", "API", "LAST LOG", "LAG", "SILENT"],
        members.iter().map(|member| {
            vec![
                member.id.to_string(),
                member.role.to_string(),
                member.cluster.clone(),
                member.api.clone(),
                known(member.last_log),
                known(member.lag),
                member
                    .silent_ms
                    .map(|silent| format!("{}.{}s", silent / 1000, silent % 1000 / 100))
                    .unwrap_or_default(),
            ]
        }),
    )
}

/// `main=127.0.0.1:5001`, as far as they are known.
pub(crate) fn ports(instance: &InstanceInfo) -> String {
    let Some(info) = &instance.local_info else { return String::new() };
    let ports: Vec<String> = info
        .ports
        .iter()
        .map(|(name, port)| format!("{name}={}:{}", info.hostname, port.host_port))
        .collect();
    ports.join(" ")
}

/// How a workload ended, in a few words.
pub(crate) fn ending(evidence: &Evidence) -> String {
    match (evidence.oom_killed, evidence.signal, evidence.exit_code) {
        (true, _, _) => "out of memory".to_owned(),
        (false, Some(signal), _) => format!("signal {signal}"),
        (false, None, Some(code)) => format!("exit {code}"),
        (false, None, None) => String::new(),
    }
}

/// How long ago, in its largest unit. Only shown, never judged: the clocks may differ.
pub(crate) fn age(then: Timestamp) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Timestamp(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
    span(now.since(then))
}

fn span(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7_200 => format!("{}m", seconds / 60),
        seconds @ 7_200..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_written_in_their_largest_unit() {
        let of = |seconds| span(Duration::from_secs(seconds));
        assert_eq!([of(0), of(119), of(120), of(7_200), of(200_000)], ["0s", "119s", "2m", "2h", "2d"]);
    }

    #[test]
    fn an_ending_names_the_strongest_cause() {
        let evidence =
            Evidence { exit_code: Some(137), signal: Some(9), oom_killed: true, ..Evidence::default() };
        assert_eq!(ending(&evidence), "out of memory");
        assert_eq!(ending(&Evidence { oom_killed: false, ..evidence.clone() }), "signal 9");
        assert_eq!(ending(&Evidence { exit_code: Some(3), ..Evidence::default() }), "exit 3");
    }
}
