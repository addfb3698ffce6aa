//! Start, stop and replace containers: the executor's time from the slot table to HEALTHY (or STOPPED), divided by
//! what the engine alone takes for the same containers at the parallelism that suits it best.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bollard::Docker;
use bollard::query_parameters::KillContainerOptionsBuilder;
use muster_tests::docker_image::TestImage;

use crate::output::line;

use super::agent::Node;
use super::engine;

/// How the benchmark is run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many containers
    #[arg(long, value_delimiter = ',', default_value = "1,10,50,100")]
    counts: Vec<u32>,
    /// How often each is measured; the median counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How many containers the engine is given at once; the best one counts
    #[arg(long, value_delimiter = ',', default_value = "2,4,8")]
    at_once: Vec<usize>,
    /// The program that is an executor when it is given `--config FILE`; this one's own when absent
    #[arg(long)]
    program: Option<PathBuf>,
}

/// One median of each.
struct Row {
    what: String,
    muster: Duration,
    engine: Duration,
    budget: f64,
}

/// Measures and prints the table. At the end the executor goes first; with the image all containers go that anybody made
/// of it.
pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(args.rounds > 0 && !args.at_once.is_empty(), "nothing is to be measured");
    let docker = Docker::connect_with_defaults().context("reaching the Docker Engine")?;
    let image = TestImage::import(&docker).await?;
    measure(args, &docker, &image).await
}

async fn measure(args: &Args, docker: &Docker, image: &TestImage) -> anyhow::Result<()> {
    let mut node = Node::start(args.program.as_deref(), image.reference()).await?;
    // Warms the engine, the image and the executor up.
    node.fill(1).await?;
    node.empty().await?;

    line(format_args!(
        "{:<28} {:>10} {:>10} {:>8} {:>8}",
        "what", "muster ms", "engine ms", "ratio", "budget"
    ))?;
    let mut one = Duration::ZERO;
    for &count in &args.counts {
        let (start, stop) = together(args, docker, image, &mut node, count).await?;
        if count == 1 {
            one = start.engine;
        }
        print(&start)?;
        print(&stop)?;
    }
    if !one.is_zero() {
        let (crash, told) = crash(args, docker, &mut node).await?;
        for (what, muster) in [("crash to replacement", crash), ("since the engine knows", told)] {
            print(&Row { what: what.to_owned(), muster, engine: one, budget: 1.3 })?;
        }
    }
    Ok(())
}

/// Muster and the engine in turn, so that both see the same machine.
async fn together(
    args: &Args,
    docker: &Docker,
    image: &TestImage,
    node: &mut Node,
    count: u32,
) -> anyhow::Result<(Row, Row)> {
    let (mut fills, mut empties) = (Vec::new(), Vec::new());
    let mut floors = vec![(Vec::new(), Vec::new()); args.at_once.len()];
    for _ in 0..args.rounds {
        fills.push(node.fill(count).await?);
        empties.push(node.empty().await?);
        for (&at_once, (starts, ends)) in args.at_once.iter().zip(&mut floors) {
            let (made, start) = engine::start(docker, image.reference(), count, at_once).await?;
            starts.push(start);
            ends.push(made.end(at_once).await?);
        }
    }
    let best = |medians: Vec<Duration>| medians.into_iter().min().unwrap_or_default();
    let starts = best(floors.iter_mut().map(|(starts, _)| median(starts)).collect());
    let ends = best(floors.iter_mut().map(|(_, ends)| median(ends)).collect());
    let start = Row {
        what: format!("start {count}, to HEALTHY"),
        muster: median(&mut fills),
        engine: starts,
        budget: if count == 1 { 1.25 } else { 1.08 },
    };
    let stop = Row {
        what: format!("stop and remove {count}"),
        muster: median(&mut empties),
        engine: ends,
        budget: 1.1,
    };
    Ok((start, stop))
}

/// From the kill of a container until its replacement is HEALTHY, with a back-off of 0 s; and the same from the
/// moment on when the engine knows of the death itself.
async fn crash(args: &Args, docker: &Docker, node: &mut Node) -> anyhow::Result<(Duration, Duration)> {
    node.fill(1).await?;
    let (mut times, mut told) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds.max(5) {
        let healthy = node.healthy_ids();
        let [instance] = healthy.as_slice() else {
            anyhow::bail!("not one instance is healthy but {healthy:?}")
        };
        let name = format!("bench-1-{instance}");
        let options = KillContainerOptionsBuilder::default().signal("KILL").build();
        let begun = Instant::now();
        docker.kill_container(&name, Some(options)).await.context("killing a container")?;
        // It answers when it has dealt with the death.
        let killed = begun.elapsed();
        node.replaced(instance).await?;
        times.push(begun.elapsed());
        told.push(times.last().copied().unwrap_or_default().saturating_sub(killed));
    }
    node.empty().await?;
    Ok((median(&mut times), median(&mut told)))
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn print(row: &Row) -> anyhow::Result<()> {
    let ratio = row.muster.as_secs_f64() / row.engine.as_secs_f64();
    line(format_args!(
        "{:<28} {:>10.1} {:>10.1} {:>8.2} {:>8.2}{}",
        row.what,
        row.muster.as_secs_f64() * 1e3,
        row.engine.as_secs_f64() * 1e3,
        ratio,
        row.budget,
        if ratio <= row.budget { "" } else { "  missed" }
    ))
}
