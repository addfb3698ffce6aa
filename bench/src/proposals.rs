//! Durable writes per second through three controllers, at several numbers of clients, and through three etcd
//! servers in turn. Calls go to the leader: Muster's over gRPC with mTLS, the way the other controllers forward
//! theirs; etcd's over gRPC without TLS.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::task::{JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::client::{self, Errors, Tally, Writer};
use crate::command::{Commands, Incarnations};
use crate::etcd::{self, Putter, Servers};
use crate::floor;
use crate::group::{Group, Place};
use crate::output::line;
use crate::process::cpu_seconds;
use crate::proposer::Proposer;
use crate::stats::{Summary, Timed, cell, millis};

/// Clients share connections beyond this, as the requests of a controller's users do.
const MAX_CONNECTIONS: usize = 16;
/// Before counting: connections are made, caches are warm.
const WARM_UP: Duration = Duration::from_secs(1);
/// The budget: so many times etcd's rate, with a lower p99, from so many clients on.
const RATE_BUDGET: f64 = 1.2;
const BUDGET_FROM: usize = 16;

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
    #[command(flatten)]
    place: Place,
    /// The etcd to compare with; the one on the path when absent
    #[arg(long, value_name = "PROGRAM")]
    etcd: Option<PathBuf>,
}

/// Who takes turns.
struct Rivals {
    muster: Group,
    etcd: Option<Servers>,
    incarnations: Incarnations,
    bytes: usize,
    time: Duration,
}

/// Measures, and prints the table. `stop` ends what blocks a thread.
pub(crate) async fn run(args: &Args, stop: &CancellationToken) -> anyhow::Result<()> {
    let program = etcd::find(args.etcd.as_deref());
    let mut rivals = Rivals {
        muster: Group::start(&args.place)?,
        etcd: program.map(|program| Servers::start(&program, &args.place.dir)).transpose()?,
        incarnations: Incarnations::default(),
        bytes: usize::from(args.bytes),
        time: Duration::from_secs(args.seconds),
    };
    measure(&mut rivals, &args.clients, stop).await
}

async fn measure(rivals: &mut Rivals, clients: &[u16], stop: &CancellationToken) -> anyhow::Result<()> {
    let (bytes, time) = (rivals.bytes, rivals.time);
    let mut errors = Errors::default();
    line(format_args!(
        "writes of {bytes} B, {} s a row; floor: append of {bytes} B + fdatasync",
        time.as_secs()
    ))?;
    line(format_args!(
        "{:>7} {:>8} {:>7} {:>7} {:>5} {:>8} {:>7} {:>7} {:>5} {:>6} {:>6} {:>8} {:>10} {:>6}",
        "clients",
        "muster/s",
        "p50 ms",
        "p99 ms",
        "µs",
        "etcd/s",
        "p50 ms",
        "p99 ms",
        "µs",
        "ratio",
        "p99",
        "floor/s",
        "rate/floor",
        "errors"
    ))?;
    for clients in clients.iter().copied().map(usize::from) {
        // Half before and half after: what the disk can do changes from one moment to the next.
        let before = disk(rivals.muster.dir(), bytes, time / 2, stop).await?;
        let (muster, failed) = rivals.propose(clients).await?;
        let (etcd, failed_there) = rivals.put(clients).await?;
        let floor = before.and(disk(rivals.muster.dir(), bytes, time / 2, stop).await?);
        let row = Row { clients, muster, etcd, floor: Summary::of(floor), errors: failed.count };
        line(row)?;
        errors.absorb(failed);
        errors.absorb(failed_there);
    }
    match errors.first {
        None => Ok(()),
        Some(first) => bail!("{} writes failed; the first one: {first}", errors.count),
    }
}

impl Rivals {
    /// Muster's turn.
    async fn propose(&mut self, clients: usize) -> anyhow::Result<(Option<Turn>, Errors)> {
        // Anew for each row: after an election it is another one.
        let leader = self.muster.leader().await?;
        let connections = (0..clients.min(MAX_CONNECTIONS))
            .map(|_| self.muster.connect(&leader))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let proposer = |(number, control)| {
            let commands = Commands::new(number, self.bytes, self.incarnations.clone())?;
            Ok(Proposer { control, commands })
        };
        let proposers = connections.into_iter().cycle().take(clients).enumerate().map(proposer);
        let proposers = proposers.collect::<anyhow::Result<Vec<_>>>()?;
        let turn = write(proposers, self.time, &self.muster.pids()).await?;
        // Two controllers carry on without the third: the row would look fine, and be none.
        self.muster.check_alive()?;
        Ok(turn)
    }

    /// etcd's turn, in the same way.
    async fn put(&mut self, clients: usize) -> anyhow::Result<(Option<Turn>, Errors)> {
        let Some(servers) = &mut self.etcd else { return Ok((None, Errors::default())) };
        let leader = servers.leader().await?;
        let connections = (0..clients.min(MAX_CONNECTIONS))
            .map(|_| etcd::connect(&leader))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let putter = |(number, channel)| Putter::new(channel, number, self.bytes);
        let putters = connections.into_iter().cycle().take(clients).enumerate().map(putter);
        let turn = write(putters.collect(), self.time, &servers.pids()).await?;
        servers.check_alive()?;
        Ok(turn)
    }
}

/// The floor, beside the runtime so that signals are heard meanwhile.
async fn disk(dir: &Path, bytes: usize, time: Duration, stop: &CancellationToken) -> anyhow::Result<Timed> {
    let (dir, stop) = (dir.to_owned(), stop.clone());
    spawn_blocking(move || floor::measure(&dir, bytes, time, &stop)).await.context("the floor broke off")?
}

/// What a row came to for one of them.
#[derive(Debug, Clone, Copy)]
struct Turn {
    writes: Summary,
    /// Processor time that servers and clients together took for one write, in µs.
    cost_us: f64,
}

/// All clients at once: they warm up, and are timed for `time`, and so are the `servers`.
async fn write(
    writers: Vec<impl Writer>,
    time: Duration,
    servers: &[u32],
) -> anyhow::Result<(Option<Turn>, Errors)> {
    let taken =
        || servers.iter().copied().chain([std::process::id()]).map(cpu_seconds).sum::<Result<f64, _>>();
    let from = Instant::now() + WARM_UP;
    let mut running: JoinSet<Tally> =
        writers.into_iter().map(|writer| client::run(writer, from, from + time)).collect();
    tokio::time::sleep_until(from.into()).await;
    let before = taken()?;
    let (mut latencies, mut errors) = (Vec::new(), Errors::default());
    while let Some(ended) = running.join_next().await {
        let tally = ended.context("a client broke off")?;
        latencies.extend(tally.latencies);
        errors.absorb(tally.errors);
    }
    // To the end of the last one, which began before the time was over.
    let elapsed = from.elapsed();
    let took_us = (taken()? - before) * 1e6;
    let turn = Summary::of(Timed { latencies, elapsed }).map(|writes| {
        let count = writes.rate * elapsed.as_secs_f64();
        Turn { writes, cost_us: took_us / count }
    });
    Ok((turn, errors))
}

/// One line of the table; a dash where nothing succeeded.
struct Row {
    clients: usize,
    muster: Option<Turn>,
    etcd: Option<Turn>,
    floor: Option<Summary>,
    errors: u64,
}

impl Row {
    /// Muster's rate as a multiple of etcd's, and its p99 likewise.
    fn ratios(&self) -> Option<(f64, f64)> {
        let (muster, etcd) = (self.muster?.writes, self.etcd?.writes);
        Some((muster.rate / etcd.rate, muster.p99.as_secs_f64() / etcd.p99.as_secs_f64()))
    }

    fn misses_the_budget(&self) -> bool {
        self.clients >= BUDGET_FROM
            && self.ratios().is_some_and(|(rate, p99)| rate < RATE_BUDGET || p99 >= 1.0)
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let p50 = |turn: Turn| millis(turn.writes.p50);
        let p99 = |turn: Turn| millis(turn.writes.p99);
        let cost = |turn: Turn| turn.cost_us;
        let ratios = self.ratios();
        let (rates, floors) = (self.muster.map(|turn| turn.writes.rate), self.floor.map(|floor| floor.rate));
        write!(
            f,
            "{:>7} {:>8} {:>7} {:>7} {:>5} {:>8} {:>7} {:>7} {:>5} {:>6} {:>6} {:>8} {:>10} {:>6}",
            self.clients,
            cell(rates, 0),
            cell(self.muster.map(p50), 2),
            cell(self.muster.map(p99), 2),
            cell(self.muster.map(cost), 0),
            self.etcd.map_or_else(|| "no etcd".to_owned(), |etcd| format!("{:.0}", etcd.writes.rate)),
            cell(self.etcd.map(p50), 2),
            cell(self.etcd.map(p99), 2),
            cell(self.etcd.map(cost), 0),
            cell(ratios.map(|(rate, _)| rate), 2),
            cell(ratios.map(|(_, p99)| p99), 2),
            cell(floors, 0),
            cell(rates.zip(floors).map(|(rate, floor)| rate / floor), 2),
            self.errors,
        )?;
        if self.misses_the_budget() { f.write_str("  missed") } else { Ok(()) }
    }
}
