//! `muster top`: what is leased of cores and memory, the fullest first.

use std::cmp::Reverse;

use clap::{Args, ValueEnum};
use muster_common::executor::ExecutorSummary;
use muster_common::service::ServiceSummary;

use super::Caller;
use crate::client::resolve;
use crate::client::screen::{self, Screen, Tone};
use crate::client::table::{Cell, Listed, Rows, real};
use crate::client::words::used;
use crate::error::CliError;

#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Whose use.
    #[arg(value_enum, default_value_t = What::Executors)]
    what: What,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    Executors,
    Services,
}

pub(crate) async fn top(caller: &Caller, args: &TopArgs) -> Result<(), CliError> {
    let client = &caller.client;
    let text = match args.what {
        What::Executors => {
            let mut all = resolve::executors(client).await?;
            all.sort_by_key(|executor| Reverse(permille(executor.used_memory, executor.free_memory)));
            caller.answer(&ids(&all), &all, || executors(&all, &caller.screen))?
        }
        What::Services => {
            let mut all = resolve::services(client).await?;
            all.sort_by_key(|service| Reverse(service.total_memory));
            caller.answer(&ids(&all), &all, || services(&all, &caller.screen))?
        }
    };
    screen::write(&text)
}

fn ids<T: Listed>(all: &[T]) -> String {
    all.iter().map(Listed::id).collect::<Vec<_>>().join("\n")
}

fn executors(executors: &[ExecutorSummary], screen: &Screen) -> String {
    let mut rows = Rows::new(["EXECUTOR", "HOST", "STATE", "CORES", "CORES %", "MEMORY MB", "MEMORY %"]);
    for executor in executors {
        rows.add([
            Cell::text(&executor.executor_id),
            Cell::text(&executor.hostname),
            Cell::text(executor.state.as_str()),
            used(executor.used_cores, executor.free_cores),
            percent(executor.used_cores, executor.free_cores),
            used(executor.used_memory, executor.free_memory),
            percent(executor.used_memory, executor.free_memory),
        ]);
    }
    rows.fitting(screen)
}

fn services(services: &[ServiceSummary], screen: &Screen) -> String {
    let mut rows = Rows::new(["SERVICE", "HEALTHY", "CPUS", "MEMORY MB"]);
    for service in services {
        rows.add([
            Cell::text(&service.id),
            Cell::text(format!("{}/{}", service.healthy_instances, service.required_instances)),
            Cell::text(service.total_cpus.to_string()),
            Cell::count(service.total_memory),
        ]);
    }
    rows.fitting(screen)
}

/// Thousandths that are used.
fn permille(used: u64, free: u64) -> u64 {
    (used * 1000).checked_div(used + free).unwrap_or_default()
}

fn percent(used: u64, free: u64) -> Cell {
    /// From here on there is little room.
    const FULL_PERMILLE: u64 = 900;
    let share = permille(used, free);
    let tone = if share >= FULL_PERMILLE { Tone::Busy } else { Tone::Plain };
    Cell::ranked(format!("{}%", share / 10), real(share)).toned(tone)
}
