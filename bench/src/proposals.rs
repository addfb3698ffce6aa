//! Durable proposals per second through three controllers: each client proposes, waits until its
//! command is committed and applied, and proposes again. Calls go to the leader over gRPC with mTLS,
//! the way the other controllers forward theirs.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use muster_common::executor::{ExecutorRecord, NodeLayout};
use muster_common::id::ExecutorId;
use muster_common::time::Timestamp;
use muster_controller::state::{Command, Reply};
use muster_proto::v1::ProposeRequest;
use muster_proto::v1::control_client::ControlClient;
use muster_proto::v1::propose_response::Outcome;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::floor;
use crate::group::Group;
use crate::stats::{Summary, millis};

/// Clients share connections beyond this, as the requests of a controller's users do.
const MAX_CONNECTIONS: usize = 16;
/// How much room one tag of padding takes in a command, nearly.
const TAG_BYTES: usize = 64;
/// Before counting: connections are made, caches are warm.
const WARM_UP: Duration = Duration::from_secs(1);

/// The command line of `proposals`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many clients, one row for each number
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64, 256])]
    clients: Vec<usize>,
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

/// Measures, and prints the table; Ctrl-C ends it early and leaves nothing either.
pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let mut group = Group::start(&args.dir)?;
    tokio::select! {
        outcome = measure(&mut group, args) => outcome,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
    }
}

async fn measure(group: &mut Group, args: &Args) -> anyhow::Result<()> {
    let (bytes, time) = (usize::from(args.bytes), Duration::from_secs(args.seconds));
    let leader = group.leader().await?;
    let floor = floor::measure(group.dir(), bytes, time)?;
    println!(
        "floor: append of {bytes} B + fdatasync, one writer: {:.0}/s, p50 {:.2} ms, p99 {:.2} ms",
        floor.rate,
        millis(floor.p50),
        millis(floor.p99)
    );
    println!(
        "{:>7} {:>11} {:>8} {:>8} {:>10} {:>9}",
        "clients", "proposals/s", "p50 ms", "p99 ms", "rate/floor", "p50/floor"
    );
    for clients in &args.clients {
        round(group, &leader, *clients, bytes, WARM_UP).await?;
        let summary = round(group, &leader, *clients, bytes, time).await?;
        println!(
            "{clients:>7} {:>11.0} {:>8.2} {:>8.2} {:>10.2} {:>9.2}",
            summary.rate,
            millis(summary.p50),
            millis(summary.p99),
            summary.rate / floor.rate,
            summary.p50.as_secs_f64() / floor.p50.as_secs_f64(),
        );
    }
    Ok(())
}

/// `clients` clients, each in a closed loop for `time`.
async fn round(
    group: &Group,
    leader: &str,
    clients: usize,
    bytes: usize,
    time: Duration,
) -> anyhow::Result<Summary> {
    let connections: Vec<ControlClient<Channel>> =
        (0..clients.min(MAX_CONNECTIONS)).map(|_| group.connect(leader)).collect::<anyhow::Result<_>>()?;
    let mut tasks = JoinSet::new();
    let start = Instant::now();
    for (number, connection) in connections.iter().cycle().take(clients).enumerate() {
        tasks.spawn(propose_until(connection.clone(), number, bytes, start + time));
    }
    let mut latencies = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        latencies.extend(ended.context("a client broke off")??);
    }
    Summary::of(latencies, start.elapsed()).context("not one proposal was committed in time")
}

/// One client; how long each of its proposals took. One that is not carried out ends the benchmark.
async fn propose_until(
    mut client: ControlClient<Channel>,
    number: usize,
    bytes: usize,
    end: Instant,
) -> anyhow::Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    for incarnation in 1.. {
        let began = Instant::now();
        if began >= end {
            break;
        }
        let request = ProposeRequest { commands: vec![command(number, incarnation, bytes)?] };
        let answer = client.propose(request).await.context("proposing")?.into_inner();
        let Some(Outcome::Replies(replies)) = answer.outcome else {
            bail!("a proposal was not carried out: {answer:?}");
        };
        let reply = replies.replies.first().context("a proposal was not answered")?;
        match Reply::decode(reply).context("reading the answer to a proposal")? {
            Reply::Done => latencies.push(began.elapsed()),
            other => bail!("a proposal was answered with {other:?}"),
        }
    }
    Ok(latencies)
}

/// An executor that registers anew: a command that changes the state, and leaves its size as it was.
/// Padded to about `bytes` bytes with tags.
fn command(number: usize, incarnation: u64, bytes: usize) -> anyhow::Result<Bytes> {
    let padded = |padding: usize| -> anyhow::Result<Bytes> {
        let record = ExecutorRecord {
            id: ExecutorId::new(format!("bench-{number}"))?,
            hostname: format!("bench-{number}"),
            api_port: 4200,
            incarnation,
            boot_id: "bench".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            tags: (0..padding).step_by(TAG_BYTES).map(|_| "x".repeat(TAG_BYTES)).collect(),
            layout: NodeLayout::default(),
            core_overcommit: 1,
        };
        let at = Timestamp(incarnation);
        Ok(Command::RegisterExecutor { at, record: Box::new(record), holds: None }.encode())
    };
    let bare = padded(0)?.len();
    padded(bytes.saturating_sub(bare))
}
