//! `muster health`: what the last checks said.

use std::fmt::Write as _;

use clap::Args;
use muster_common::evidence::ProbeRecord;
use muster_common::instance::InstanceInfo;

use super::Caller;
use crate::client::resolve::{self, ServiceOrInstance};
use crate::client::screen::{self, Screen, Tone};
use crate::client::table::{Cell, Rows, real};
use crate::client::words::{age, age_cell, tone_of_instance};
use crate::error::CliError;

#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    /// A service or an instance; a unique prefix of an id is enough.
    name: String,
    /// Show each of the last checks, with what was answered.
    #[arg(long)]
    checks: bool,
}

pub(crate) async fn health(caller: &Caller, args: &HealthArgs) -> Result<(), CliError> {
    let client = &caller.client;
    let instances = match resolve::service_or_instance(client, &args.name).await? {
        ServiceOrInstance::Service(service) => resolve::detailed_instances(client, &service.id).await?,
        ServiceOrInstance::Destroyed(id) => return Err(resolve::gone(&id)),
        ServiceOrInstance::Instance(instance) => vec![*instance],
    };
    let text =
        || if args.checks { checks(&instances, &caller.screen) } else { summary(&instances, &caller.screen) };
    let ids: Vec<&str> = instances.iter().map(|instance| instance.instance_id.as_str()).collect();
    screen::write(&caller.answer(&ids.join("\n"), &instances, text)?)
}

/// One line for each instance.
pub(crate) fn summary(instances: &[InstanceInfo], screen: &Screen) -> String {
    if instances.is_empty() {
        return "no instances; those that ended are under 'muster get instances --old'\n".to_owned();
    }
    let mut rows =
        Rows::new(["INSTANCE", "EXECUTOR", "STATE", "FAILED IN A ROW", "LAST CHECK", "AGO", "LATENCY"]);
    for instance in instances {
        let last = instance.probes.last();
        let failed = instance.probes.iter().rev().take_while(|probe| !probe.passed).count();
        rows.add([
            Cell::id(&instance.instance_id),
            Cell::text(&instance.executor_id),
            Cell::text(instance.state.as_str()).toned(tone_of_instance(instance.state)),
            Cell::count(failed as u64).toned(if failed > 0 { Tone::Bad } else { Tone::Plain }),
            last.map_or_else(|| Cell::text("none yet"), verdict),
            last.map_or_else(|| Cell::text(""), |probe| age_cell(probe.at, screen)),
            last.map_or_else(|| Cell::text(""), latency),
        ]);
    }
    rows.fitting(screen)
}

/// Each of the last checks of each instance, newest last.
pub(crate) fn checks(instances: &[InstanceInfo], screen: &Screen) -> String {
    let mut text = String::new();
    for (index, instance) in instances.iter().enumerate() {
        let gap = if index == 0 { "" } else { "\n" };
        let state = screen.paint(tone_of_instance(instance.state), instance.state.as_str());
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{gap}{} on {}: {state}", instance.instance_id, instance.executor_id);
        text.push_str(&probes(&instance.probes, screen));
    }
    text
}

/// The probes, newest last.
pub(crate) fn probes(probes: &[ProbeRecord], screen: &Screen) -> String {
    if probes.is_empty() {
        return "no check has ended yet\n".to_owned();
    }
    let mut rows = Rows::new(["AGO", "CHECK", "RESULT", "LATENCY", "ANSWER"]);
    for probe in probes {
        rows.add([
            Cell::text(age(probe.at, screen)),
            Cell::text(probe.kind.as_str()),
            verdict(probe),
            latency(probe),
            Cell::text(probe.answer.lines().next().unwrap_or_default()),
        ]);
    }
    rows.fitting(screen)
}

fn verdict(probe: &ProbeRecord) -> Cell {
    let code = probe.code.map(|code| format!(" ({code})")).unwrap_or_default();
    if probe.passed {
        Cell::text(format!("passed{code}")).toned(Tone::Good)
    } else {
        Cell::text(format!("failed{code}")).toned(Tone::Bad)
    }
}

fn latency(probe: &ProbeRecord) -> Cell {
    Cell::ranked(format!("{}ms", probe.latency_ms), real(probe.latency_ms))
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::client::samples::{self, screen};

    #[test]
    fn checks_in_brief_and_each() {
        let instances = [samples::healthy_instance(), samples::ended_instance(), samples::pending_instance()];
        assert_snapshot!("summary", summary(&instances, &screen()));
        assert_snapshot!("checks", checks(&instances, &screen()));
    }
}
