//! Durable proposals per second through three controllers, at several numbers of clients. Calls go to
//! the leader over gRPC with mTLS, the way the other controllers forward theirs.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use muster_platform::shutdown::shutdown_signal;
use tokio::task::{JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::client::{Client, Errors, Tally};
use crate::command::{Commands, Incarnations};
use crate::floor;
use crate::group::Group;
use crate::stats::{Summary, Timed, millis};

/// Clients share connections beyond this, as the requests of a controller's users do.
const MAX_CONNECTIONS: usize = 16;
/// Before counting: connections are made, caches are warm.
const WARM_UP: Duration = Duration::from_secs(1);

/// The command line of `proposals`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many clients, one row for each number
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64, 256],
          value_parser = clap::value_parser!(u16).range(1..))]
    clients: Vec<u16>,
    /// How long each row is measured, in seconds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How large a command is, in bytes
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u16).range(128..))]
    bytes: u16,
    /// Where the controllers' files are put, in a directory that is removed afterwards
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
}

/// Measures, and prints the table. SIGINT or SIGTERM ends it early, and leaves nothing either.
pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    // Before there is anything to clean up.
    let stop = shutdown_signal().context("listening for signals")?;
    let mut group = Group::start(&args.dir)?;
    tokio::select! {
        biased;
        () = stop.cancelled() => bail!("interrupted"),
        outcome = measure(&mut group, args, &stop) => outcome,
    }
}

async fn measure(group: &mut Group, args: &Args, stop: &CancellationToken) -> anyhow::Result<()> {
    let (bytes, time) = (usize::from(args.bytes), Duration::from_secs(args.seconds));
    let incarnations = Incarnations::default();
    let mut errors = Errors::default();
    println!("commands of {bytes} B, {} s a row; floor: append of {bytes} B + fdatasync", args.seconds);
    println!(
        "{:>7} {:>11} {:>8} {:>8} {:>8} {:>10} {:>6}",
        "clients", "proposals/s", "p50 ms", "p99 ms", "floor/s", "rate/floor", "errors"
    );
    for clients in args.clients.iter().copied().map(usize::from) {
        // Anew for each row: after an election it is another one.
        let leader = group.leader().await?;
        // Half before and half after: what the disk can do changes from one moment to the next.
        let before = disk(group.dir(), bytes, time / 2, stop).await?;
        let connected = connect(group, &leader, clients, bytes, &incarnations)?;
        let (timed, failed) = propose(connected, time).await?;
        let floor = before.and(disk(group.dir(), bytes, time / 2, stop).await?);
        print(clients, Summary::of(timed), Summary::of(floor), failed.count);
        errors.absorb(failed);
        // Two controllers carry on without the third: the row would look fine, and be none.
        group.check_alive()?;
    }
    match errors.first {
        None => Ok(()),
        Some(first) => bail!("{} proposals failed; the first one: {first}", errors.count),
    }
}

/// The floor, beside the runtime so that signals are heard meanwhile.
async fn disk(dir: &Path, bytes: usize, time: Duration, stop: &CancellationToken) -> anyhow::Result<Timed> {
    let (dir, stop) = (dir.to_owned(), stop.clone());
    spawn_blocking(move || floor::measure(&dir, bytes, time, &stop)).await.context("the floor broke off")?
}

fn connect(
    group: &Group,
    leader: &str,
    clients: usize,
    bytes: usize,
    incarnations: &Incarnations,
) -> anyhow::Result<Vec<Client>> {
    let connections = (0..clients.min(MAX_CONNECTIONS))
        .map(|_| group.connect(leader))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let client = |(number, control)| {
        Ok(Client { control, commands: Commands::new(number, bytes, incarnations.clone())? })
    };
    connections.into_iter().cycle().take(clients).enumerate().map(client).collect()
}

/// All clients at once: they warm up, and are timed for `time`.
async fn propose(clients: Vec<Client>, time: Duration) -> anyhow::Result<(Timed, Errors)> {
    let from = Instant::now() + WARM_UP;
    let mut running: JoinSet<Tally> =
        clients.into_iter().map(|client| client.run(from, from + time)).collect();
    let (mut latencies, mut errors) = (Vec::new(), Errors::default());
    while let Some(ended) = running.join_next().await {
        let tally = ended.context("a client broke off")?;
        latencies.extend(tally.latencies);
        errors.absorb(tally.errors);
    }
    // To the end of the last one, which began before the time was over.
    Ok((Timed { latencies, elapsed: from.elapsed() }, errors))
}

/// One row; a dash where nothing succeeded.
fn print(clients: usize, proposals: Option<Summary>, floor: Option<Summary>, errors: u64) {
    let cell = |value: Option<f64>, decimals: usize| {
        value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
    };
    let rate = |summary: Summary| summary.rate;
    let (rates, floors) = (proposals.map(rate), floor.map(rate));
    println!(
        "{clients:>7} {:>11} {:>8} {:>8} {:>8} {:>10} {errors:>6}",
        cell(rates, 0),
        cell(proposals.map(|summary| millis(summary.p50)), 2),
        cell(proposals.map(|summary| millis(summary.p99)), 2),
        cell(floors, 0),
        cell(rates.zip(floors).map(|(rate, floor)| rate / floor), 2),
    );
}
