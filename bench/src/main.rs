//! Benchmarks of Muster. Each prints one table whose last columns are ratios against a floor that was
//! measured in the same run: absolute figures of a busy machine say little.
//!
//! | module | noun |
//! |---|---|
//! | [`proposals`] | durable writes per second through three controllers, and through three etcd servers |
//! | [`group`] | three real controllers, each a process of its own |
//! | [`fleet`] | three controllers with thousands of simulated executors |
//! | [`client`] | one client in a closed loop |
//! | [`aside`] | clients on threads of their own, beside the executors of this process |
//! | [`proposer`] | a client of a Muster leader |
//! | [`command`] | what it proposes |
//! | [`etcd`] | what is compared with |
//! | [`floor`] | what the disk alone can do |
//! | [`transitions`] | committed transitions of instances per second, through executors' sessions |
//! | [`reads`] | what users wait for who read, at rest and beside a cluster that lives |
//! | [`watch`] | what hundreds of users are sent who watch a cluster that lives, and when |
//! | [`gap`] | how long nobody can write when the leader is killed |
//! | [`node`] | one executor with real containers, against the engine's own speed |
//! | [`output`] | what is told on standard output |
//! | [`stats`] | rates and percentiles |
//! | [`process`] | what a process takes |

mod aside;
mod client;
mod command;
mod etcd;
mod fleet;
mod floor;
mod gap;
mod group;
mod node;
mod output;
mod process;
mod proposals;
mod proposer;
mod reads;
mod stats;
mod transitions;
mod watch;

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use muster_controller::ControllerArgs;
use muster_executor::ExecutorArgs;
use muster_platform::World;
use muster_platform::shutdown::shutdown_signal;
use tokio_util::sync::CancellationToken;

#[derive(Parser)]
#[command(name = "muster-bench", about = "Benchmarks of Muster")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

/// What this program is to be.
#[derive(Subcommand)]
enum Task {
    #[command(flatten)]
    Benchmark(Benchmark),
    /// What `starts` and `steady` run: an executor
    #[command(hide = true)]
    Executor(ExecutorArgs),
    /// What all but `starts` and `steady` run three times: a controller
    #[command(hide = true)]
    Controller(ControllerArgs),
}

#[derive(Subcommand)]
enum Benchmark {
    /// Durable writes per second through three controllers, gRPC with mTLS, against etcd's
    Proposals(proposals::Args),
    /// Committed transitions of instances per second, through executors' sessions
    Transitions(transitions::Args),
    /// One instance and a list of thousands, at rest and while transitions are committed
    Reads(reads::Args),
    /// Hundreds of clients that watch events while transitions are committed
    Watch(watch::Args),
    /// From the death of the leader to the next accepted write
    Gap(gap::Args),
    /// Start, stop and replace containers, against the engine's own speed
    Starts(node::starts::Args),
    /// Memory and processor time of an executor with many healthy containers
    Steady(node::steady::Args),
    /// Thousands of simulated executors: registration, rest, reads, the loss of the leader
    Fleet(fleet::Args),
}

fn main() -> ExitCode {
    match run(Args::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("muster-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(async {
        match task {
            Task::Benchmark(benchmark) => until_stopped(&benchmark).await,
            Task::Executor(args) => Ok(muster_executor::run(args, World::system()).await?),
            Task::Controller(args) => Ok(muster_controller::run(args, World::system()).await?),
        }
    })
}

/// Measures, and prints the table. A signal ends it early, and leaves nothing either: a benchmark that is dropped ends the
/// processes that it started and removes their files.
async fn until_stopped(benchmark: &Benchmark) -> anyhow::Result<()> {
    // Before there is anything to clean up.
    let stop = shutdown_signal().context("listening for signals")?;
    tokio::select! {
        biased;
        () = stop.cancelled() => bail!("interrupted"),
        outcome = measure(benchmark, &stop) => outcome,
    }
}

async fn measure(benchmark: &Benchmark, stop: &CancellationToken) -> anyhow::Result<()> {
    match benchmark {
        Benchmark::Proposals(args) => proposals::run(args, stop).await,
        Benchmark::Transitions(args) => transitions::run(args).await,
        Benchmark::Reads(args) => reads::run(args).await,
        Benchmark::Watch(args) => watch::run(args).await,
        Benchmark::Gap(args) => gap::run(args).await,
        Benchmark::Starts(args) => node::starts::run(args).await,
        Benchmark::Steady(args) => node::steady::run(args).await,
        Benchmark::Fleet(args) => fleet::run(args).await,
    }
}
