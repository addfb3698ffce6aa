//! What an executor takes while nothing happens: memory and processor time with so many instances that are checked
//! every second.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use bollard::Docker;
use muster_tests::docker_image::TestImage;

use super::agent::Node;
use crate::output::line;
use crate::process::{cpu_seconds, resident_mb};

/// What an executor may hold in memory, with a hundred instances: each machine of a fleet pays it.
const RESIDENT_BUDGET_MB: f64 = 25.0;

/// How the benchmark is run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many instances
    #[arg(long, default_value_t = 100)]
    instances: u32,
    /// How long they are watched
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// The program that is an executor when it is given `--config FILE`; this one's own when absent
    #[arg(long)]
    program: Option<PathBuf>,
}

/// Measures and prints the table.
pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let docker = Docker::connect_with_defaults().context("reaching the Docker Engine")?;
    let image = TestImage::import(&docker).await?;
    measure(args, &image).await
}

async fn measure(args: &Args, image: &TestImage) -> anyhow::Result<()> {
    let mut node = Node::start(args.program.as_deref(), image.reference()).await?;
    let pid = node.pid()?;
    let idle = resident_mb(pid)?;
    node.fill(args.instances).await?;
    // What the start took is given back, or kept, by then.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = cpu_seconds(pid)?;
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    let share = (cpu_seconds(pid)? - before) / f64::from(u32::try_from(args.seconds).unwrap_or(u32::MAX));
    let resident = resident_mb(pid)?;
    line(format_args!("{:<44} {:>9} {:>9}", "executor", "measured", "budget"))?;
    line(format_args!("{:<44} {idle:>7.1}MB", "resident, no instance"))?;
    let missed = if resident <= RESIDENT_BUDGET_MB { "" } else { "  missed" };
    let what = format!("resident, {} instances checked every second", args.instances);
    line(format_args!("{what:<44} {resident:>7.1}MB {RESIDENT_BUDGET_MB:>7.1}MB{missed}"))?;
    line(format_args!("{:<44} {:>8.2}%", "of one core", share * 100.0))?;
    node.empty().await?;
    Ok(())
}
